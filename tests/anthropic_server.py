"""A Messages API on loopback that does what a test tells it, one behaviour a request.

    async with FakeAnthropic() as fake:
        fake.will(overloaded(), ok("Hello"))
        agent = ClaudeAgent("key", base_url=fake.url)

Plain asyncio down to the bytes, because half of what it must do (cut a chunk, go silent, hang up before a
status line) no framework can. Without orders it accepts every evaluation and answers every request.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from timmy_dvm.agent.prompts import EVAL_SYSTEM


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered.

    ``ending`` is what follows the last chunk: ``end`` (a proper end), ``cut`` (the socket is closed in the
    middle of the body) or ``stall`` (nothing, until the client leaves). Status 0 sends no answer at all.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[bytes, ...] = ()
    ending: str = "end"
    pace_s: float = 0


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire; ``raw`` is all of it, for canary searches."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes = field(repr=False)


def sse(event: str, data: object) -> bytes:
    return f"event: {event}\ndata: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def start(input_tokens: int = 12, cache_creation: int = 0, cache_read: int = 0) -> bytes:
    usage = {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": cache_creation,
        "cache_read_input_tokens": cache_read,
        "output_tokens": 1,
    }
    return start_with(usage)


def start_with(usage: object) -> bytes:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return sse("message_start", {"type": "message_start", "message": message})


def words(text: str) -> list[bytes]:
    """One text block, a delta for each word."""
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [
        sse(
            "content_block_delta",
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}},
        )
        for piece in (text.replace(" ", " \0").split("\0") if text else [])
    ]
    return [sse("content_block_start", block), *deltas]


def stop(stop_reason: str | None, output_tokens: int = 7) -> list[bytes]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    usage = {"output_tokens": output_tokens}
    return [
        sse("content_block_stop", {"type": "content_block_stop", "index": 0}),
        sse("message_delta", {"type": "message_delta", "delta": delta, "usage": usage}),
        sse("message_stop", {"type": "message_stop"}),
    ]


def ok(
    text: str,
    *,
    input_tokens: int = 12,
    output_tokens: int = 7,
    cache_creation: int = 0,
    cache_read: int = 0,
    stop_reason: str = "end_turn",
    pace_s: float = 0,
) -> Behaviour:
    head = start(input_tokens, cache_creation, cache_read)
    return Behaviour(chunks=(head, *words(text), *stop(stop_reason, output_tokens)), pace_s=pace_s)


def max_tokens(text: str, output_tokens: int = 400) -> Behaviour:
    return ok(text, output_tokens=output_tokens, stop_reason="max_tokens")


def empty() -> Behaviour:
    return ok("")


def refusal(text: str | None = None) -> Behaviour:
    """A refusal; without text its content is an empty list, as the API may send it."""
    tail = stop("refusal")[1:] if text is None else [*words(text), *stop("refusal")]
    return Behaviour(chunks=(start(), *tail))


def status(
    code: int, kind: str = "api_error", *, error_code: str | None = None, message: str = "no", **headers: str
) -> Behaviour:
    error: dict[str, object] = {"type": kind, "message": message}
    if error_code:
        error["details"] = {"error_code": error_code}
    body = json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Behaviour(code, (("content-type", "application/json"), *named), (body,))


def rate_limited(retry_after: str | None = None) -> Behaviour:
    headers = {} if retry_after is None else {"retry_after": retry_after}
    return status(429, "rate_limit_error", **headers)


def spend_limit() -> Behaviour:
    return status(429, "rate_limit_error", error_code="enforced_spend_limit_reached", retry_after="1")


def server_error() -> Behaviour:
    return status(500)


def overloaded() -> Behaviour:
    return status(529, "overloaded_error")


def cut(text: str) -> Behaviour:
    return Behaviour(chunks=(start(), *words(text)), ending="cut")


def stall(text: str = "") -> Behaviour:
    return Behaviour(chunks=(start(), *words(text)), ending="stall")


def silent() -> Behaviour:
    return Behaviour(status=0, ending="stall")


def dropped() -> Behaviour:
    return Behaviour(status=0, ending="cut")


def ends_early(text: str) -> Behaviour:
    """A proper end of the HTTP body, but no stop reason."""
    return Behaviour(chunks=(start(), *words(text)))


def error_event(kind: str = "overloaded_error", text: str | None = None, message: str = "no") -> Behaviour:
    error = sse("error", {"type": "error", "error": {"type": kind, "message": message}})
    return Behaviour(chunks=(error,) if text is None else (start(), *words(text), error))


def broken_json(text: str = "half") -> Behaviour:
    return Behaviour(chunks=(start(), *words(text), sse("content_block_delta", '{"type": ')))


def raw_events(*chunks: bytes) -> Behaviour:
    return Behaviour(chunks=chunks)


def html() -> Behaviour:
    return Behaviour(headers=(("content-type", "text/html"),), chunks=(b"<html>gateway</html>",))


class FakeAnthropic:
    """The server. ``requests`` is what it was asked; ``left`` is set when a client leaves a stalled answer.

    ``sleep`` waits between the chunks of an answer that has a pace.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self.requests: list[Received] = []
        self.left = asyncio.Event()
        self.stalled = asyncio.Event()
        self.default: Callable[[Received], Behaviour] = accept_and_answer
        self._queue: deque[Behaviour] = deque()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def will(self, *behaviours: Behaviour) -> None:
        """Answer the next requests like this, in this order."""
        self._queue.extend(behaviours)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        except asyncio.CancelledError:
            pass  # the test is over; the stream server would log a cancelled handler as an error
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *rest = head.decode().split("\r\n")
        headers = {key.lower(): value for key, _, value in (item.partition(": ") for item in rest if item)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        received = Received(line.split()[1], headers, json.loads(body or b"{}"), head + body)
        self.requests.append(received)
        behaviour = self._queue.popleft() if self._queue else self.default(received)
        if behaviour.status:
            await self._send(behaviour, writer)
        if behaviour.ending == "stall":
            self.stalled.set()
            await reader.read()
            self.left.set()
        elif behaviour.ending == "end":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True
        return False

    async def _send(self, behaviour: Behaviour, writer: asyncio.StreamWriter) -> None:
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        headers |= dict(behaviour.headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {behaviour.status} Fake\r\n{lines}\r\n".encode())
        for chunk in behaviour.chunks:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
            if behaviour.pace_s:
                await self._sleep(behaviour.pace_s)


def accept_and_answer(received: Received) -> Behaviour:
    """What a good model does: accepts what it judges, answers what it is asked."""
    if received.body.get("system") == EVAL_SYSTEM:
        return ok("ACCEPT", input_tokens=150, output_tokens=4)
    return ok("This is the answer.", input_tokens=120, output_tokens=6)
