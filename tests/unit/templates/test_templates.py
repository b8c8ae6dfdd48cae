"""Each template, drawn many times (`make test-all`: a thousand): what comes out is a question that keeps every rule."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from adaptation.selection import LEVELS_AROUND
from domain.catalog import OPTION_COUNT, Level, Topic
from question_bank.checks import OWN_RUNNERS, wrong_answer
from question_bank.executor import Executor
from question_bank.templates import TEMPLATES
from question_bank.templates.base import Template
from tests.conftest import ROOT
from tests.unit.templates.drawing import DRAWS, draw_many

LEAST_VARIETY = 0.3
"""Share of draws that must differ from each other; a learner should meet the same numbers rarely."""

EACH = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    """Yield an executor."""
    with Executor() as bench:
        yield bench


@pytest.mark.slow
@EACH
def test_every_draw_is_a_question_of_the_bank(template: Template) -> None:
    drawing = draw_many(template.name)
    assert len(drawing.places) == DRAWS
    assert drawing.distinct >= DRAWS * LEAST_VARIETY
    assert all(drawing.places.count(place) > DRAWS / 16 for place in range(OPTION_COUNT))


@pytest.mark.slow
@EACH
def test_the_stated_answer_is_what_the_strict_runner_finds(template: Template, executor: Executor) -> None:
    for seed in range(3):
        question = template.make(seed, executor)
        assert question.check
        assert wrong_answer(question, question.check, OWN_RUNNERS[question.check.engine]) is None


@EACH
def test_the_same_seed_gives_the_same_question(template: Template, executor: Executor) -> None:
    with Executor() as other:
        for seed in range(5):
            assert template.make(seed, executor) == template.make(seed, other)


DRAW_SOME = """
from question_bank.templates import TEMPLATES
from question_bank.executor import Executor

with Executor() as executor:
    for template in TEMPLATES.values():
        for seed in range(4):
            print(template.make(seed, executor).model_dump_json())
"""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_question_on_another_machine() -> None:
    """What differs from machine to machine: the order of a set, the local time zone, the locale."""
    machines = [
        {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8"},
    ]
    command = [sys.executable, "-X", "utf8", "-c", DRAW_SOME]
    one, other = (
        subprocess.run(command, cwd=ROOT, env=os.environ | machine, check=True, capture_output=True).stdout.splitlines()
        for machine in machines
    )
    assert len(one) == 4 * len(TEMPLATES)
    assert one == other


def test_misconceptions_have_names_of_their_own() -> None:
    for template in TEMPLATES.values():
        names = [mistake.name for mistake in template.draft(random.Random(1)).misconceptions]
        assert len(names) == len(set(names)) >= OPTION_COUNT - 1, template.name


def test_learners_of_every_level_find_a_template_of_each_topic() -> None:
    """Which level a template is of, its readers say: a topic may have none on one level, and serves its neighbours."""
    cells = {(template.topic, template.level) for template in TEMPLATES.values()}
    served = {(topic, level) for topic, near in cells for level in Level if abs(level - near) <= LEVELS_AROUND}
    assert served == {(topic, level) for topic in Topic for level in Level}


def test_every_template_has_been_read() -> None:
    assert [name for name, template in TEMPLATES.items() if not template.rated] == []
