"""Asks a language model through any API that speaks OpenAI's protocol, and counts what that takes."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TypeVar

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from domain.errors import ModelError
from domain.settings import Settings
from llm.prompts import MAX_PROMPT_CHARACTERS
from observability import metrics
from sql.generation_store import Spending

Form = TypeVar("Form", bound=BaseModel)

MAX_WRITING_TOKENS = 8000
MAX_ANSWERING_TOKENS = 4000
"""Most that one request may produce, thoughts included; the provider enforces it, so the budget can rely on it."""

PROMPT_TOKENS = MAX_PROMPT_CHARACTERS // 3
"""English and code take more than three characters a token with every current tokenizer."""

MOST_TOKENS = 1_000_000
"""A response that says it used more is not believed."""

LONGEST_PAUSE = 3600.0

_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
"""Causes of a failure after which the provider has nothing to charge for."""


@dataclass(slots=True)
class Meter:
    """Adds up what the requests for one question use."""

    input_price: Decimal
    output_price: Decimal
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Add one request's tokens.

        Args:
            prompt_tokens: what was sent.
            completion_tokens: what came back, thoughts included.
        """
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
        """Take the connection and the settings.

        Args:
            client: with its key and address, and without retries of its own.
            settings: models, prices and time limits.
        """
        self._client = client
        self._settings = settings

    @classmethod
    def connect(cls, settings: Settings) -> LlmClient:
        """Return a client for what the settings name.

        Args:
            settings: with an API key.
        """
        client = AsyncOpenAI(
            api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else "",
            base_url=settings.openai_base_url,
            timeout=settings.openai_timeout_seconds,
            max_retries=0,  # the gate decides for all processes when to ask again
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
        """Return the most that one question with all its proofs can cost, in US dollars."""
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

        Args:
            instructions: how.
            request: what.
            form: the form that the answer must have.
            meter: counts what it takes.

        Raises:
            ModelError: the answer did not come, or not in that form.
        """
        return await self._ask("write", self.model, (instructions, request), form, meter)

    async def answer(self, instructions: str, question: str, form: type[Form], meter: Meter) -> Form:
        """Have a question answered by somebody who has not written it.

        Args:
            instructions: how.
            question: without its key.
            form: the form that the answer must have.
            meter: counts what it takes.

        Raises:
            ModelError: the answer did not come, or not in that form.
        """
        model = self._settings.openai_review_model or self.model
        return await self._ask("answer", model, (instructions, question), form, meter)

    async def _ask(self, purpose: str, model: str, texts: tuple[str, str], form: type[Form], meter: Meter) -> Form:
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": texts[0]},
            {"role": "user", "content": texts[1]},
        ]
        began, outcome = time.monotonic(), "given_up"
        try:
            answer = await self._complete(model, messages, form, meter, purpose)
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
        self, model: str, messages: list[ChatCompletionMessageParam], form: type[Form], meter: Meter, purpose: str
    ) -> Form:
        limit = MAX_WRITING_TOKENS if purpose == "write" else MAX_ANSWERING_TOKENS
        used = PROMPT_TOKENS, limit  # whoever does not say what was used, used all that was reserved
        try:
            async with asyncio.timeout(self._settings.openai_timeout_seconds):  # the library's limit is for each read
                completion = await self._client.chat.completions.parse(
                    model=model, messages=messages, response_format=form, max_completion_tokens=limit
                )
            used = _usage(completion) or used
            message = completion.choices[0].message
            parsed, refusal = message.parsed, message.refusal
        except openai.LengthFinishReasonError as error:
            used = _usage(error.completion) or used
            raise ModelError("truncated") from error
        except openai.OpenAIError as error:
            if isinstance(error, openai.APIStatusError) or type(error.__cause__).__name__ in _NEVER_SENT:
                used = 0, 0
            raise _translated(error) from error
        except TimeoutError as error:
            raise ModelError("timeout") from error
        except Exception as error:  # whatever a server sends, the library may stumble over it
            raise ModelError("malformed") from error
        finally:
            meter.count(*used)
        if parsed is None:
            raise ModelError("refused" if refusal else "malformed")
        return parsed


def _usage(completion: object) -> tuple[int, int] | None:
    """Return the tokens that a response says it used, or None if it says nothing that can be believed."""
    usage = getattr(completion, "usage", None)
    prompt, written = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if not isinstance(prompt, int) or not isinstance(written, int):
        return None
    return (prompt, written) if 0 <= prompt <= MOST_TOKENS and 0 <= written <= MOST_TOKENS else None


def _translated(error: openai.OpenAIError) -> ModelError:
    """Return an error of the library as one of ours, with a word that can be counted."""
    match error:
        case openai.APITimeoutError():
            return ModelError("timeout")
        case openai.RateLimitError():
            return ModelError("rate_limited", retry_after=_retry_after(error))
        case openai.APIStatusError():
            return ModelError(f"http_{error.status_code}", retry_after=_retry_after(error))
        case openai.APIConnectionError():
            return ModelError("unreachable")
        case openai.ContentFilterFinishReasonError():
            return ModelError("filtered")
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
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def _number(text: str | None, parts: int) -> float | None:
    try:
        number = float(text or "") / parts
    except ValueError:
        return None
    return None if math.isnan(number) else number
