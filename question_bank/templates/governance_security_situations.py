"""Templates on governance: a bucket policy, default privileges, and where an erased person comes back."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from inspect import getsource

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_FILE = "jan.csv"


def effect_on(statements: list[tuple[str, str, str]], request: str) -> str:
    """Return what a policy of (effect, actions, resource) does to a request such as ``GetObject lake/raw/a.csv``."""
    action, resource = request.split()
    effects = {
        effect
        for effect, actions, pattern in statements
        if action in actions.split(", ") or actions == "*"
        if fnmatchcase(resource, pattern)  # as in AWS, `*` matches slashes too
    }
    return "denied" if "Deny" in effects else "allowed" if "Allow" in effects else "not allowed"


_POLICY = f"""from fnmatch import fnmatchcase

{getsource(effect_on)}
"""


@template(
    name="bucket-policy-request",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("aws-iam", "object-storage", "access-control"),
    title="AWS IAM User Guide, Policy evaluation logic",
    url="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def bucket_policy_request(rng: random.Random) -> Draft:
    """Find the one request that a policy on a bucket allows, or the one that it does not."""
    bucket, folder = rng.choice(("lake", "landing", "exports")), rng.choice(("raw", "shop", "web", "crm"))
    secret = rng.choice(("hr", "pay", "tax", "legal"))
    actions = rng.choice(("GetObject", "GetObject, PutObject", "GetObject, DeleteObject"))
    deny = rng.choice(("*", "*", "GetObject", "PutObject, DeleteObject"))
    statements = [
        ("Allow", actions, f"{bucket}/{folder}/*"),
        ("Allow", "ListBucket", rng.choice((bucket, bucket, f"{bucket}/*"))),
        ("Deny", deny, f"{bucket}/{folder}/{secret}/*"),
    ]
    rng.shuffle(statements)
    requests = _requests(rng, bucket, folder, secret)
    wanted = rng.choice(("allowed", "refused"))
    right, kinds = "", {}
    for kind, request in requests:
        if (effect_on(statements, request) == "allowed") == (wanted == "allowed"):
            right = request
        else:
            kinds[kind] = request
    wrong = rng.sample(sorted(kinds), min(3, len(kinds)))
    offered = [right, *(kinds[kind] for kind in wrong)]
    rng.shuffle(offered)
    return Draft(
        prompt=(
            "An AWS role has this policy and no other, and nothing else grants it anything. (`s3:` and `arn:aws:s3:::` "
            f"are left out.) Which request is {wanted}?"
        ),
        code="\n".join(f"{effect:5}  {names}\n       {pattern}" for effect, names, pattern in statements),
        language="text",
        setup=f"{_POLICY}\nstatements = {statements}\noffered = {offered}",
        run=f"print(*(one for one in offered if (effect_on(statements, one) == 'allowed') is {wanted == 'allowed'}))",
        why=_request_why(statements, right),
        misconceptions=[
            Misconception(f"{kind}-misjudged", _request_why(statements, kinds[kind]), value=kinds[kind])
            for kind in wrong
        ],
        explanation=(
            "A request needs an Allow and no Deny; the order of statements does not matter. Actions on the bucket, "
            "such as ListBucket, need the bucket's ARN, those on objects one with a path, where `*` spans folders. Try "
            "a policy in the IAM policy simulator before you attach it."
        ),
    )


def _requests(rng: random.Random, bucket: str, folder: str, secret: str) -> list[tuple[str, str]]:
    """Return requests in any order, each with what makes it tricky; of each kind the last one may be offered."""
    requests = [
        *((f"{action}-in-folder", f"{action}Object {bucket}/{folder}/{_FILE}") for action in ("Get", "Put", "Delete")),
        *(("secret-folder", f"{action}Object {bucket}/{folder}/{secret}/{_FILE}") for action in ("Get", "Put")),
        *(("deeper-folder", f"{action}Object {bucket}/{folder}/old/{_FILE}") for action in ("Get", "Delete")),
        ("similar-name", f"GetObject {bucket}/{folder}_old/{_FILE}"),
        ("list", f"ListBucket {bucket}"),
    ]
    rng.shuffle(requests)
    return [(kind.lower(), request) for kind, request in requests]


def _request_why(statements: list[tuple[str, str, str]], request: str) -> str:
    action, resource = request.split()
    folder = next(pattern for effect, names, pattern in statements if effect == "Allow" and names != "ListBucket")
    deny, secret = next((names, pattern) for effect, names, pattern in statements if effect == "Deny")
    effect = effect_on(statements, request)
    if effect == "denied":
        return "The Deny matches, and a Deny wins over any Allow, wherever it stands."
    if action == "ListBucket":
        named = "just that" if effect == "allowed" else f"`{resource}/*`, the objects in it"
        return f"ListBucket acts on the bucket itself, and the statement for it names {named}."
    if effect == "allowed" and fnmatchcase(resource, secret):
        return f"An Allow matches. The Deny does not: it names {deny} only."
    if effect == "allowed":
        return f"`{folder}` with this action is allowed, folders below included, and the Deny does not match."
    if fnmatchcase(resource, folder):
        return f"No statement allows {action} here. What nothing allows is refused, without any Deny."
    return f"`{folder}` does not match this path: a longer name is another folder."


def readable_tables(
    steps: list[tuple[str, str]], *, owners: bool = True, now: bool = True, past: bool = False, stay: bool = False
) -> str:
    """Return the tables that `analysts` may read after steps of (what, by or for whom); PostgreSQL 18.0 agrees.

    The flags are beliefs: defaults hold for one creator, a grant on all tables is for those of now, defaults reach
    tables that exist, a new table inherits from a dropped one.
    """
    readable: set[str] = set()
    tables: set[str] = set()
    dropped: set[str] = set()
    defaults: set[str] = set()
    future = False
    for what, who in steps:
        if what == "grant":
            readable |= tables
            future = not now
        elif what == "default":
            defaults |= {who} if owners else {"etl", "dbt", "admin"}
            readable |= tables if past else set()
        elif what.startswith("drop "):
            dropped |= readable & {what[5:]}
            tables.discard(what[5:])
            readable.discard(what[5:])
        else:
            tables.add(what)
            if who in defaults or future or (stay and what in dropped):
                readable.add(what)
    return ", ".join(sorted(readable)) or "no table"


@template(
    name="default-privileges-in-order",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("postgresql", "default-privileges", "grants"),
    title="PostgreSQL 18 documentation, ALTER DEFAULT PRIVILEGES, Description",
    url="https://www.postgresql.org/docs/18/sql-alterdefaultprivileges.html",
    form=QuestionForm.READ,
    rated=(3, 3, 3),
)
def default_privileges_in_order(rng: random.Random) -> Draft:
    """List the tables that a role may read after grants, default privileges and new tables in some order."""
    target = rng.choice(("etl", "etl", "dbt", "admin"))
    steps = _grant_steps(rng, target)
    while readable_tables(steps) == "no table" and rng.random() < 0.9:  # noqa: PLR2004 - a rare answer
        steps = _grant_steps(rng, target)
    call = f"print(readable_tables({steps}{{}}))"
    return Draft(
        prompt=(
            "PostgreSQL 18. `bi` has USAGE on the schema `mart`, which is empty. These statements run in order, each "
            "by the role in front; `admin` is a superuser. Which tables of `mart` may `bi` read at the end?"
        ),
        code="\n".join(_grant_line(what, who) for what, who in steps),
        language="sql",
        setup=f"from __future__ import annotations\n\n{getsource(readable_tables)}",
        run=call.format(""),
        why="A grant on all tables is for those that exist; defaults are for those that one role creates later.",
        misconceptions=_default_mistakes(rng, call, target),
        explanation=(
            "GRANT ON ALL TABLES is for the tables of now, ALTER DEFAULT PRIVILEGES for later tables of one creator: "
            "that of FOR ROLE, or whoever runs it. A table that is dropped and created again has lost its grants. Name "
            "every role that creates tables, or let one role own them all."
        ),
    )


def _grant_steps(rng: random.Random, target: str) -> list[tuple[str, str]]:
    first, *others = rng.sample(("orders", "costs", "stock", "trips", "rates", "bills", "refunds"), 3)
    steps = [("default", target), *((table, rng.choice(("etl", "etl", "dbt"))) for table in others)]
    steps += [("grant", "admin")] if rng.choice((True, True, False)) else []
    rng.shuffle(steps)
    while steps[-1][0] == "default":  # without effect on anything
        rng.shuffle(steps)
    steps.insert(0, (first, "etl"))
    if rng.choice((True, False)):
        at = rng.randint(2, len(steps))
        steps[at:at] = [(f"drop {first}", "etl"), (first, "etl")]
    return steps


def _grant_line(what: str, who: str) -> str:
    if what == "grant":
        return "admin GRANT SELECT\n  ON ALL TABLES IN SCHEMA mart TO bi"
    if what == "default":
        of_role = "" if who == "admin" else f"\n  FOR ROLE {who}"
        return f"admin ALTER DEFAULT PRIVILEGES{of_role}\n  IN SCHEMA mart\n  GRANT SELECT ON TABLES TO bi"
    return f"{who:5} DROP TABLE {what[5:]}" if what.startswith("drop ") else f"{who:5} CREATE TABLE {what}"


def _default_mistakes(rng: random.Random, call: str, target: str) -> list[Misconception]:
    role = "admin, who runs it" if target == "admin" else target
    mistakes = [
        Misconception(
            "defaults-for-every-creator",
            f"That applies the defaults to tables of every role. They are for tables that are created by {role}.",
            run=call.format(", owners=False"),
        ),
        Misconception(
            "defaults-reach-back",
            "That applies the defaults to tables that exist. They are for tables that are created later.",
            run=call.format(", past=True"),
        ),
        Misconception(
            "grant-reaches-ahead",
            "That lets GRANT ON ALL TABLES count for later tables. It is for those that exist when it runs.",
            run=call.format(", now=False"),
        ),
        Misconception(
            "new-table-inherits",
            "That keeps the grant of a dropped table. The new one of that name starts without it.",
            run=call.format(", stay=True"),
        ),
        Misconception(
            "all-of-it-at-any-time",
            "That lets defaults and grants count for each table, whenever and by whomever it was created.",
            run=call.format(", owners=False, past=True, now=False"),
        ),
        Misconception(
            "defaults-grant-nothing",
            "That takes the defaults for a setting without effect. They grant on each later table of that role.",
            run=call.replace(f"('default', '{target}'), ", "").replace(f", ('default', '{target}')", "").format(""),
        ),
        Misconception(
            "nothing-is-granted",
            "A superuser may grant on tables of others, and `bi` needs no more than SELECT to read them here.",
            value="no table",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


_STEPS = {
    "reload raw from app, in full": ("raw", "app"),
    "rebuild mart from raw": ("mart", "raw"),
    "back up raw, over the old backup": ("backup", "raw"),
    "restore raw from backup": ("raw", "backup"),
    "load new rows of app into raw": ("raw", ""),
}
"""What a step writes and where it gets all rows from; new rows never bring back or remove old ones."""


def places_left(steps: list[str], copies: dict[str, tuple[str, str]], *, cascade: bool = False) -> str:
    """Return where a person is found after steps that delete or copy; in four places at first."""
    places = {"app", "raw", "mart", "backup"}
    for step in steps:
        if step.startswith("delete"):
            gone = step.split()[-1]
            places -= {gone, "mart"} if cascade and gone == "raw" else {gone}
        elif copies.get(step, ("", ""))[1]:
            target, source = copies[step]
            places = places | {target} if source in places else places - {target}
    return ", ".join(sorted(places)) or "nowhere"


@template(
    name="where-the-erased-row-is-left",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.BEGINNER,
    engine=CheckEngine.PYTHON,
    tags=("erasure", "lineage", "backups"),
    title="Databricks documentation, Prepare your data for GDPR compliance, Delete data in upstream sources",
    url="https://docs.databricks.com/aws/en/ldp/gdpr",
    form=QuestionForm.READ,
    rated=(1, 1, 2),
)
def where_the_erased_row_is_left(rng: random.Random) -> Draft:
    """Follow deletes, reloads, rebuilds and restores, and list where a person is still found."""
    deletes = [f"delete her from {place}" for place in rng.sample(("app", "raw", "mart"), 2)]
    others = rng.sample(sorted(_STEPS), rng.choice((2, 3)))
    steps = [*deletes, *others]
    rng.shuffle(steps)
    call = "print(places_left(steps, {}))"
    name = rng.choice(("Mia", "Ana", "Eva", "Lea"))
    return Draft(
        prompt=(
            f"{name} asks to be erased. Her row is in the database `app`, in the lake's `raw` and `mart`, and in "
            "`backup`. These jobs run in this order, and no others. Where is she found at the end?"
        ),
        code="\n".join(f"{at} {step}" for at, step in enumerate(steps, 1)),
        language="text",
        setup=f"copies = {_STEPS}\nsteps = {steps}\n{getsource(places_left)}",
        run=call.format("copies"),
        why="Each full copy makes its target like its source: it brings her back, or takes her away. Deletes reach one "
        "place.",
        misconceptions=_erased_mistakes(rng, call, others),
        explanation=(
            "Delete at the source first, then rebuild what hangs on it, in the order of the lineage. A full reload or "
            "a restore brings the row back: keep a list of erased ids, and apply it after each restore."
        ),
    )


def _erased_mistakes(rng: random.Random, call: str, others: list[str]) -> list[Misconception]:
    mistakes = [
        Misconception(
            "deleted-is-deleted",
            "That counts the deletes alone. Later copies bring her back, and those without her take her away.",
            run=call.format("{}"),
        ),
        Misconception(
            "deletes-cascade",
            "That lets a delete in `raw` reach `mart`. The mart keeps its rows until it is rebuilt.",
            run=call.format("copies, cascade=True"),
        ),
        Misconception(
            "new-rows-replace-all",
            "That lets the load of new rows do what a full reload does. It neither removes nor brings back old rows.",
            run=call.format("copies | {'load new rows of app into raw': ('raw', 'app')}"),
        ),
        Misconception(
            "order-of-jobs-ignored",
            "That runs all deletes last. A job that comes after a delete may undo it.",
            run="steps.sort(key=lambda step: step.startswith('delete'))\n" + call.format("copies"),
        ),
        Misconception(
            "deletes-run-first",
            "That runs all deletes first. A copy that was made before a delete has her still.",
            run="steps.sort(key=lambda step: not step.startswith('delete'))\n" + call.format("copies"),
        ),
        *(
            Misconception(
                f"{step.split()[0]}-overlooked-{_STEPS[step][0]}",
                f"That overlooks a job: {step}. It makes `{_STEPS[step][0]}` like `{_STEPS[step][1]}` is then.",
                run=f"copies.pop({step!r})\n" + call.format("copies"),
            )
            for step in others
            if _STEPS[step][1]
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
