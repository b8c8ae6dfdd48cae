"""`python main.py status` as one screen, or as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.service_state import BackupState, BackupSummary, Distribution, Heartbeat, Role, ServiceState
from domain.settings import Settings
from domain.version import VERSION
from domain.words import plural
from observability.logs import one_line
from roles.questions.terminal import open_console, print_json, say
from roles.readiness import format_age
from roles.status.facts import ModelFacts, Status, gather_status

MEGABYTE = 1_000_000


async def show_status(settings: Settings, *, as_json: bool) -> int:
    """Print the service's status.

    Returns:
        The exit status: 0 if nothing is wrong, 1 if something is, 2 if the database cannot tell.

    Raises:
        StartupError: an address in the settings is invalid.
    """
    status = await gather_status(settings)
    console = open_console()
    if as_json:
        print_json(console, _as_document(status))
    else:
        _print_screen(console, status, settings)
    return status.exit_status


def _as_document(status: Status) -> dict[str, Any]:
    document = asdict(status) | {"version": VERSION, "exit_status": status.exit_status}
    plain: dict[str, Any] = json.loads(json.dumps(document, default=str))
    return plain


def _print_screen(console: Console, status: Status, settings: Settings) -> None:
    table = Table.grid(padding=(0, 2))
    for name, value in _lines(status, settings):
        table.add_row(Text(name, style="bold"), value)
    console.print(table)
    say(console, "")
    for problem in status.problems:
        console.print(Text(f"✗ {problem.what}", style="red"), soft_wrap=True)
        say(console, f"  → {problem.remedy}")
    if not status.problems:
        console.print(Text("✓ nothing is wrong", style="green"))


def _lines(status: Status, settings: Settings) -> list[tuple[str, str]]:
    """Return what each line is about, and what it says."""
    rows, prefect = status.rows, status.prefect
    lines = [("version", VERSION)]
    if rows:
        lines += [*_lines_of_state(rows.state), ("backup", describe_backups(rows.state.backups, settings))]
        facts, size = rows.facts, f"{rows.facts.size_bytes / MEGABYTE:.0f} MB"
        model = _describe_model(rows.model) if rows.model else "none; OPENAI_API_KEY is not set"
        postgres = f"{facts.version}, {size}, {facts.connections} of {facts.max_connections} connections"
    else:
        postgres, model = "does not answer", "not known"
    scheduled = f"next distribution {_moment(prefect.next_distribution)}" if prefect else ""
    return [
        *lines,
        ("bots", _describe_bots(status, settings)),
        ("Prefect", f"{prefect.version}, {scheduled}" if prefect else "does not answer"),
        ("Postgres", postgres),
        ("Redis", status.redis.version if status.redis else "does not answer"),
        ("model", model),
    ]


def _lines_of_state(state: ServiceState) -> list[tuple[str, str]]:
    today, unsent = state.today, sum(one.unsent for one in state.backlogs)
    oldest = max((one.oldest_seconds for one in state.backlogs), default=0.0)
    waiting = f", the oldest for {format_age(state.updates_oldest_seconds)}" if state.updates_waiting else ""
    given_up = f"{state.failed_today} {plural(state.failed_today, 'quiz', 'quizzes')}"
    counts = f"{today.due} due, {today.sent} sent, {today.skipped} skipped, {today.failed} failed"
    return [
        *(("paused", str(pause)) for pause in state.pauses),
        *((str(role), _describe_role(role, state.heartbeats)) for role in Role),
        ("queue", f"{state.updates_waiting} {plural(state.updates_waiting, 'update')} waiting{waiting}"),
        ("due now", f"{unsent} not sent" + (f", the oldest for {format_age(oldest)}" if unsent else "")),
        ("today", f"{today.runs} {plural(today.runs, 'distribution')}: {counts}; {given_up} given up"),
        ("latest", _describe_distribution(state.latest)),
        *([("before", _describe_distribution(state.latest_served))] if state.latest_served != state.latest else []),
    ]


def _describe_role(role: Role, heartbeats: tuple[Heartbeat, ...]) -> str:
    beats = [beat for beat in heartbeats if beat.role == role]
    alive = Counter(one_line(beat.version or "an older version") for beat in beats if beat.is_alive)
    if alive:
        return ", ".join(f"{count} alive ({version})" for version, count in alive.items())
    return f"missing, last seen {format_age(beats[0].age_seconds)} ago" if beats else "missing, not seen for a day"


def _describe_bots(status: Status, settings: Settings) -> str:
    if status.redis is None:
        return ", ".join(f"{bot_id} (Redis would know)" for bot_id in settings.bots) or "none"
    told = status.redis.refusals.items()
    return ", ".join(f"{bot_id} {'refused' if words else 'accepted'}" for bot_id, words in told) or "none"


def _describe_distribution(one: Distribution | None) -> str:
    if one is None:
        return "there was no distribution yet"
    took = f" in {format_age((one.ended_at - one.begun_at).total_seconds())}" if one.ended_at else ""
    others = {"skipped": one.skipped, "failed": one.failed, "unreachable": one.unreachable, "bot refused": one.refused}
    told = "".join(f", {count} {name}" for name, count in others.items() if count)
    return f"{_moment(one.begun_at)} {one.state}{took}: {one.due} due, {one.sent} sent{told}"


def describe_backups(backups: BackupSummary, settings: Settings) -> str:
    """Return what the line on backups says."""
    verified, latest = backups.verified, backups.latest
    told = "none is scheduled; BACKUP_DIR is not set" if settings.backup_dir is None else "none was verified yet"
    if verified and verified.ended_at:
        took = format_age((verified.ended_at - verified.begun_at).total_seconds())
        told = f"{_moment(verified.begun_at)} verified in {took}: {(verified.size_bytes or 0) / MEGABYTE:.1f} MB"
        if verified.differences:
            told += f", {verified.differences} {plural(verified.differences, 'difference')} in a replay"
    if latest and latest.state is BackupState.FAILED:
        told += f"; {_moment(latest.begun_at)} failed: {one_line(latest.reason)}"
    return told


def _describe_model(model: ModelFacts) -> str:
    paused = f"; paused: {model.paused}" if model.paused else ""
    money = f"${model.cost:.2f} of ${model.budget:.2f} today, {model.questions} questions accepted"
    return f"{model.name}: {money}, {model.empty_cells} topics and levels without a fresh one{paused}"


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else "is not scheduled"
