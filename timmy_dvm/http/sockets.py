"""Uvicorn's WebSocket, with what it lacks against those who hold a connection and don't read, or don't speak."""

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from timmy_dvm.http.gate import Gate

MAX_FRAME_BYTES = 4_096
PING_S = 20
"""Whoever does not answer a ping within this long is gone."""
_UNREAD_BYTES = 256 * 1024
"""Uvicorn answers pings whether or not anybody reads the pongs."""
_PIECES = 16
"""Of one message; empty ones count nowhere else."""
_FAREWELL_S = 2
"""How long a closed connection may take to read what is on its way."""


class LimitedSocket(WebSocketsSansIOProtocol):
    """A connection that began as HTTP and was let in there; it leaves the gate here."""

    _last_moment: asyncio.TimerHandle | None = None

    def __init__(self, gate: Gate, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._gate = gate

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        if self._last_moment is not None:
            self._last_moment.cancel()
        peer = self.transport.get_extra_info("peername")
        self._gate.leave(peer[0] if isinstance(peer, tuple) else "")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, from whoever reads what we say."""
        if self.transport.get_write_buffer_size() > _UNREAD_BYTES:
            self.transport.abort()
            return
        super().data_received(data)

    def handle_cont(self, event: Frame) -> None:
        """Put the pieces of a message together, a few of them."""
        if len(self.frames) >= _PIECES:
            self.transport.abort()
            return
        super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """Say what was wrong, and don't wait for long."""
        super().handle_parser_exception()
        self._hang_up_soon()

    def keepalive_timeout(self) -> None:
        """Whoever is gone reads no farewell."""
        super().keepalive_timeout()
        self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """What is closed is closed, also where the other side reads no more: `close` alone would wait for that."""
        super().on_task_complete(task)
        self._hang_up_soon()

    def _hang_up_soon(self) -> None:
        if self._last_moment is None:
            self._last_moment = self.loop.call_later(_FAREWELL_S, self.transport.abort)
