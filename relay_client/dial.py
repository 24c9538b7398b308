"""Opening a socket to a relay: the limits, the options, and how a publish can end.

Nothing here follows a redirect, so a relay never chooses whom we dial.
"""

import asyncio
import contextlib
import dataclasses
import enum
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from relay_client import wire
from relay_client.errors import NotConnected
from relay_client.event import MAX_EVENT_BYTES
from relay_client.happenings import PublishAnswered
from relay_client.wire import Prefix

MAX_FRAME_BYTES: Final = MAX_EVENT_BYTES + 1_024
"""A longer frame is not looked into (and counted), for no event we read is that long."""
CUT_FRAME_BYTES: Final = 1_048_576
"""A frame longer than this, unpacked, ends the connection. The room between the two limits is there so that
a stranger who stores one big event on a relay does not cut us off from it."""
DIAL_TIMEOUT_S: Final = 10.0
PING_INTERVAL_S: Final = 20.0
PING_TIMEOUT_S: Final = 20.0
CLOSE_TIMEOUT_S: Final = 0.5
"""How long a relay may take to say goodbye: stopping takes less than a second."""
WRITE_BUFFER_BYTES: Final = 262_144
_RECEIVED_FRAMES: Final = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What connections take from the outside world; a simulation brings its own.

    Attributes:
        monotonic: seconds that never go back.
        unix_time: seconds since 1970.
        sleep: waits that many seconds.
        jitter: a number from 0 up to 1, to spread reconnects.
        entropy: that many random bytes, for signatures and challenges.
    """

    monotonic: Callable[[], float] = time.monotonic
    unix_time: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    entropy: Callable[[int], bytes] = os.urandom


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DialOptions:
    """How sockets are opened.

    Attributes:
        compression: "deflate" saves bandwidth, None saves processor time.
        proxy: address of a proxy, True for the system's own setting, None for none.
        ping_interval_s: how often a relay is asked whether it is there.
        ping_timeout_s: how long it may take to answer; the two together bound how long a dead connection
            goes unnoticed.
    """

    compression: Literal["deflate"] | None = None
    proxy: str | Literal[True] | None = None
    ping_interval_s: float = PING_INTERVAL_S
    ping_timeout_s: float = PING_TIMEOUT_S


class PublishState(enum.Enum):
    """How a publish to one relay ended."""

    ACCEPTED = "accepted"
    """The relay has the event, as far as its word goes (an OK, or it had it already)."""
    REFUSED = "refused"
    NO_ANSWER = "no answer"
    """Unknown: sent, or about to be, and not answered in time. Sending the same event again is safe."""
    NOT_CONNECTED = "not connected"
    """It was not sent."""


@dataclasses.dataclass(frozen=True, slots=True)
class PublishOutcome:
    """How a publish to one relay ended, with the relay's own words cut to one line."""

    state: PublishState
    prefix: Prefix = Prefix.NONE
    text: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether the relay says that it has the event now."""
        return self.state is PublishState.ACCEPTED

    @property
    def word(self) -> str:
        """One word: `accepted`, the relay's own machine word (NIP-01), or how far we came."""
        if self.is_accepted:
            return "accepted"
        word: str = self.state.value if self.prefix is Prefix.NONE else self.prefix.value
        return word.replace(" ", "_")


def outcome_of(answer: PublishAnswered) -> PublishOutcome:
    """A relay's OK, judged: `duplicate:` means it has the event, whatever its yes or no (some say no)."""
    accepted = answer.accepted or answer.prefix is Prefix.DUPLICATE
    state = PublishState.ACCEPTED if accepted else PublishState.REFUSED
    return PublishOutcome(state, answer.prefix, answer.text)


def quick_ack(ws: ClientConnection) -> Callable[[], None]:
    """A function to call after each received frame, so that the relay's next frame is not held back.

    Many relays leave Nagle's algorithm on; together with our kernel's delayed ACK each frame that follows
    another waits 40 ms. Linux forgets the option by itself, so it is set again and again (about 1 µs).
    """
    raw = ws.transport.get_extra_info("socket")
    option = getattr(socket, "TCP_QUICKACK", None)
    if option is None or raw is None:
        return lambda: None

    def acknowledge_now() -> None:
        with contextlib.suppress(OSError):  # the socket may be closing; the read that follows will tell
            raw.setsockopt(socket.IPPROTO_TCP, option, 1)

    return acknowledge_now


class _Dial(connect):
    """`websockets.connect` that follows no redirect."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@contextlib.asynccontextmanager
async def open_socket(
    url: str, options: DialOptions, address: tuple[str, int] | None = None
) -> AsyncIterator[ClientConnection]:
    """A websocket to the relay, closed on leaving within `CLOSE_TIMEOUT_S`.

    Args:
        url: the relay's address; its host goes into TLS and the Host header.
        options: how to dial.
        address: the IP address and port to connect to, instead of looking the host up.

    Raises:
        NotConnected: it could not be opened; the text says why.
    """
    if address is not None and options.proxy is not None:
        raise NotConnected(f"{url} is not dialled: an address already looked up cannot go through the proxy.")
    elsewhere: dict[str, Any] = {} if address is None else {"host": address[0], "port": address[1]}
    try:
        ws = await _Dial(
            url,
            compression=options.compression,
            proxy=options.proxy,
            user_agent_header="timmy",
            open_timeout=DIAL_TIMEOUT_S,
            ping_interval=options.ping_interval_s,
            ping_timeout=options.ping_timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=CUT_FRAME_BYTES,
            max_queue=_RECEIVED_FRAMES,
            write_limit=WRITE_BUFFER_BYTES,
            **elsewhere,
        )
    except (OSError, WebSocketException, ValueError) as error:  # ValueError: a host IDNA cannot encode
        raise NotConnected(f"{url} cannot be reached: {wire.one_line(str(error)) or 'no reason given'}") from error
    try:
        yield ws
    finally:
        try:
            # `close_timeout` is not enough: a relay that reads nothing can hold up the goodbye itself.
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await ws.close()
        except TimeoutError:
            pass
        finally:
            ws.transport.abort()  # nor may a goodbye that was cancelled leave the socket open
