"""Templates on governance: rights through roles, row filters, and how long copies of a deleted row live."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_WALK = """
def roles(start, edges):
    found = [start]
    for role in found:
        found += [other for one, other in edges if one == role and other not in found]
    return found

def readable(held):
    tables = sorted({table for table, role in grants if role in held})
    print(", ".join(tables) or "no table")

back = [(other, one) for one, other in edges]
"""


@template(
    name="tables-through-roles",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("roles", "grants", "access-control"),
    title="PostgreSQL 18 documentation, 21.3 Role Membership",
    url="https://www.postgresql.org/docs/18/role-membership.html",
    rated=(2, 2, 2),
)
def tables_through_roles(rng: random.Random) -> Draft:
    """List the tables that a user can read through roles that are members of roles."""
    user = rng.choice(("mia", "tom", "ana", "leo", "kim"))
    own, above, below = rng.sample(("analysts", "finance", "support", "sellers", "planners", "buyers"), 3)
    tables = rng.sample(("orders", "costs", "staff", "stock", "loans", "trips", "rates", "bills"), 4)
    edges = [(user, own), (below, own)]  # who is a member of what, and so has its rights
    held, holders = [own], [own, below]
    if rng.choice((True, True, False)):
        edges.append((own, above))
        held.append(above)
        holders.append(above)
    grants = list(zip(tables, [*holders, rng.choice(holders)], strict=False))
    lines = [f"GRANT {role} TO {member};" for member, role in rng.sample(edges, len(edges))]
    lines += [f"GRANT SELECT ON {table} TO {role};" for table, role in rng.sample(grants, len(grants))]
    return Draft(
        prompt=(
            f"PostgreSQL 18. `{user}` owns no table, and nothing else is granted to anybody. Which tables can `{user}` "
            "read?"
        ),
        code="\n".join(lines),
        language="sql",
        setup=f"edges, grants = {edges}, {grants}\n{_WALK}",
        run=f"readable(roles({user!r}, edges))",
        why=f"{user} has what is granted to {' and '.join(held)}: members get their group's rights, step by step.",
        misconceptions=_role_mistakes(rng, user, held, below),
        explanation=(
            "`GRANT a TO b` makes b a member of a: b gets what a may do, and so do the members of b. Rights never flow "
            "back. To find out who can read a table, follow the memberships; the list of direct grants is not enough."
        ),
    )


def _role_mistakes(rng: random.Random, user: str, held: list[str], below: str) -> list[Misconception]:
    own = held[0]
    mistakes = [
        Misconception(
            "all-that-is-connected",
            f"That follows grants both ways. {below} is a member of {own}, and a group does not get a member's rights.",
            run=f"readable(roles({user!r}, edges + back))",
        ),
        Misconception(
            "wrong-direction",
            f"{below} is another member of {own}. Members share what {own} has, not what each of them has.",
            run=f"readable(roles({own!r}, back))",
        ),
        Misconception(
            "members-alone",
            f"That is what {below} was granted itself. {user} is no member of {below}.",
            run=f"readable([{below!r}])",
        ),
        Misconception(
            "no-direct-grant",
            f"That looks for tables granted to {user} itself. Rights come through roles too, by default without "
            "SET ROLE.",
            value="no table",
        ),
        *(
            Misconception(name, why, run=run)
            for name, why, run in (
                (
                    "direct-role-only",
                    f"That stops at {own}, which is itself a member of {held[-1]} and has its rights.",
                    f"readable([{own!r}])",
                ),
                (
                    "top-role-only",
                    f"That takes the rights of {held[-1]} alone. What {own} was granted counts too.",
                    f"readable([{held[-1]!r}])",
                ),
            )
            if len(held) > 1
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


_FILTERS = {
    "join": "FROM {table} t\nJOIN {rights} r ON r.{column} = t.{column}\nWHERE r.login = '{user}'",
    "in": "FROM {table} t\nWHERE t.{column} IN (\n  SELECT r.{column} FROM {rights} r\n  WHERE r.login = '{user}')",
    "not in": "FROM {table} t\nWHERE t.{column} NOT IN (\n  SELECT r.{column} FROM {rights} r\n"
    "  WHERE r.login = '{user}')",
    "not exists": "FROM {table} t\nWHERE NOT EXISTS (\n  SELECT 1 FROM {rights} r\n  WHERE r.login = '{user}'\n"
    "    AND r.{column} = t.{column})",
}
_UNFILTERED = "SELECT count(*) FROM {table} t"


@template(
    name="row-filter-by-rights-table",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("row-level-security", "joins", "nulls"),
    title="PostgreSQL 18 documentation, 9.24 Subquery Expressions",
    url="https://www.postgresql.org/docs/18/functions-subquery.html",
    rated=(2, 2, 2),
)
def row_filter_by_rights_table(rng: random.Random) -> Draft:
    """Count the rows that a view shows when a table of rights filters them."""
    form, user = rng.choice(tuple(_FILTERS)), rng.choice(("mia", "tom", "ana", "leo"))
    table, column, values = rng.choice(
        (
            ("orders", "region", ("eu", "us", "asia", "br")),
            ("claims", "branch", ("oslo", "riga", "bonn", "lyon")),
            ("tickets", "team", ("ads", "crm", "ops", "web")),
        )
    )
    rights = "access" if form in {"join", "in"} else "blocked"
    names = {"table": table, "rights": rights, "column": column, "user": user}
    one, two, three = rng.sample(values, 3)
    counts = dict(zip((one, two, three), rng.sample(range(2, 9), 3), strict=True))
    missing = rng.randint(1, 3)
    entries = [(user, one), (user, one), ("kim", two)]
    entries += [(user, rng.choice((two, three)))] if rng.choice((True, False)) else []
    rng.shuffle(entries)
    cells = [f"('{value}')" for value, count in counts.items() for _ in range(count)] + ["(NULL)"] * missing
    query = f"SELECT count(*)\n{_FILTERS[form].format(**names)};"
    return Draft(
        prompt=(
            f"`{table}` has rows with these values of `{column}`: "
            f"{', '.join(f'{count} with {value}' for value, count in counts.items())}, {missing} with NULL. `{rights}` "
            f"(login, {column}) holds {', '.join(f'({login}, {value})' for login, value in entries)}. How many "
            f"rows does {user} see through this filter?"
        ),
        code=query,
        language="sql",
        setup=f"CREATE TABLE {table} ({column} TEXT); INSERT INTO {table} VALUES {', '.join(cells)}; "
        f"CREATE TABLE {rights} (login TEXT, {column} TEXT); INSERT INTO {rights} VALUES {str(entries)[1:-1]}",
        run=query,
        why=_filter_why(form, one, missing),
        misconceptions=_filter_mistakes(form, names, missing),
        explanation=(
            "A filter should only decide whether a row is shown. A join can also multiply rows; NULL never passes IN "
            "or NOT IN, but does pass NOT EXISTS. Test for existence, declare the column NOT NULL, and prefer lists "
            "of what is allowed."
        ),
    )


def _null_rows(missing: int) -> str:
    return "the row with NULL" if missing == 1 else f"the {missing} rows with NULL"


def _filter_why(form: str, one: str, missing: int) -> str:
    rows = _null_rows(missing)
    return {
        "join": f"Each row with {one} meets two entries and so appears twice; {rows} can meet no entry.",
        "in": f"IN asks only whether an entry exists, so the double one changes nothing; {rows} can match none.",
        "not in": f"`NULL NOT IN (...)` is NULL and not true, so the filter hides {rows} with the blocked ones.",
        "not exists": f"No entry equals NULL, so NOT EXISTS is true for {rows}: they are shown.",
    }[form].replace("they are", "it is" if missing == 1 else "they are")


def _filter_mistakes(form: str, names: dict[str, str], missing: int) -> tuple[Misconception, ...]:
    count = {name: "SELECT count(*) " + text.format(**names) for name, text in _FILTERS.items()}
    other = {"join": "in", "in": "join", "not in": "not exists", "not exists": "not in"}[form]
    why = {
        "join": "That counts each row once. A join returns a row for each pair, so a double entry doubles the rows.",
        "in": "That counts rows twice, as a join would. IN tests each row once, however often the value is listed.",
        "not in": "That shows rows with NULL. NOT IN compares with `<>`, which is NULL for them and so never true.",
        "not exists": "That hides rows with NULL, as NOT IN would. NOT EXISTS shows what has no matching entry.",
    }[form]
    table, column = names["table"], names["column"]
    anyone = count[form].replace(f"r.login = '{names['user']}'", "r.login IS NOT NULL")
    return (
        Misconception(f"{form.replace(' ', '-')}-works-like-{other.replace(' ', '-')}", why, run=count[other]),
        Misconception(
            "login-ignored",
            f"That uses the entries of every login. The filter takes those of {names['user']} only.",
            run=anyone,
        ),
        Misconception(
            "null-matches",
            f"That adds {_null_rows(missing)} to those of an allowed value; NULL equals nothing, not even NULL."
            if form in {"join", "in"}
            else "These are the rows that the list names. The filter shows the others.",
            run=f"SELECT ({count[form]}) + {missing}" if form in {"join", "in"} else count["in"],
        ),
        Misconception(
            "filter-without-effect",
            "These are all rows of the table. The filter is part of the view, so every reader gets it.",
            run=f"SELECT count(*) FROM {table}",
        ),
        Misconception(
            "distinct-values",
            f"That counts values of `{column}`, not rows. Each row with an allowed value is shown.",
            run=f"SELECT count(DISTINCT t.{column}) " + count[form].removeprefix("SELECT count(*) "),
        ),
    )


_ERASURE = """
def clean_day(removed, noncurrent, backup, first, every):
    live, version, copies, day = True, 0, [], 0
    while True:
        if day == removed:
            live, version = False, day + noncurrent
        if live and day >= first and (day - first) % every == 0:
            copies.append(day + backup)
        copies = [end for end in copies if end > day]
        if not live and version <= day and not copies:
            return day
        day += 1
"""


@template(
    name="day-of-the-last-copy",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("erasure", "backups", "versioning", "retention"),
    title="Amazon S3 User Guide, Lifecycle configuration elements",
    url="https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html",
    rated=(3, 3, 3),
)
def day_of_the_last_copy(rng: random.Random) -> Draft:
    """Find the day on which the last copy of a deleted row is gone: snapshots, object versions, backups."""
    every, removed = 7, rng.choice((5, 10, 20, 30))
    days_before = [day for day in range(1, min(removed, every + 1)) if (removed - day) % every]
    first = rng.choice(days_before)  # a backup on the day of removal might run before or after it
    noncurrent, backup = rng.choice((10, 20, 30, 40, 60)), rng.choice((10, 20, 30, 40, 50, 60))
    table = rng.choice(("customers", "patients", "members", "visitors", "applicants"))
    days = ", ".join(str(first + every * at) for at in range(3))
    last = removed - 1 - (removed - 1 - first) % every
    call = "print(clean_day({}, {}, {}, {}, {}))"
    return Draft(
        prompt=(
            f"On day 0 you delete a person's row from the Iceberg table `{table}` (copy-on-write). What is kept for 10 "
            "days from day 4 is gone on day 14. On which day is the last copy of the row gone?"
        ),
        code="\n".join(
            (
                f"day {removed}: old snapshots expire, and",
                "  their files are deleted",
                "bucket: has versions, and keeps",
                f"  deleted files for {noncurrent} more days",
                f"backup: on days {days}, ...",
                "  copies the bucket without deleted",
                f"  files, and is kept {backup} days",
            )
        ),
        language="text",
        setup=_ERASURE,
        option="Day {}",
        run=call.format(removed, noncurrent, backup, first, every),
        why=f"The bucket's version goes on day {removed} + {noncurrent} = {removed + noncurrent}, the last backup with "
        f"the file on day {last} + {backup} = {last + backup}. The later one counts.",
        misconceptions=_erasure_mistakes(rng, call, removed, (noncurrent, backup), (first, every)),
        explanation=(
            "Each kind of copy starts its clock when it is made or replaced, not on the day of the DELETE. The row is "
            "gone when the longest chain has ended. Work out this day for each store and promise no earlier one; "
            "shorten the chain that ends last."
        ),
    )


def _erasure_mistakes(
    rng: random.Random, call: str, removed: int, kept: tuple[int, int], schedule: tuple[int, int]
) -> list[Misconception]:
    noncurrent, backup = kept
    mistakes = [
        Misconception(
            "backups-forgotten",
            f"That forgets the backups. They copied the old file until day {removed}, when it was deleted.",
            run=call.format(removed, noncurrent, 0, *schedule),
        ),
        Misconception(
            "versions-forgotten",
            f"That forgets the bucket: a deleted file stays there as an old version for {noncurrent} more days.",
            run=call.format(removed, 0, backup, *schedule),
        ),
        Misconception(
            "all-clocks-start-on-day-0",
            f"That starts all clocks on day 0. Versions begin on day {removed}, and backups held the file until then.",
            run=f"print(max({removed}, {noncurrent}, {backup}))",
        ),
        Misconception(
            "all-in-a-row",
            "That adds all periods. Backups leave out deleted files, so they do not start after the versions end.",
            run=f"print({removed} + {noncurrent} + {backup})",
        ),
        Misconception(
            "gone-with-the-snapshot",
            "That ends with the old snapshots. The bucket and the backups keep the files that they used.",
            run=call.format(removed, 0, 0, *schedule),
        ),
        Misconception(
            "backups-copy-old-versions",
            f"That lets backups copy old versions too. They leave out deleted files, so none made after day {removed} "
            "holds this one.",
            run=call.format(removed + noncurrent, 0, backup, *schedule),
        ),
        Misconception(
            "backup-on-the-day-of-removal",
            f"That expects a backup with the file on day {removed}. The last one that still copied it ran earlier.",
            run=f"print(max({removed + noncurrent}, {removed + backup}))",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
