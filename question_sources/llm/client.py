"""Asks a language model through any API that speaks OpenAI's protocol, and counts what that takes."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from domain.errors import ModelError
from domain.settings import Settings
from observability import metrics
from question_sources.llm.dialects import MAX_SCHEMA_CHARACTERS, Dialect, read, sentence_of
from question_sources.llm.prompts import MAX_PROMPT_CHARACTERS
from storage.generation_store import Spending

logger = logging.getLogger(__name__)

Form = TypeVar("Form", bound=BaseModel)

MAX_WRITING_TOKENS = 8000
MAX_ANSWERING_TOKENS = 4000
"""Most that one request may produce, thoughts included; the provider enforces it, so the budget can rely on it."""

PROMPT_TOKENS = (MAX_PROMPT_CHARACTERS + MAX_SCHEMA_CHARACTERS) // 3
"""English and code take more than three characters a token with every current tokenizer."""

MAX_TOKENS = 1_000_000
"""A response that says it used more is not believed."""

MAX_PAUSE = 3600.0

_NEVER_SENT = {
    "ConnectError",
    "ConnectTimeout",
    "InvalidURL",
    "LocalProtocolError",
    "PoolTimeout",
    "ProxyError",
    "UnsupportedProtocol",
}
"""Causes of a failure after which the provider has nothing to charge for."""

_UNFINISHED = {"length": "truncated", "content_filter": "filtered"}
"""Why a model stopped, and what that is called here."""


@dataclass(slots=True)
class Meter:
    """Adds up what the requests for one question use."""

    input_price: Decimal
    output_price: Decimal
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Add one request's tokens."""
        self.calls += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    @property
    def spending(self) -> Spending:
        """Return it with its price in US dollars."""
        cost = self.prompt_tokens * self.input_price + self.completion_tokens * self.output_price
        return Spending(self.calls, self.prompt_tokens, self.completion_tokens, cost / 1_000_000)


class LlmClient:
    """One model that writes, one that answers blind."""

    def __init__(self, client: AsyncOpenAI, settings: Settings) -> None:
        """Take a client without retries of its own."""
        self._client = client
        self._settings = settings
        self._dialects: dict[str, Dialect] = {}
        """What the server takes for each model, once it has taken it."""

    @classmethod
    def connect(cls, settings: Settings) -> LlmClient:
        """Return a client for what the settings name."""
        client = AsyncOpenAI(
            api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else "",
            base_url=settings.openai_base_url,
            timeout=settings.openai_timeout_seconds,
            max_retries=0,  # the breaker decides for all processes when to ask again
        )
        return cls(client, settings)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def new_meter(self) -> Meter:
        """Return a meter with the settings' prices, at nothing."""
        return Meter(self._settings.openai_input_usd_per_million, self._settings.openai_output_usd_per_million)

    @property
    def highest_cost(self) -> Decimal:
        """Return the most that one question with its verification can cost, in US dollars."""
        answers = self._settings.openai_blind_answers
        meter = self.new_meter()
        meter.count(PROMPT_TOKENS * (1 + answers), MAX_WRITING_TOKENS + answers * MAX_ANSWERING_TOKENS)
        return meter.spending.cost

    @property
    def model(self) -> str:
        """Return the name of the model that writes."""
        return self._settings.openai_model

    async def write(self, instructions: str, request: str, form: type[Form], meter: Meter) -> Form:
        """Have something written.

        Raises:
            ModelError: the answer did not come, or not in that form.
        """
        return await self._ask("write", self.model, (instructions, request), form, meter)

    async def answer(self, instructions: str, question: str, form: type[Form], meter: Meter) -> Form:
        """Have a question answered without its key.

        Raises:
            ModelError: the answer did not come, or not in that form.
        """
        model = self._settings.openai_review_model or self.model
        return await self._ask("answer", model, (instructions, question), form, meter)

    async def _ask(self, purpose: str, model: str, texts: tuple[str, str], form: type[Form], meter: Meter) -> Form:
        began, outcome = time.monotonic(), "given_up"
        max_tokens = MAX_WRITING_TOKENS if purpose == "write" else MAX_ANSWERING_TOKENS
        try:
            completion = await self._complete(model, texts, form, max_tokens, meter)
            answer = _read(completion, form)
        except ModelError as error:
            outcome = error.reason
            raise
        else:
            outcome = "answered"
            return answer
        finally:
            metrics.LLM_CALLS.labels(purpose, outcome).inc()
            metrics.LLM_CALL_SECONDS.labels(purpose).observe(time.monotonic() - began)

    async def _complete(
        self, model: str, texts: tuple[str, str], form: type[BaseModel], max_tokens: int, meter: Meter
    ) -> ChatCompletion:
        """Send a request, in another dialect as long as the server refuses this one; remember what it takes."""
        dialect = self._dialects.get(model, Dialect())
        tried: set[Dialect] = set()
        while True:
            tried.add(dialect)
            try:
                completion = await self._send(model, dialect.parameters(texts, form, max_tokens), max_tokens, meter)
            except openai.OpenAIError as error:
                others = dialect.after(error) if isinstance(error, openai.APIStatusError) else ()
                other = next((one for one in others if one not in tried), None)
                if other is None:
                    raise _translated(error) from error
                dialect = other
            else:
                if self._dialects.get(model, Dialect()) != dialect:
                    logger.info("the server of model %s accepts %s and %s", model, dialect.limit, dialect.format)
                self._dialects[model] = dialect
                return completion

    async def _send(self, model: str, parameters: dict[str, Any], max_tokens: int, meter: Meter) -> ChatCompletion:
        used = PROMPT_TOKENS, max_tokens  # a server that reports no usage has used all that was reserved
        try:
            async with asyncio.timeout(self._settings.openai_timeout_seconds):  # the library's limit is for each read
                completion: ChatCompletion = await self._client.chat.completions.create(model=model, **parameters)
            used = _usage(completion) or used
        except openai.OpenAIError as error:
            if isinstance(error, openai.APIStatusError) or type(error.__cause__).__name__ in _NEVER_SENT:
                used = 0, 0
            raise
        except TimeoutError as error:
            raise ModelError("timeout") from error
        except Exception as error:  # whatever a server sends, the library may stumble over it
            raise ModelError("malformed") from error
        finally:
            meter.count(*used)
        return completion


def _read(completion: ChatCompletion, form: type[Form]) -> Form:
    try:
        choice = completion.choices[0]
        content, refusal, finish = choice.message.content, choice.message.refusal, choice.finish_reason
    except (AttributeError, IndexError, TypeError) as error:  # the library does not check what it hands on
        raise ModelError("malformed") from error
    if finish in _UNFINISHED:
        raise ModelError(_UNFINISHED[finish])
    if refusal or not isinstance(content, str):
        raise ModelError("refused" if refusal else "malformed")
    try:
        return read(content, form)
    except ValueError as error:
        raise ModelError("malformed") from error


def _usage(completion: object) -> tuple[int, int] | None:
    """Return the tokens that a response says it used, or None if it says nothing that can be believed."""
    usage = getattr(completion, "usage", None)
    prompt, written = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if not isinstance(prompt, int) or not isinstance(written, int):
        return None
    return (prompt, written) if 0 <= prompt <= MAX_TOKENS and 0 <= written <= MAX_TOKENS else None


def _translated(error: openai.OpenAIError) -> ModelError:
    """Translate an error of the library, with a reason that can be counted and the server's own sentence."""
    match error:
        case openai.APITimeoutError():
            return ModelError("timeout")
        case openai.APIStatusError():
            limited = isinstance(error, openai.RateLimitError)
            reason = "rate_limited" if limited else f"http_{error.status_code}"
            return ModelError(reason, detail=sentence_of(error), retry_after=_retry_after(error))
        case openai.APIConnectionError():
            return ModelError("unreachable")
        case _:
            return ModelError("malformed")


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Return the seconds that a response asks to wait, given as milliseconds, seconds or a date."""
    headers = error.response.headers
    given = _number(headers.get("retry-after-ms"), 1000), _number(headers.get("retry-after"), 1)
    seconds = next((number for number in given if number is not None), None)
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_PAUSE)


def _number(text: str | None, parts: int) -> float | None:
    try:
        number = float(text or "") / parts
    except ValueError:
        return None
    return None if math.isnan(number) else number
