"""Learners report questions by a button, through the real webhook; enough reports take a question out."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

import prefect_flows
from bot import keyboards, texts
from domain.catalog import Level, QuestionState, QuizState, ReportReason, Topic
from domain.ids import LearnerId, QuizId
from observability import metrics
from quizzes import maintenance
from quizzes import reports as quiz_reports
from tests.support.service import Learner, Message, Service, is_question, rows

NEXT = ["Next question ›"]
ANSWERED = [[*NEXT, "⚑ Report"]]
REASONS = [NEXT, ["The answer is wrong"], ["It is unclear"], ["It is outdated"], ["‹ Back"]]
REPORTED = [[*NEXT, "⚑ Reported"]]
KEY = "streaming-2-0"


def labels(message: Message) -> list[list[str]]:
    return [[button["text"] for button in row] for row in rows(message)]


def quiz_of(question: Message) -> QuizId:
    return QuizId(int(rows(question)[0][0]["callback_data"].split(":")[1]))


async def last(learner: Learner) -> Message:
    return (await learner.messages())[-1]


async def tap(learner: Learner, label: str, expected: list[list[str]]) -> Message:
    """Tap a button under the last message, and return the message once its buttons are the expected ones."""
    await learner.press_labelled(await last(learner), label)
    return await learner.wait_for(lambda message: labels(message) == expected)


async def report(learner: Learner, reason: str = "The answer is wrong") -> Message:
    """Report the answered question at the end of the chat."""
    await tap(learner, "⚑ Report", REASONS)
    return await tap(learner, reason, REPORTED)


async def answered(learner: Learner) -> Message:
    """Get a question, answer it, and return its feedback."""
    return await learner.answer(await learner.get_question(), 0)


async def run(service: Service, statement: str, *values: object) -> list[Any]:
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - a look behind the scenes
    return list(await pool.fetch(statement, *values))


async def reports(service: Service) -> dict[int, str]:
    found = await run(service, "SELECT learner_id, reason FROM question_reports")
    return {row["learner_id"]: row["reason"] for row in found}


async def toasts(service: Service) -> list[str]:
    await service.settled()
    return [request["values"].get("text", "") for request in await service.requests("answerCallbackQuery")]


async def leave_one_question(service: Service) -> None:
    """Take all stored questions out but one, which every new learner then gets first."""
    await run(service, "UPDATE questions SET state = 'retired' WHERE key <> $1", KEY)


async def prompt_of(service: Service) -> str:
    question = await service.runtime.repository.get_question(KEY)
    assert question is not None
    return question.prompt


async def state_of(service: Service) -> QuestionState:
    [entry] = await service.runtime.repository.list_questions(keys=[KEY])
    return entry.state


async def doubt(service: Service, count: int) -> list[Learner]:
    """Let so many new learners answer and report the one question that is left."""
    learners = []
    for reason in (texts.REASONS[ReportReason(one)] for one in ["wrong", "unclear", "outdated", "wrong"][:count]):
        learner = await service.new_learner()
        assert await prompt_of(service) in (await answered(learner))["text"]
        await report(learner, reason)
        learners.append(learner)
    return learners


# ---------------------------------------------------------------- the buttons


async def test_a_question_is_reported_by_two_taps_and_its_text_stays(service: Service) -> None:
    learner = await service.new_learner()
    feedback = await answered(learner)
    assert labels(feedback) == ANSWERED
    counted = metrics.QUESTIONS_REPORTED.labels("unclear")._value.get()  # noqa: SLF001 - the counter's reading
    opened = await tap(learner, "⚑ Report", REASONS)
    done = await tap(learner, "It is unclear", REPORTED)
    assert opened["text"] == done["text"] == feedback["text"]
    assert opened["entities"] == done["entities"] == feedback["entities"]
    assert (await toasts(service))[-2:] == ["", texts.REPORT_THANKS]
    assert await reports(service) == {learner.id: "unclear"}
    assert metrics.QUESTIONS_REPORTED.labels("unclear")._value.get() == counted + 1  # noqa: SLF001
    assert len(await service.requests("editMessageReplyMarkup")) == 2


async def test_back_leaves_everything_as_it_was(service: Service) -> None:
    learner = await service.new_learner()
    feedback = await answered(learner)
    await tap(learner, "⚑ Report", REASONS)
    assert (await tap(learner, "‹ Back", ANSWERED))["text"] == feedback["text"]
    assert await reports(service) == {}
    assert not any(toast.startswith("Thank") for toast in await toasts(service))


async def test_a_learner_counts_once_and_may_change_the_reason(service: Service) -> None:
    learner = await service.new_learner()
    await answered(learner)
    await report(learner, "It is unclear")
    marked = [[text.replace("It is unclear", "• It is unclear") for text in row] for row in REASONS]
    await tap(learner, "⚑ Reported", marked)
    assert (await toasts(service))[-1] == texts.REPORT_AGAIN
    await tap(learner, "‹ Back", REPORTED)
    await tap(learner, "⚑ Reported", marked)
    await tap(learner, "It is outdated", REPORTED)
    assert await reports(service) == {learner.id: "outdated"}


@pytest.mark.parametrize("state", [ANSWERED, REASONS, REPORTED], ids=["answered", "reasons", "reported"])
async def test_the_next_question_is_one_tap_away_in_every_state(service: Service, state: list[list[str]]) -> None:
    learner = await service.new_learner()
    await answered(learner)
    if state is REASONS:
        await tap(learner, "⚑ Report", REASONS)
    if state is REPORTED:
        await report(learner)
    message = await last(learner)
    assert labels(message) == state
    known = len(await learner.messages())
    await learner.press(message)
    assert is_question(await learner.wait_after(known, is_question))


# ---------------------------------------------------------------- what it leads to


async def test_three_learners_take_a_question_out_and_nobody_is_asked_it_again(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    await leave_one_question(service)
    in_flight, late = await service.new_learner(), await service.new_learner()
    question = await in_flight.get_question()
    await answered(late)
    learners = await doubt(service, 2)
    assert await state_of(service) is QuestionState.ACTIVE
    with caplog.at_level(logging.WARNING, logger=quiz_reports.__name__):
        learners += await doubt(service, 1)
        await service.settled()
    assert await state_of(service) is QuestionState.QUARANTINED
    [line] = [record.getMessage() for record in caplog.records if record.name == quiz_reports.__name__]
    assert KEY in line
    assert not any(str(learner.id) in line for learner in learners)

    newcomer = await service.new_learner()
    assert await prompt_of(service) not in (await newcomer.get_question())["text"]
    feedback = await in_flight.answer(question, 1)
    assert "Streak: 1 day" in feedback["text"]
    [quiz] = await service.runtime.repository.get_quizzes([quiz_of(question)])
    assert (quiz.question.key, quiz.state) == (KEY, QuizState.GRADED)

    await report(late, "It is outdated")  # of a question that is out already
    assert (await reports(service))[late.id] == "outdated"
    assert await state_of(service) is QuestionState.QUARANTINED


async def test_a_restored_question_is_asked_again_and_starts_at_zero(service: Service) -> None:
    await leave_one_question(service)
    learners = await doubt(service, 3)
    assert await service.runtime.repository.restore_question(KEY)
    assert await reports(service) == {}
    await tap(learners[0], "⚑ Reported", [[text.replace("The", "• The") for text in row] for row in REASONS])
    await tap(learners[0], "It is unclear", REPORTED)
    await doubt(service, 1)
    assert await state_of(service) is QuestionState.ACTIVE
    await doubt(service, 1)
    assert await state_of(service) is QuestionState.QUARANTINED


async def test_upkeep_takes_out_what_a_crash_left_in_use(service: Service) -> None:
    """A process may end between a report and what follows from it."""
    await leave_one_question(service)
    for _ in range(3):
        learner = await service.new_learner()
        question = await learner.get_question()
        await learner.answer(question, 0)
        assert await service.runtime.repository.report_question(
            quiz_of(question), LearnerId(learner.id), ReportReason.WRONG
        )
    assert await state_of(service) is QuestionState.ACTIVE
    assert (await maintenance.run_upkeep(service.runtime.context)).quarantined == 1
    assert (await maintenance.run_upkeep(service.runtime.context)).quarantined == 0
    assert await state_of(service) is QuestionState.QUARANTINED


# ---------------------------------------------------------------- what must not happen


async def test_a_quiz_that_is_not_theirs_cannot_be_reported(service: Service) -> None:
    owner, stranger = await service.new_learner(), await service.new_learner()
    question = await owner.get_question()
    await owner.answer(question, 0)
    own = await answered(stranger)
    for data in ("r:{}:", "r:{}:wrong", "rb:{}:wrong", "rq:{}:wrong"):
        await stranger.forge(own, data.format(quiz_of(question)))
    assert (await toasts(service))[-4:] == ["This question is somebody else's. /quiz gets you one of your own."] * 4
    assert await last(stranger) == own
    assert labels(await last(owner)) == ANSWERED
    assert await reports(service) == {}


async def test_a_question_is_answered_before_it_is_reported(service: Service) -> None:
    learner = await service.new_learner()
    question = await learner.get_question()
    for data in ("r:{}:", "rb:{}:", "rq:{}:wrong"):
        await learner.forge(question, data.format(quiz_of(question)))
    assert (await toasts(service))[-3:] == [texts.REPORT_TOO_EARLY] * 3
    assert await last(learner) == question
    assert await reports(service) == {}


FORGERIES = ["rq:{}:", "rq:{}:boring", "rq:{}:WRONG", "rq:{}", "r:{}", "r:{}:::", "rq:0:wrong", "rq:-1:wrong", "rb:x:"]


async def test_forged_data_does_nothing(service: Service) -> None:
    learner = await service.new_learner()
    question = await learner.get_question()
    feedback = await learner.answer(question, 0)
    for data in [*FORGERIES, "rq:999999999:wrong"]:
        await learner.forge(feedback, data.format(quiz_of(question)))
    assert "no longer works" in (await toasts(service))[-1]
    assert await last(learner) == feedback
    assert await reports(service) == {}


async def test_reports_delivered_again_change_nothing(service: Service) -> None:
    learner = await service.new_learner()
    await answered(learner)
    await report(learner, "It is outdated")
    await service.settled()
    before = await learner.messages()
    await service.telegram.post("/api/redeliveries", json={"times": 3, "seed": 7})
    await service.settled()
    assert await reports(service) == {learner.id: "outdated"}
    assert await learner.messages() == before


async def test_an_erased_learner_is_unknown_and_their_old_buttons_say_so(service: Service) -> None:
    learner = await service.new_learner()
    feedback = await answered(learner)
    await report(learner)
    document = json.loads(await service.runtime.repository.export_learner(LearnerId(learner.id)) or "{}")
    assert [row["reason"] for row in document["reports"]] == ["wrong"]
    await learner.press_labelled(await learner.ask("/erase", "Erase everything?"), "Yes, erase")
    await learner.wait_for(lambda message: "is deleted" in message["text"])
    await service.settled()
    assert await reports(service) == {}

    await learner.press_labelled({**feedback, "reply_markup": await old_buttons(learner, feedback)}, "⚑ Reported")
    await learner.wait_for(lambda message: "don't know you" in message["text"])
    assert "no longer works" in (await toasts(service))[-1]
    await learner.ask("/start", "Welcome")  # known again, but the old quiz is gone
    told = len(await learner.messages())
    await learner.press_labelled({**feedback, "reply_markup": await old_buttons(learner, feedback)}, "⚑ Reported")
    assert "no longer works" in (await toasts(service))[-1]
    assert await reports(service) == {}
    assert len(await learner.messages()) == told


async def old_buttons(learner: Learner, old: Message) -> Message:
    """Return the present buttons of a message further up in the chat."""
    [message] = [one for one in await learner.messages() if one["message_id"] == old["message_id"]]
    return dict(message["reply_markup"])


async def test_a_report_counts_although_its_learner_blocks_the_bot_right_after(service: Service) -> None:
    learner = await service.new_learner()
    await answered(learner)
    await tap(learner, "⚑ Report", REASONS)
    await service.telegram.post("/api/faults", json={"method": "editMessageReplyMarkup", "kind": "403"})
    await learner.press_labelled(await last(learner), "It is unclear")
    await service.settled()
    assert await reports(service) == {learner.id: "unclear"}
    state = await service.runtime.repository.get_user_state(LearnerId(learner.id))
    assert state is not None
    assert state.blocked
    await tap(learner, "It is outdated", REPORTED)  # back again, on the same buttons
    assert await reports(service) == {learner.id: "outdated"}


async def test_buttons_change_once_telegram_answers_again(service: Service) -> None:
    learner = await service.new_learner()
    await answered(learner)
    await tap(learner, "⚑ Report", REASONS)
    await service.telegram.post("/api/faults", json={"method": "editMessageReplyMarkup", "kind": "502"})
    await tap(learner, "It is unclear", REPORTED)
    assert await reports(service) == {learner.id: "unclear"}


@pytest.mark.parametrize("shown", [True, False], ids=["deleted", "too old to be named"])
async def test_a_report_under_a_message_that_is_gone_still_counts(service: Service, *, shown: bool) -> None:
    learner = await service.new_learner()
    question = await learner.get_question()
    await learner.answer(question, 0)
    await service.runtime.accounts.first.gateway.bot.delete_message(learner.id, question["message_id"])
    callback = {
        "id": "1",
        "from": {"id": learner.id, "is_bot": False, "first_name": "Ada"},
        "chat_instance": "1",
        "data": f"rq:{quiz_of(question)}:wrong",
    }
    if shown:
        chat = {"id": learner.id, "type": "private"}
        callback["message"] = {"message_id": question["message_id"], "date": 0, "chat": chat}
    before = await learner.messages()
    await service.telegram.post("/api/updates", json={"callback_query": callback})
    assert (await toasts(service))[-1] == texts.REPORT_THANKS
    assert await reports(service) == {learner.id: "wrong"}
    assert await learner.messages() == before


# ---------------------------------------------------------------- what operators see


async def newest_table(key: str) -> tuple[list[dict[str, Any]], str]:
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        found = await client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    return json.loads(str(found[0].data)), found[0].description or ""


@pytest.mark.prefect
async def test_operators_read_what_is_reported_and_what_to_do(service_with_prefect: Service) -> None:
    service = service_with_prefect
    await prefect_flows.upkeep()
    assert (await newest_table("reported-questions"))[0] == [{"question": "nothing is reported"}]
    await leave_one_question(service)
    learners = await doubt(service, 1)
    await prefect_flows.upkeep()
    [row] = (await newest_table("reported-questions"))[0]
    assert (row["state"], row["what to do"]) == ("active", "show")
    learners += await doubt(service, 2)
    await prefect_flows.upkeep()
    table, about = await newest_table("reported-questions")
    [row] = table
    last_report = datetime.strptime(row.pop("last (UTC)"), "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    assert timedelta() <= datetime.now(UTC) - last_report < timedelta(minutes=5)
    assert row == {
        "question": KEY,
        "topic": Topic.STREAMING.label,
        "level": Level.INTERMEDIATE.label,
        "source": "static",
        "state": "quarantined",
        "reports": "2 wrong, 1 unclear",
        "what to do": "show, restore if right",
    }
    for command in ("python main.py questions show KEY", "python main.py questions restore KEY"):
        assert command in about
    assert not any(str(learner.id) in f"{table}{about}" for learner in learners)
    [upkeep], _ = await newest_table("upkeep")
    assert upkeep["quarantined"] == 0  # the third report did it at once


def test_the_keyboards_of_a_report_lead_into_each_other() -> None:
    """What one button shows is where the next one starts, whatever was reported before."""
    for reported in (None, *ReportReason):
        feedback = keyboards.feedback_keyboard(QuizId(7), reported)
        reasons = keyboards.report_keyboard(QuizId(7), reported)
        assert feedback.inline_keyboard[0][0] == reasons.inline_keyboard[0][0]
        assert str(feedback.inline_keyboard[0][1].callback_data) == f"r:7:{reported or ''}"
        assert str(reasons.inline_keyboard[-1][0].callback_data) == f"rb:7:{reported or ''}"
