"""A server that speaks OpenAI's chat completions over real sockets, and answers whatever a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class LlmServer:
    """Where it listens, what it answers, and what it was asked."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    """In order; the last one is repeated."""
    requests: list[Json] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    def answer(self, *replies: Reply) -> None:
        """Choose what comes next.

        Args:
            replies: in order; the last one is repeated.
        """
        self.replies = list(replies)

    def next_reply(self) -> Reply:
        """Return the reply to the next request."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


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


def failure(status: int, message: str = "it failed") -> Reply:
    """Return an error as the API words it.

    Args:
        status: of HTTP.
        message: what went wrong.
    """
    return as_json({"error": {"message": message, "type": "error", "param": None, "code": None}}, status)


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
        {"text": f"{count} partitions", "why": f"It would need {count}.", "correct": count == 6}
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
        llm.requests.append(json.loads(body))
        llm.authorizations.append(headers.get("authorization", ""))
        reply = llm.next_reply()
    await asyncio.sleep(reply.delay)
    writer.write(
        f"HTTP/1.1 {reply.status} X\r\nContent-Type: {reply.content_type}\r\n"
        f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n".encode("latin-1")
        + reply.body
    )
    await writer.drain()
