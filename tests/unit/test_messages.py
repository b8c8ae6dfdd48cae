"""What learners read: fits, balances, escapes, and says what is true."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import texts
from difficulty_adapter import Rules
from domain.catalog import UNKNOWN_CHOICE, Experience, Level, QuizKind, ReportReason, Topic
from domain.learning import WaitingReviews
from domain.models import Grade, Progress, StoredOption, Streak
from simulator.formatting import Formatted
from simulator.html_parser import parse_html
from tests.support.factories import make_grade, make_learner, make_question, make_quiz
from tests.support.shown import as_shown, bank, plain, stored
from tests.support.strategies import hostile_texts, levels, rules_of_any_size, zones

# ---------------------------------------------------------------- the real bank


@pytest.mark.parametrize("topic", list(Topic))
def test_every_question_of_the_bank_fits_and_shows_all_of_it(topic: Topic) -> None:
    asked = [stored(located) for located in bank() if located.topic is topic]
    assert asked
    for question in asked:
        quiz = make_quiz(question=question, kind=QuizKind.DAILY)
        shown = as_shown(texts.question_text(quiz))
        assert plain(question.prompt) in shown.text
        for letter, index in zip(texts.LETTERS, quiz.option_order, strict=True):
            assert f"{letter}  {plain(question.options[index].text)}" in shown.text
        if question.code:
            assert question.code.rstrip() in shown.text


@pytest.mark.parametrize("topic", list(Topic))
def test_every_feedback_of_the_bank_fits_and_explains_whatever_was_chosen(topic: Topic) -> None:
    for question in (stored(located) for located in bank() if located.topic is topic):
        for chosen, option in enumerate(question.options):
            quiz = make_quiz(question=question, chosen=chosen)
            shown = as_shown(texts.feedback_text(quiz, make_grade(correct=quiz.is_correct)))
            assert plain(question.explanation) in shown.text
            assert plain(option.why) in shown.text
            links = [entity["url"] for entity in shown.entities if entity["type"] == "text_link"]
            assert [link.rstrip("/") for link in links] == [question.reference_url.rstrip("/")]


# ---------------------------------------------------------------- hostile texts


@given(hostile_texts)
def test_a_text_is_shown_as_it_is_whatever_stands_in_it(text: str) -> None:
    shown, entities = parse_html(texts.rich(text))
    assert shown == plain(text)
    assert {entity.type for entity in entities} <= {"code"}


@given(hostile_texts, hostile_texts, hostile_texts, hostile_texts, st.integers(0, 3))
def test_a_hostile_question_stays_inside_its_message(
    prompt: str, code: str, option: str, title: str, chosen: int
) -> None:
    question = make_question(
        prompt=prompt,
        code=code,
        language='sql"><b>',
        options=tuple(StoredOption(f"{place}{option}", f"{place}{option}") for place in range(4)),
        explanation=prompt,
        reference_title=f"t{title}",
        reference_url='https://example.org/?a="><b>&amp;',
    )
    quiz = make_quiz(question=question, chosen=chosen)
    _, question_entities = parse_html(texts.question_text(quiz))
    assert "text_link" not in {entity.type for entity in question_entities}
    shown, entities = parse_html(texts.feedback_text(quiz, make_grade(correct=quiz.is_correct)))
    assert [entity.argument for entity in entities if entity.type == "text_link"] == [question.reference_url]
    assert plain(prompt) in shown
    assert code in shown


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("use `a < b` & `c`", "use <code>a &lt; b</code> &amp; <code>c</code>"),
        ("one ` alone", "one ` alone"),
        ("empty `` pair", "empty `` pair"),
        ("`a` `b", "<code>a</code> `b"),
        ("a  \n b", "a b"),
        ('"quoted"', '"quoted"'),
        ("&lt;", "&amp;lt;"),
    ],
)
def test_words_in_backticks_are_set_in_monospace(text: str, html: str) -> None:
    assert texts.rich(text) == html


def test_code_is_shown_in_its_language_with_its_spaces() -> None:
    quiz = make_quiz(question=make_question(code="if a < b:\n    pass", language="python"))
    shown = as_shown(texts.question_text(quiz))
    (block,) = [entity for entity in shown.entities if entity["type"] == "pre"]
    assert block["language"] == "python"
    assert "if a < b:\n    pass" in shown.text


# ---------------------------------------------------------------- question and feedback


def test_options_stand_in_the_order_of_the_quiz() -> None:
    quiz = make_quiz(option_order=(2, 0, 3, 1))
    lines = as_shown(texts.question_text(quiz)).text.splitlines()
    assert lines[-4:] == ["A  option 2", "B  option 0", "C  option 3", "D  option 1"]


def test_a_question_tells_its_topic_and_level_but_not_its_answer() -> None:
    question = make_question(topic=Topic.STREAMING, level=Level.EXPERT)
    text = texts.question_text(make_quiz(question=question))
    assert "Streaming" in text
    assert "Expert" in text
    for secret in ("because", question.explanation, question.reference_url, "✅"):
        assert secret not in text


def test_only_a_daily_quiz_says_so() -> None:
    quiz = make_quiz(kind=QuizKind.DAILY)
    assert "Daily quiz" in texts.question_text(quiz)
    assert "Daily quiz" not in texts.question_text(replace(quiz, kind=QuizKind.ON_DEMAND))


def test_a_right_answer_is_called_right() -> None:
    quiz = make_quiz(question=make_question(correct_index=1), option_order=(3, 1, 0, 2), chosen=1)
    text = as_shown(texts.feedback_text(quiz, make_grade(correct=True))).text
    assert "Right!" in text
    assert "✅ B  option 1\nbecause 1" in text
    assert "❌" not in text


@given(st.permutations(range(4)), st.integers(0, 3), st.integers(1, 3))
def test_a_wrong_answer_names_the_letter_that_was_right(order: list[int], correct: int, step: int) -> None:
    chosen = (correct + step) % 4
    quiz = make_quiz(question=make_question(correct_index=correct), option_order=tuple(order), chosen=chosen)
    text = as_shown(texts.feedback_text(quiz, make_grade(correct=False))).text
    right, tapped = (texts.LETTERS[order.index(index)] for index in (correct, chosen))
    assert f"Not quite: it is {right}." in text
    assert f"✅ {right}  option {correct}\nbecause {correct}" in text
    assert f"❌ {tapped}  option {chosen}\nbecause {chosen}" in text


@given(st.permutations(range(4)), st.integers(0, 3))
def test_a_feedback_says_nothing_twice_and_folds_all_but_the_right_and_the_chosen_option(
    order: list[int], chosen: int
) -> None:
    question = make_question(correct_index=1, code="SELECT 1")
    quiz = make_quiz(question=question, option_order=tuple(order), chosen=chosen)
    shown = as_shown(texts.feedback_text(quiz, make_grade(correct=quiz.is_correct)))
    told = [question.prompt, "SELECT 1", question.explanation, question.reference_title]
    for words in [*told, *(f"option {n}" for n in range(4)), *(f"because {n}" for n in range(4))]:
        assert shown.text.count(words) == 1
    folded, others = folded_parts(shown)
    assert question.prompt in folded
    assert "SELECT 1" in folded
    assert others.startswith("Why not the others\n")
    for index in range(4):
        assert (f"option {index}\nbecause {index}" in others) is (index not in {1, chosen})


def test_who_does_not_know_is_told_the_answer_and_called_neither_right_nor_wrong() -> None:
    quiz = make_quiz(question=make_question(correct_index=2), option_order=(3, 1, 0, 2), chosen=UNKNOWN_CHOICE)
    shown = as_shown(texts.feedback_text(quiz, make_grade(correct=False)))
    assert shown.text.startswith("The answer is D.")
    assert "✅ D  option 2\nbecause 2" in shown.text
    assert "❌" not in shown.text
    assert all(f"because {index}" in folded_parts(shown)[1] for index in (0, 1, 3))


def folded_parts(shown: Formatted) -> list[str]:
    """Return the parts of a message that are folded."""
    encoded = shown.text.encode("utf-16-le")
    return [
        encoded[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])].decode("utf-16-le")
        for entity in shown.entities
        if entity["type"] == "expandable_blockquote"
    ]


@pytest.mark.parametrize(("length", "gap"), [(texts.LONG_OPTION, "\n"), (texts.LONG_OPTION + 1, "\n\n")])
def test_long_options_have_gaps_between_them(length: int, gap: str) -> None:
    options = tuple(StoredOption("x" * length if place == 2 else f"option {place}", "") for place in range(4))
    quiz = make_quiz(question=make_question(options=options), option_order=(0, 1, 2, 3))
    assert f"A  option 0{gap}B  option 1{gap}C" in as_shown(texts.question_text(quiz)).text


# ---------------------------------------------------------------- levels and streaks


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (Level.BEGINNER, Level.INTERMEDIATE, "Up to Intermediate!"),
        (Level.EXPERT, Level.ADVANCED, "Back to Advanced for now."),
        (Level.ADVANCED, Level.ADVANCED, "▰▰▰▰▱▱▱▱  to Expert"),
    ],
)
def test_feedback_tells_what_became_of_the_level(before: Level, after: Level, words: str) -> None:
    points = 0 if before is not after else 50
    grade = make_grade(before=Progress(before), after=Progress(after, points))
    assert words in as_shown(texts.progress_text(grade)).text


@pytest.mark.parametrize(("days", "words"), [(0, "0 days"), (1, "1 day"), (2, "2 days"), (365, "365 days")])
def test_a_streak_is_told_in_days_with_the_days_first_answer_only(days: int, words: str) -> None:
    grade = make_grade(after=Progress(Level.BEGINNER, streak=Streak(days)), opens_day=True)
    assert as_shown(texts.progress_text(grade)).text.startswith(f"🔥 Streak: {words}\n")
    assert "Streak" not in texts.progress_text(replace(grade, opens_day=False))


@pytest.mark.parametrize(
    ("today", "due", "words"),
    [
        (None, datetime(2026, 11, 22, 18, tzinfo=UTC), "today at 18:00"),
        (date(2026, 11, 22), datetime(2026, 11, 22, 18, tzinfo=UTC), "today at 18:00"),
        (date(2026, 11, 22), datetime(2026, 11, 23, 7, tzinfo=UTC), "tomorrow at 07:00"),
        (date(2026, 11, 22), datetime(2026, 11, 24, 0, 30, tzinfo=UTC), "on Tuesday at 00:30"),
        (date(2026, 11, 23), datetime(2026, 11, 23, 7, tzinfo=UTC), "today at 07:00"),  # told past midnight
    ],
)
def test_the_days_first_answer_tells_when_the_next_question_comes(
    today: date | None, due: datetime, words: str
) -> None:
    grade = make_grade(local_day=date(2026, 11, 22), opens_day=True, today=today, next_daily_at=due)
    assert f"Streak: 1 day · daily quiz {words}\n" in as_shown(texts.progress_text(grade)).text


@pytest.mark.parametrize(
    ("grade", "words"),
    [
        (
            make_grade(before=Progress(Level.INTERMEDIATE), after=Progress(Level.ADVANCED), ability=0.9),
            "Up to Advanced! By your answers, you would get about four in five of the Intermediate questions right.",
        ),
        (
            make_grade(before=Progress(Level.INTERMEDIATE), after=Progress(Level.BEGINNER), ability=-0.6),
            (
                "Back to Beginner for now. By your answers, you would get about three in five of the Intermediate "
                "questions right. The aim is about four in five."
            ),
        ),
        (
            make_grade(before=Progress(Level.INTERMEDIATE), after=Progress(Level.ADVANCED), ability=None),
            "Up to Advanced!",
        ),
        (make_grade(after=Progress(Level.INTERMEDIATE, placement_left=2)), "Finding your level: 4 of 6"),
        (
            make_grade(
                before=Progress(Level.INTERMEDIATE, placement_left=1), after=Progress(Level.EXPERT), ability=2.1
            ),
            "place you at Expert. By your answers, you would get about four in five of the Expert questions right.",
        ),
    ],
)
def test_feedback_gives_the_reason_for_a_change_of_level_in_one_line(grade: Grade, words: str) -> None:
    lines = as_shown(texts.progress_text(grade)).text.splitlines()
    assert len([line for line in lines if words in line]) == 1


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(0, 1, "You earned a freeze"), (2, 1, "A freeze saved your streak (1 left)"), (1, 1, None), (0, 0, None)],
)
def test_feedback_tells_what_became_of_the_freezes(before: int, after: int, words: str | None) -> None:
    stood, stands = (Progress(Level.BEGINNER, streak=Streak(8, freezes=freezes)) for freezes in (before, after))
    text = as_shown(texts.progress_text(make_grade(before=stood, after=stands))).text
    assert ("❄️" in text) is (words is not None)
    assert (words or "") in text


@given(rules_of_any_size)
def test_help_and_welcome_tell_the_rules_as_they_are(rules: Rules) -> None:
    text = as_shown(texts.help_text(rules)).text
    share = texts.share_in_words(rules.target_success)
    assert f"you would get {share} right" in text
    assert "once your level is found, it stays as it is" in text  # until then "I don't know" counts like a wrong answer
    assert f"you will get {share} right" in texts.welcome_text(make_learner(), rules, is_new=True)
    assert ("earn a freeze" in text) is (rules.max_freezes > 0)


@given(st.floats(0, 1))
def test_a_share_in_words_is_no_more_than_a_twentieth_off(share: float) -> None:
    words = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "seven": 7, "nine": 9, "ten": 10}
    told = texts.share_in_words(share)
    if told in ("hardly any", "about half", "nearly all"):
        value = {"hardly any": 0.0, "about half": 0.5, "nearly all": 1.0}[told]
    else:
        part, whole = told.removeprefix("about ").split(" in ")
        value = words[part] / words[whole]
    assert abs(value - share) <= 0.05 + 1e-9


@pytest.mark.parametrize("experience", list(Experience))
def test_what_a_new_learner_says_is_repeated_to_them(experience: Experience) -> None:
    text = as_shown(texts.experience_text(experience)).text
    assert "Your first six answers find your level." in text
    assert "find your level" not in texts.experience_text(experience, Rules(placement_answers=0))


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        (WaitingReviews(0, 0, None), "you haven't missed a question yet"),
        (
            WaitingReviews(0, 1, datetime(2026, 3, 2, 23, tzinfo=UTC)),
            "One question you missed comes back on Tuesday, 3 March",
        ),
        (
            WaitingReviews(0, 4, datetime(2026, 3, 2, 12, tzinfo=UTC)),
            "Four questions you missed come back, the first on Monday, 2 March",
        ),
    ],
)
def test_who_has_nothing_to_review_is_told_when_they_will(waiting: WaitingReviews, words: str) -> None:
    learner = make_learner(timezone="Europe/Berlin")
    assert words in as_shown(texts.no_review_text(waiting, learner)).text


def test_a_question_that_was_missed_says_so() -> None:
    for html in (texts.question_text, lambda quiz: texts.feedback_text(quiz, make_grade())):
        assert "you missed it before" in html(make_quiz(is_review=True, chosen=0))
        assert "you missed it before" not in html(make_quiz(is_review=False, chosen=0))


# ---------------------------------------------------------------- the other pages


@given(
    levels, st.integers(0, 23), zones, st.booleans(), st.booleans(), st.lists(st.sampled_from(list(Topic)), unique=True)
)
def test_every_page_about_a_learner_is_well_formed(
    level: Level,
    hour: int,
    zone: str,
    enabled: bool,  # noqa: FBT001 - drawn
    is_new: bool,  # noqa: FBT001
    topics: list[Topic],
) -> None:
    learner = make_learner(level=level, daily_at=time(hour), timezone=zone, daily_enabled=enabled, topics=tuple(topics))
    for html in (
        texts.welcome_text(learner, is_new=is_new),
        texts.resumed_text(learner),
        texts.settings_text(learner),
    ):
        assert f"{hour:02}:00" in as_shown(html).text
    settings = as_shown(texts.settings_text(learner)).text
    assert zone in settings
    assert all(topic.label in settings for topic in topics)


@pytest.mark.parametrize(
    "name",
    [name for name in dir(texts) if name.isupper() and isinstance(getattr(texts, name), str) and name != "LETTERS"],
)
def test_every_fixed_text_is_well_formed(name: str) -> None:
    assert as_shown(getattr(texts, name)).text


@pytest.mark.parametrize("name", ["REPORT_THANKS", "REPORT_AGAIN", "REPORT_TOO_EARLY"])
def test_a_toast_is_short_and_plain(name: str) -> None:
    """A toast has no markup, at most 200 characters, and goes away before anybody has read more than a line or two."""
    toast = getattr(texts, name)
    assert toast == as_shown(toast).text
    assert len(toast) <= 60


def test_every_reason_of_a_report_has_words_of_its_own() -> None:
    assert set(texts.REASONS) == set(ReportReason)
    assert len(set(texts.REASONS.values())) == len(ReportReason)


def test_privacy_names_everything_that_is_stored() -> None:
    text = as_shown(texts.privacy_text(7)).text
    for stored_thing in ("user id", "settings", "level", "questions", "answers", "missed", "reported", "logs"):
        assert stored_thing in text
    assert "The commands you send and the buttons you tap, for 7 days" in text


def test_every_command_is_explained_in_help() -> None:
    text = texts.help_text()
    for name, about in texts.COMMANDS:
        assert re.fullmatch(r"[a-z0-9_]{1,32}", name)
        assert f"/{name} – {about}" in text
