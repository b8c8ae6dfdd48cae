"""Templates on governance: published tables and row security policies."""

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
    rated=(2, 2, 2),
)
def rows_left_out_for_k(rng: random.Random) -> Draft:
    """Count the rows that cannot be published after zip codes were shortened, for a given k."""
    k, digits = rng.choice((3, 4, 5)), rng.choice((2, 3))
    other, values = rng.choice(
        (("age", ("30-39", "40-49", "50-59")), ("sex", ("f", "m")), ("job", ("nurse", "clerk", "baker")))
    )
    stems = rng.sample(range(10 ** (digits - 1), 10**digits), 2)
    cells = rng.sample([(stem, value) for stem in stems for value in values], 3)
    rows: list[tuple[str, str, int]] = []
    for stem, value in cells:
        tails = rng.sample(range(10 ** (4 - digits)), rng.randint(1, 2))
        rows += [(f"{stem}{tail:0{4 - digits}}", value, rng.randint(1, k + 2)) for tail in tails]
    rows.sort()
    group = f"SELECT left(zip, {digits}) z, {other} v, sum(n) n FROM people GROUP BY z, v"
    query = f"SELECT coalesce({{}}, 0)::INT FROM ({group}) WHERE n {{}} {k}"
    return Draft(
        prompt=(
            f"You publish one row per person with `zip` and `{other}`, which others could link. First you cut `zip` to "
            f"{digits} digits; then you suppress rows until the table is k-anonymous with k = {k}. How many rows do "
            "you suppress?"
        ),
        code="\n".join([f"zip    {other:7} people", *(f"{zip_:6} {value:7} {n:>4}" for zip_, value, n in rows)]),
        language="text",
        setup=f"CREATE TABLE people (zip TEXT, {other} TEXT, n INT); INSERT INTO people VALUES {str(rows)[1:-1]}",
        run=query.format("sum(n)", "<"),
        why=f"After cutting, groups of equal `zip` and `{other}` merge; all rows of groups with fewer than {k} go.",
        misconceptions=_suppression_mistakes(query, k, digits, other),
        explanation=(
            "Group by all columns that others could link, after making them coarser; suppress what is left in groups "
            "below k, or make it coarser still. Weigh the two: coarser values blur every row, suppression drops the "
            "rare people."
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
            f"That counts groups below {k}. Each of them may hold several rows, and all of them are suppressed.",
            run=query.format("count(*)", "<"),
        ),
        Misconception(
            "k-itself-too-small",
            f"That also suppresses groups of exactly {k}. k-anonymity asks for at least {k} equal rows.",
            run=query.format("sum(n)", "<="),
        ),
        Misconception(
            "zip-alone",
            f"That groups by the cut zip alone. Whoever links tables knows `{other}` as well, so it splits the groups.",
            run=query.format("sum(n)", "<").replace(f"{other} v,", "").replace("z, v", "z"),
        ),
        Misconception(
            "rows-that-stay",
            "These are the rows that you publish.",
            run=query.format("sum(n)", ">="),
        ),
    )


_USING = ("team = 'red'", "team = 'blue'", "lvl < 3", "lvl > 1", "lvl > 2")

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
    rated=(3, 4, 4),
)
def row_security_of_an_update(rng: random.Random) -> Draft:
    """Count the rows that an UPDATE changes under several row security policies."""
    restrictive, reads_by = rng.choice((True, True, False)), rng.choice(("WHERE lvl < 3", "RETURNING id", ""))
    table = rng.choice(("docs", "notes", "tasks", "cases"))
    command = rng.choice(("ALL", "UPDATE")) if restrictive else "ALL"
    one, two, three = rng.sample(_USING, 3)
    rows = [(team, lvl) for team in ("red", "blue") for lvl in (1, 2, 3)]
    policies = [("SELECT", True, one), ("UPDATE", True, two), (command, not restrictive, three)]
    query = f"SELECT count(*) FROM {table} WHERE {'lvl < 3' if 'lvl' in reads_by else 'true'} AND {{}}"
    both = f"{_holds(policies, 'UPDATE')} AND {_holds(policies, 'SELECT')}"
    select, kind, *rest = _policy_mistakes(query, policies, reads=bool(reads_by))
    return Draft(
        prompt=(
            f"PostgreSQL 18. `{table}` has six rows: team red and team blue, each with `lvl` 1, 2 and 3. It has row "
            "security with these three policies. A role with all grants, neither owner nor BYPASSRLS, runs the UPDATE. "
            "How many rows does it change?"
        ),
        code="\n".join(
            [
                f"CREATE POLICY a ON {table}",
                f"  FOR SELECT USING ({one});",
                f"CREATE POLICY b ON {table}",
                f"  FOR UPDATE USING ({two});",
                f"CREATE POLICY c ON {table}",
                *(["  AS RESTRICTIVE"] if restrictive else []),
                f"  FOR {command} USING ({three});",
                "",
                f"UPDATE {table} SET note = 'x'" + (f"\n  {reads_by};" if reads_by else ";"),
            ]
        ),
        language="sql",
        setup=f"CREATE TABLE {table} (team TEXT, lvl INT); INSERT INTO {table} VALUES {str(rows)[1:-1]}",
        run=query.format(both if reads_by else _holds(policies, "UPDATE")),
        why=(
            f"The UPDATE policies apply and, as {reads_by.split()[0]} reads a column, those for SELECT too. Permissive "
            "ones are joined by OR, restrictive ones by AND."
            if reads_by
            else "The statement reads no column, so only policies for UPDATE and ALL apply: permissive ones joined by "
            "OR, restrictive ones by AND."
        ),
        misconceptions=(select, kind, rng.choice(rest)),
        explanation=(
            "For a command, a row must pass one permissive policy and every restrictive one. An UPDATE that reads "
            "columns, in WHERE, SET or RETURNING, must pass the SELECT policies too; rows it cannot see are skipped in "
            "silence. Test policies as the role itself."
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
            "That applies the UPDATE policies alone. The statement reads a column, so the SELECT policies count too."
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
