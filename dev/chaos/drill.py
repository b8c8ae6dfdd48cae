"""One drill after another: learners at work, a distribution under way, one fault, and the count afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import httpx

from dev.chaos.distribution import check_distribution
from dev.chaos.environment import DrillEnvironment
from dev.chaos.faults import Fault, Scene
from dev.chaos.load import Load
from dev.chaos.probe import Count, Seen, SystemProbe, count
from dev.stack import BOT_ID, TOKEN, Say
from difficulty_adapter import rules_of
from domain.ids import BotId, LearnerId
from repository import Repository
from roles.replay.checks import replay
from roles.replay.command import read_records

POLL_SECONDS = 0.25
SAID_EVERY = 15.0
BATCH_SECONDS = 90.0
"""At most until a distribution is in the middle of its batch: a run has a process of its own to start."""

FAULT_SECONDS = 180.0
WELL_SECONDS = 240.0
DRAIN_SECONDS = 150.0

_MAKE_DUE = """
UPDATE learners SET next_daily_at = now() - interval '1 minute' WHERE id = ANY($1::bigint[])
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much happens while something fails."""

    people: int
    """Learners at work."""
    per_second: float
    """Their actions in a second, all together."""
    cohort: int
    """Learners who are due when a distribution begins."""


FULL = Size(people=60, per_second=4, cohort=120)
QUICK = Size(people=20, per_second=2, cohort=24)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a drill found."""

    about: str
    first_reply_seconds: float | None
    """From the end of the fault until Telegram took the next message; None if there was none."""
    well_seconds: float | None
    """From the end of the fault until all that began before it was done; None if that never came, or means nothing."""
    count: Count
    copies: int
    """Questions of the distribution that stand in a chat more than once."""
    remarks: list[str]
    deviations: list[str]
    """What is not as it should be, one line each."""

    @property
    def is_good(self) -> bool:
        """Return whether nothing was lost, nothing doubled, and all is well again."""
        return not (self.deviations or self.count.lost or self.count.doubled)

    def figures(self) -> dict[str, object]:
        """Return it as JSON can hold it."""
        return asdict(self)


def broken_off(about: str, error: Exception) -> Outcome:
    """Return what is told of a drill that did not come to its end."""
    line = f"the drill broke off: {type(error).__name__}: {error}"
    return Outcome(about, None, None, Count(0, 0, 0, 0), copies=0, remarks=[], deviations=[line])


@dataclass(slots=True)
class Drills:
    """A running stage with learners at work, on which faults are tried one after the other."""

    env: DrillEnvironment
    telegram: httpx.AsyncClient
    load: Load
    probe: SystemProbe
    size: Size
    say: Say

    async def run(self, fault: Fault) -> Outcome:
        """Try a fault."""
        cohort = await self._make_cohort()
        scene = Scene(self.env, self.telegram, self.load, self.say)
        first_update = (await self.probe.updates()).last
        blocked = await self.probe.count_blocked()
        self.load.resume()
        await self._distribute(cohort, scene)
        self.say("fault")
        async with asyncio.timeout(FAULT_SECONDS):
            await fault.strike(scene)
        mark, last_update = datetime.now(UTC), (await self.probe.updates()).last
        well = await self._until_well(cohort, mark, last_update, scene)
        first_reply = await self.probe.first_reply_after(mark)
        self.load.pause()
        seen = await self._drain(cohort, scene)
        if gone := await self.probe.count_blocked() - blocked:  # nobody blocks the bot in a drill
            scene.deviations.append(f"{gone} learners are taken for gone")
        records = await read_records(self.env.environment["DATABASE_URL"])
        accepted = {update for update in seen.accepted if update > first_update} | scene.accepted
        deviations = replay(records, rules_of(self.env.settings())) + list(check_distribution(records, cohort))
        return Outcome(
            about=fault.about,
            first_reply_seconds=first_reply,
            well_seconds=well,
            count=count(records, accepted, cohort),
            copies=await self.probe.copies(cohort),
            remarks=scene.remarks,
            deviations=scene.deviations + deviations,
        )

    async def _make_cohort(self) -> list[LearnerId]:
        """Make learners who are due, as if they had used the bot before."""
        crowd = {"count": self.size.cohort, "text": "", "probability": 0}
        reply = await self.telegram.post("/api/crowd", json=crowd)
        reply.raise_for_status()
        cohort = [LearnerId(learner_id) for learner_id in reply.json()["learners"]]
        settings = self.env.settings()
        repository = await Repository.open(settings)
        try:
            for learner_id in cohort:
                await repository.add_learner(learner_id, BotId(BOT_ID), settings)
        finally:
            await repository.close()
        await self.env.execute(_MAKE_DUE, arguments=(cohort,))
        return cohort

    async def _distribute(self, cohort: Sequence[LearnerId], scene: Scene) -> None:
        """Start a distribution and return when it is in the middle of its batch."""
        await self.env.start_distribution(self.telegram)
        end = time.monotonic() + BATCH_SECONDS
        while not (sent := await self.probe.count_sent(cohort)):
            if time.monotonic() > end:
                scene.deviations.append(f"no distribution began within {BATCH_SECONDS:.0f} s")
                return
            await asyncio.sleep(POLL_SECONDS)
        scene.remarks.append(f"{sent} of {len(cohort)} sent before")

    async def _until_well(
        self, cohort: Sequence[LearnerId], mark: datetime, last_update: int, scene: Scene
    ) -> float | None:
        """Return the seconds until all that began before the mark is done, under a load that goes on."""
        said_at = time.monotonic()
        while (seconds := (datetime.now(UTC) - mark).total_seconds()) < WELL_SECONDS:
            unmet_conditions = await self.probe.unmet_conditions(cohort, mark, last_update, at_work=True)
            if not unmet_conditions:
                return round(seconds, 1)
            if time.monotonic() - said_at > SAID_EVERY:
                said_at = time.monotonic()
                self.say(f"{seconds:.0f} s after it: {', '.join(unmet_conditions)}")
            await asyncio.sleep(POLL_SECONDS)
        scene.deviations.append(f"not well after {WELL_SECONDS:.0f} s: {', '.join(unmet_conditions)}")
        return None

    async def _drain(self, cohort: Sequence[LearnerId], scene: Scene) -> Seen:
        """Return when nothing at all is under way any more, the load being paused."""
        end = time.monotonic() + DRAIN_SECONDS
        await asyncio.sleep(1)
        while True:
            seen = await self.probe.updates()
            soon = datetime.now(UTC) + timedelta(minutes=1)  # whatever is delivered while this looks
            left = await self.probe.unmet_conditions(cohort, soon, seen.last, at_work=False)
            if not left:
                return seen
            if time.monotonic() > end:
                scene.deviations.append(f"still under way after {DRAIN_SECONDS:.0f} s of rest: {', '.join(left)}")
                return seen
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def open_drills(env: DrillEnvironment, size: Size, say: Say) -> AsyncIterator[Drills]:
    """Yield learners at work on a stage."""
    async with httpx.AsyncClient(base_url=env.simulator.url, timeout=60) as telegram:
        (await telegram.get(f"/bot{TOKEN}/getMe")).raise_for_status()
        async with asyncio.timeout(30):
            while (await telegram.get("/api/state")).json()["bot"]["mode"] != "webhook":  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(POLL_SECONDS)
        say(f"{size.people} learners press START")
        load = await Load.gather(telegram, size.people, size.per_second)
        working = asyncio.create_task(load.run())
        try:
            yield Drills(env, telegram, load, SystemProbe(env, telegram), size, say)
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
