"""A template on distributed systems: what a crash and a restart do to work that spans two systems."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_WORK = """
def attempt(step, status, dies_after, charges, ignore_status=False, key=None):
    for number, (what, value) in enumerate(steps, 1):
        if number < step:
            continue
        if what == "guard" and status in value and not ignore_status:
            return "ended", status, charges
        if what == "set":
            status = value
        if what == "charge":
            value = key or value
            charges = charges + [value] if value == "new" or value not in charges else charges
        if number == dies_after:
            return "died", status, charges
    return "ended", status, charges

def work(undo=False, resume=False, forget=False, restart=True, **how):
    status, charges, step = "new", [], 1
    for dies_after in [crash, None]:
        before = status, charges
        result, status, charges = attempt(step, status, dies_after, charges, **how)
        if result == "died" and not restart:
            break
        if result == "died" and undo:
            status, charges = before
        if result == "died" and forget:
            status = "new"
        if result == "died" and resume:
            step = dies_after + 1
    return f"{len(charges)} {status}"
"""

_COUNTS = ("never charged", "charged once", "charged twice")
_Step = tuple[str, str | tuple[str, ...], str]
"""What a line does, with which value, and how it reads."""

_TEXTS = {
    f"{count} {status}": f"{said}, status `{status}`"
    for count, said in enumerate(_COUNTS)
    for status in ("new", "started", "paid")
}


def _steps(rng: random.Random, amount: int) -> list[_Step]:
    """Draw the lines of a worker."""
    key = rng.choice(("", "", ", key=id", ", key=uuid4()"))
    charge: _Step = ("charge", "order" if key == ", key=id" else "new", f"charge(card, {amount}{key})")
    paid: _Step = ("set", "paid", 'save(id, status="paid")')
    started: _Step = ("set", "started", 'save(id, status="started")')
    only_new: _Step = ("guard", ("started", "paid"), 'if status(id) != "new": return')
    not_paid: _Step = ("guard", ("paid",), 'if status(id) == "paid": return')
    return rng.choice(
        (
            [not_paid, charge, paid],
            [not_paid, started, charge, paid],
            [only_new, started, charge, paid],
            [only_new, charge, paid],
            [not_paid, paid, charge],
            [started, charge, paid],
        )
    )


def _restart_mistakes(rng: random.Random, steps: list[_Step]) -> list[Misconception]:
    """Return mistakes that are executed, in any order, before those that hold whatever happens."""
    executed, fixed = _executed_mistakes(steps), _fixed_mistakes(steps)
    return [*rng.sample(executed, len(executed)), *rng.sample(fixed, len(fixed))]


def _executed_mistakes(steps: list[_Step]) -> list[Misconception]:
    has_key = any("key=id" in text for _, _, text in steps)
    return [
        Misconception(
            "crash-undoes-the-attempt",
            "That undoes what the attempt did before it died. The database and the payment service each keep what they "
            "have confirmed.",
            run="print(work(undo=True))",
        ),
        Misconception(
            "goes-on-where-it-stopped",
            "That goes on after the line at which it died. Nothing remembers that line: a restart begins at line 1.",
            run="print(work(resume=True))",
        ),
        Misconception(
            "no-restart-counted",
            "That is what the first crash leaves behind. The restarted worker takes the order once more.",
            run="print(work(restart=False))",
        ),
        Misconception(
            "status-is-lost",
            "That forgets the status in the crash. It is saved in the database, and the next attempt reads it.",
            run="print(work(forget=True))",
        ),
        Misconception(
            "status-is-ignored",
            "That charges in each attempt that gets so far. A status that was saved before ends the attempt early.",
            run="print(work(ignore_status=True))",
        ),
        Misconception(
            "key-is-ignored" if has_key else "service-finds-duplicates",
            "That charges once more for the same key. The service answers a known key with its first result."
            if has_key
            else "That trusts the service to see a repeated charge. It only does so by a key that stays the same.",
            run=f"print(work(key={'new' if has_key else 'order'!r}))",
        ),
    ]


def _fixed_mistakes(steps: list[_Step]) -> list[Misconception]:
    return [
        Misconception(
            "status-makes-it-exactly-once",
            "That trusts the status. It is saved before or after the charge, never together with it.",
            value="1 paid",
        ),
        Misconception(
            "second-charge-for-granted",
            "That takes a second charge for granted. What was saved, and the key, decide what the second attempt does.",
            value="2 paid",
        ),
        Misconception(
            "charge-lost-in-the-crash",
            "That loses the charge. What the service has confirmed stays, and what the first attempt did not reach the "
            "second may.",
            value="0 paid",
        ),
        Misconception(
            "status-stays-behind",
            "That leaves the status as the crash left it. The second attempt goes on to save it, unless a line ends it "
            "before.",
            value="1 started" if any(value == "started" for _, value, _ in steps) else "1 new",
        ),
    ]


def _story(steps: list[_Step], crash: int) -> str:
    """Tell what the two attempts do."""
    first = steps[:crash]
    status = next((str(value) for what, value, _ in reversed(first) if what == "set"), "new")
    charged = [value for what, value, _ in first if what == "charge"]
    told = (
        f"Attempt 1 {'charges' if charged else 'dies before the charge'} and leaves the status `{status}`. Attempt 2 "
    )
    if any(what == "guard" and status in value for what, value, _ in steps):
        return told + "ends at line 1."
    if charged == ["order"]:
        return told + "sends the same key, so the service does not charge again, and goes on to the end."
    if charged:
        return told + "charges again: neither the status nor a key tells that it was done."
    return told + "runs to the end."


@template(
    name="charges-after-a-restart",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("idempotency", "retries", "crashes"),
    title="Amazon Builders' Library, Making retries safe with idempotent APIs",
    url="https://aws.amazon.com/builders-library/making-retries-safe-with-idempotent-APIs/",
    form=QuestionForm.CODE_REVIEW,
    rated=(2, 2, 2),
)
def charges_after_a_restart(rng: random.Random) -> Draft:
    """Tell what a customer is charged when a worker dies between two systems and is restarted."""
    amount = rng.choice((20, 40, 60, 80))
    steps = _steps(rng, amount)
    crash = rng.choice([number for number, step in enumerate(steps, 1) if step[0] != "guard" and number < len(steps)])
    what = rng.choice(("an order", "a booking", "an invoice", "a fine"))
    mistakes = _restart_mistakes(rng, steps)
    return Draft(
        prompt=(
            f"A worker takes {what} from a queue, where it stays until this code ends. The worker dies right after "
            f"line {crash}, is restarted, and takes it again. `status` and `save` use PostgreSQL, `charge` calls a "
            "payment service. How does it end?"
        ),
        code="\n".join(f"{number} {text}" for number, (_, _, text) in enumerate(steps, 1)),
        language="text",
        setup=f"steps, crash = {[step[:2] for step in steps]!r}, {crash}{_WORK}",
        run="print(work())",
        texts=_TEXTS,
        why=_story(steps, crash),
        misconceptions=mistakes,
        explanation=(
            "No order of the lines is safe by itself: a status saved last repeats the charge, one saved first loses it."
            " Send a key that is the same in each attempt, such as the id of the order, so that the service answers a "
            "repeated charge with its first result."
        ),
    )
