"""What simulator, database and roles say about a drill: what came in, what became of it, and if all is well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from dev.chaos.environment import DrillEnvironment
from domain.callbacks import quiz_of, read_callback
from domain.catalog import QuizKind
from domain.errors import StorageUnavailableError
from domain.ids import LearnerId
from roles.replay.records import Records
from storage.database import translated_errors

_UNSETTLED = """
SELECT (SELECT count(*) FROM updates WHERE state IN ('new', 'claimed') AND received_at <= $1) AS updates,
       (SELECT count(*) FROM quizzes
        WHERE created_at <= $1
          AND (state IN ('pending', 'sending', 'answered') OR (state = 'graded' AND feedback_at IS NULL))) AS quizzes,
       (SELECT count(*) FROM unnest($2::bigint[]) AS due (id)
        WHERE NOT EXISTS (SELECT FROM quizzes z WHERE z.learner_id = due.id AND z.kind = 'daily'
                          AND z.state IN ('sent', 'answered', 'graded'))) AS due
"""

_SERVED_SINCE = "SELECT EXISTS (SELECT FROM updates WHERE received_at > $1 AND state = 'done')"
_COUNT_SENT = """
SELECT count(*) FROM quizzes WHERE kind = 'daily' AND state = 'sent' AND learner_id = ANY($1::bigint[])
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """The updates that a simulator has made."""

    made: frozenset[int]
    pending: frozenset[int]

    @property
    def accepted(self) -> frozenset[int]:
        """Return those that the webhook answered with 200."""
        return self.made - self.pending

    @property
    def last(self) -> int:
        """Return the id of the latest."""
        return max(self.made, default=0)


class SystemProbe:
    """Asks everybody."""

    def __init__(self, env: DrillEnvironment, client: httpx.AsyncClient) -> None:
        self._stage = env
        self._client = client

    async def updates(self) -> Seen:
        """Return which updates there are."""
        told = (await self._client.get("/api/updates")).json()
        made, pending = ({int(update["update_id"]) for update in told[name]} for name in ("history", "pending"))
        return Seen(frozenset(made), frozenset(pending))

    async def count_sent(self, cohort: Sequence[LearnerId]) -> int:
        """Return how many learners of a cohort have their daily quiz."""
        async with self._stage.connection() as connection:
            return int(await connection.fetchval(_COUNT_SENT, list(cohort)))

    async def count_blocked(self) -> int:
        """Return how many learners no message is said to reach."""
        async with self._stage.connection() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM learners WHERE blocked_at IS NOT NULL"))

    async def copies(self, cohort: Sequence[LearnerId]) -> int:
        """Return how many questions stand in chats more than once; none of these learners asks for one."""
        extra = 0
        for learner_id in cohort:
            reply = await self._client.get(f"/api/learners/{learner_id}/messages")
            counts = Counter(_quiz_in(message) for message in reply.json()["messages"] if not message["out"])
            extra += sum(count - 1 for quiz_id, count in counts.items() if quiz_id)
        return extra

    async def first_reply_after(self, moment: datetime) -> float | None:
        """Return the seconds from a moment to the first message or edit that Telegram took after it."""
        reply = await self._client.get("/api/requests", params={"limit": 5_000})
        taken = [
            request["at"] - moment.timestamp()
            for request in reply.json()
            if request["status"] == httpx.codes.OK and request["method"] in {"sendmessage", "editmessagetext"}
        ]
        return min((seconds for seconds in taken if seconds > 0), default=None)

    async def unmet_conditions(
        self, cohort: Sequence[LearnerId], mark: datetime, last_update: int, *, at_work: bool
    ) -> list[str]:
        """Return what is not well yet of all that began before a moment; nothing when all is well.

        Args:
            at_work: whether learners go on, so that somebody must have been served since.
        """
        waiting = [one for one in (await self.updates()).pending if one <= last_update]
        if waiting:  # asked first: what is delivered meanwhile, the database shows
            return [f"{len(waiting)} updates wait at Telegram"]
        return await self._ask_database(cohort, mark, at_work=at_work) or await self._ask_servers()

    async def _ask_database(self, cohort: Sequence[LearnerId], mark: datetime, *, at_work: bool) -> list[str]:
        try:
            with translated_errors():
                async with self._stage.connection() as connection:
                    row = await connection.fetchrow(_UNSETTLED, mark, list(cohort))
                    served = not at_work or await connection.fetchval(_SERVED_SINCE, mark)
        except StorageUnavailableError:
            return ["the database is unavailable"]
        return [f"{row[name]} {name} to do" for name in ("updates", "quizzes", "due") if row and row[name]] + (
            [] if served else ["nobody was served since"]
        )

    async def _ask_servers(self) -> list[str]:
        env, found = self._stage, []
        for name, url in (("bot", f"{env.programs['bot'].url}/ready"), ("prefect", f"{env.prefect.url}/api/health")):
            try:
                reply = await self._client.get(url, timeout=5)
            except httpx.HTTPError as error:
                found.append(f"the {name} does not answer: {type(error).__name__}")
            else:
                if not reply.is_success:
                    found.append(f"the {name} says {reply.text[:100]}")
        return found


def _quiz_in(message: dict[str, Any]) -> int | None:
    """Return the quiz that a message is about, if any."""
    rows = (message.get("reply_markup") or {}).get("inline_keyboard", [])
    found = (quiz_of(read_callback(button.get("callback_data", ""))) for row in rows for button in row)
    return next((quiz_id for quiz_id in found if quiz_id), None)


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the updates and the due learners of a drill."""

    accepted: int
    processed: int
    lost: int
    doubled: int


def count(records: Records, accepted: Collection[int], cohort: Sequence[LearnerId]) -> Count:
    """Return what became of what was accepted.

    Args:
        accepted: the ids of updates that were answered with 200.
    """
    states = {update.update_id: update.state for update in records.updates}
    processed = sum(states.get(update_id) == "done" for update_id in accepted)
    grades = Counter(answer.grade.learner_id for answer in records.answers.values())
    graded_twice = sum(max(0, one.version - grades[one.id]) for one in records.learners.values())
    daily = Counter(quiz.learner_id for quiz in records.quizzes.values() if quiz.kind is QuizKind.DAILY)
    unserved = sum(not daily[learner_id] for learner_id in cohort)
    served_twice = sum(max(0, daily[learner_id] - 1) for learner_id in cohort)
    return Count(len(accepted), processed, len(accepted) - processed + unserved, graded_twice + served_twice)
