"""Answers that stay open and are written to: how many there may be, so that others find a connection too."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from timmy_dvm.http.faults import Fault

_RETRY_S: Final = 10
_SHARE: Final = (3, 10)
"""Of all connections. Watchers of the Workshop have half, so two tenths are left for what is soon over."""


class Streams:
    """Counts the streams that are open.

    Args:
        connections: how many the port has in all.
    """

    def __init__(self, connections: int) -> None:
        mine, of = _SHARE
        self.most = max(1, connections * mine // of)
        self.open = 0

    @property
    def is_full(self) -> bool:
        """Whether one more would be refused."""
        return self.open >= self.most


class EventStream(StreamingResponse):
    """Server-sent events (HTML Living Standard, 9.2), or a 503 where too many have some.

    Counted from its first byte to its last, in one place, so none is left over whatever ends it.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[bytes],
        streams: Streams,
        headers: Mapping[str, str] | None = None,
        status_code: int = 200,
    ) -> None:
        kept = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})}
        super().__init__(events, status_code, kept)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        if self._streams.is_full:
            await _full().answer()(scope, receive, send)
            return
        self._streams.open += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1


def _full() -> Fault:
    sentence = "Too many follow their jobs just now: look with GET /api/jobs/{id}, or try again in a moment."
    return Fault(
        503, "too_many_streams", sentence, {"retryAfterSeconds": _RETRY_S}, {"Retry-After": str(_RETRY_S)}
    )
