"""One session on one open socket: hear, be heard, keep deadlines, until the connection or our patience ends.

Reading is one loop. A frame is measured before anything looks into it, given to the session, and what the
session reports is handed on, awaited. So a slow listener slows this loop, which stops reading, which fills
the relay's socket: nothing is dropped, and nothing piles up here.

Writing does not wait as long as the socket takes it; what it does not take is queued for a task that waits.
Whoever fills that queue asks `is_congested` first.
"""

import asyncio
import collections
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from relay_client import wire
from relay_client.dial import MAX_FRAME_BYTES, WRITE_BUFFER_BYTES, Outside, quick_ack
from relay_client.happenings import ChallengeReceived, Happening, Misbehaved, Misbehaviour, Score
from relay_client.session import Session

MAX_OUTGOING: Final = 1_024
"""Messages the relay's socket has not taken yet."""
DROPPED: Final = "dropped for misbehaviour"
HUNG_UP: Final = "hung up"
"""Why a conversation ended that we ended."""
_FRAMES_PER_TURN: Final = 64
_FAULTS: Final[dict[int, Misbehaviour]] = {
    CloseCode.MESSAGE_TOO_BIG: Misbehaviour.OVERSIZED_FRAME,
    CloseCode.PROTOCOL_ERROR: Misbehaviour.UNREADABLE_FRAME,
    CloseCode.INVALID_DATA: Misbehaviour.UNREADABLE_FRAME,
    CloseCode.INTERNAL_ERROR: Misbehaviour.UNANSWERED,  # a ping that met no pong
}
"""What a relay did when we close with this code of our own accord."""


class Conversation:
    """Drives a session over a socket that somebody else opened and will close.

    Challenges are answered here (NIP-42) if the session has keys, and misbehaviour is scored.

    Args:
        session: what is said; `Session.opened` it before `run`, which leaves it `lost`.
        ws: the open socket.
        score: what the relay has done wrong, perhaps on other connections too.
        outside: clock, sleep and randomness.
        heard: takes each happening; until it returns, nothing more is read.

    Attributes:
        frames: how many the relay has sent.
    """

    def __init__(
        self,
        session: Session,
        ws: ClientConnection,
        score: Score,
        outside: Outside,
        heard: Callable[[Happening], Awaitable[None]],
    ) -> None:
        self.frames = 0
        self._session = session
        self._ws = ws
        self._score = score
        self._outside = outside
        self._heard = heard
        self._outgoing: collections.deque[str] = collections.deque()
        self._unsent = asyncio.Event()
        self._helpers: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._is_over = False

    @property
    def is_congested(self) -> bool:
        """Whether the relay takes so little that nothing should be added."""
        return len(self._outgoing) >= MAX_OUTGOING

    async def run(self, *helpers: Coroutine[Any, Any, None]) -> str:
        """Talk until the connection is lost, the relay misbehaved too much, or cancelled; returns why it ended.

        Args:
            helpers: run beside it, and no longer.
        """
        try:
            async with asyncio.TaskGroup() as self._helpers:
                for helper in (self._write(), *helpers):
                    self.help(helper)
                self.flush()
                reason = await self._read()
                for task in self._tasks:
                    task.cancel()
            return reason
        finally:
            self._helpers = None
            self._session.lost()

    def end(self) -> None:
        """Hear nothing after what is being heard: for `heard` to call, when the errand is done."""
        self._is_over = True

    def flush(self) -> None:
        """Send what the session has to say; waits for nothing."""
        for text in self._session.texts_to_send():
            if not self._outgoing and self._ws.transport.get_write_buffer_size() < WRITE_BUFFER_BYTES:
                broadcast((self._ws,), text)
            else:
                self._outgoing.append(text)
                self._unsent.set()

    def help(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the reader, no longer than the conversation."""
        if self._helpers is None:
            raise RuntimeError("helpers live only while the conversation runs")
        task = self._helpers.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _read(self) -> str:
        acknowledge_now = quick_ack(self._ws)
        while True:
            try:
                frame = await self._ws.recv(decode=False)
            except ConnectionClosed as closed:
                self._blame_for(closed)
                return wire.one_line(f"connection lost: {closed.__cause__ or closed}")
            if not self._session.is_open:
                return HUNG_UP
            acknowledge_now()
            self.frames += 1
            now = self._outside.monotonic()
            if len(frame) > MAX_FRAME_BYTES:
                await self._handle(Misbehaved(Misbehaviour.OVERSIZED_FRAME), now)
            else:
                for happening in self._session.receive(frame, now):
                    await self._handle(happening, now)
                self.flush()
                self._set_timer()
            if self._is_over:
                return HUNG_UP
            if self._score.is_too_high(now):
                return DROPPED
            if self.frames % _FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)  # frames that are here already come without a pause; let others run

    def _blame_for(self, closed: ConnectionClosed) -> None:
        """Score a connection that `websockets` had to end."""
        what = _FAULTS.get(closed.sent.code) if closed.sent is not None and closed.rcvd is None else None
        if what is not None:
            self._score.add(what, self._outside.monotonic())

    async def _handle(self, happening: Happening, now: float) -> None:
        match happening:
            case ChallengeReceived():
                self._session.authenticate(
                    created_at=int(self._outside.unix_time()), aux=self._outside.entropy(32), now=now
                )
            case Misbehaved(what):
                self._score.add(what, now)
            case _:
                pass
        await self._heard(happening)

    async def _write(self) -> None:
        """Send what the socket did not take at once, as it takes it."""
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            while self._outgoing:
                try:
                    await self._ws.send(self._outgoing.popleft())
                except ConnectionClosed:
                    return  # the reader says why

    def _set_timer(self) -> None:
        if self._session.deadline is not None and (self._timer is None or self._timer.done()):
            self._timer = self.help(self._keep_deadline())

    async def _keep_deadline(self) -> None:
        while (deadline := self._session.deadline) is not None:
            await self._outside.sleep(max(0.0, deadline - self._outside.monotonic()))
            now = self._outside.monotonic()
            for happening in self._session.time_passed(now):
                await self._handle(happening, now)
            self.flush()
