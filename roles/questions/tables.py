"""What operators read about questions: tables and pages for the terminal, and the same as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from domain.bank import BankEntry, Finding, GenerationSum, ReportedQuestion, Stock
from domain.catalog import Level, QuestionSource, QuestionState, Topic
from question_bank.statistics import count_active, count_standing, rank_by_difficulty, share_right
from question_bank.verification import Verdict

RANKED = 5
"""Questions shown as the hardest, and as many as the easiest."""

MAX_FINDINGS = 20
"""Questions shown against which learners' answers speak."""

LETTERS = "ABCD"
STATE_STYLES = {QuestionState.ACTIVE: "green", QuestionState.RETIRED: "dim", QuestionState.QUARANTINED: "yellow"}

Json = dict[str, Any]


# ---------------------------------------------------------------- a list


def table_of(entries: Iterable[BankEntry]) -> Table:
    """Return questions as a table, two lines each."""
    table = _table("Question", "Topic, level", "Source, state", right_aligned=("Asked", "Right", "Reports"))
    for entry in entries:
        question = entry.question
        table.add_row(
            Group(Text(question.key, style="bold", overflow="fold"), _beginning_of(question.prompt)),
            f"{question.topic}\n{question.level} {question.level.label}",
            Group(Text(question.source), Text(entry.state, style=STATE_STYLES[entry.state])),
            str(entry.asked),
            _percent(share_right(entry)),
            str(entry.reports or ""),
        )
    return table


def _table(*left: str, right_aligned: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right_aligned:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _beginning_of(prompt: str) -> Text:
    """Return as much of a prompt as the column has room for."""
    return Text(" ".join(prompt.split()), style="dim", no_wrap=True, overflow="ellipsis")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def summary_of(entry: BankEntry) -> Json:
    """Return a question as a list's JSON has it."""
    question, right = entry.question, share_right(entry)
    return {
        "key": question.key,
        "topic": question.topic,
        "level": int(question.level),
        "source": question.source,
        "state": entry.state,
        "asked": entry.asked,
        "answered": entry.answered,
        "correct": entry.correct,
        "right_percent": None if right is None else round(right * 100, 1),
        "reports": entry.reports,
        "prompt": question.prompt,
    }


# ---------------------------------------------------------------- one question


def page_of(entry: BankEntry, reported: ReportedQuestion | None) -> RenderableType:
    """Return everything about a question."""
    question = entry.question
    about = f"{question.topic.label} · {question.level.label} · {entry.form} · {question.source}"
    parts: list[RenderableType] = [Text(question.key, style="bold"), Text(about), _standing_of(entry), Text("")]
    parts.append(Text(question.prompt))
    if question.code:
        parts.append(_indented(f"\n{question.code}\n", "cyan"))
    for place, option in enumerate(question.options):
        right = place == question.correct_index
        value = f"  (value: {option.value})" if option.value not in {None, option.text} else ""
        style = "bold green" if right else ""
        parts.append(Text(f"{'✓' if right else ' '} {LETTERS[place]}  {option.text}{value}", style=style))
        parts.append(_indented(option.why, "dim", 5))
    parts += [Text(""), Text(question.explanation), Text("")]
    parts += [Text(f"Reference: {question.reference_title}"), _indented(question.reference_url, "", 11)]
    parts.append(Text(f"Tags: {', '.join(entry.tags) or 'none'}"))
    parts += _check_of(entry)
    parts.append(Text(f"Statistics: {_statistics_of(entry, reported)}"))
    return Group(*parts)


def _standing_of(entry: BankEntry) -> Text:
    reason = f": {entry.state_reason}" if entry.state_reason else ""
    text = Text(f"{entry.state}{reason}", style=STATE_STYLES[entry.state])
    return text.append(f"  (stored {entry.created_at:%Y-%m-%d})", style="dim")


def _indented(text: str, style: str, columns: int = 4) -> RenderableType:
    return Padding(Text(text, style=style), (0, 0, 0, columns))


def _check_of(entry: BankEntry) -> list[RenderableType]:
    if entry.check is None:
        return [Text("Check: none")]
    parts: list[RenderableType] = [Text(f"Check: {entry.check.engine}")]
    for name, code in (("setup", entry.check.setup), ("run", entry.check.run or "the code above")):
        if code.strip():
            parts += [Text(f"  {name}:"), _indented(code.strip("\n"), "cyan")]
    return parts


def _statistics_of(entry: BankEntry, reported: ReportedQuestion | None) -> str:
    right = f" ({_percent(share_right(entry))})" if entry.answered else ""
    told = f"asked {entry.asked}, answered {entry.answered}, right {entry.correct}{right}, reports {entry.reports}"
    if reported:
        told += f" ({reported.wrong} wrong, {reported.unclear} unclear, {reported.outdated} outdated)"
    return told


def details_of(entry: BankEntry, reported: ReportedQuestion | None) -> Json:
    """Return everything about a question as JSON."""
    question, check = entry.question, entry.check
    return summary_of(entry) | {
        "form": entry.form,
        "state_reason": entry.state_reason,
        "created_at": entry.created_at.isoformat(),
        "code": question.code,
        "language": question.language,
        "options": [
            {"text": option.text, "why": option.why, "value": option.value, "correct": place == question.correct_index}
            for place, option in enumerate(question.options)
        ],
        "explanation": question.explanation,
        "reference": {"title": question.reference_title, "url": question.reference_url},
        "tags": list(entry.tags),
        "check": {"engine": check.engine, "setup": check.setup, "run": check.run} if check else None,
        "report_reasons": _reasons_of(reported) if reported else {},
    }


def _reasons_of(reported: ReportedQuestion) -> Json:
    return {"wrong": reported.wrong, "unclear": reported.unclear, "outdated": reported.outdated}


# ---------------------------------------------------------------- verification


def verdicts_table(verdicts: Iterable[Verdict]) -> Table:
    """Return what was verified, by kind."""
    table = _table("Verified", right_aligned=("Run", "Wrong"))
    for verdict in verdicts:
        style = "red" if verdict.problems else "green"
        table.add_row(verdict.kind, str(verdict.run), Text(str(len(verdict.problems)), style=style))
    return table


# ---------------------------------------------------------------- statistics


@dataclass(frozen=True, slots=True)
class Overview:
    """What statistics are made of."""

    entries: Sequence[BankEntry]
    reported: Sequence[ReportedQuestion]
    stock: Sequence[Stock]
    today: Sequence[GenerationSum]
    findings: Sequence[Finding] = ()
    """By learners' answers, the worst first."""

    @property
    def extremes(self) -> tuple[list[BankEntry], list[BankEntry]]:
        """Return the hardest questions, the hardest first, and the easiest, the easiest first; none in both."""
        ranked = rank_by_difficulty(self.entries)
        hardest = ranked[: min(RANKED, (len(ranked) + 1) // 2)]
        return hardest, ranked[len(hardest) :][-RANKED:][::-1]

    @property
    def writes(self) -> bool:
        """Return whether a language model writes questions."""
        return bool(self.today) or any(cell.active for cell in self.stock)


def overview_page(overview: Overview) -> RenderableType:
    """Return statistics as tables."""
    parts: list[RenderableType] = [_titled("Questions by source and state", _standing_table(overview.entries))]
    active = count_active(overview.entries)
    parts.append(_titled("Active questions by topic and level", _cells_table(active)))
    if overview.reported:
        parts.append(_titled("Most reported", _reported_table(overview.reported)))
    for title, entries in zip(("Hardest", "Easiest"), overview.extremes, strict=True):
        if entries:
            parts.append(_titled(title, _ranked_table(entries)))
    if overview.findings:
        shown = overview.findings[:MAX_FINDINGS]
        title = f"To look at by learners' answers ({len(shown)} of {len(overview.findings)})"
        parts.append(_titled(title, _findings_table(shown)))
    if overview.writes:
        stock = {(cell.topic, cell.level): f"{cell.fresh} of {cell.active}" for cell in overview.stock if cell.active}
        parts.append(_titled("Questions of the language model, fresh of active", _cells_table(stock)))
        parts.append(_titled("Written today (UTC)", _today_table(overview.today)))
    return Group(*parts)


def _titled(title: str, table: Table) -> RenderableType:
    return Group(Text(title, style="bold"), table, Text(""))


def _standing_table(entries: Iterable[BankEntry]) -> Table:
    counts = count_standing(entries)
    table = _table("Source", right_aligned=(*(state.value for state in QuestionState), "all"))
    for source in QuestionSource:
        numbers = [counts[source, state] for state in QuestionState]
        table.add_row(source.value, *(str(number or "") for number in numbers), str(sum(numbers)))
    return table


def _cells_table(cells: dict[tuple[Topic, Level], Any]) -> Table:
    table = _table("Topic", right_aligned=tuple(level.label for level in Level))
    for topic in Topic:
        numbers = [cells.get((topic, level), 0) for level in Level]
        table.add_row(topic.value, *(str(number or "") for number in numbers))
    return table


def _reported_table(reported: Iterable[ReportedQuestion]) -> Table:
    table = _table("Question", "State", right_aligned=("Reports", "Wrong", "Unclear", "Outdated", "Last"))
    for one in reported:
        numbers = (one.reports, one.wrong, one.unclear, one.outdated)
        table.add_row(one.key, one.state.value, *map(str, numbers), f"{one.last_reported_at:%Y-%m-%d}")
    return table


def _ranked_table(entries: Iterable[BankEntry]) -> Table:
    table = _table("Question", "Topic, level", right_aligned=("Answered", "Right"))
    for entry in entries:
        question, answered = entry.question, str(entry.answered)
        table.add_row(question.key, f"{question.topic} {question.level}", answered, _percent(share_right(entry)))
    return table


def _findings_table(findings: Iterable[Finding]) -> Table:
    table = _table("Question", "Topic, level", "What stands out", right_aligned=("Answers",))
    for finding in findings:
        item = finding.item
        table.add_row(item.name, f"{item.topic} {item.level}", "; ".join(finding.remarks), str(item.answers))
    return table


def _today_table(sums: Sequence[GenerationSum]) -> Table:
    table = _table("Outcome", "Reason", right_aligned=("Questions", "Calls", "Tokens", "US dollars"))
    for one in sums:
        tokens = one.prompt_tokens + one.completion_tokens
        table.add_row(one.outcome.value, one.latest, *map(str, (one.questions, one.calls, tokens)), f"{one.cost:.4f}")
    table.add_row("all", "", str(sum(one.questions for one in sums)), "", "", f"{sum(one.cost for one in sums):.4f}")
    return table


def overview_json(overview: Overview) -> Json:
    """Return statistics as JSON."""
    standing, active = count_standing(overview.entries), count_active(overview.entries)
    hardest, easiest = overview.extremes
    return {
        "by_source": {source: {state: standing[source, state] for state in QuestionState} for source in QuestionSource},
        "active": {topic: {int(level): active[topic, level] for level in Level} for topic in Topic},
        "reported": [
            {"key": one.key, "state": one.state, "reports": one.reports, "reasons": _reasons_of(one)}
            for one in overview.reported
        ],
        "hardest": [summary_of(entry) for entry in hardest],
        "easiest": [summary_of(entry) for entry in easiest],
        "findings": [
            {
                "item": one.item.name,
                "level": int(one.item.level),
                "observed_level": int(one.observed),
                "answers": one.item.answers,
                "untaken": list(one.untaken),
                "misleads_able": one.misleads_able,
            }
            for one in overview.findings
        ],
        "llm": {
            "stock": [
                {"topic": cell.topic, "level": int(cell.level), "active": cell.active, "fresh": cell.fresh}
                for cell in overview.stock
                if cell.active
            ],
            "today": [
                {
                    "outcome": one.outcome,
                    "reason": one.reason,
                    "latest": one.latest,
                    "questions": one.questions,
                    "cost": float(one.cost),
                }
                for one in overview.today
            ],
            "today_cost": float(sum(one.cost for one in overview.today)),
        },
    }
