"""How servers that speak OpenAI's protocol differ: what each takes, how it says no, and what its answers look like."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from openai import APIStatusError, pydantic_function_tool
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from observability.logs import one_line

Form = TypeVar("Form", bound=BaseModel)

MAX_SCHEMA_CHARACTERS = 3000
"""Longest that a form's schema may be, told in the prompt or beside it; the reservation of money relies on it."""

MAX_SENTENCE_LENGTH = 200
MAX_DEPTH = 6
"""Levels of an error's body that are searched for the server's sentence."""

REFUSALS = (400, 404, 422)
"""Statuses with which servers refuse a parameter; 404 is OpenRouter's, for a model that no provider offers so."""

_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
_TAGS = re.compile(r"<(style|script).*?(?:</\1>|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE)
_FORMAT = re.compile(
    r"response.?format|json.?(schema|object|mode)|structured.?output|grammar|requested parameters", re.IGNORECASE
)


class Limit(StrEnum):
    """The parameter that limits an answer's length."""

    COMPLETION = "max_completion_tokens"
    """OpenAI's; its newer models refuse the other."""
    OLD = "max_tokens"


class Format(StrEnum):
    """How the form of an answer is asked for."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    """Any JSON; the schema stands in the prompt."""
    TEXT = "text"
    """Nothing but the schema in the prompt."""


_NEXT_FORMAT = {Format.SCHEMA: Format.OBJECT, Format.OBJECT: Format.TEXT}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server takes."""

    limit: Limit = Limit.COMPLETION
    format: Format = Format.SCHEMA

    def parameters(self, texts: tuple[str, str], form: type[BaseModel], max_tokens: int) -> dict[str, Any]:
        """Return a request's messages, limit and form."""
        schema = schema_of(form)
        instructions, request = texts
        parameters: dict[str, Any] = {self.limit.value: max_tokens}
        if self.format is Format.SCHEMA:
            named = {"name": form.__name__, "schema": schema, "strict": True}
            parameters["response_format"] = {"type": self.format.value, "json_schema": named}
        else:
            instructions += (
                f"\n\nAnswer with one JSON object and nothing else. It fits this JSON schema:\n{_short(schema)}"
            )
        if self.format is Format.OBJECT:
            parameters["response_format"] = {"type": self.format.value}
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": request},
        ]
        return parameters | {"messages": messages}

    def after(self, error: APIStatusError) -> Iterator[Dialect]:
        """Yield what to try after a refusal: it may blame the limit, the form, neither, or quote the whole request."""
        if error.status_code not in REFUSALS:
            return
        said = json.dumps(error.body) if error.body is not None else ""
        if self.limit.value in said:
            yield replace(self, limit=Limit.OLD if self.limit is Limit.COMPLETION else Limit.COMPLETION)
        if _FORMAT.search(said) and self.format in _NEXT_FORMAT:
            yield replace(self, format=_NEXT_FORMAT[self.format])


def schema_of(form: type[BaseModel]) -> dict[str, Any]:
    """Return a form's JSON schema, as strict as structured outputs want it."""
    schema = pydantic_function_tool(form)["function"]["parameters"]
    return dict(schema)


def _short(schema: dict[str, Any]) -> str:
    return json.dumps(schema, separators=(",", ":"))


def read(text: str, form: type[Form]) -> Form:
    """Return an answer in its form; thoughts, code fences and words around the JSON are passed over.

    Raises:
        ValidationError: it has not.
    """
    thoughts, close, rest = text.rpartition("</think>")  # the search for an end that is missing would take for ever
    answer = (_THOUGHTS.sub("", thoughts + close) + rest).strip()
    if not answer.startswith("{"):
        begin, end = answer.find("{"), answer.rfind("}")
        answer = answer[begin : end + 1] if 0 <= begin < end else answer
    elif not answer.endswith("}"):
        answer = answer[: answer.rfind("}") + 1] or answer
    return form.model_validate_json(answer)


def sentence_of(error: APIStatusError) -> str:
    """Return what a server says about its refusal, in one line without secrets; nothing if it says nothing."""
    said = _find_sentence(error.body, MAX_DEPTH)
    if said.lstrip().startswith("<"):  # a page of a proxy
        said = _TAGS.sub(" ", said)
    return one_line(said, MAX_SENTENCE_LENGTH)


def _find_sentence(value: object, depth: int) -> str:
    """Search the bodies that servers send: OpenAI's, Mistral's and FastAPI's lists of faults, plain text."""
    if depth == 0:
        return ""
    match value:
        case str():
            return value
        case list():
            return "; ".join(filter(None, (_find_sentence(one, depth - 1) for one in value[:5])))
        case {"msg": str(fault), "loc": list(place)}:
            return f"{'.'.join(map(str, place))}: {fault}"
        case dict():
            names = ("message", "msg", "detail", "error")
            return next((said for name in names if (said := _find_sentence(value.get(name), depth - 1))), "")
    return ""
