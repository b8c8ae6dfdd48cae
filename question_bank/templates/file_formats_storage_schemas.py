"""Templates on file formats: old files under new columns, and changes of a schema that a registry refuses."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_COLUMNS = {
    "name": ("nick", ("Ada", "Max", "Lena")),
    "city": ("town", ("Oslo", "Riga", "Bern")),
    "plan": ("tier", ("free", "basic", "pro")),
    "team": ("crew", ("red", "blue", "green")),
    "lang": ("code", ("de", "no", "lv")),
}
"""Columns, what each may be called later, and values."""

_TABLES = {
    "an Iceberg table": ("id", "Iceberg finds columns by field id: a rename keeps it, and a new column gets a new one"),
    "a Spark 4.0 table over Parquet files": ("name", "Spark finds columns of Parquet by name"),
    "a Spark 4.0 table over files of JSON lines": ("name", "Keys of JSON are found by name"),
    "a Spark 4.0 table over CSV files without a header": ("place", "Without a header, CSV columns go by position"),
}
"""Kinds of tables: how each matches columns with those of a file, and how to say so."""

_MATCH = """
def find(how):
    place = [name for _, name in now].index(wanted)
    number, name = now[place]
    for at, (old_number, old_name) in enumerate(old):
        if {"id": old_number == number, "name": old_name == name, "place": at == place}[how]:
            return row[at]
    return "NULL"
"""
_Columns = list[tuple[int, str]]


def _evolve(rng: random.Random, old: _Columns) -> tuple[list[str], _Columns, str]:
    """Draw changes of a table: how they read, the columns that follow, and one column to ask for."""
    at = rng.randint(1, 2)
    number, name = old[at]
    later = _COLUMNS[name][0]
    after = old[at + 1]
    renamed = [(number, later) if column == old[at] else column for column in old]
    dropped = [column for column in old if column != old[at]]
    extra = rng.choice(("mail", "note", "tag"))
    moved = [old[0], old[3], *old[1:3]]
    return rng.choice(
        (
            ([f"rename {name} to {later}"], renamed, later),
            ([f"rename {name} to {later}", f"add {name} at the end"], [*renamed, (9, name)], rng.choice((name, later))),
            ([f"drop {name}", f"add {name} at the end"], [*dropped, (9, name)], rng.choice((name, name, after[1]))),
            ([f"drop {name}"], dropped, after[1]),
            ([f"add {extra} after id"], [old[0], (9, extra), *old[1:]], rng.choice((extra, old[1][1], old[2][1]))),
            ([f"move {old[3][1]} behind id"], moved, rng.choice((old[1][1], old[3][1]))),
        )
    )


def _match_mistakes(rng: random.Random, how: str) -> list[Misconception]:
    """Return mistakes about how columns are found, before those that hold for any table, the most tempting first."""
    said = {
        "id": "That follows the column through its changes. Only field ids in the files make that possible.",
        "name": "That looks for the name in the file. This table does not find its columns by name.",
        "place": "That takes the column at the same position. This table does not go by position.",
    }
    matched = [
        Misconception(f"matched-by-{other}", why, run=f"print(find({other!r}))")
        for other, why in said.items()
        if other != how
    ]
    fixed = [
        Misconception(
            "old-rows-are-null",
            "That gives up what the old file holds. Only a column that is not found in it is NULL.",
            value="NULL",
        ),
        Misconception(
            "old-files-fail",
            "Old files stay readable: a column that is not found in a file is NULL in its rows.",
            value="fails",
        ),
        Misconception(
            "old-rows-left-out",
            "A file with other columns still gives all of its rows.",
            value="no row",
        ),
    ]
    return [*rng.sample(matched, len(matched)), *fixed]


@template(
    name="old-file-under-new-columns",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("schema-evolution", "parquet", "iceberg", "csv"),
    title="Apache Iceberg documentation, Evolution, Correctness",
    url="https://iceberg.apache.org/docs/latest/evolution/#correctness",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def old_file_under_new_columns(rng: random.Random) -> Draft:
    """Tell what a column returns for a row of an old file, after the table has changed its columns."""
    table, (how, because) = rng.choice(list(_TABLES.items()))
    names = rng.sample(sorted(_COLUMNS), 3)
    old: _Columns = list(enumerate(("id", *names)))
    key = str(rng.randint(2, 9))
    row = [key, *(rng.choice(_COLUMNS[name][1]) for name in names)]
    changes, now, wanted = _evolve(rng, old)
    return Draft(
        prompt=(
            f"The columns of {table} were redefined as shown; all are text. The old files were not rewritten. What "
            f"does `SELECT {wanted}` return for the row {key} of this old file?"
        ),
        code="\n".join(
            [
                f"old file  {', '.join(name for _, name in old)}",
                f"          {', '.join(row)}",
                "",
                *(f"{'then' if change == changes[0] else '':10}{change}" for change in changes),
                "",
                f"now       {', '.join(name for _, name in now)}",
            ]
        ),
        language="text",
        setup=f"old, now, row, wanted = {old!r}, {now!r}, {row!r}, {wanted!r}{_MATCH}",
        run=f"print(find({how!r}))",
        texts={"fails": "the query fails", "no row": "the row is left out"},
        why=f"{because}. What is not found in the old file is NULL.",
        misconceptions=_match_mistakes(rng, how),
        explanation=(
            "By name, a rename loses old values and a reused name brings dropped ones back; by position, each column "
            "that comes, goes or moves shifts the others. Field ids survive all of that. Without them, only add "
            "columns at the end, and never use a name again."
        ),
    )


_REGISTRY = """
wider = {("int", "long"), ("int", "double"), ("long", "double"), ("float", "double")}

def fits(written, read):
    if isinstance(written, tuple):
        return all(fits(one, read) for one in written)
    if isinstance(read, tuple):
        return any(fits(written, one) for one in read)
    return written == read or (written, read) in wider

def can_read(reader, writer):
    for name, (kind, has_default, alias) in reader.items():
        match = writer.get(name) or writer.get(alias)
        if match is None and not has_default:
            return False
        if match is not None and not fits(match[0], kind):
            return False
    return True

def accepted(change):
    gone, added = changes[change]
    new = {name: field for name, field in old.items() if name != gone} | added
    backward, forward = can_read(new, old), can_read(old, new)
    return {"BACKWARD": backward, "FORWARD": forward, "FULL": backward and forward}[mode]
"""
_Field = tuple[str | tuple[str, ...], bool, str | None]
_RECORDS = (
    ("orders", "coupon", "note", "client", "buyer", "qty", "total", "city"),
    ("trips", "tip", "remark", "driver", "pilot", "seats", "fare", "stop"),
    ("visits", "campaign", "referrer", "user", "visitor", "clicks", "seconds", "country"),
    ("payments", "voucher", "memo", "payer", "sender", "parts", "fee", "bank"),
)
"""Topics with names of fields: to add, with a default, to rename and its new name, int, double, nullable."""

_WHYS = {
    "add with default": (True, True, "New readers fill it in for old records, and old readers skip it."),
    "add without default": (
        False,
        True,
        "Old readers skip it, but new readers find no value for it in old records.",
    ),
    "remove with default": (True, True, "New readers skip it in old records, and old readers fill it in for new ones."),
    "remove without default": (
        True,
        False,
        "New readers skip it in old records, but old readers miss it in new ones and have nothing to fill in.",
    ),
    "widen": (True, False, "An int can be read as long, but old readers cannot take a long for an int."),
    "narrow": (
        False,
        True,
        "Old readers can take a float for a double, but new ones cannot take a double for a float.",
    ),
    "rename with alias": (
        True,
        False,
        "The alias finds the old name in old records, but old readers know no alias and miss their field.",
    ),
    "rename": (False, False, "Without an alias it is one field removed and another added, both without a default."),
    "make nullable": (True, False, "New readers take a string for the union, but old readers cannot take a null."),
    "make required": (False, True, "Old readers take a string for the union, but new readers may meet a null."),
}
"""For each change whether new readers can read old records, whether old ones can read new records, and why."""


def _changes(names: tuple[str, ...]) -> tuple[dict[str, _Field], dict[str, tuple[str | None, dict[str, _Field]]]]:
    """Return a schema, and for each change the field that goes and the fields that come."""
    add, note, client, buyer, qty, total, city = names
    old: dict[str, _Field] = {
        note: ("string", True, None),
        client: ("string", False, None),
        qty: ("int", False, None),
        total: ("double", False, None),
        city: (("null", "string"), False, None),
    }
    return old, {
        "add with default": (None, {add: ("string", True, None)}),
        "add without default": (None, {add: ("string", False, None)}),
        "remove with default": (note, {}),
        "remove without default": (client, {}),
        "widen": (qty, {qty: ("long", False, None)}),
        "narrow": (total, {total: ("float", False, None)}),
        "rename with alias": (client, {buyer: ("string", False, client)}),
        "rename": (client, {buyer: ("string", False, None)}),
        "make nullable": (client, {client: (("null", "string"), False, None)}),
        "make required": (city, {city: ("string", False, None)}),
    }


def _change_texts(names: tuple[str, ...]) -> dict[str, str]:
    add, note, client, buyer, qty, total, city = names
    return {
        "add with default": f'add `{add}`, a string with default ""',
        "add without default": f"add `{add}`, a string without default",
        "remove with default": f'remove `{note}`, which has default ""',
        "remove without default": f"remove `{client}`, which has no default",
        "widen": f"change `{qty}` from int to long",
        "narrow": f"change `{total}` from double to float",
        "rename with alias": f"rename `{client}` to `{buyer}`, with alias",
        "rename": f"rename `{client}` to `{buyer}`, without alias",
        "make nullable": f"change `{client}` from string to [null, string]",
        "make required": f"change `{city}` from [null, string] to string",
    }


@template(
    name="change-that-a-registry-refuses",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("avro", "schema-evolution", "schema-registry"),
    title="Confluent Platform documentation, Schema Evolution and Compatibility, Compatibility Types",
    url="https://docs.confluent.io/platform/current/schema-registry/fundamentals/schema-evolution.html",
    form=QuestionForm.CODE_REVIEW,
    rated=(2, 3, 2),
)
def change_that_a_registry_refuses(rng: random.Random) -> Draft:
    """Find the one change of an Avro schema that a registry refuses, or the one that it accepts."""
    mode = rng.choice(("BACKWARD", "BACKWARD", "FORWARD", "FORWARD", "FULL"))
    topic, *fields = rng.choice(_RECORDS)
    names = tuple(fields)
    good = {
        change: {"BACKWARD": back, "FORWARD": forth, "FULL": back and forth}[mode]
        for change, (back, forth, _) in _WHYS.items()
    }
    refuse = mode != "FULL" and rng.choice((True, False))
    one = rng.choice([change for change in good if good[change] is not refuse])
    others = rng.sample([change for change in good if good[change] is refuse], 3)
    old, changes = _changes(names)
    drawn = rng.sample([one, *others], 4)
    return Draft(
        prompt=(
            f"The schema registry checks the Avro schema of `{topic}` for `{mode}` compatibility with the version "
            "before it. Four changes are proposed, each on its own; a field has no default unless it is said. Which "
            f"one does the registry {'refuse' if refuse else 'accept'}?"
        ),
        setup=(
            f"mode, drawn = {mode!r}, {drawn!r}\nold = {old!r}\n"
            f"changes = { {change: changes[change] for change in drawn}!r}{_REGISTRY}"
        ),
        run=f"print(*(change for change in drawn if accepted(change) is {not refuse}))",
        texts=_change_texts(names),
        why=_WHYS[one][2],
        misconceptions=[
            Misconception(f"{other.replace(' ', '-')}-misjudged", _WHYS[other][2], value=other) for other in others
        ],
        explanation=(
            "BACKWARD: new readers can read old records, so readers are upgraded first. FORWARD: old readers can read "
            "new records, so writers go first. FULL asks for both. Give each field that you add or may remove one day "
            "a default, and rename by adding a field and removing the old one later."
        ),
    )
