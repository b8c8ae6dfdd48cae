"""Replays what is stored: every answer from the state before it, every tap in order, every day. Pure.

Theory of operation. Grading is pure, and an answer is stored with all that its grade was worked out from, so working it
out again must give what is stored. A learner's grades form a chain: each begins where the one before ended, the first
at nothing, the last is how the learner stands, and their number is the learner's version. A grade that was lost,
counted twice or worked out from a stale state breaks the chain, whatever it left elsewhere.

What cannot be replayed: which of two dates a learner's latest day was after they had moved to another time zone, since
only the present zone is stored (either date is accepted then), grades from before their facts were kept (only their
chain is looked at), and levels by earlier rules. Settings of the level machine are taken as they are now.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from adaptation.ratings import QUESTION_PRIORS, expected_success, update_ratings
from adaptation.reviews import remember
from difficulty_adapter import LEVEL_RULES, Rules, advance_streak, calculate_adaptation
from domain.callbacks import AnswerTap, read_callback
from domain.catalog import UNKNOWN_CHOICE, QuizKind, QuizState
from domain.ids import LearnerId, QuestionId, QuizId
from domain.learning import Memory, Rating
from domain.models import Grade, Learner, Progress
from domain.updates import UpdateKind
from quizzes.grading import read_answer
from roles.replay.records import Records, StoredAnswer, StoredItem, StoredQuiz, StoredUpdate

STORING = timedelta(milliseconds=100)
"""Two updates that arrive closer together may be stored in either order."""

OPEN = {QuizState.PENDING, QuizState.SENDING, QuizState.SENT, QuizState.FAILED}


def replay(records: Records, rules: Rules, *, settled: bool = True) -> list[str]:
    """Return one line for each thing that is not as it would have been without faults.

    Args:
        settled: whether nothing is under way, so that whatever is unfinished was forgotten.
    """
    lines = [*check_taps(records), *check_answers(records), *check_days(records), *check_items(records)]
    for learner_id, chain in records.of_learners().items():
        lines += check_chain(records, learner_id, chain, rules)
        lines += check_reviews(records, learner_id, chain)
    return [*check_unfinished(records), *lines] if settled else lines


# ---------------------------------------------------------------- updates


def check_unfinished(records: Records) -> Iterator[str]:
    """Yield what nobody has finished: updates, sendings, grades, feedback."""
    for update in records.updates:
        if update.state not in {"done", "failed"}:
            yield f"{update.name} is still {update.state} after {update.attempts} attempts"
        elif update.state == "failed" and not update.error:
            yield f"{update.name} was given up without a reason"
    for quiz in records.quizzes.values():
        if quiz.state in {QuizState.PENDING, QuizState.SENDING}:
            yield f"quiz {quiz.id} is still {quiz.state}"
        elif quiz.state is QuizState.ANSWERED:
            yield f"quiz {quiz.id} is answered and not graded"
        elif quiz.state is QuizState.GRADED and quiz.feedback_at is None:
            yield f"quiz {quiz.id} is graded and its feedback was not sent"


def check_taps(records: Records) -> Iterator[str]:
    """Yield answers that are not the learner's first tap, and taps that should have been one."""
    taps = taps_by_quiz(records)
    known_since = min((update.received_at for update in records.updates), default=None)
    for quiz in records.quizzes.values():
        own = taps.get(quiz.id, [])
        if quiz.chosen is None:
            if own and quiz.state in OPEN | {QuizState.EXPIRED}:
                yield f"{own[0][0].name} answers quiz {quiz.id}, which is {quiz.state}"
            continue
        counted = next((update for update, place in own if _is_answer(quiz, update, place)), None)
        if counted is None:
            if quiz.answered_at and known_since and quiz.answered_at >= known_since:
                yield f"quiz {quiz.id} holds an answer that no tap gave"
            continue
        for update, _ in own:
            if update.update_id < counted.update_id and update.received_at + STORING < counted.received_at:
                yield f"quiz {quiz.id} counts {counted.name}, although {update.name} came first"


def taps_by_quiz(records: Records) -> dict[QuizId, list[tuple[StoredUpdate, int]]]:
    """Return the handled taps that may answer each quiz, each with its button, in the order of their ids."""
    taps: dict[QuizId, list[tuple[StoredUpdate, int]]] = defaultdict(list)
    for update in sorted(records.updates, key=lambda update: update.update_id):
        tap = _answer_of(update)
        quiz = records.quizzes.get(QuizId(tap.quiz_id)) if tap else None
        if tap and quiz and quiz.learner_id == update.learner_id and update.received_at < quiz.expires_at:
            taps[quiz.id].append((update, tap.place))
    return taps


def _answer_of(update: StoredUpdate) -> AnswerTap | None:
    if update.kind is not UpdateKind.TAP or update.state != "done":
        return None
    callback = read_callback(update.content)
    return callback if isinstance(callback, AnswerTap) else None


def _is_answer(quiz: StoredQuiz, update: StoredUpdate, place: int) -> bool:
    chosen = UNKNOWN_CHOICE if place == UNKNOWN_CHOICE else quiz.option_order[place]
    return chosen == quiz.chosen and update.received_at == quiz.answered_at


# ---------------------------------------------------------------- answers


def check_answers(records: Records) -> Iterator[str]:
    """Yield quizzes and answers that do not belong together."""
    for quiz in records.quizzes.values():
        if quiz.state is QuizState.GRADED and quiz.id not in records.answers:
            yield f"quiz {quiz.id} is graded and has no grade"
    for quiz_id, answer in records.answers.items():
        asked = records.quizzes.get(quiz_id)
        if asked is None or asked.state is not QuizState.GRADED:
            yield f"quiz {quiz_id} has a grade and is {asked.state if asked else 'gone'}"
            continue
        if (answer.chosen, answer.answered_at) != (asked.chosen, asked.answered_at):
            yield f"quiz {quiz_id} was graded for another answer than it holds"
        right = answer.chosen == asked.correct_index
        if answer.grade.correct != right and asked.question_changed_at < answer.answered_at:
            yield f"quiz {quiz_id} was graded as {_word(correct=answer.grade.correct)}, it is {_word(correct=right)}"


def _word(*, correct: bool) -> str:
    return "right" if correct else "wrong"


def check_days(records: Records) -> Iterator[str]:
    """Yield learners with two daily quizzes on one of their days."""
    days = Counter(
        (quiz.learner_id, quiz.local_day) for quiz in records.quizzes.values() if quiz.kind is QuizKind.DAILY
    )
    for (learner_id, day), count in days.items():
        if count > 1:
            yield f"learner {learner_id} has {count} daily quizzes for {day}"


def check_items(records: Records) -> Iterator[str]:
    """Yield items whose rating is not the sum of what answers added to it.

    Args:
        records: what is stored; an item that was answered by learners who are gone cannot be added up.
    """
    steps: dict[str, list[float]] = defaultdict(list)
    for answer in records.answers.values():
        quiz = records.quizzes.get(answer.grade.quiz_id)
        if quiz and answer.rated and answer.ability_before and answer.difficulty:
            _, after = update_ratings(answer.ability_before, answer.difficulty, correct=answer.grade.correct)
            steps[quiz.item].append(after.mean - answer.difficulty.mean)
    for item, moves in steps.items():
        stored = records.items.get(item, StoredItem(math.nan, 0))
        if stored.answers < len(moves):
            yield f"item {item} was rated by {len(moves)} answers and counts {stored.answers}"
        elif stored.answers == len(moves) and not any(
            _same(stored.difficulty, prior.mean + sum(moves)) for prior in QUESTION_PRIORS.values()
        ):
            yield f"item {item} stands at {stored.difficulty:.4f}, which its {len(moves)} answers do not add up to"


# ---------------------------------------------------------------- chains of grades


@dataclass(slots=True)
class _Standing:
    """Where a replay has come to in a learner's chain."""

    grade: Grade | None = None
    ability: Rating | None = None
    last_days: frozenset[date | None] = frozenset({None})
    """What the latest day with an answer may be."""
    last_at: datetime | None = None


def check_chain(records: Records, learner_id: LearnerId, chain: Sequence[StoredAnswer], rules: Rules) -> Iterator[str]:
    """Yield where a learner's grades do not follow from each other.

    Args:
        chain: in the order in which they were graded.
    """
    learner = records.learners.get(learner_id)
    if learner is None:
        yield f"learner {learner_id} has {len(chain)} grades and is gone"
        return
    standing, answered = _Standing(), set[QuestionId]()
    for answer in chain:
        yield from _check_link(standing, answer)
        quiz = records.quizzes.get(answer.grade.quiz_id)
        if quiz and answer.success is not None:
            first = not (quiz.is_review or quiz.question_id in answered)
            yield from _check_rating(answer, first=first)
        if quiz:
            answered.add(quiz.question_id)
        yield from _check_move(standing, answer, rules)
        yield from _check_streak(standing, answer, learner, rules)
        standing.grade, standing.ability = answer.grade, answer.ability_after
        standing.last_at = max(answer.answered_at, standing.last_at or answer.answered_at)
    yield from _check_learner(learner, records.best_streaks[learner_id], chain, standing)


def _check_link(standing: _Standing, answer: StoredAnswer) -> Iterator[str]:
    """Compare where a grade begins with where the one before ended."""
    before, now = standing.grade, answer.grade
    names, begins = "points, run, streak, freezes", _counts(now.before)
    ended = _counts(before.after) if before else (0,) * len(begins)
    if before and before.level_rules != now.level_rules:  # whose points are kept apart
        names, begins, ended = "run, streak, freezes", begins[1:], ended[1:]
    if begins != ended:
        yield f"quiz {now.quiz_id} was graded from {names} {begins}, not from {ended}"
    if before and now.before.level != before.after.level:
        yield f"quiz {now.quiz_id} was graded from level {now.before.level:d}, not from {before.after.level:d}"
    if standing.ability and answer.ability_before and answer.ability_before != standing.ability:
        yield f"quiz {now.quiz_id} was graded from another ability than the one before left"


def _counts(progress: Progress) -> tuple[int, ...]:
    return progress.points, progress.run, progress.streak.days, progress.streak.freezes


def _check_rating(answer: StoredAnswer, *, first: bool) -> Iterator[str]:
    """Work out again how an answer moved the ratings."""
    name = f"quiz {answer.grade.quiz_id}"
    if answer.rated != first:
        yield f"{name} {'moved' if answer.rated else 'did not move'} the ratings, {'first' if first else 'not first'}"
    if not (answer.ability_before and answer.ability_after and answer.difficulty and answer.success is not None):
        yield f"{name} is stored with a part of its facts"
        return
    success = expected_success(answer.ability_before.mean, answer.difficulty.mean)
    after = answer.ability_before
    if answer.rated:
        after, _ = update_ratings(answer.ability_before, answer.difficulty, correct=answer.grade.correct)
    if not (
        _same(success, answer.success)
        and _same(after.mean, answer.ability_after.mean)
        and _same(after.variance, answer.ability_after.variance)
    ):
        yield f"{name} left ability {answer.ability_after.mean:.4f}, a replay {after.mean:.4f}"


def _check_move(standing: _Standing, answer: StoredAnswer, rules: Rules) -> Iterator[str]:
    """Work out again level, points, run and placement."""
    grade = answer.grade
    if grade.level_rules != LEVEL_RULES or answer.ability_after is None or grade.difficulties is None:
        return
    progress = grade.before
    if standing.grade:
        progress = replace(progress, placement_left=standing.grade.after.placement_left)
    given = read_answer(answer.chosen, correct=grade.correct)
    replayed = calculate_adaptation(
        progress, given, grade.local_day, answer.ability_after, rules, grade.difficulties
    ).after
    stored = (grade.after.level, grade.after.points, grade.after.run, grade.after.placement_left)
    wanted = (replayed.level, replayed.points, replayed.run, replayed.placement_left)
    if stored != wanted:
        yield f"quiz {grade.quiz_id} led to level, points, run, placement {_plain(stored)}, a replay {_plain(wanted)}"


def _plain(values: tuple[int, ...]) -> str:
    return ", ".join(str(int(value)) for value in values)


def _check_streak(standing: _Standing, answer: StoredAnswer, learner: Learner, rules: Rules) -> Iterator[str]:
    """Work out again the daily streak, from each day that the latest one may have been."""
    grade, possible = answer.grade, set[date | None]()
    for day in _last_days_here(standing, answer, learner):
        after = advance_streak(replace(grade.before.streak, last_day=day), grade.local_day, rules)
        if (after.days, after.freezes) == (grade.after.streak.days, grade.after.streak.freezes):
            possible.add(max(grade.local_day, day or grade.local_day))
    if not possible:
        yield f"quiz {grade.quiz_id} led to a streak of {grade.after.streak.days}, which a replay does not find"
        possible = {grade.local_day}
    standing.last_days = frozenset(possible)


def _last_days_here(standing: _Standing, answer: StoredAnswer, learner: Learner) -> set[date | None]:
    """Return what the latest day may have been, as the calendar had it where the learner was at the answer."""
    days: set[date | None] = set()
    for day in standing.last_days:
        if day is None or standing.last_at is None:
            days.add(day)
        elif learner.local_day(answer.answered_at) == answer.grade.local_day:
            days.add(max(day, learner.local_day(standing.last_at)))
            days.add(day)
        else:  # they lived in another zone then
            days |= {day, day + timedelta(days=1)}
    return days


def _check_learner(
    learner: Learner, best_streak: int, chain: Sequence[StoredAnswer], standing: _Standing
) -> Iterator[str]:
    """Compare how a learner stands with where their chain ended."""
    if learner.version != len(chain):
        yield f"learner {learner.id} was graded {learner.version} times and has {len(chain)} grades"
    if standing.grade is None:
        return
    last = standing.grade.after
    points = learner.level_progress if standing.grade.level_rules == LEVEL_RULES else last.points
    stands = (learner.level, points, learner.run, learner.placement_left, learner.streak_days, learner.freezes)
    ended = (last.level, last.points, last.run, last.placement_left, last.streak.days, last.streak.freezes)
    if stands != ended:
        yield (
            f"learner {learner.id} stands at level, points, run, placement, streak, freezes {_plain(stands)}, "
            f"the last grade ended at {_plain(ended)}"
        )
    if standing.ability and Rating(learner.ability, learner.ability_variance) != standing.ability:
        yield f"learner {learner.id} has another ability than the last grade left"
    if learner.last_answer_day not in standing.last_days:
        yield f"learner {learner.id} answered last on {learner.last_answer_day}, by their grades not"
    if learner.last_answer_at != standing.last_at:
        yield f"learner {learner.id} answered last at {learner.last_answer_at}, by their grades at {standing.last_at}"
    if best_streak != max(answer.grade.after.streak.days for answer in chain):
        yield f"learner {learner.id} has a best streak of {best_streak}, which no grade reached"


def check_reviews(records: Records, learner_id: LearnerId, chain: Sequence[StoredAnswer]) -> Iterator[str]:
    """Yield reviews that are not planned as the learner's answers ask for.

    Args:
        chain: in the order in which answers were graded.
    """
    planned: dict[str, Memory | None] = {}
    for answer in chain:
        quiz = records.quizzes.get(answer.grade.quiz_id)
        if quiz and answer.success is not None:
            planned[quiz.item] = remember(planned.get(quiz.item), answer.answered_at, correct=answer.grade.correct)
    for item, memory in planned.items():
        stored = records.reviews.get((learner_id, item))
        if (memory is None) != (stored is None):
            yield f"learner {learner_id} {'is not' if memory else 'is'} to review {item}, a replay says otherwise"
        elif memory and stored and not (_same(memory.stability, stored.stability) and memory.due_at == stored.due_at):
            yield f"learner {learner_id} is to review {item} at {stored.due_at}, a replay says {memory.due_at}"


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
