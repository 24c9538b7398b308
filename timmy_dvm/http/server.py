"""Uvicorn inside our own event loop: our socket, our signals, our logs, and limits on who holds a connection."""

import asyncio
import contextlib
import functools
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from timmy_dvm.config import ConfigError

_STOP_S = 2


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


class Gate:
    """How many connections there are, in all and from each address, and how many there may be.

    ``read_s`` is within how many seconds a request must be complete; uvicorn alone waits for ever.
    """

    def __init__(self, *, read_s: int, connections: int, per_address: int) -> None:
        self.read_s = read_s
        self._connections = connections
        self._per_address = per_address
        self._counts: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection; whether it may stay."""
        self._counts[address] += 1
        return self._counts[address] <= self._per_address and self._counts.total() <= self._connections

    def leave(self, address: str) -> None:
        """A connection is gone."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]


class Limited(H11Protocol):
    """Uvicorn's protocol, behind a :class:`Gate`."""

    _address = ""
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, gate: Gate, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._gate = gate

    def connection_made(self, transport: Any) -> None:
        """Let it in, or hang up."""
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        may_stay = self._gate.enter(self._address)
        super().connection_made(transport)
        if may_stay:
            self._wait()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        self._gate.leave(self._address)
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Once the request is complete, how long the answer takes is our affair."""
        super().data_received(data)
        if self._is_our_turn():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """The next request on this connection has its own time, unless it is complete already (pipelining)."""
        super().on_response_complete()
        if not self.transport.is_closing() and not self._is_our_turn():
            self._wait()

    def _is_our_turn(self) -> bool:
        # Uvicorn keeps the cycle of a request that was answered until the head of the next one is complete.
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = asyncio.get_running_loop().call_later(self._gate.read_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


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
        ws="none",
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
