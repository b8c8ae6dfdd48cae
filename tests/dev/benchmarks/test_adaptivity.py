"""The benchmark of the adaptation: what it simulates, what it measures, and a toy run of all of it."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from adaptation.ratings import EXPERIENCE_PRIORS, GUESS, nearest_level
from dev.benchmarks.adaptivity import page as adaptation_page
from dev.benchmarks.adaptivity import pictures
from dev.benchmarks.adaptivity.experience import abilities_by_experience, experience_of
from dev.benchmarks.adaptivity.fit import ideal_levels, measure_fit, nearest_levels, share_fitting
from dev.benchmarks.adaptivity.levels import AS_IT_IS, ability_for, answers_until, compare_levels, fell_from
from dev.benchmarks.adaptivity.production import Production
from dev.benchmarks.adaptivity.replay import ReplaySize, make_levels, replay, split
from dev.benchmarks.adaptivity.rivals import Elo, Staircase
from dev.benchmarks.adaptivity.rules import rules_page
from dev.benchmarks.adaptivity.simulation import (
    COLD,
    PRODUCTION,
    WARM,
    Size,
    compare,
    make_world,
    strategies,
)
from dev.benchmarks.adaptivity.strategy import Passive
from dev.benchmarks.adaptivity.summary import summarise, summarise_levels, summarise_models
from dev.benchmarks.adaptivity.swesat import read_tensor
from dev.benchmarks.adaptivity.targets import FOLLOWED, TARGETS, judge
from dev.benchmarks.adaptivity.trace import Trace, count_moves, log_loss, measure, run
from dev.benchmarks.adaptivity.world import Model, correlation, make_learners, make_questions
from domain.catalog import Experience, Level

TOY = Size(
    seeds=1, questions=80, learners=5, earlier=4, earlier_answers=10, level_learners=2, followed=3, catsim_learners=0
)


def hush(_: str) -> None:
    """Say nothing."""


# ---------------------------------------------------------------- the truth


def test_authors_know_the_difficulty_as_well_as_the_ratings_assume() -> None:
    questions = make_questions(Model.THREE, 20_000, np.random.default_rng(1))
    assert correlation([int(level) for level in questions.levels], questions.difficulty) == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(("model", "guess"), [(Model.ONE, 0.0), (Model.TWO, 0.0), (Model.THREE, GUESS)])
def test_chances_are_those_of_the_model(model: Model, guess: float) -> None:
    questions = make_questions(model, 50, np.random.default_rng(1))
    own = questions.success(float(questions.difficulty[3]), 3)
    assert own == pytest.approx(guess + (1 - guess) / 2)
    assert questions.success(-50.0, 3) == pytest.approx(guess, abs=1e-6)
    assert (questions.slope == 1).all() == (model is Model.ONE)


def test_learners_grow_slowly() -> None:
    rng = np.random.default_rng(1)
    learners = make_learners(rng.standard_normal(4000), 60, 1, rng)
    assert np.std(learners.ability[:, 0]) == pytest.approx(1, abs=0.05)
    assert np.mean(learners.ability[:, 60] - learners.ability[:, 0]) == pytest.approx(0.18, abs=0.02)


def test_what_is_believed_after_the_answer_about_experience_is_what_learners_are_like() -> None:
    rng = np.random.default_rng(1)
    learners = make_learners(rng.standard_normal(40_000), 0, 1, rng)
    found = abilities_by_experience(learners)
    for experience in Experience:
        assert EXPERIENCE_PRIORS[experience].mean == pytest.approx(found[f"{experience}_mean"], abs=0.05)
        assert EXPERIENCE_PRIORS[experience].variance == pytest.approx(found[f"{experience}_variance"], abs=0.08)


def test_each_answer_about_experience_is_given_by_a_quarter() -> None:
    assert [experience_of(report) for report in (-9, -0.68, -0.67, -0.01, 0.01, 0.67, 0.68, 9)] == [
        experience for experience in Experience for _ in range(2)
    ]


# ---------------------------------------------------------------- what is measured


@pytest.mark.parametrize(
    ("path", "changes", "reversals"),
    [
        ([2, 2, 2], 0, 0),
        ([2, 3, 3, 4], 2, 0),
        ([2, 3, 3, 2], 2, 1),
        ([2, 4, 3, 2, 3], 4, 2),
    ],
)
def test_moves_are_counted(path: list[int], changes: int, reversals: int) -> None:
    assert count_moves(np.array([path])) == (changes, reversals)


def test_the_nearest_levels_are_those_of_production() -> None:
    abilities = np.linspace(-4, 4, 801)
    assert nearest_levels(abilities).tolist() == [nearest_level(float(ability)) for ability in abilities]


def test_a_level_beyond_a_near_boundary_fits_nearly() -> None:
    ability, levels = np.array([0.0, 0.0, -0.5, -0.5]), np.array([1, 2, 1, 2])  # the boundary is at .09
    assert share_fitting(levels, ability) == 0.5
    assert share_fitting(levels, ability, 0.3) == 0.75


def test_falls_and_waits_by_hand() -> None:
    levels = np.array([[2, 2, 1], [2, 3, 2], [1, 1, 1], [2, 2, 2]])
    assert fell_from(levels, Level.INTERMEDIATE) == 0.25
    assert answers_until(levels, Level.ADVANCED).tolist() == [np.inf, 1, np.inf, np.inf]
    assert answers_until(levels, Level.INTERMEDIATE).tolist() == [0, 0, np.inf, 0]


def test_the_ability_for_a_chance_gives_that_chance() -> None:
    questions = make_questions(Model.THREE, 50, np.random.default_rng(1))
    places = np.arange(0, 50, 4)
    assert questions.success(ability_for(questions, places, 0.78), places).mean() == pytest.approx(0.78)


def test_an_ideal_estimator_fits_better_than_the_service() -> None:
    """By chance it may not for a few learners, hence many, who answer on a bank that nobody answered before."""
    size = replace(TOY, learners=150, earlier=0, questions=150)
    world = make_world(Model.THREE, 1, size)
    trace = run(Production(world.bank, 150, None, world.chance("production")), world.questions, world.learners, 40)
    figures = measure_fit(trace, world.questions)
    assert figures["ideal_fits_40"] > figures["fits_40"]
    assert figures["ideal_nearly_40"] > figures["nearly_40"] > figures["fits_40"]
    assert set(np.unique(ideal_levels(trace, world.questions))) <= set(Level)


def test_figures_of_a_run_by_hand() -> None:
    trace = Trace(
        asked=np.array([[0, 1], [0, 2]]),
        correct=np.array([[1, 0], [1, 1]]),
        predicted=np.full((2, 2), 0.5),
        chance=np.array([[0.64, 0.65], [0.90, 0.91]]),
        estimate=np.array([[0.0, 1.0], [0.0, -1.0]]),
        ability=np.array([[0.0, 0.5], [0.0, -0.5]]),
        level=np.zeros((2, 3), dtype=np.int64),
    )
    figures = measure(trace, 4)
    assert figures["zone"] == 0.5
    assert figures["success"] == 0.75
    assert figures["exposure"] == 1.0
    assert figures["bank_used"] == 0.75
    assert figures["spread"] == 2.0
    assert figures["log_loss"] == pytest.approx(np.log(2))


def test_a_mistaken_certainty_does_not_decide_the_log_loss() -> None:
    assert log_loss(np.array([1.0]), np.array([0])) == pytest.approx(-np.log(1e-3))


def test_means_have_their_standard_errors() -> None:
    summary = summarise([{"one": 1.0, "none": float("nan")}, {"one": 3.0, "none": 1.0}])
    assert summary == {"one": {"mean": 2.0, "error": 1.0}, "none": {"mean": None, "error": None}}


# ---------------------------------------------------------------- strategies


def test_nobody_is_asked_twice_and_luck_is_the_same_for_all() -> None:
    world = make_world(Model.THREE, 1, TOY)
    right: dict[tuple[int, int], int] = {}
    for begin in strategies(world, None).values():
        trace = run(begin(), world.questions, world.learners, 20)
        for one in range(len(world.learners)):
            assert len(set(trace.asked[one])) == 20
            for turn, question in enumerate(trace.asked[one]):
                if turn == 0:
                    assert right.setdefault((one, int(question)), int(trace.correct[one, 0])) == trace.correct[one, 0]


def test_a_staircase_steps_as_it_is_called() -> None:
    world = make_world(Model.THREE, 1, TOY)
    stairs = Staircase(world.bank, 1, world.bank.priors(), world.chance("stairs"), (3, 2))
    path = []
    for correct in (True, True, True, False, True, False, False, False, False):
        question = stairs.choose(0)
        stairs.learn(0, question, correct=correct)
        path.append(stairs.level(0))
    assert path == [2, 2, 3, 3, 3, 3, 2, 2, 1]


def test_elo_chooses_near_the_target() -> None:
    world = make_world(Model.THREE, 1, TOY)
    elo = Elo(world.bank, 1, world.questions.difficulty.tolist(), world.chance("Elo"))
    assert all(elo.predict(0, elo.choose(0)) == pytest.approx(0.775, abs=0.08) for _ in range(20))


def test_past_learners_leave_ratings_and_exposure() -> None:
    world = make_world(Model.THREE, 1, TOY)
    earlier = Production(world.bank, len(world.earlier), None, world.chance("earlier"))
    run(earlier, world.questions, world.earlier, TOY.earlier_answers)
    past = earlier.past()
    assert sum(sum(shown.values()) for shown in past.exposure.shown) == len(world.earlier) * TOY.earlier_answers
    rated = [one != prior for one, prior in zip(past.questions, world.bank.priors(), strict=True)]
    assert [bool(shown) for shown in past.exposure.shown] == rated


def test_what_the_strategy_keeps_for_the_levels_is_the_mean_of_its_candidates() -> None:
    world = make_world(Model.THREE, 1, TOY)
    strategy = Production(world.bank, len(world.learners), None, world.chance("production"))
    run(strategy, world.questions, world.learners, 15)
    for level in Level:
        difficulties = [one.difficulty for one in strategy.candidates if one.level == level]
        assert strategy.sums[level] == pytest.approx(sum(difficulties))


# ---------------------------------------------------------------- recorded answers


def archive_of(matrix: np.typing.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return a matrix as torch saves it, without torch."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")

    class FloatStorage:
        pass

    def _rebuild_tensor_v2() -> None:
        pass

    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch.FloatStorage = FloatStorage  # type: ignore[attr-defined]
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined] # noqa: SLF001 - torch's own name
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Storage:
        pass

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            strides = (matrix.shape[1], 1)
            return _rebuild_tensor_v2, (Storage(), 0, matrix.shape, strides, False, OrderedDict())

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", FloatStorage, "0", "cpu", matrix.size) if isinstance(obj, Storage) else None

    described, archive = io.BytesIO(), io.BytesIO()
    Pickler(described, protocol=2).dump(Tensor())
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("any/data.pkl", described.getvalue())
        files.writestr("any/byteorder", "little")
        files.writestr("any/data/0", matrix.astype("<f4").tobytes())
    return archive.getvalue()


def test_a_saved_tensor_is_read_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.array([[0, 1, 2], [3, np.nan, 4]], dtype=np.float32)
    archive = archive_of(matrix, monkeypatch)
    monkeypatch.undo()
    assert np.array_equal(read_tensor(archive), matrix, equal_nan=True)


def test_nothing_but_a_tensor_is_unpickled() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("any/data.pkl", pickle.dumps(Path("/tmp")))  # noqa: S108 - never opened
    with pytest.raises(pickle.UnpicklingError, match="not expected"):
        read_tensor(archive.getvalue())


def recorded(learners: int, questions: int) -> np.typing.NDArray[np.int64]:
    """Return complete answers of people to a test without guessing."""
    rng = np.random.default_rng(5)
    ability, difficulty = rng.standard_normal((learners, 1)), rng.standard_normal(questions)
    return (rng.random((learners, questions)) < 1 / (1 + np.exp(difficulty - ability))).astype(np.int64)


def test_made_up_levels_are_as_good_as_an_authors() -> None:
    past = recorded(400, 60)
    share = past.mean(axis=0)
    levels = make_levels(past, np.random.default_rng(1))
    assert 0.65 <= correlation([int(one) for one in levels], -np.log(share / (1 - share))) <= 0.75
    assert all(levels.count(level) == 15 for level in Level)


def test_recorded_learners_answer_as_they_did_and_all_of_the_half() -> None:
    given = split(recorded(300, 60), ReplaySize(seeds=1, learners=40, past=200), np.random.default_rng(1))
    world = make_world(Model.THREE, 1, TOY)
    strategy = Passive(given.bank, 40, given.bank.priors(), world.chance("replay"))
    done = replay(strategy, given.answers)
    assert (np.sort(done.asked, axis=1) == np.arange(30)).all()
    assert (np.take_along_axis(given.answers, done.asked, axis=1) == done.correct).all()
    assert correlation(done.estimate[:, -1], given.held_out) > 0.6


# ---------------------------------------------------------------- all of it


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Return the figures of a toy run, without catsim and recorded answers."""
    runs = {model: [compare(model, 1, TOY, hush)] for model in Model}
    return {
        "run": {
            "at": "2026-11-22 12:00 UTC",
            "quick": True,
            "seconds": 60,
            "cores": 2,
            "memory_gb": 24,
            "system": "Linux",
            "python": "3.11",
            "numpy": "2",
            "catsim": "0",
            "irtorch": None,
        },
        "size": {"simulation": asdict(TOY), "replay": {}},
        "simulation": summarise_models(runs),
        "levels": summarise_levels([compare_levels(1, TOY, hush)]),
        "replay": {},
    }


def test_a_world_run_twice_is_the_same_run() -> None:
    first, second = (compare(Model.THREE, 3, TOY, hush) for _ in range(2))
    assert str(first) == str(second)


def test_a_toy_run_makes_page_and_pictures(figures: dict[str, Any], tmp_path: Path) -> None:
    page = adaptation_page.render(figures)
    for bank in (WARM, COLD):
        assert f"3PL, {bank} bank:" in page
    pictures.draw_all(figures, tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {"adaptation-zone.png", "adaptation-rmse.png", "adaptation-levels.png"}
    assert {f"images/{name}" for name in drawn} == set(adaptation_page.pictures_on(page))


def test_targets_are_judged_by_the_side_of_their_bound(figures: dict[str, Any]) -> None:
    simulation = figures["simulation"][Model.THREE]
    for target in TARGETS:
        followed = target.bank == FOLLOWED
        told = (figures["levels"][AS_IT_IS] if followed else simulation[target.bank][PRODUCTION])[target.figure]
        told["mean"] = target.bound
        assert target.is_met(figures)
        told["mean"] = target.bound + (-0.01 if target.at_least else 0.01)
        assert not target.is_met(figures)
    assert {verdict for *_, verdict in judge(figures)} == {"**not met**"}


def test_the_diagram_has_an_arrow_for_each_move_of_the_table() -> None:
    page = "\n".join(rules_page())
    for low, high in pairwise(Level):
        assert f"{low.label} --> {high.label}: a right answer, nearer to a higher level" in page
        assert f"{high.label} --> {low.label}: a wrong answer, surely nearer to a lower level" in page
