"""Servers that speak OpenAI's protocol with an accent: asked again as they want it, and quoted when they refuse."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from domain.catalog import GenerationOutcome
from domain.errors import ModelUnavailableError
from question_sources.llm.breaker import FAILURES
from question_sources.llm.dialects import MAX_SCHEMA_CHARACTERS, MAX_SENTENCE_LENGTH, read, schema_of
from question_sources.llm.forms import BlindAnswer, WrittenQuestion
from tests.conftest import ROOT
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import Desk, fresh_question
from tests.support.llm_server import Json, Reply, as_json, completion, failure, written

FORBIDDEN = {
    "type": "extra_forbidden",
    "loc": ["body", "max_completion_tokens"],
    "msg": "Extra inputs are not permitted",
}

NO_SUCH_LIMIT: dict[str, Reply] = {
    "Mistral": as_json({"object": "error", "message": {"detail": [FORBIDDEN]}, "type": "invalid_request_error"}, 422),
    "Mistral, as text": as_json(
        {"object": "error", "message": json.dumps({"detail": [FORBIDDEN]}), "code": "1000"}, 422
    ),
    "FastAPI": as_json({"detail": [FORBIDDEN | {"input": 8000}]}, 422),
    "vLLM": as_json(
        {"object": "error", "message": "[{'loc': ('body', 'max_completion_tokens')}]", "type": "BadRequestError"}, 400
    ),
    "Azure": failure(400, "Unrecognized request argument supplied: max_completion_tokens"),
    "LiteLLM": failure(400, "litellm.UnsupportedParamsError: x does not support parameters: ['max_completion_tokens']"),
}
"""How servers refuse the newer name of the limit: shapes from public reports."""

NO_SCHEMA: dict[str, Reply] = {
    "DeepSeek": failure(400, "This response_format type is unavailable now"),
    "DeepSeek, before": Reply(
        b"Failed to deserialize: response_format.type `json_schema` is unavailable now", 422, "text/plain"
    ),
    "Groq": failure(400, "This model does not support response format `json_schema`."),
    "Azure": failure(400, "response_format value as json_schema is enabled only for some API versions"),
    "OpenRouter": as_json(
        {"error": {"message": "No endpoints found that can handle the requested parameters.", "code": 404}}, 404
    ),
    "Ollama": as_json({"error": "invalid JSON schema in format"}, 400),
    "a grammar": failure(400, "The compiled grammar is too large"),
}

Refuse = Callable[[Json], Reply | None]


def speak(desk: Desk, *refusals: Refuse) -> list[Json]:
    """Let the server refuse what it does not know, and return the list of what it is asked."""
    seen: list[Json] = []

    def answer(request: Json) -> Reply:
        seen.append(request)
        refused = next((reply for refuse in refusals if (reply := refuse(request))), None)
        return refused or desk.llm.reply_to(request)

    desk.llm.script = answer
    return seen


def unless(reply: Reply, condition: Callable[[Json], bool]) -> Refuse:
    """Refuse what fulfils a condition."""
    return lambda request: reply if condition(request) else None


def form_of(request: Json) -> Any:
    """Return the kind of form that a request asks for."""
    return request.get("response_format", {}).get("type")


@pytest.mark.parametrize("name", NO_SUCH_LIMIT)
async def test_a_server_that_knows_only_the_old_limit_is_asked_with_it_from_then_on(desk: Desk, name: str) -> None:
    seen = speak(desk, unless(NO_SUCH_LIMIT[name], lambda request: "max_completion_tokens" in request))
    made = await desk.make(fresh_question())
    assert made.outcome is GenerationOutcome.ACCEPTED
    assert ["max_tokens" in request for request in seen] == [False, True, True, True, True]
    assert [request.get("max_tokens") for request in seen[1:3]] == [8000, 4000]
    await desk.make(fresh_question())
    assert all("max_tokens" in request for request in seen[5:])


@pytest.mark.parametrize("name", NO_SCHEMA)
async def test_a_server_without_schemas_is_asked_for_json_with_the_schema_in_the_prompt(desk: Desk, name: str) -> None:
    seen = speak(desk, unless(NO_SCHEMA[name], lambda request: form_of(request) == "json_schema"))
    assert (await desk.make(fresh_question())).outcome is GenerationOutcome.ACCEPTED
    assert [form_of(request) for request in seen] == ["json_schema", *["json_object"] * 4]
    assert '"reference_url"' in seen[1]["messages"][0]["content"]
    assert "JSON" in seen[1]["messages"][0]["content"]  # some servers insist on the word
    assert '"flawed"' in seen[2]["messages"][0]["content"]


@pytest.mark.parametrize("name", NO_SCHEMA)
async def test_a_server_without_json_mode_is_asked_in_words_alone(desk: Desk, name: str) -> None:
    seen = speak(desk, unless(NO_SCHEMA[name], lambda request: "response_format" in request))
    assert (await desk.make(fresh_question())).outcome is GenerationOutcome.ACCEPTED
    assert [form_of(request) for request in seen] == ["json_schema", "json_object", None, None, None, None]
    assert '"reference_url"' in seen[2]["messages"][0]["content"]


async def test_both_accents_at_once_are_learned(desk: Desk) -> None:
    seen = speak(
        desk,
        unless(NO_SUCH_LIMIT["Mistral"], lambda request: "max_completion_tokens" in request),
        unless(NO_SCHEMA["DeepSeek"], lambda request: form_of(request) == "json_schema"),
    )
    assert (await desk.make(fresh_question())).outcome is GenerationOutcome.ACCEPTED
    assert len(seen) == 6
    assert "max_tokens" in seen[-1]
    assert form_of(seen[-1]) == "json_object"


TAKEN: dict[str, Callable[[Json], bool]] = {
    "JSON mode": lambda request: form_of(request) == "json_object",
    "JSON mode with the new limit": lambda request: (
        form_of(request) == "json_object" and "max_completion_tokens" in request
    ),
    "words alone": lambda request: "response_format" not in request,
    "words alone with the old limit": lambda request: "response_format" not in request and "max_tokens" in request,
}


@pytest.mark.parametrize("name", TAKEN)
async def test_a_server_that_quotes_the_request_in_its_refusal_is_understood_too(desk: Desk, name: str) -> None:
    def refuse(request: Json) -> Reply | None:
        return None if TAKEN[name](request) else failure(400, f"cannot serve {json.dumps(request)}")

    seen = speak(desk, refuse)
    assert (await desk.make(fresh_question())).outcome is GenerationOutcome.ACCEPTED
    assert 1 < len(seen) <= 9
    assert all(TAKEN[name](request) for request in seen[-4:])


async def test_what_a_model_takes_says_nothing_about_another(new_desk: NewDesk) -> None:
    desk = new_desk(openai_model="small", openai_review_model="large")
    refusal = unless(
        NO_SCHEMA["Groq"], lambda request: request["model"] == "small" and form_of(request) == "json_schema"
    )
    seen = speak(desk, refusal)
    assert (await desk.make(fresh_question())).outcome is GenerationOutcome.ACCEPTED
    assert [form_of(request) for request in seen] == ["json_schema", "json_object", *["json_schema"] * 3]


async def test_refusals_cost_nothing(desk: Desk) -> None:
    speak(desk, unless(NO_SUCH_LIMIT["Mistral"], lambda request: "max_completion_tokens" in request))
    made = await desk.make(fresh_question())
    (row,) = await desk.rows()
    assert (row["calls"], row["prompt_tokens"], row["completion_tokens"]) == (5, 4 * 300, 4 * 400)
    assert row["cost"] == made.spending.cost == Decimal("0.0035")


@pytest.mark.parametrize(
    "reply",
    [
        NO_SUCH_LIMIT["Mistral"],
        NO_SCHEMA["Groq"],
        failure(400, "no such model"),
        failure(400, "no max_tokens, max_completion_tokens or response_format"),
    ],
)
async def test_a_server_that_refuses_everything_is_asked_a_few_times_at_most(desk: Desk, reply: Reply) -> None:
    seen = speak(desk, lambda _: reply)
    assert (await desk.make()).outcome is GenerationOutcome.FAILED
    assert 1 <= len(seen) <= 6
    assert len({(form_of(request), "max_tokens" in request) for request in seen}) == len(seen)
    assert (await desk.rows())[0]["cost"] == 0


# ---------------------------------------------------------------- what the operator reads

SENTENCES: dict[str, tuple[Reply, str]] = {
    "OpenAI": (failure(403, "Project does not have access"), "http_403: Project does not have access"),
    "Mistral": (
        as_json({"object": "error", "message": {"detail": [FORBIDDEN | {"loc": ["body", "n"]}]}}, 422),
        "http_422: body.n: Extra inputs are not permitted",
    ),
    "FastAPI": (as_json({"detail": "Not authenticated"}, 401), "http_401: Not authenticated"),
    "Ollama": (as_json({"error": "model 'x' not found"}, 404), "http_404: model 'x' not found"),
    "plain": (Reply(b"upstream gone\r\n", 502, "text/plain"), "http_502: upstream gone"),
    "a page": (
        Reply(b"<html><style>a{}</style><title>Bad Gateway</title>\n</html>", 502, "text/html"),
        "http_502: Bad Gateway",
    ),
    "too fast": (failure(429, "Rate limit reached"), "rate_limited: Rate limit reached"),
    "a key": (
        failure(401, "Incorrect API key provided: sk-abcd1234secretsecret"),
        "http_401: Incorrect API key provided: sk-abcd<key>",
    ),
    "lines": (failure(400, "one\n  two\x00\x1b[31m three"), "http_400: one two [31m three"),
    "nothing": (Reply(b"", 500), "http_500"),
    "an odd body": (as_json([1, {"message": None}, "why"], 400), "http_400: why"),
    "a deep body": (as_json(json.loads("[" * 200 + "]" * 200), 400), "http_400"),
}


@pytest.mark.parametrize("name", SENTENCES)
async def test_the_servers_own_sentence_is_the_reason_and_in_the_log(
    desk: Desk, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply, sentence = SENTENCES[name]
    desk.llm.answer(reply)
    with caplog.at_level(logging.WARNING):
        made = await desk.make()
    assert made.reason == (await desk.rows())[0]["reason"] == sentence
    assert sentence in caplog.text
    assert "secretsecret" not in caplog.text


async def test_a_long_sentence_is_cut(desk: Desk) -> None:
    desk.llm.answer(failure(400, "x" * 5000))
    made = await desk.make()
    assert made.reason
    assert len(made.reason) == len("http_400: ") + MAX_SENTENCE_LENGTH


async def test_the_gate_tells_the_sentence_too(desk: Desk) -> None:
    desk.llm.answer(failure(400, "You have no credit"))
    for _ in range(FAILURES):
        await desk.make()
    with pytest.raises(ModelUnavailableError, match="the last: http_400: You have no credit"):
        await desk.make()


# ---------------------------------------------------------------- what answers look like

ANSWER = '{"reasoning": "a { b } ```", "answer": "A", "flawed": false}'


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        " \n{}\n",
        "```json\n{}\n```",
        "```\n{}\n```",
        "```JSON\n{}```",
        "Here you are:\n```json\n{}\n```\nAnything else?",
        "<think>Is it {{A}} or {{B}}?</think>\n\n{}",
        "<think>\n</think>```json\n{}\n```",
        "{}\n\nThat is all.",
    ],
)
def test_an_answer_is_found_in_what_models_put_around_it(around: str) -> None:
    assert read(around.replace("{{", "{").replace("}}", "}").replace("{}", ANSWER), BlindAnswer).answer == "A"


@pytest.mark.parametrize(
    "text", ["", "```", "{", "}", "} {", "null", "[]", "```json\n{}\n```", "no", '{"answer": "A"}']
)
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        read(text, BlindAnswer)


async def test_a_fenced_question_is_accepted(desk: Desk) -> None:
    question = fresh_question()
    reply = written(question)
    fenced = json.loads(reply.body)
    fenced["choices"][0]["message"]["content"] = f"```json\n{json.dumps(question)}\n```"
    desk.llm.answer(Reply(json.dumps(fenced).encode(), right_option=reply.right_option))
    assert (await desk.make()).outcome is GenerationOutcome.ACCEPTED


async def test_prose_without_an_answer_costs_what_it_used(desk: Desk) -> None:
    desk.llm.answer(completion("I would rather not."))
    made = await desk.make()
    assert (made.reason, made.spending.prompt_tokens) == ("malformed", 300)


@pytest.mark.parametrize("form", [WrittenQuestion, BlindAnswer])
def test_a_schema_stays_within_what_is_reserved_for_it(form: type[WrittenQuestion | BlindAnswer]) -> None:
    assert len(json.dumps(schema_of(form))) < MAX_SCHEMA_CHARACTERS


HOSTILE = ("<style", "<script>", "<", "<a ", "<think>", "</think>", "1", "a", "{", "}", " ")

READ_EACH = """
import resource, sys, httpx
from openai import APIStatusError
from question_sources.llm.dialects import read, sentence_of
from question_sources.llm.forms import BlindAnswer
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))  # of which all of them take a few
response = httpx.Response(400, request=httpx.Request("POST", "http://x"))
for piece in sys.argv[1:]:
    print(piece, flush=True)
    sentence_of(APIStatusError("x", response=response, body=piece * 300_000))
    try:
        read(piece * 300_000, BlindAnswer)
    except ValueError:
        continue
    sys.exit("it was taken for an answer")
"""


def test_reading_a_long_answer_takes_no_longer_than_its_length_asks() -> None:
    """A search that begins again at each letter would need hours of the processor for so many."""
    done = subprocess.run(
        [sys.executable, "-c", READ_EACH, *HOSTILE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout.splitlines()[-1:]  # the one that took too long
