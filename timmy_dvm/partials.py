"""What the model has written so far of each answer, for whoever wants to show it while it grows.

    runs ──pieces──▶ Partials ──newest text──▶ nostr/streaming, an HTTP stream

Nothing here is kept, and nothing here is owed: the answer itself comes from the ledger. The model is never slowed:
a piece is added without waiting, and a listener that is slow finds the newest text, not all that was in between.

Bounds: one stream for each run of the model (`limits.in_flight`), each of at most `MAX_CHARS`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from timmy_dvm.agent.runner import OnText

MAX_CHARS: Final = 65_536
"""Of one answer; what the model writes beyond is not shown before the end."""


class Stream:
    """The answer of one run while it is written.

    Attributes:
        job_id: whose it is.
        version: rises with every change of the text; 0: there is none yet.
        has_ended: the run is over, well or not; the text is void, for the ledger has what came of it.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.version = 0
        self.has_ended = False
        self._pieces: list[str] = []
        self._chars = 0
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        """All that was written so far, from the beginning, at most `MAX_CHARS`."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    async def newer(self, than: int) -> int | None:
        """Wait for a later version than this; which it is, or None when the run has ended.

        At once where there is one already. Cancelling is safe.
        """
        while not self.has_ended and self.version <= than:
            await self._changed.wait()
        return None if self.has_ended else self.version

    def hear(self, piece: str | None) -> None:
        """An `agent.runner.OnText`."""
        if piece is None:
            self._pieces, self._chars = [], 0
        elif piece and self._chars < MAX_CHARS:
            self._pieces.append(piece[: MAX_CHARS - self._chars])
            self._chars += len(self._pieces[-1])
        else:
            return
        self.version += 1
        self._wake()

    def end(self) -> None:
        """The run is over."""
        self.has_ended = True
        self._pieces = []
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Partials:
    """The streams of all runs that are going on."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._listeners: set[Callable[[Stream], None]] = set()

    @contextlib.contextmanager
    def stream(self, job_id: str) -> Iterator[OnText]:
        """While a run writes: what to hand its pieces to. Listeners are told that it begins."""
        stream = self._streams[job_id] = Stream(job_id)
        for listener in tuple(self._listeners):
            listener(stream)
        try:
            yield stream.hear
        finally:
            stream.end()
            if self._streams.get(job_id) is stream:
                del self._streams[job_id]

    def running(self, job_id: str) -> Stream | None:
        """The stream of a job whose answer is being written just now, or None."""
        return self._streams.get(job_id)

    @contextlib.contextmanager
    def listening(self, listener: Callable[[Stream], None]) -> Iterator[None]:
        """Have `listener` called with each stream that begins. It must return at once and not raise."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def begun(self, job_id: str) -> Stream:
        """Wait until a job's answer is being written. Cancelling is safe; whoever waits must know when to stop."""
        found: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

        def notice(stream: Stream) -> None:
            if stream.job_id == job_id and not found.done():
                found.set_result(stream)

        with self.listening(notice):
            return self.running(job_id) or await found
