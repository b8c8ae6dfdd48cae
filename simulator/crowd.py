"""Many learners at once, who start the bot and answer by themselves: for load tests."""

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from simulator.model import AutoAnswer, Bot, Chat, Learner, Message

if TYPE_CHECKING:
    from simulator.core import Simulator

_TICK_SECONDS = 0.05


class Crowd:
    """Learners that act without a developer."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self._rng = random.Random()  # noqa: S311 - no secret
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    def gather(
        self, bot: Bot, count: int, behaviour: AutoAnswer, *, text: str, per_second: float, seed: int | None
    ) -> list[int]:
        """Make learners, let each write `text`, and let them answer by themselves from then on.

        Args:
            text: What each writes first; empty to be silent, as if it had started the bot before.
            per_second: How many write in a second; 0 for all at once.

        Returns:
            Their ids.
        """
        if seed is not None:
            self._rng.seed(seed)
        learners = [self._simulator.add_learner() for _ in range(count)]
        for learner in learners:
            learner.auto = behaviour
        if text:
            self._spawn(self._arrive(bot, learners, text, per_second))
        else:
            for learner in learners:
                self._simulator.open_chat(bot, learner)
        return [learner.id for learner in learners]

    def notice(self, bot: Bot, chat: Chat, message: Message) -> None:
        """A bot wrote to a chat: its learner may answer, if it belongs to the crowd."""
        behaviour = chat.learner.auto
        if behaviour is None or self._rng.random() >= behaviour.probability:
            return
        rows = message.payload.get("reply_markup", {}).get("inline_keyboard", [])
        choices = [button["callback_data"] for row in rows for button in row if "callback_data" in button]
        if choices:
            data = self._rng.choice(choices)
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._rng.uniform(*behaviour.delay), self._tap, bot, chat, message, data)
            self._timers.add(timer)
            if len(self._timers) > len(self._simulator.learners) * 2:
                self._timers = {one for one in self._timers if one.when() > loop.time()}

    def stop(self) -> None:
        """Let nobody arrive or answer any more."""
        for task in self._tasks:
            task.cancel()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    async def close(self) -> None:
        """Stop, and wait until all is still."""
        self.stop()
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _arrive(self, bot: Bot, learners: list[Learner], text: str, per_second: float) -> None:
        at_once = max(1, round(per_second * _TICK_SECONDS)) if per_second else len(learners)
        for first in range(0, len(learners), at_once):
            for learner in learners[first : first + at_once]:
                self._simulator.say(bot, learner, text)
            await asyncio.sleep(at_once / per_second if per_second else 0)

    def _tap(self, bot: Bot, chat: Chat, message: Message, data: str) -> None:
        # The message may be gone, its buttons changed, or the bot blocked meanwhile: then there is nothing to tap.
        with contextlib.suppress(LookupError, ValueError):
            self._simulator.tap(bot, chat.learner, message.id, data)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
