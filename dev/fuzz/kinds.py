"""Requests of every kind, each made from a seed and its own number, so that these two name it again."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable

from dev.fuzz import updates
from dev.fuzz.inputs import EITHER, MAX_BYTES, NO_ANSWER, REFUSED, SECRET, TAKEN, TOO_LARGE, WRONG_SECRET, Input, Maker
from dev.fuzz.mutate import Raw, Twice, encode, mangle, mutate, places, write, wrong
from dev.fuzz.oracle import Row
from dev.fuzz.updates import MARK, Crowd, Person

# ---------------------------------------------------------------- what is sound


def sound(make: Maker) -> Input:
    """Make an update as Telegram sends it."""
    update, row = make.valid()
    return make.make(encode(update), statuses=frozenset({TAKEN}), must=row)


def unused(make: Maker) -> Input:
    """Make an update of a kind, from a place or without words, that the service has no use for."""
    content = updates.message(make.person, f"/quiz {MARK}", make.number)
    if make.rng.random() < 0.5:
        kind = make.rng.choice(updates.OTHER_KINDS)
        return make.make(encode(make.update(**{kind: content})), statuses=frozenset({TAKEN}))
    if make.rng.random() < 0.5:
        del content["text"], content["entities"]
        content[make.rng.choice(updates.SERVICE)] = {"text": MARK}
        return make.make(encode(make.update(message=content)), statuses=frozenset({TAKEN}))
    where = make.rng.choice(["group", "supergroup", "channel", "PRIVATE", "private ", ""])
    content["chat"] = {"id": -100_123, "type": where, "title": MARK}
    return make.make(encode(make.update(message=content)), statuses=frozenset({TAKEN}))


NASTY_TEXTS = (
    *("<b>", "</b></pre>", "<script>alert(1)</script>", "<a href='javascript:x'>", "&lt;&#60;&", "<tg-spoiler>", "]]>"),
    *("'; DROP TABLE updates; --", "' OR '1'='1", "\\'; SELECT pg_sleep(5); --", "$1", "$$"),
    *("%s %(x)s {0} {x.__class__}", "${jndi:ldap://x}", "{{7*7}}", "`id`", "$(id)", "../../etc/passwd"),
    *("\r\nSet-Cookie: x", "\x1b[2J", "[red]x[/]", "\u202e\u2066", "\ufeff", "\u0000", "😀" * 50, "\n" * 50, "ﷺ" * 50),
    *("a\u0301" * 50, "\ud7ff\ue000", "*_[]()~`>#+"),
)
"""HTML, SQL and whatever else means something to somebody."""


def hostile_words(make: Maker) -> Input:
    """Make an update whose names and words mean something to HTML, SQL, a shell or a terminal."""
    nasty = f"{MARK}{make.rng.choice(NASTY_TEXTS)}{MARK}"
    start = make.rng.choice(["", "", "/help ", "/start ", "/"])
    content = updates.message(make.person, start + nasty, make.number)
    names = dict.fromkeys(("first_name", "last_name", "username", "language_code"), nasty)
    content |= {"from": content["from"] | names, "chat": content["chat"] | names}
    name = start.strip("/ ")
    row = Row(make.person.id, "command" if name else "text", name, make.number)
    # What begins with a slash may name a command by accident, so nothing is said of it.
    return make.make(
        encode(make.update(message=content)), statuses=frozenset({TAKEN}), must=None if start == "/" else row
    )


# ---------------------------------------------------------------- what only looks sound


def mutated(make: Maker) -> Input:
    """Change places of a sound update."""
    update, _ = make.valid()
    return make.make(encode(mutate(update, make.rng, make.rng.choice([1, 1, 1, 2, 3, 8]))))


def mangled(make: Maker) -> Input:
    """Change bytes of a sound update."""
    update, _ = make.valid()
    return make.make(mangle(encode(update), make.rng, make.rng.choice([1, 1, 2, 5, 20])))


def truncated(make: Maker) -> Input:
    """Cut a sound update off."""
    update, _ = make.valid()
    body = encode(update)
    return make.make(body[: make.rng.randrange(len(body))], statuses=frozenset({REFUSED}))


def wrong_type(make: Maker) -> Input:
    """Put something unexpected into one place of a sound update."""
    update, _ = make.valid()
    inside, key = make.rng.choice(list(places(update)))
    inside[key] = wrong(make.rng)
    return make.make(encode(update))


def twice(make: Maker) -> Input:
    """Write keys twice."""
    update, _ = make.valid()
    for inside, key in make.rng.sample(list(places(update)), k=make.rng.randrange(1, 5)):
        if isinstance(inside, dict) and key in inside:
            inside[key] = Twice(make.rng.choice([inside[key], wrong(make.rng)]), inside[key])
    return make.make(encode(update))


def forged(make: Maker) -> Input:
    """Tap a button that the bot never made, or that is somebody else's."""
    data = _forged_data(make.rng, make.person)
    if make.rng.random() < 0.2:
        data = data[: make.rng.randrange(len(data) + 1)] + make.rng.choice(NASTY_TEXTS)
    return make.make(encode(make.update(callback_query=updates.tap(make.person, data, make.number))))


def _forged_data(rng: random.Random, person: Person) -> str:
    quiz = rng.choice(
        [str(person.quiz_id), "1", "0", "-1", "01", "+1", "1.0", "1e3", "٣", str(2**63), "9" * 18, "9" * 60]
    )
    return rng.choice(
        [
            *(f"a:{quiz}:{rng.choice('01234-9 ')}", f"a:{quiz}", f"a:{quiz}:0:0", f"A:{quiz}:0", f" a:{quiz}:0"),
            *(f"a:{quiz}:0\n", f"r:{quiz}:", f"rq:{quiz}:", f"rq:{quiz}:{MARK}", f"rb:{quiz}:wrong:wrong"),
            *(f"rq:{quiz}:wrong", f"z:{rng.choice(['../../etc/passwd', 'UTC', 'Mars/Phobos', '', 'utc', 'Europe'])}"),
            *(f"t:{MARK}", "t:", "e:expert", f"h:{rng.choice(['24', '-1', '07', '7', '1e1', ''])}"),
            f"o:{rng.choice(['841', '-721', '99999', '-0', '0'])}",
            *(f"s:{rng.choice(['', 'admin', 'main', 'main:main'])}", f"d:{rng.choice('012x')}"),
            *(f"x:{rng.choice('012y')}", "", ":", "::::", "n:", "nr:1", "ta:1", MARK, "é" * 64, "x" * 256, "a" * 257),
            *("\x00", "n\x00", "\x00n", "💣" * 20),
        ]
    )


# ---------------------------------------------------------------- what is no JSON, or no UTF-8


def noise(make: Maker) -> Input:
    """Send bytes that are nothing at all, or something else."""
    rng = make.rng
    body: bytes = rng.choice(
        [
            *(rng.randbytes(rng.randrange(200)), b"", b" ", b"\n", b"null", b"true", b"0", b'"update"', b"[]", b"{}"),
            *(b"NaN", b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]><x>&y;</x>"),
            *(b"\x89PNG\r\n\x1a\n", b"update_id=1&message=x"),
            *(b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", b"GET / HTTP/1.1\r\n\r\n"),
            *(b"\x80\x04\x95\x05\x00\x00\x00", b"!!python/object/apply:os.system [id]", b"{'update_id': 1}"),
            *(b"\x00" * 100, json.dumps([make.update()] * 3).encode(), b'{"update_id": 1}{"update_id": 2}'),
            *(b'{"update_id": 1} x', b"\xff\xfe"),
        ]
    )
    return make.make(body)


ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp1252", "cp037", "gzip", "quoted")


def encoded(make: Maker) -> Input:
    """Send a sound update in another encoding."""
    update, _ = make.valid()
    text, name = write(update), make.rng.choice(ENCODINGS)
    if name == "gzip":
        return make.make(gzip.compress(text.encode(), 1), statuses=frozenset({REFUSED}))
    if name == "quoted":
        return make.make(json.dumps(text).encode(), statuses=frozenset({REFUSED}))
    return make.make(text.encode(name, "replace"))  # some of these leave ASCII as it is


def strange_text(make: Maker) -> Input:
    """Put text that is no Unicode, or no JSON string, into a place that is read."""
    update = make.update(callback_query=updates.tap(make.person, "n", make.number))
    if make.rng.random() < 0.5:
        update = make.update(message=updates.message(make.person, "/help", make.number))
    texts = [place for place in places(update) if isinstance(place[0][place[1]], str)]
    inside, key = make.rng.choice(texts)
    inside[key] = "@@"
    strange = make.rng.choice(
        [
            *(b"\xed\xa0\x80", b"\xc0\xaf", b"\xff", b"\xf8\x88\x80\x80\x80", b"\\ud800", b"\\udc00\\ud800"),
            *(b"\\ud83d\\ude00", b"\\u0000", b"\x00", b"\n", b"\t", b"\\", b"\\u12", b"\\U0001F600", b"\\q", b"\x7f"),
            *(b"\\/help", b"\\u002fquiz"),
        ]
    )
    return make.make(encode(update).replace(b"@@", strange))


def nested(make: Maker) -> Input:
    """Nest thousands of levels deep, where it is read and where it is not."""
    rng = make.rng
    depth = rng.choice([50, 150, 199, 200, 201, 500, 1000, 5000, 20_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}"), ('[{"from":', "}]")])
    deep = Raw(opening * depth + "1" + (closing * depth if rng.random() < 0.8 else ""))
    update, _ = make.valid()
    if rng.random() < 0.2:
        return make.make(encode(deep))
    inside, key = rng.choice(list(places(update)))
    if isinstance(inside, dict) and rng.random() < 0.5:
        key = "reply_to_message"
    inside[key] = deep
    return make.make(encode(update))


# ---------------------------------------------------------------- what is large, or wrongly announced


def huge(make: Maker) -> Input:
    """Send about as much as the webhook takes, or more."""
    rng = make.rng
    size = rng.choice([400_000, MAX_BYTES - 2000, MAX_BYTES + 1, 1_500_000])
    update, _ = make.valid()
    filling = rng.choice(["text", "key", "keys", "digits", "items", "spaces", "open"])
    match filling:
        case "text":
            update["x"] = "y" * size
        case "key":
            update["k" * size] = 1
        case "keys":
            update |= dict.fromkeys(map(str, range(size // 12)), 1)
        case "digits":
            update["update_id"] = Raw("9" * size)
        case "items":
            update["x"] = Raw("[" + "0," * (size // 2) + "0]")
        case "spaces":
            update["x"] = Raw(" " * size + "1")
        case _:
            update["x"] = Raw("[" * size)
    body = encode(update)
    pieces = rng.choice([1, 1, 7])
    return make.make(body, statuses=frozenset({TOO_LARGE}) if len(body) > MAX_BYTES else EITHER, pieces=pieces)


def lengths(make: Maker) -> Input:
    """Announce another length than the body has, or none, and send it in pieces."""
    update, row = make.valid()
    body, rng = encode(update), make.rng
    announced = rng.choice(
        [
            *(b"", b"0", b"1", b"-1", b"+5", b"1e3", b"0x10", b" 12 ", b"12, 12", b"\xb2", b"\xb2\xb3", b"9" * 19),
            *(b"9" * 5000, b"NaN", b"999999", b"1000001", b"\xd9\xa3", b"1_000", b"00000000000000000000001"),
            *(b"1000000", b"\xb9\xb2\xb3"),
        ]
    )
    too_much = announced.isdigit() and int(announced[:30]) > MAX_BYTES
    return make.make(
        body,
        headers=((b"content-length", announced),),
        pieces=rng.choice([1, 2, 5, 40]),
        statuses=frozenset({TOO_LARGE}) if too_much else frozenset({TAKEN, TOO_LARGE}),
        must=None if too_much else row if announced.isdigit() else None,
    )


def cut_off(make: Maker) -> Input:
    """Hang up in the middle of a sound update."""
    update, _ = make.valid()
    return make.make(
        encode(update), pieces=make.rng.choice([2, 5]), is_cut=True, statuses=frozenset({NO_ANSWER, REFUSED})
    )


def odd_headers(make: Maker) -> Input:
    """Send a sound update under headers that say something else."""
    update, row = make.valid()
    header = make.rng.choice(
        [
            *((b"content-type", b"text/html"), (b"content-type", b"\xff\xfe")),
            *((b"content-type", b"application/json; charset=utf-16"), (b"content-encoding", b"gzip")),
            *((b"transfer-encoding", b"chunked"), (b"expect", b"100-continue"), (b"host", b"")),
            *((b"x-forwarded-for", b"'; --"), (b"accept", b"x" * 8000), (b"cookie", b"\x00\xff")),
            (b"x-http-method-override", b"PUT"),
        ]
    )
    return make.make(encode(update), headers=(header,), statuses=frozenset({TAKEN}), must=row)


# ---------------------------------------------------------------- wrong secrets


STRANGE_BOTS = ("/1", "/0", "/-1", "/bot", "/١٢٣", "/0x10", "/ 424242", "/1.0", "/" + "9" * 5000, "/%00", "/None")
"""Ids of bots that the service does not have."""


def wrong_secret(make: Maker) -> Input:
    """Send anything with a secret that is none."""
    rng = make.rng
    secret = rng.choice(
        [
            *(None, b"", SECRET[:-1], SECRET + b"0", SECRET.lower(), SECRET.upper(), b" " + SECRET + b" x"),
            *(SECRET[::-1], b"\x00", b"\xff" * 40, "Ü".encode(), SECRET + b"\x00", b"x" * 100_000, SECRET * 2, b"null"),
            *(b"true", b"0", b"*", rng.randbytes(20).hex().encode(), SECRET.replace(b"-", b"_")),
            *(SECRET + b", " + SECRET, b"' OR '1'='1"),
        ]
    )
    inner = rng.choice([sound, mutated, noise, forged, nested, hostile_words, unused])(make)
    below = rng.choice(["", "", "", *STRANGE_BOTS])
    if below and rng.random() < 0.5:
        secret = SECRET  # which is right, for another bot
    return make.make(
        inner.body, secret=secret, below=below, statuses=frozenset({WRONG_SECRET}), pieces=rng.choice([1, 1, 3])
    )


KINDS: dict[str, tuple[int, Callable[[Maker], Input]]] = {
    "sound": (50, sound),
    "of no use": (30, unused),
    "hostile words": (60, hostile_words),
    "mutated": (220, mutated),
    "mangled bytes": (130, mangled),
    "truncated": (60, truncated),
    "wrong type": (130, wrong_type),
    "keys twice": (40, twice),
    "forged buttons": (90, forged),
    "no JSON": (30, noise),
    "other encodings": (30, encoded),
    "strange text": (40, strange_text),
    "deeply nested": (15, nested),
    "huge": (3, huge),
    "wrong lengths": (30, lengths),
    "cut off": (10, cut_off),
    "odd headers": (12, odd_headers),
    "wrong secrets": (120, wrong_secret),
}
"""Every kind of input, with how many of each come in about a thousand."""


def make_input(seed: int, number: int, crowd: Crowd) -> Input:
    """Return one input."""
    rng = random.Random(f"{seed}/{number}")
    (kind,) = rng.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
    return KINDS[kind][1](Maker(kind, number, rng, crowd))
