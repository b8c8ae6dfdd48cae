"""A server that speaks OpenAI's chat completions over real sockets, and answers whatever a test wants.

It tells a request to write a question from one to answer blind by the form that is asked for. Blind questions
it answers as an honest expert would who knows what was written last, unless a test wants otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server sends back."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    delay: float = 0.0
    """Seconds before anything is sent; a test that hangs up earlier never waits for them."""
    headers: tuple[tuple[str, str], ...] = ()
    right_option: str = ""
    """What an honest expert answers to the question in it."""
    drip: float = 0.0
    """Seconds before each byte of the body, for a server that never falls silent and never ends."""
    cut: bool = False
    """Whether the connection ends in the middle of the body."""


@dataclass(slots=True)
class LlmServer:
    """Where it listens, what it answers, and what it was asked."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    """In order; the last one is repeated."""
    compose: Callable[[], Reply] | None = None
    """Makes the reply to each request to write, instead of the list."""
    script: Callable[[Json], Reply] | None = None
    """Decides on the reply to any request; it may call `reply_to` for what would come otherwise."""
    requests: list[Json] = field(default_factory=list)
    """Requests to write."""
    blind_replies: list[Reply] = field(default_factory=list)
    """In order, the last one repeated; an honest answer when there are none."""
    blind_requests: list[Json] = field(default_factory=list)
    honest_answers: list[str] = field(default_factory=list)
    """The texts of right options, as the written questions have them or as a test knows better; the latest first."""
    authorizations: list[str] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Holds every reply back while it is not set; it is at first."""

    def __post_init__(self) -> None:
        """Answer until told otherwise."""
        self.may_answer.set()

    def answer(self, *replies: Reply) -> None:
        """Choose what comes next.

        Args:
            replies: in order; the last one is repeated.
        """
        self.replies = list(replies)

    def answer_blind(self, *replies: Reply) -> None:
        """Choose what comes to those who ask for a blind answer.

        Args:
            replies: in order; the last one is repeated.
        """
        self.blind_replies = list(replies)

    def reply_to(self, request: Json) -> Reply:
        """Return the reply to a request.

        Args:
            request: its body.
        """
        named = request.get("response_format", {}).get("json_schema", {}).get("name")
        if named == "BlindAnswer" or '"title":"BlindAnswer"' in request["messages"][0]["content"]:
            self.blind_requests.append(request)
            if not self.blind_replies:
                return blind_answer(self._letter(request))
            return self.blind_replies.pop(0) if len(self.blind_replies) > 1 else self.blind_replies[0]
        self.requests.append(request)
        waiting = self.replies
        reply = self.compose() if self.compose else waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if reply.right_option:
            self.honest_answers.insert(0, reply.right_option)
        return reply

    def _letter(self, request: Json) -> str:
        """Return the letter under which the right option stands in a blind question."""
        lines: list[str] = request["messages"][-1]["content"].splitlines()
        letters = {line[3:]: line[0] for line in lines if line[1:3] == ". "}
        return next(letters[text] for text in self.honest_answers if text in letters)


def completion(content: str | None, *, refusal: str | None = None, finish: str = "stop") -> Reply:
    """Return a chat completion.

    Args:
        content: what the model wrote.
        refusal: what it said instead.
        finish: why it stopped.
    """
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return as_json(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_795_300_000,
            "model": "gpt-5-mini",
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 400, "total_tokens": 700},
        }
    )


def written(question: Json, *, right_option: str | None = None, delay: float = 0.0) -> Reply:
    """Return a completion that holds a question.

    Args:
        question: as `written_question` makes it.
        right_option: what an honest expert answers; the marked option when None.
        delay: seconds before it comes.
    """
    marked = next((option["text"] for option in question["options"] if option["correct"]), "")
    reply = completion(json.dumps(question))
    return replace(reply, right_option=marked if right_option is None else right_option, delay=delay)


def blind_answer(letter: str, *, flawed: bool = False) -> Reply:
    """Return a completion that answers a question.

    Args:
        letter: of the option.
        flawed: whether the question is found to be flawed.
    """
    return completion(json.dumps({"reasoning": "Worked out.", "answer": letter, "flawed": flawed}))


def failure(status: int, message: str = "it failed", **headers: str) -> Reply:
    """Return an error as the API words it.

    Args:
        status: of HTTP.
        message: what went wrong.
        headers: further ones, with underscores for hyphens.
    """
    reply = as_json({"error": {"message": message, "type": "error", "param": None, "code": None}}, status)
    return replace(reply, headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()))


def as_json(value: object, status: int = 200) -> Reply:
    """Return a reply with a JSON body.

    Args:
        value: the body.
        status: of HTTP.
    """
    return Reply(json.dumps(value).encode(), status)


def written_question(**changes: object) -> Json:
    """Return a question as a model is asked to write it, which keeps every rule of the bank.

    Args:
        changes: fields that differ.
    """
    options = [
        {"text": f"{count} partitions", "why": f"It would need {count}.", "correct": count == 6, "value": None}
        for count in (3, 6, 9, 12)
    ]
    question: Json = {
        "prompt": "Six consumers of one group are all busy. How many partitions does the topic have at least?",
        "code": None,
        "language": "",
        "options": options,
        "explanation": "Within a group a partition has one reader, so six busy consumers need six partitions.",
        "reference_title": "Apache Kafka documentation, The Consumer",
        "reference_url": "https://kafka.apache.org/documentation/#theconsumer",
        "tags": ["kafka", "consumer-groups"],
        "engine": None,
        "setup": None,
    }
    return question | changes


@asynccontextmanager
async def serve_llm() -> AsyncIterator[LlmServer]:
    """Serve on a free port, and cut every connection at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await _exchange(llm, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client hung up, or the test is over
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    llm = LlmServer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        yield llm
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _exchange(llm: LlmServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read one request, send one reply, and be done: no connection is kept."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    if head[0] != "POST /v1/chat/completions HTTP/1.1":
        reply = failure(404, f"no such address: {head[0]}")
    else:
        llm.authorizations.append(headers.get("authorization", ""))
        reply = (llm.script or llm.reply_to)(json.loads(body))
    await asyncio.sleep(reply.delay)
    await llm.may_answer.wait()
    extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    begun = (
        f"HTTP/1.1 {reply.status} X\r\n{extra}Content-Type: {reply.content_type}\r\n"
        f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(begun.encode("latin-1"))
    if reply.drip:
        for byte in reply.body:
            await asyncio.sleep(reply.drip)
            writer.write(bytes([byte]))
            await writer.drain()
    else:
        writer.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
    await writer.drain()
