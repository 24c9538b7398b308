"""Bounds on what a client may send, judged before anything reads it: the head's size and the body's."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READ_AWAY: Final = 1_048_576
"""So much of a body that is refused is read and dropped: who sends it all before listening would otherwise see a
broken connection in place of the sentence. Beyond that, or after `Expect: 100-continue`, nothing is read."""

_READ_AWAY_S: Final = 1.0


class TooLarge(Exception):
    """A body grew beyond its bound while it was read."""


class Limits:
    """The outermost ASGI layer.

    Args:
        app: what is behind it.
        header_bytes: of all header names and values together; more is 431. As many of the address, apart from
            them, for a question in it may be long when it is spelt for an address; more is 414.
        body_bytes: of the body, whether or not its length was told; more is 413.
    """

    def __init__(self, app: ASGIApp, *, header_bytes: int, body_bytes: int) -> None:
        self._app = app
        self._header_bytes = header_bytes
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or refuse it with a sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > self._header_bytes:
            await _fault(431, "head_too_large", f"The head may have {self._header_bytes} bytes.")(
                scope, receive, send
            )
            return
        if len(_address(scope)) > self._header_bytes:
            await _fault(414, "address_too_long", f"The address may have {self._header_bytes} bytes.")(
                scope, receive, send
            )
            return
        names = {name for name, _ in headers}
        if names >= {b"content-length", b"transfer-encoding"}:
            # A proxy that believes the other of the two sees another request behind this one (smuggling).
            await _fault(400, "bad_input", "Tell the body's length, or send it in chunks; not both.")(
                scope, receive, send
            )
            return
        if dict(headers).get(b"content-encoding", b"identity").strip().lower() not in {b"", b"identity"}:
            await _fault(415, "packed_body", "Send the body as it is, without Content-Encoding.")(
                scope, receive, send
            )
            return
        told = dict(headers).get(b"content-length", b"0")
        if not told.isdigit() or int(told[:20]) > self._body_bytes:
            if told.isdigit() and int(told[:20]) <= _READ_AWAY and b"expect" not in dict(headers):
                await _read_away(receive)
            await self._too_large()(scope, receive, send)
            return
        await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body that does not tell its length is counted as it comes."""
        received, started, refused = 0, False, False

        async def counted() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._body_bytes:
                refused = True
                if not started:
                    # At once: what is behind us may make another answer of the error.
                    if message.get("more_body", False):
                        await _read_away(receive)
                    await self._too_large()(scope, receive, send)
                raise TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            if not refused or started:
                started = True
                await send(message)

        with contextlib.suppress(TooLarge):
            await self._app(scope, counted, noted)

    def _too_large(self) -> JSONResponse:
        return _fault(413, "body_too_large", f"The body may have {self._body_bytes} bytes.")


def _address(scope: Scope) -> bytes:
    """As it was sent: path and query."""
    path: bytes = scope.get("raw_path", b"")
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


async def _read_away(receive: Receive) -> None:
    """Read on to the body's end, or for as long as that is worth it, and keep nothing."""
    left = _READ_AWAY
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READ_AWAY_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b"")) + 1
                if not message.get("more_body", False):
                    return


def _fault(status: int, code: str, sentence: str) -> JSONResponse:
    body: Mapping[str, str] = {"error": sentence, "code": code, "trust_tier": "anonymous"}
    return JSONResponse(body, status, headers={"Connection": "close"})
