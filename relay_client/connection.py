"""A session on a real socket: dial, talk, lose the connection, dial again, for ever.

Reading is one loop. A frame is measured before anything looks into it, given to the session, and what the
session reports is handed to the `Listener`, awaited. So a slow listener slows this loop, which stops
reading, which fills the relay's socket: nothing is dropped, and nothing piles up here.

Writing does not wait as long as the socket takes it; what it does not take is queued for a task that waits.
The queue is bounded: at most `MAX_PUBLISHES_IN_FLIGHT` events wait for an answer, and a publish that finds
`MAX_OUTGOING` messages still unsent is told so at once.
"""

import asyncio
import collections
import enum
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed

from relay_client import wire
from relay_client.dial import (
    MAX_FRAME_BYTES,
    WRITE_BUFFER_BYTES,
    DialOptions,
    Outside,
    PublishOutcome,
    PublishState,
    open_socket,
    outcome_of,
    quick_ack,
)
from relay_client.errors import NotConnected
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.happenings import (
    ChallengeReceived,
    Happening,
    Misbehaved,
    Misbehaviour,
    PublishAnswered,
    Score,
    SubscriptionClosed,
)
from relay_client.session import Session
from relay_client.wire import Prefix

MAX_PUBLISHES_IN_FLIGHT: Final = 512
"""Events sent to one relay and not answered yet; a publish beyond waits its turn."""
MAX_OUTGOING: Final = 1_024
"""Messages one relay's socket has not taken yet."""
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0
STABLE_AFTER_S: Final = 10.0
"""A connection that lived this long makes the next back-off start from the first again."""
PENALTY_S: Final = 300.0
"""How long a relay is left alone that misbehaved too much."""
RESUBSCRIBE_FIRST_S: Final = 5.0
"""How long a subscription rests that the relay closed, the first time; then it doubles."""
_FRAMES_PER_TURN: Final = 64

# Refusals that do not change by asking again on the same connection.
_FINAL_REFUSALS: Final = frozenset(
    {Prefix.RESTRICTED, Prefix.BLOCKED, Prefix.AUTH_REQUIRED, Prefix.INVALID, Prefix.UNSUPPORTED}
)


class RelayState(enum.Enum):
    """Where a connection stands."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    """Not reachable just now; it is tried again, for ever."""
    PENALISED = "penalised"
    """Dropped for misbehaviour; it is tried again when `PENALTY_S` is over."""


class Listener(Protocol):
    """Who hears what a relay says."""

    async def heard(self, connection: "RelayConnection", happening: Happening) -> None:
        """Take one happening; until this returns, nothing more is read from that relay."""

    def changed(self, connection: "RelayConnection") -> None:
        """The connection's state is another."""

    def since(self, connection: "RelayConnection", sub_id: str) -> int | None:
        """From which Unix second on this subscription is wanted now; None leaves it to its filters."""


class RelayConnection:
    """One configured relay, kept connected while `run` runs.

    Args:
        session: what is to be said; its `url` is dialled.
        listener: who hears what is heard.
        outside: clock, sleep and randomness.
        options: how sockets are opened.

    Attributes:
        url: the relay's address.
        state: where the connection stands.
        connected_since: Unix seconds; None while there is no connection.
        last_error: why the last connection ended or could not be made.
    """

    def __init__(self, session: Session, listener: Listener, outside: Outside, options: DialOptions) -> None:
        self.url = session.url
        self.state = RelayState.STOPPED
        self.connected_since: float | None = None
        self.last_error: str | None = None
        self._session = session
        self._listener = listener
        self._outside = outside
        self._options = options
        self._connections = 0
        self._score = Score()
        self._answers: dict[str, set[asyncio.Future[PublishOutcome]]] = {}
        self._slots = asyncio.Semaphore(MAX_PUBLISHES_IN_FLIGHT)
        # What belongs to the present connection.
        self._ws: ClientConnection | None = None
        self._outgoing: collections.deque[str] = collections.deque()
        self._unsent = asyncio.Event()
        self._helpers: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._closings: collections.Counter[str] = collections.Counter()

    @property
    def reconnects(self) -> int:
        """How often a connection was made again."""
        return max(0, self._connections - 1)

    @property
    def points(self) -> float:
        """What the relay has done wrong and is not forgiven yet; it is dropped at `DROP_AT_POINTS`."""
        return self._score.points(self._outside.monotonic())

    def blame(self, what: Misbehaviour) -> None:
        """Count something the relay did wrong that only the listener could see."""
        self._score.add(what, self._outside.monotonic())

    def subscribe(self, sub_id: str, filters: Sequence[Filter]) -> None:
        """Ask for events, now and after each reconnect. Raises ValueError as `Session.subscribe` does."""
        self._session.subscribe(sub_id, filters, self._listener.since(self, sub_id))
        self._flush()

    def unsubscribe(self, sub_id: str) -> None:
        """Want no more of it."""
        self._session.unsubscribe(sub_id)
        self._flush()

    async def publish(self, event: Event, timeout_s: float) -> PublishOutcome:
        """Send an event and wait for the relay's answer, at most `timeout_s`.

        Cancelling is safe: the event may or may not reach the relay, and its answer is ignored.
        """
        if not self._session.is_open:
            return PublishOutcome(PublishState.NOT_CONNECTED, text=self.last_error or "not connected yet")
        if len(self._outgoing) >= MAX_OUTGOING:
            return PublishOutcome(PublishState.NOT_CONNECTED, text="the relay takes no more messages just now")
        answer: asyncio.Future[PublishOutcome] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s), self._slots:
                self._session.publish(event)
                self._answers.setdefault(event.id, set()).add(answer)
                self._flush()
                return await answer
        except NotConnected as error:
            return PublishOutcome(PublishState.NOT_CONNECTED, text=str(error))
        except TimeoutError:
            return PublishOutcome(PublishState.NO_ANSWER, text=f"no answer within {timeout_s:g} s")
        finally:
            self._wait_no_more(event.id, answer)

    async def run(self) -> None:
        """Stay connected until cancelled; never ends by itself, whatever the relay does."""
        failures = 0
        try:
            while True:
                self._become(RelayState.CONNECTING)
                lived_s = await self._connect_once()
                if self._score.is_too_high(self._outside.monotonic()):
                    self._become(RelayState.PENALISED)
                    await self._outside.sleep(PENALTY_S)
                    self._score.clear()
                    continue
                failures = 0 if lived_s >= STABLE_AFTER_S else failures + 1
                self._become(RelayState.WAITING)
                await self._outside.sleep(self._backoff_s(failures))
        finally:
            self._become(RelayState.STOPPED)

    def _backoff_s(self, failures: int) -> float:
        """Half to all of a delay that doubles: many clients must not come back at the same moment."""
        longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures, 16))
        return longest * (0.5 + 0.5 * self._outside.jitter())

    def _become(self, state: RelayState) -> None:
        self.state = state
        self._listener.changed(self)

    async def _connect_once(self) -> float:
        """Dial and talk until the connection ends; returns how many seconds it lived."""
        started = self._outside.monotonic()
        try:
            async with open_socket(self.url, self._options) as ws:
                started = self._outside.monotonic()
                self.last_error = await self._converse(ws)
        except NotConnected as error:
            self.last_error = str(error)
            return 0.0
        return self._outside.monotonic() - started

    async def _converse(self, ws: ClientConnection) -> str:
        """One connection, from opened to lost; returns why it ended."""
        self._ws = ws
        self._connections += 1
        try:
            async with asyncio.TaskGroup() as self._helpers:
                self._help(self._write(ws))
                self._session.opened(lambda sub_id: self._listener.since(self, sub_id))
                self._flush()
                self.connected_since = self._outside.unix_time()
                self._become(RelayState.CONNECTED)
                reason = await self._read(ws)
                for task in self._tasks:
                    task.cancel()
            return reason
        finally:
            self._ws = self._helpers = self._timer = self.connected_since = None
            self._outgoing.clear()
            self._closings.clear()
            self._session.lost()
            lost = PublishOutcome(PublishState.NO_ANSWER, text="the connection was lost before an answer")
            for event_id in list(self._answers):
                self._answer(event_id, lost)

    async def _read(self, ws: ClientConnection) -> str:
        """Hear the relay out until the connection or our patience ends; returns why."""
        acknowledge_now = quick_ack(ws)
        frames = 0
        while True:
            try:
                frame = await ws.recv(decode=False)
            except ConnectionClosed as closed:
                return wire.one_line(f"connection lost: {closed.__cause__ or closed}")
            acknowledge_now()
            now = self._outside.monotonic()
            if len(frame) > MAX_FRAME_BYTES:
                await self._handle(Misbehaved(Misbehaviour.OVERSIZED_FRAME), now)
            else:
                for happening in self._session.receive(frame, now):
                    await self._handle(happening, now)
                self._flush()
                self._set_timer()
            if self._score.is_too_high(now):
                return "dropped for misbehaviour"
            frames += 1
            if frames % _FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)  # frames that are here already come without a pause; let others run

    async def _handle(self, happening: Happening, now: float) -> None:
        match happening:
            case PublishAnswered():
                self._answer(happening.event_id, outcome_of(happening))
                return
            case ChallengeReceived():
                self._session.authenticate(
                    created_at=int(self._outside.unix_time()), aux=self._outside.entropy(32), now=now
                )
            case Misbehaved(what):
                self.blame(what)
            case SubscriptionClosed() if happening.prefix not in _FINAL_REFUSALS:
                self._help(self._ask_again(happening.subscription))
            case _:
                pass
        await self._listener.heard(self, happening)

    async def _write(self, ws: ClientConnection) -> None:
        """Send what the socket did not take at once, as it takes it."""
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            while self._outgoing:
                try:
                    await ws.send(self._outgoing.popleft())
                except ConnectionClosed:
                    return  # the reader says why

    def _flush(self) -> None:
        """Send what the session has to say; waits for nothing."""
        for text in self._session.texts_to_send():
            ws = self._ws
            if ws is None:
                return
            if not self._outgoing and ws.transport.get_write_buffer_size() < WRITE_BUFFER_BYTES:
                broadcast((ws,), text)
            else:
                self._outgoing.append(text)
                self._unsent.set()

    def _set_timer(self) -> None:
        if self._session.deadline is not None and (self._timer is None or self._timer.done()):
            self._timer = self._help(self._keep_deadline())

    async def _keep_deadline(self) -> None:
        while (deadline := self._session.deadline) is not None:
            await self._outside.sleep(max(0.0, deadline - self._outside.monotonic()))
            now = self._outside.monotonic()
            for happening in self._session.time_passed(now):
                await self._handle(happening, now)
            self._flush()

    async def _ask_again(self, sub_id: str) -> None:
        """A relay may close what it has served for hours, or have had a bad moment."""
        closings = self._closings[sub_id]
        self._closings[sub_id] += 1
        longest = min(BACKOFF_MAX_S, RESUBSCRIBE_FIRST_S * 2.0 ** min(closings, 16))
        await self._outside.sleep(longest * (0.5 + 0.5 * self._outside.jitter()))
        self._session.resubscribe(sub_id, self._listener.since(self, sub_id))
        self._flush()

    def _help(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the reader, no longer than this connection."""
        if self._helpers is None:
            raise RuntimeError("helpers live only while there is a connection")
        task = self._helpers.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _answer(self, event_id: str, outcome: PublishOutcome) -> None:
        for waiting in self._answers.pop(event_id, ()):
            if not waiting.done():
                waiting.set_result(outcome)

    def _wait_no_more(self, event_id: str, answer: asyncio.Future[PublishOutcome]) -> None:
        waiting = self._answers.get(event_id)
        if waiting is not None:
            waiting.discard(answer)
            if not waiting:
                del self._answers[event_id]
                self._session.forget(event_id)
