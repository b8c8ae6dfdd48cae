"""How a template becomes a question: drawn from a seed, its answer found by executing it.

Theory of operation. A template is a pure function from a source of randomness to a draft: what is asked, what to run
to find the answer, and for each misconception what to run (or which value) to find what somebody with that
misconception would say. Making the question runs all of them on the same data. Three misconceptions that lead to
different wrong answers become the distractors; if there are not three, the numbers were too kind, and the same seed
draws again with the next attempt. So the same seed gives the same question on every machine, and no key is written
by hand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.catalog import OPTION_COUNT, CheckEngine, Level, QuestionForm, Topic
from question_bank.executor import Executor
from question_bank.format import BankQuestion, Check, Option, Reference

MAX_ATTEMPTS = 200
"""Draws for one seed before the template counts as broken."""

MAX_COMPUTED_OPTION = 60


@dataclass(frozen=True, slots=True)
class Misconception:
    """A mistake that people make, and the answer that it leads to."""

    name: str
    """In kebab-case, such as ``null-counts-as-zero``."""
    why: str
    """Said to whoever chose it: which mistake it is, and what is true instead; at most 220 characters."""
    run: str | None = None
    """What yields the answer of somebody who makes the mistake, on the draft's setup."""
    value: str | None = None
    """That answer itself, where nothing needs to run."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One drawing of a template, before its answer is known."""

    prompt: str
    run: str
    """What yields the right answer."""
    why: str
    """Why the right answer is right."""
    misconceptions: Sequence[Misconception]
    """At least three, those that are tempting most first."""
    explanation: str
    code: str | None = None
    """What the learner sees in monospace."""
    language: str = ""
    setup: str = ""
    """What runs before, on the same data for the right answer and for every misconception."""
    option: str = "{}"
    """How a value reads as an option, such as ``{} rows``."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """What stands as an option instead of a value, such as a query for its name; a value may have none."""

    def option_text(self, value: str) -> str:
        """Return how a value reads as an option."""
        return self.texts.get(value) or self.option.format(value)


@dataclass(frozen=True, slots=True)
class Template:
    """A question without end."""

    name: str
    topic: Topic
    level: Level
    engine: CheckEngine
    tags: tuple[str, ...]
    reference: Reference
    draft: Callable[[random.Random], Draft]
    form: QuestionForm = QuestionForm.PRACTICAL
    rated: tuple[int, ...] = ()
    """By independent readers of a drawing; the level is their median."""

    @property
    def about(self) -> str:
        """Return the first line of what the template's function says of itself."""
        return (self.draft.__doc__ or "").strip().splitlines()[0]

    def key(self, seed: int) -> str:
        """Return the id of a seed's question.

        Args:
            seed: from 0.
        """
        return f"computed-{self.name}-{seed}"

    def make(self, seed: int, executor: Executor) -> BankQuestion:
        """Make the question of a seed.

        Args:
            seed: from 0; the same one gives the same question everywhere.

        Returns:
            A question that keeps every rule of the bank and carries its own check.

        Raises:
            ValueError: no attempt led to four different answers, or a rule of the bank is broken.
        """
        for attempt in range(MAX_ATTEMPTS):
            rng = random.Random(f"{self.name}:{seed}:{attempt}")  # noqa: S311 - to be repeated, not to be secret
            draft = self.draft(rng)
            options = self._options(draft, executor)
            if options:
                rng.shuffle(options)
                return self._question(seed, draft, options)
        msg = f"template {self.name!r}: seed {seed} gave no four different answers in {MAX_ATTEMPTS} attempts"
        raise ValueError(msg)

    def _options(self, draft: Draft, executor: Executor) -> list[Option]:
        """Find out the right answer and the first three different wrong ones; nothing when there are not three."""
        with executor.prepared(self.engine, draft.setup) as run:
            right = run(draft.run)
            options = [Option(text=draft.option_text(right), value=right, why=draft.why, correct=True)]
            for mistake in draft.misconceptions:
                value = (mistake.value or "") if mistake.run is None else run(mistake.run)
                if value not in {option.value for option in options}:
                    options.append(Option(text=draft.option_text(value), value=value, why=mistake.why))
                if len(options) == OPTION_COUNT:
                    return options
        return []

    def _question(self, seed: int, draft: Draft, options: list[Option]) -> BankQuestion:
        return BankQuestion(
            id=self.key(seed),
            level=self.level,
            rated=[Level(level) for level in self.rated] or None,
            form=self.form,
            prompt=draft.prompt,
            code=draft.code,
            language=draft.language,
            options=options,
            explanation=draft.explanation,
            reference=self.reference,
            tags=list(self.tags),
            check=Check(engine=self.engine, setup=draft.setup, run=draft.run),
        )


REGISTRY: dict[str, Template] = {}


def template(  # noqa: PLR0913 - one for each thing that all its drawings share
    *,
    name: str,
    topic: Topic,
    level: Level,
    engine: CheckEngine,
    tags: Sequence[str],
    title: str,
    url: str,
    form: QuestionForm = QuestionForm.PRACTICAL,
    rated: tuple[int, ...] = (),
) -> Callable[[Callable[[random.Random], Draft]], Callable[[random.Random], Draft]]:
    """Register a function as a template.

    Args:
        name: in kebab-case; never changes, since learners' history hangs on it.

    Raises:
        ValueError: the name is taken.
    """

    def register(draft: Callable[[random.Random], Draft]) -> Callable[[random.Random], Draft]:
        if name in REGISTRY:
            msg = f"two templates are called {name!r}"
            raise ValueError(msg)
        reference = Reference(title=title, url=url)
        REGISTRY[name] = Template(name, topic, level, engine, tuple(tags), reference, draft, form, rated)
        return draft

    return register
