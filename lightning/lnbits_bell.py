"""When to look at LNbits' record next: at once after a push, by the clock without one.

Anybody who knows the channel can send a push, nothing is repeated after a gap, and a push may come before the
record shows what it is about. So a push is never read for what it says, only for whether it may be about money
that came in.
"""

import asyncio
import contextlib
import logging
import ssl
from types import TracebackType
from typing import Self

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

FIRST_LOOK_S = 0.05
"""The pause between a push and looking, in seconds; it doubles while pushes turn out to be about nothing."""
_MAX_PUSH_BYTES = 1 << 16
_LONGEST_RECONNECT_S = 60.0

_log = logging.getLogger(__name__)
# websockets logs each request line, and ours has the key in it. A logger that no configuration can reach:
_silent = logging.Logger("websocket", logging.CRITICAL + 1)  # noqa: LOG001 -- getLogger's could be switched on


class _Payment(msgspec.Struct):
    amount: int


class _Message(msgspec.Struct):
    payment: _Payment


class _Connect(connect):
    """Follows no redirect: the key is in the path, and only our LNbits may see it."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class LnbitsBell:
    """Listens in the background while entered; `next_look` returns when the record is worth reading.

    Args:
        uri: the websocket of the wallet's key. It holds the key, and is neither logged nor raised.
        tls: what to trust with wss.
        poll_s: the longest time between two looks without push, in seconds.
        idle_poll_s: the same with push.
        backoff_s: the first pause before reconnecting, in seconds; it doubles to a minute.
    """

    def __init__(
        self, uri: str, tls: ssl.SSLContext | None, *, poll_s: float, idle_poll_s: float, backoff_s: float
    ) -> None:
        self._uri = uri
        self._tls = tls
        self._poll_s = poll_s
        self._idle_poll_s = idle_poll_s
        self._backoff_s = backoff_s
        self._rung = asyncio.Event()
        self._closed = asyncio.Event()
        self._connected = False
        self._pause = FIRST_LOOK_S
        self._in_doubt = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks.append(asyncio.create_task(self._listen()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closed.is_set()

    async def aclose(self) -> None:
        """Hang up, and end the wait of `next_look` for good. Twice is fine."""
        self._closed.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def next_look(self, *, found: bool) -> None:
        """Wait until the record should be read again; ``found`` says whether the last look brought news.

        After a push the record is read a few times, at growing distance, until there is news. Pushes about
        nothing therefore cost less and less, and never more than one look in ``poll_s`` for long.
        """
        if found:
            self._pause, self._in_doubt = FIRST_LOOK_S, False
        elif self._in_doubt:
            self._pause = min(2 * self._pause, self._poll_s)
            self._in_doubt = self._pause < self._poll_s
        if not self._in_doubt:
            rung = await self._either(self._rung, self._idle_poll_s if self._connected else self._poll_s)
            if not rung:
                self._pause = FIRST_LOOK_S
                return
            self._rung.clear()
            self._in_doubt = True
        await self._either(None, self._pause)

    async def _either(self, bell: asyncio.Event | None, seconds: float) -> bool:
        """Wait for the bell, the end, or the time; whether it was the bell."""
        waits = [asyncio.create_task(event.wait()) for event in (self._closed, bell) if event is not None]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bell is not None and bell.is_set()

    async def _listen(self) -> None:
        pause = self._backoff_s
        while True:
            # Their texts may hold the address, and the address holds the key.
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                async with _Connect(
                    self._uri,
                    ssl=self._tls,
                    proxy=None,
                    compression=None,
                    max_size=_MAX_PUSH_BYTES,
                    max_queue=4,
                    logger=_silent,
                ) as socket:
                    self._connected = True
                    self._rung.set()  # what came while there was no push is in the record
                    async for message in socket:
                        pause = self._backoff_s
                        if _may_be_income(message):
                            self._rung.set()
            if self._connected:
                _log.warning("LNbits' push is cut; its record is read every %g s until it is back", self._poll_s)
                self._rung.set()  # whoever waits trusts in the push, and would wait long
            self._connected = False
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RECONNECT_S)


def _may_be_income(message: str | bytes) -> bool:
    """All but what is plainly a payment of ours; what cannot be read rings too."""
    try:
        return msgspec.json.decode(message, type=_Message).payment.amount > 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
