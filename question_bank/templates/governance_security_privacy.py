"""Templates on governance: published tables, row security policies and privacy budgets."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template


@template(
    name="rows-left-out-for-k",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("k-anonymity", "generalisation", "publishing"),
    title="NIST SP 800-188, De-Identifying Government Datasets, k-anonymity",
    url="https://csrc.nist.gov/pubs/sp/800/188/final",
)
def rows_left_out_for_k(rng: random.Random) -> Draft:
    """Count the rows that cannot be published after zip codes were shortened, for a given k."""
    k, digits = rng.choice((3, 4, 5)), rng.choice((2, 3))
    other, values = rng.choice(
        (("age", ("30-39", "40-49", "50-59")), ("sex", ("f", "m")), ("job", ("nurse", "clerk", "baker")))
    )
    stems = rng.sample(range(10 ** (digits - 1), 10**digits), 3)
    cells = rng.sample([(stem, value) for stem in stems for value in values], 4)
    rows: list[tuple[str, str, int]] = []
    for stem, value in cells:
        tails = rng.sample(range(10 ** (4 - digits)), rng.randint(1, 2))
        rows += [(f"{stem}{tail:0{4 - digits}}", value, rng.randint(1, k + 2)) for tail in tails]
    rows.sort()
    group = f"SELECT left(zip, {digits}) z, {other} v, sum(n) n FROM people GROUP BY z, v"
    query = f"SELECT coalesce({{}}, 0)::INT FROM ({group}) WHERE n {{}} {k}"
    return Draft(
        prompt=(
            f"The list counts people by the quasi-identifiers `zip` and `{other}`. Before publishing one row for each "
            f"person, `zip` is cut to its first {digits} digits; then the rows that break k-anonymity for k = {k} are "
            "left out. How many rows are left out?"
        ),
        code="\n".join([f"zip    {other:7} people", *(f"{zip_:6} {value:7} {n:>4}" for zip_, value, n in rows)]),
        language="text",
        setup=f"CREATE TABLE people (zip TEXT, {other} TEXT, n INT); INSERT INTO people VALUES {str(rows)[1:-1]}",
        run=query.format("sum(n)", "<"),
        why=f"After cutting, groups of equal `zip` and `{other}` merge; all rows of groups with fewer than {k} go.",
        misconceptions=_suppression_mistakes(query, k, digits, other),
        explanation=(
            "Group by all quasi-identifiers after generalising them; what is left in groups below k is suppressed or "
            "generalised further. Weigh the two: coarser values blur every row, suppression drops the rare people."
        ),
    )


def _suppression_mistakes(query: str, k: int, digits: int, other: str) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "counted-before-cutting",
            f"That judges the full zip codes. Cutting to {digits} digits merges groups, and some become large enough.",
            run=f"SELECT coalesce(sum(n), 0)::INT FROM people WHERE n < {k}",
        ),
        Misconception(
            "groups-not-rows",
            f"That counts groups below {k}. Each of them may hold several rows, and all of them are left out.",
            run=query.format("count(*)", "<"),
        ),
        Misconception(
            "k-itself-too-small",
            f"That also leaves out groups of exactly {k}. k-anonymity asks for at least {k} equal rows.",
            run=query.format("sum(n)", "<="),
        ),
        Misconception(
            "zip-alone",
            f"That groups by the cut zip alone. Whoever links tables knows `{other}` as well, so it splits the groups.",
            run=query.format("sum(n)", "<").replace(f"{other} v,", "").replace("z, v", "z"),
        ),
        Misconception(
            "rows-that-stay",
            "These are the rows that may be published.",
            run=query.format("sum(n)", ">="),
        ),
    )


_USING = ("team = 'red'", "team = 'blue'", "lvl < 3", "lvl > 1", "done", "NOT done")

_Policy = tuple[str, bool, str]
"""The command that a policy is for, whether it is permissive, and its USING expression."""


def _holds(policies: list[_Policy], command: str) -> str:
    """Return what a row must satisfy for a command, as PostgreSQL puts policies together."""
    chosen = [policy for policy in policies if policy[0] in {command, "ALL"}]
    some = " OR ".join(using for _, permissive, using in chosen if permissive) or "false"
    return " AND ".join([f"({some})", *(f"({using})" for _, permissive, using in chosen if not permissive)])


@template(
    name="row-security-of-an-update",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.EXPERT,
    engine=CheckEngine.DUCKDB,
    tags=("postgresql", "row-level-security", "policies"),
    title="PostgreSQL 18 documentation, CREATE POLICY, Policies Applied by Command Type",
    url="https://www.postgresql.org/docs/18/sql-createpolicy.html",
)
def row_security_of_an_update(rng: random.Random) -> Draft:
    """Count the rows that an UPDATE changes under several row security policies."""
    reads, restrictive = rng.choice((True, False)), rng.choice((True, True, False))
    table = rng.choice(("docs", "notes", "tasks", "cases"))
    command = rng.choice(("ALL", "SELECT", "UPDATE")) if restrictive else "ALL"
    one, two, three = rng.sample(_USING, 3)
    kinds = [(team, lvl, done) for team in ("red", "blue") for lvl in range(1, 5) for done in (True, False)]
    rows = [(at, *kind) for at, kind in enumerate(rng.sample(kinds, 7), 1)]
    where = f"id {rng.choice(('<', '>'))} {rng.randint(3, 5)}" if reads else "true"
    code = [
        *(f"-- {at}  {team:4}  {lvl}   {'done' if done else 'not done'}" for at, team, lvl, done in rows),
        f"CREATE POLICY a ON {table} FOR SELECT",
        f"  USING ({one});",
        f"CREATE POLICY b ON {table} FOR UPDATE",
        f"  USING ({two});",
        f"CREATE POLICY c ON {table}{' AS RESTRICTIVE' if restrictive else ''}",
        f"  FOR {command} USING ({three});",
        *([f"UPDATE {table} SET note = 'x'", f"WHERE {where};"] if reads else [f"UPDATE {table} SET note = 'x';"]),
    ]
    policies = [("SELECT", True, one), ("UPDATE", True, two), (command, not restrictive, three)]
    query = f"SELECT count(*) FROM {table} WHERE {where} AND {{}}"
    both = f"{_holds(policies, 'UPDATE')} AND {_holds(policies, 'SELECT')}"
    return Draft(
        prompt=(
            f"In PostgreSQL 18, `{table}` (id, team, lvl, done, note) has row security enabled; its rows and all its "
            "policies are shown. A role with SELECT and UPDATE on it, neither owner nor BYPASSRLS, runs the "
            "UPDATE. How "
            f"many rows does it change?"
        ),
        code="\n".join(["-- id team lvl", *code]),
        language="sql",
        setup=f"CREATE TABLE {table} (id INT, team TEXT, lvl INT, done BOOL); INSERT INTO {table} VALUES "
        f"{str(rows)[1:-1]}",
        run=query.format(both if reads else _holds(policies, "UPDATE")),
        why="The UPDATE policies apply, and since WHERE reads `id`, those for SELECT as well. Permissive ones "
        "are joined by "
        "OR, restrictive ones by AND."
        if reads
        else "The statement reads no column, so only policies for UPDATE and ALL apply: permissive ones joined by OR, "
        "restrictive ones by AND.",
        misconceptions=_policy_mistakes(query, policies, reads=reads),
        explanation=(
            "For a command, a row must pass one permissive policy and every restrictive one. An UPDATE that "
            "reads columns, "
            "in WHERE, SET or RETURNING, must pass the SELECT policies too; rows it cannot see are skipped in "
            "silence. Test "
            "policies as the role itself."
        ),
    )


def _policy_mistakes(query: str, policies: list[_Policy], *, reads: bool) -> tuple[Misconception, ...]:
    for_update, for_select = _holds(policies, "UPDATE"), _holds(policies, "SELECT")
    command, permissive, third = policies[2]
    swapped = [*policies[:2], (command, not permissive, third)]
    as_swapped = _holds(swapped, "UPDATE") + (f" AND {_holds(swapped, 'SELECT')}" if reads else "")
    everywhere = [*policies[:2], ("ALL", permissive, third)]
    as_all = _holds(everywhere, "UPDATE") + (f" AND {_holds(everywhere, 'SELECT')}" if reads else "")
    uses = [using for _, _, using in policies]
    return (
        Misconception(
            "select-policies-ignored" if reads else "select-policies-applied",
            "That applies the UPDATE policies alone. WHERE reads a column, so a row must pass the SELECT policies too."
            if reads
            else "That applies SELECT policies too. They count only if a column is read, in WHERE, SET or RETURNING.",
            run=query.format(for_update if reads else f"{for_update} AND {for_select}"),
        ),
        Misconception(
            "permissive-and-restrictive-mixed-up",
            "That joins policy c by AND. A policy is permissive unless it says RESTRICTIVE, so it is joined by OR."
            if permissive
            else "That joins policy c by OR. A restrictive policy only takes rows away; it is joined by AND.",
            run=query.format(as_swapped),
        ),
        Misconception(
            "every-policy-must-hold",
            "That asks a row to pass all three policies. Only those for the command count, permissive ones by OR.",
            run=query.format(" AND ".join(f"({using})" for using in uses)),
        ),
        Misconception(
            "command-of-c-ignored",
            f"That applies policy c to every command, but it is for {command} only.",
            run=query.format(as_all),
        ),
        Misconception(
            "any-policy-will-do",
            "That lets a row pass by any of the three policies, whatever command they are for and whatever their kind.",
            run=query.format("(" + " OR ".join(uses) + ")"),
        ),
        Misconception(
            "policies-filter-reads-only",
            "That changes every row that matches the statement. Policies with USING limit UPDATE as well.",
            run=query.format("true"),
        ),
    )


_LOSS = "sum(e for e, t in queries if t in (None, group)) for group in groups"
_EPSILON = "print(format({} / 10, '.1f'))"


@template(
    name="privacy-budget-of-disjoint-data",
    topic=Topic.GOVERNANCE_SECURITY,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("differential-privacy", "privacy-budget", "composition"),
    title="NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees",
    url="https://csrc.nist.gov/pubs/sp/800/226/final",
)
def privacy_budget_of_disjoint_data(rng: random.Random) -> Draft:
    """Add up the epsilon of queries on disjoint groups and on all rows."""
    column, names = rng.choice(
        (
            ("region", ("north", "south", "east", "west")),
            ("plan", ("free", "basic", "pro", "team")),
            ("country", ("NO", "LV", "PT", "JP")),
            ("age_group", ("18-29", "30-49", "50-69", "70+")),
        )
    )
    groups = rng.sample(names, 3)
    targets: list[str | None] = [groups[0], groups[0], groups[1], groups[2], None, rng.choice((None, groups[1]))]
    rng.shuffle(targets)
    queries = [(rng.randint(1, 9), target) for target in targets]
    return Draft(
        prompt=(
            "Six queries get noisy answers. Each is differentially private for the rows it reads, with the "
            "epsilon shown "
            f"(pure; one person is added or removed). Each person has one row, in one `{column}`; these groups "
            "are public "
            "and fixed. What is the smallest total epsilon that composition guarantees?"
        ),
        code="\n".join(
            ["query  epsilon  rows read"]
            + [
                f"q{at}     {e / 10:<7}  {column + ' ' + t if t else 'all rows'}"
                for at, (e, t) in enumerate(queries, 1)
            ]
        ),
        language="text",
        setup=f"queries, groups = {queries}, {groups}",
        run=_EPSILON.format(f"max({_LOSS})"),
        why=f"A person is read by the queries on their own `{column}` and those on all rows. The {column} with "
        "the largest "
        "sum decides.",
        misconceptions=_budget_mistakes(rng, column),
        explanation=(
            "Queries on the same people add up (sequential composition); queries on disjoint groups cost only "
            "the largest of "
            "them (parallel composition). Keep the account by group of people, not by query, and mind that a "
            "person with "
            "rows in two groups breaks it."
        ),
    )


def _budget_mistakes(rng: random.Random, column: str) -> list[Misconception]:
    mistakes = [
        Misconception(
            "plain-sum",
            "That is sequential composition over everything, a valid bound but not the smallest: no person "
            "is in two "
            f"values of `{column}`.",
            run=_EPSILON.format("sum(e for e, t in queries)"),
        ),
        Misconception(
            "largest-query",
            "That is the largest single epsilon. Queries that read the same person add up.",
            run=_EPSILON.format("max(e for e, t in queries)"),
        ),
        Misconception(
            "all-rows-forgotten",
            "That leaves out the queries on all rows. They read every person and add to each group.",
            run=_EPSILON.format("max(sum(e for e, t in queries if t == group) for group in groups)"),
        ),
        Misconception(
            "largest-of-each-group",
            f"That takes the largest query of a {column} only. Two queries on the same group add up.",
            run=_EPSILON.format("(max(e for e, t in queries if t) + sum(e for e, t in queries if t is None))"),
        ),
        Misconception(
            "smallest-group",
            "That is the loss of the group that is asked least. The guarantee must hold for every person.",
            run=_EPSILON.format(f"min({_LOSS})"),
        ),
        Misconception(
            "largest-queries-added",
            f"That adds the largest query of each {column} to those on all rows. It is the other way round: add up "
            f"within each {column}, then take the largest sum.",
            run=_EPSILON.format(
                "(sum(max(e for e, t in queries if t == group) for group in groups)"
                " + sum(e for e, t in queries if t is None))"
            ),
        ),
        Misconception(
            "all-rows-once-per-group",
            f"That charges a query on all rows once for each {column}. A person is in one of them, so it counts once.",
            run=(
                f"everything = sum(e for e, t in queries)\nright = max({_LOSS})\n"
                "often = right + (len(groups) - 1) * sum(e for e, t in queries if t is None)\n"
                + _EPSILON.format("(often if often < everything else right)")  # more than the plain sum fools nobody
            ),
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
