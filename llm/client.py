"""Asks a language model through any API that speaks OpenAI's protocol, and counts what that takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TypeVar

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, ValidationError

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

LONGEST_PAUSE = 3600.0


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
        began, outcome = time.monotonic(), "answered"
        try:
            return await self._complete(model, messages, form, meter, purpose)
        except ModelError as error:
            outcome = error.reason
            raise
        finally:
            metrics.LLM_CALLS.labels(purpose, outcome).inc()
            metrics.LLM_CALL_SECONDS.labels(purpose).observe(time.monotonic() - began)

    async def _complete(
        self, model: str, messages: list[ChatCompletionMessageParam], form: type[Form], meter: Meter, purpose: str
    ) -> Form:
        limit = MAX_WRITING_TOKENS if purpose == "write" else MAX_ANSWERING_TOKENS
        try:
            completion = await self._client.chat.completions.parse(
                model=model, messages=messages, response_format=form, max_completion_tokens=limit
            )
        except openai.LengthFinishReasonError as error:
            _count(meter, error.completion)
            raise ModelError("truncated") from error
        except openai.OpenAIError as error:
            raise _translated(error) from error
        except (ValidationError, ValueError, TypeError, AttributeError) as error:  # not JSON, or not of this form
            meter.count(0, limit)  # it was written and will be charged; nobody says how much
            raise ModelError("malformed") from error
        _count(meter, completion)
        choice = completion.choices[0] if completion.choices else None
        if choice is None or choice.message.parsed is None:
            raise ModelError("refused" if choice and choice.message.refusal else "malformed")
        return choice.message.parsed


def _count(meter: Meter, completion: object) -> None:
    usage = getattr(completion, "usage", None)
    meter.count(getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0)


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
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif "retry-after" not in headers:
            return None
        elif headers["retry-after"].strip().replace(".", "", 1).isdigit():
            seconds = float(headers["retry-after"])
        else:
            seconds = parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)
