"""Uvicorn inside our own event loop: our socket, our signals, our logs, and limits on who holds a connection."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from typing import Any, cast

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from timmy_dvm.config import ConfigError
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.gate import Gate
from timmy_dvm.http.sockets import MAX_FRAME_BYTES, PING_S, LimitedSocket

__all__ = ["Gate", "Limited", "Server", "bind", "make_server"]

_STOP_S = 2
_PARTING_S = 1
"""Within this whoever was not let in has read why."""


def _refusal(status: int, reason: str, code: str, sentence: str) -> bytes:
    """A whole answer, as no application is there to give one."""
    fault = Fault(status, code, sentence, {"retryAfterSeconds": 5})
    body = bytes(fault.answer().body)
    head = (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n"
        f"retry-after: 5\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_CROWDED = _refusal(
    429, "Too Many Requests", "too_many_connections", "Your address has many connections here: end one, or wait."
)
_BUSY = _refusal(503, "Service Unavailable", "busy", "All connections are taken just now: try again in a moment.")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything else starts, so that a taken port is found out at once.

    Raises:
        ConfigError: the address can't be listened on; the sentence names the key.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise ConfigError(
            f"http.port: can't listen on {host}:{port}: {reason}. Set another TIMMY_HTTP__PORT"
        ) from None
    listening.setblocking(False)
    return listening


class Limited(H11Protocol):
    """Uvicorn's protocol, behind a :class:`Gate`."""

    _address = ""
    _is_in = False
    _is_parting = False
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, gate: Gate, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._gate = gate

    def connection_made(self, transport: Any) -> None:
        """Let it in, have it wait for a place, or say why not."""
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        self._is_in = self._gate.enter(self._address)
        super().connection_made(transport)
        if self._is_in:
            self._wait()
        elif self._gate.waits(self._address, self._let_in):
            transport.pause_reading()
            self._deadline = asyncio.get_running_loop().call_later(self._gate.wait_s, self._turn_away)
        else:
            self._turn_away()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        self._stop_waiting()
        self._leave()
        if self._is_parting:
            self._is_parting = False
            self._gate.parted()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Once the request is complete, how long the answer takes is our affair."""
        if self._is_parting:
            return  # read and dropped, for what is left unread would break off the sentence that is on its way
        super().data_received(data)
        if self._is_our_turn():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """The next request on this connection has its own time, unless it is complete already (pipelining)."""
        super().on_response_complete()
        if self.transport.is_closing() or self._is_our_turn():
            return
        self._wait()
        if self._gate.is_wanted(self._address):
            self.transport.close()  # what was said is sent first

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The connection is another protocol's from here on, which leaves the gate when it ends."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def _is_our_turn(self) -> bool:
        # Uvicorn keeps the cycle of a request that was answered until the head of the next one is complete.
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _let_in(self) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        self._is_in = self._gate.enter(self._address)
        if self._is_in:
            self._wait()
        else:
            self._turn_away()

    def _turn_away(self) -> None:
        """Say why, where not too many are being told already, and hang up."""
        self._stop_waiting()
        if not self._gate.parts():
            self.transport.abort()
            return
        self._is_parting = True
        self._deadline = asyncio.get_running_loop().call_later(_PARTING_S, self.transport.abort)
        self.transport.resume_reading()
        self.transport.write(_BUSY if self._gate.has_share(self._address) else _CROWDED)
        self.transport.write_eof()

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = asyncio.get_running_loop().call_later(self._gate.read_s, self._hang_up)
        self._gate.idles(self._hang_up)

    def _stop_waiting(self) -> None:
        self._gate.works(self._hang_up)
        self._gate.gives_up(self._let_in)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hang_up(self) -> None:
        self._stop_waiting()
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        if self._is_in:
            self._is_in = False
            self._gate.leave(self._address)


class Server(uvicorn.Server):
    """Uvicorn that leaves signals to us, and leaves nothing behind when it is cancelled."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until asked to exit, or cancelled; then no socket of it is watched any more."""
        try:
            await super().serve(sockets)
        finally:
            # Cancelled it shuts nothing down itself: the loop would go on watching the number of a closed socket.
            for server in getattr(self, "servers", ()):
                server.close()
            for connection in list(self.server_state.connections):
                connection.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGTERM and SIGINT to the composition root."""
        yield


def make_server(app: ASGIApp, gate: Gate, *, header_bytes: int) -> Server:
    """A server for ``app``; give :func:`bind`'s socket to its ``serve``."""
    protocol = cast("type[asyncio.Protocol]", functools.partial(Limited, gate))
    config = uvicorn.Config(
        app,
        http=protocol,
        ws=cast("type[asyncio.Protocol]", functools.partial(LimitedSocket, gate)),
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # a few bytes can be made to unfold into megabytes
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # uvicorn would believe X-Forwarded-For from loopback
        server_header=False,
        date_header=True,
        h11_max_incomplete_event_size=header_bytes,
        timeout_graceful_shutdown=_STOP_S,
    )
    return Server(config)
