"""Blind answers: whoever does not know the key must find it, in every order of the options, or nobody is asked."""

from __future__ import annotations

import json
import re

import pytest

from domain.catalog import GenerationOutcome
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import Desk, fresh_question
from tests.support.llm_server import Json, Reply, blind_answer, completion, failure, written
from tests.support.waiting import WAIT_SECONDS

OPTION = re.compile(r"^([ABCD])\. (.*)$", re.MULTILINE)


def shown(request: Json) -> dict[str, str]:
    """Return the letters and options that a blind request shows."""
    return dict(OPTION.findall(request["messages"][-1]["content"]))


async def refused(desk: Desk, question: Json, reason: str) -> None:
    """Have a question made that must end quarantined for this reason, and reach nobody."""
    made = await desk.make(question)
    assert (made.outcome, made.reason) == (GenerationOutcome.QUARANTINED, reason)
    row = (await desk.rows())[-1]
    assert (row["outcome"], row["reason"], row["state"], row["state_reason"]) == (
        "quarantined",
        reason,
        "quarantined",
        reason,
    )
    assert await desk.reaches_nobody()


# ---------------------------------------------------------------- orders


@pytest.mark.parametrize("answers", [1, 2, 3, 4])
async def test_every_answer_sees_all_options_in_another_order(new_desk: NewDesk, answers: int) -> None:
    desk = new_desk(openai_blind_answers=answers)
    question = fresh_question()
    assert (await desk.make(question)).outcome is GenerationOutcome.ACCEPTED
    orders = [tuple(shown(request).values()) for request in desk.llm.blind_requests]
    assert len(set(orders)) == answers
    texts = sorted(option["text"] for option in question["options"])
    assert all(sorted(order) == texts for order in orders)
    right = question["options"][1]["text"]
    assert len({order.index(right) for order in orders}) == answers


# ---------------------------------------------------------------- keys that only a reader can find wrong


async def test_a_wrong_key_of_a_question_without_code_is_caught_by_those_who_answer_blind(desk: Desk) -> None:
    question = fresh_question()
    desk.llm.answer(written(question, right_option=question["options"][3]["text"]))
    made = await desk.make()
    assert (made.outcome, made.reason) == (
        GenerationOutcome.QUARANTINED,
        "blind: 0 of 3 answers agreed with the key",
    )
    assert await desk.reaches_nobody()


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize("answers", [2, 3, 4, 9])
async def test_a_model_that_likes_a_letter_is_not_believed(new_desk: NewDesk, letter: str, answers: int) -> None:
    desk = new_desk(openai_blind_answers=answers)
    desk.llm.answer_blind(blind_answer(letter))
    made = await desk.make(fresh_question())
    assert made.outcome is GenerationOutcome.QUARANTINED
    assert made.reason
    assert made.reason.endswith(f"of {answers} answers agreed with the key")
    assert await desk.reaches_nobody()
    assert len(desk.llm.blind_requests) == answers


async def test_one_answer_that_disagrees_is_enough(desk: Desk) -> None:
    question = fresh_question()
    desk.llm.answer(written(question))
    asked: list[Json] = desk.llm.blind_requests
    honest = desk.llm.reply_to

    def one_errs(request: Json) -> Reply:
        reply = honest(request)
        if asked and request is asked[-1] and len(asked) == 2:
            letters = shown(request)
            return blind_answer(next(x for x, text in letters.items() if text == question["options"][0]["text"]))
        return reply

    desk.llm.script = one_errs
    await refused(desk, question, "blind: 2 of 3 answers agreed with the key")


async def test_whoever_finds_it_flawed_is_heard_even_if_the_letter_is_right(new_desk: NewDesk) -> None:
    desk = new_desk(openai_blind_answers=1)
    question = fresh_question()
    right = question["options"][1]["text"]
    desk.llm.script = lambda request: (
        written(question)
        if "BlindAnswer" not in json.dumps(request["response_format"])
        else blind_answer(next(x for x, text in shown(request).items() if text == right), flawed=True)
    )
    await refused(desk, question, "blind: found it flawed")


# ---------------------------------------------------------------- answers that do not come

BROKEN: dict[str, tuple[Reply, str]] = {
    "never": (Reply(b"", delay=30), "timeout"),
    "an error": (failure(500), "http_500: it failed"),
    "too many requests": (failure(429, retry_after="9"), "rate_limited: it failed"),
    "no JSON": (completion("It is B."), "malformed"),
    "half of the JSON": (completion('{"reasoning": "Worked'), "malformed"),
    "cut off by the limit": (completion('{"reasoning": "Worked', finish="length"), "truncated"),
    "no such letter": (blind_answer("E"), "malformed"),
    "a small letter": (blind_answer("b"), "malformed"),
    "no letter": (completion(json.dumps({"reasoning": "Hm.", "flawed": False})), "malformed"),
    "a refusal": (completion(None, refusal="I cannot help with that."), "refused"),
    "a filter": (completion(None, finish="content_filter"), "filtered"),
    "nothing": (completion(""), "malformed"),
    "a page": (Reply(b"<html>Please sign in</html>", 200, "text/html"), "malformed"),
    "half of the response": (Reply(blind_answer("A").body, cut=True), "unreachable"),
}


@pytest.mark.parametrize("what", sorted(BROKEN))
@pytest.mark.parametrize("place", [0, 2])
async def test_an_answer_that_does_not_come_leaves_the_question_unproved(
    what: str, place: int, new_desk: NewDesk
) -> None:
    reply, reason = BROKEN[what]
    desk = new_desk(openai_timeout_seconds=2 if reason == "timeout" else WAIT_SECONDS)
    honest = desk.llm.reply_to

    def break_one(request: Json) -> Reply:
        answered = honest(request)
        return reply if len(desk.llm.blind_requests) == place + 1 else answered

    desk.llm.script = break_one
    await refused(desk, fresh_question(), f"unverified: {reason}")
    assert await desk.redis.get("quiz:llm:failures") == b"1"


async def test_of_several_failures_the_one_that_asks_to_wait_is_heeded(desk: Desk) -> None:
    desk.llm.answer_blind(failure(500), failure(429, retry_after="77"), failure(500))
    await refused(desk, fresh_question(), "unverified: rate_limited: it failed")
    assert 70 < await desk.redis.ttl("quiz:llm:closed") <= 77
