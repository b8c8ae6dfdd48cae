"""Numbers about questions: small sets whose answers can be counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dev.tools import bank_report, bank_statistics
from domain.bank import BankEntry
from domain.catalog import CheckEngine, Level, QuestionForm, QuestionSource, QuestionState, Topic
from question_bank import statistics
from question_bank.format import BankQuestion, Check, Option
from question_bank.loader import Bank, Located
from tests.support.factories import make_bank_question, make_question


def make_options(*lengths: int, right: int = 0) -> list[Option]:
    """Return options of these lengths; the one at `right` is right."""
    letters = zip("abcd", lengths, strict=True)
    return [
        Option(text=letter * length, why="So it is.", correct=place == right)
        for place, (letter, length) in enumerate(letters)
    ]


def locate(question: BankQuestion, topic: Topic = Topic.STREAMING) -> Located:
    """Return a question as if it were read from a file."""
    return Located(question, topic, Path("streaming/1-beginner.yaml"), 3)


def make_entry(**fields: object) -> BankEntry:
    """Return a stored question that was asked 10 times and answered rightly 5 times."""
    values: dict[str, object] = {
        "question": make_question(),
        "tags": ("numbers",),
        "form": QuestionForm.PRACTICAL,
        "check": None,
        "state": QuestionState.ACTIVE,
        "state_reason": None,
        "created_at": datetime(2026, 11, 22, tzinfo=UTC),
        "asked": 12,
        "answered": 10,
        "correct": 5,
        "reports": 0,
    }
    return BankEntry(**(values | fields))  # type: ignore[arg-type]


# ---------------------------------------------------------------- the files


def test_cells_forms_and_engines_are_counted() -> None:
    check = Check(engine=CheckEngine.PYTHON, run="print(1)")
    questions = [
        locate(make_bank_question(level=1, form="definition")),
        locate(make_bank_question(level=1, check=check)),
        locate(make_bank_question(level=3), Topic.DATA_QUALITY),
    ]
    assert bank_statistics.count_cells(questions) == {
        (Topic.STREAMING, Level.BEGINNER): 2,
        (Topic.DATA_QUALITY, Level.ADVANCED): 1,
    }
    assert bank_statistics.count_forms(questions)[Level.BEGINNER, QuestionForm.DEFINITION] == 1
    assert bank_statistics.count_engines(questions) == {
        (Topic.STREAMING, CheckEngine.PYTHON): 1,
        (Topic.STREAMING, None): 1,
        (Topic.DATA_QUALITY, None): 1,
    }


def test_tags_come_by_use_and_then_by_name() -> None:
    questions = [locate(make_bank_question(tags=tags)) for tags in (["b", "a"], ["b"], ["c", "a"], ["d"])]
    assert bank_statistics.count_tags(questions) == [("a", 2), ("b", 2), ("c", 1), ("d", 1)]


@pytest.mark.parametrize(
    ("lengths", "right", "longest", "shortest"),
    [
        ((9, 1, 2, 3), 0, 1.0, 0.0),
        ((1, 9, 2, 3), 0, 0.0, 1.0),
        ((5, 5, 2, 1), 0, 0.5, 0.0),
        ((5, 5, 2, 1), 2, 0.0, 0.0),
        ((4, 4, 4, 4), 3, 0.25, 0.25),
        ((3, 3, 3, 8), 1, 0.0, 1 / 3),
    ],
)
def test_whoever_taps_by_length_shares_ties(
    lengths: tuple[int, ...], right: int, longest: float, shortest: float
) -> None:
    bias = bank_statistics.measure_lengths([make_bank_question(options=make_options(*lengths, right=right))])
    assert (bias.longest, bias.shortest) == pytest.approx((longest, shortest))


def test_mean_lengths_are_those_of_right_and_of_wrong_options() -> None:
    questions = [make_bank_question(options=make_options(*lengths)) for lengths in ((10, 1, 2, 3), (20, 4, 5, 9))]
    bias = bank_statistics.measure_lengths(questions)
    assert (bias.questions, bias.right, bias.wrong) == (2, 15, 4)


def test_nothing_is_measured_of_no_questions() -> None:
    with pytest.raises(ValueError, match="no questions"):
        bank_statistics.measure_lengths([])


def test_places_of_right_options_are_counted() -> None:
    questions = [make_bank_question(options=make_options(1, 2, 3, 4, right=right)) for right in (0, 2, 2, 3)]
    assert bank_statistics.count_places(questions) == (1, 0, 2, 1)


# ---------------------------------------------------------------- what is stored


def test_standing_is_counted_by_source_and_state_and_only_active_ones_can_be_asked() -> None:
    question = make_question(source=QuestionSource.LLM, topic=Topic.STREAMING, level=Level.EXPERT)
    entries = [make_entry(question=question, state=state) for state in QuestionState] + [make_entry(question=question)]
    assert statistics.count_standing(entries) == {
        (QuestionSource.LLM, QuestionState.ACTIVE): 2,
        (QuestionSource.LLM, QuestionState.RETIRED): 1,
        (QuestionSource.LLM, QuestionState.QUARANTINED): 1,
    }
    assert statistics.count_active(entries) == {(Topic.STREAMING, Level.EXPERT): 2}


def test_without_an_answer_there_is_no_share() -> None:
    assert statistics.share_right(make_entry()) == 0.5
    assert statistics.share_right(make_entry(answered=0, correct=0)) is None


def test_hard_questions_come_first_and_those_with_few_answers_not_at_all() -> None:
    hard, middle, surer, easy = (
        make_entry(answered=10, correct=1),
        make_entry(answered=10, correct=5),
        make_entry(answered=20, correct=10),
        make_entry(answered=5, correct=5),
    )
    few = make_entry(answered=4, correct=0)
    assert statistics.rank_by_difficulty([easy, few, middle, surer, hard]) == [hard, surer, middle, easy]
    assert statistics.rank_by_difficulty([few], min_answers=4) == [few]


# ---------------------------------------------------------------- the page


def test_the_page_counts_what_the_files_hold() -> None:
    check = Check(engine=CheckEngine.DUCKDB, run="SELECT 1")
    questions = [locate(make_bank_question(options=make_options(9, 1, 2, 3), check=check, level=4)) for _ in range(3)]
    questions.append(locate(make_bank_question(options=make_options(9, 1, 2, 3, right=3), level=4, form="definition")))
    lines = bank_report.render(Bank(questions), {}).splitlines()
    assert "4 questions are in files; 3 of them (75%) have an answer that is found by" in lines
    assert "| Streaming | 0 | 0 | 0 | 4 | 4 |" in lines
    assert "| Expert | 3 | 1 | 0 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert "| Streaming | 3 | 0 | 0 | 75% |" in lines
    assert "| Expert | 75.0% | 0.0% | 7.5 | 2.5 |" in lines
    assert "| D | 1 | 25% |" in lines


def test_a_page_that_is_not_current_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Bank([locate(make_bank_question())])
    monkeypatch.setattr(bank_report, "load_bank", lambda: bank)
    monkeypatch.setattr(bank_report, "PAGE", tmp_path / "page.md")
    assert bank_report.main(["--check"]) == 1
    assert bank_report.main([]) == 0
    assert bank_report.main(["--check"]) == 0
    bank.questions.append(locate(make_bank_question()))
    assert bank_report.main(["--check"]) == 1
    assert "run `python -m dev.tools.bank_report`" in capsys.readouterr().out
