"""Time and randomness: the only file of Timmy that asks the machine for either.

Everything else takes a `Clock` and a `Randomness` through its constructor, so that the tests and the
simulator run the same code with `ManualClock` and `SeededRandomness`, which ship beside the real ones.
"""

import asyncio
import hashlib
import heapq
import secrets
import time
from typing import Protocol

ID_BYTES = 16
"""Job, session and refund ids are bearer secrets of 128 bits."""


class Clock(Protocol):
    """What time it is, and waiting."""

    def now(self) -> float:
        """Seconds since 1970, UTC. May step backwards when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. For durations and deadlines within one run."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or only let others run when that is 0 or less. Cancelling leaves nothing behind."""


class Randomness(Protocol):
    """Bytes nobody can guess (or, in tests, bytes everybody can repeat)."""

    def token(self, n: int) -> bytes:
        """`n` fresh bytes, fit for keys and secrets."""

    def new_id(self) -> str:
        """A fresh id: 128 bits as 32 lower-case hex digits."""

    def uniform(self) -> float:
        """A number from 0 up to, not including, 1: for jitter, never for secrets."""


async def doze(clock: Clock, seconds: float, awake: asyncio.Event) -> None:
    """Sleep for `seconds`, or until `awake` is set, whichever comes first."""
    sleeping = asyncio.ensure_future(clock.sleep(seconds))
    waking = asyncio.ensure_future(awake.wait())
    try:
        await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        waking.cancel()


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.time()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)


class SystemRandomness:
    """The operating system's randomness."""

    def __init__(self) -> None:
        self._generator = secrets.SystemRandom()

    def token(self, n: int) -> bytes:
        """See `Randomness.token`."""
        return secrets.token_bytes(n)

    def new_id(self) -> str:
        """See `Randomness.new_id`."""
        return secrets.token_hex(ID_BYTES)

    def uniform(self) -> float:
        """See `Randomness.uniform`."""
        return self._generator.random()


class ManualClock:
    """A clock that stands still until it is told to move. One event loop only.

    Sleepers wake in the order of the moments they asked for, and among equals in the order they fell asleep;
    each sees `now()` at exactly its own moment, whatever the size of the step.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._count = 0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._fell_asleep: list[asyncio.Event] = []

    def now(self) -> float:
        """See `Clock.now`: the start, and all steps since."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """See `Clock.monotonic`: all steps since the start."""
        return self._elapsed

    @property
    def sleepers(self) -> int:
        """How many tasks are asleep on this clock."""
        return sum(not future.done() for _, _, future in self._waiting)

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`: returns once `advance` has passed the moment."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (self._elapsed + seconds, self._count, future))
        for event in self._fell_asleep:
            event.set()
        await future

    async def wait_for_sleepers(self, count: int) -> None:
        """Return once at least `count` tasks are asleep: the sure way to know that `advance` will wake them.

        Bound it with `asyncio.timeout` in a test.
        """
        event = asyncio.Event()
        self._fell_asleep.append(event)
        try:
            while self.sleepers < count:
                event.clear()
                await event.wait()
        finally:
            self._fell_asleep.remove(event)

    async def advance(self, seconds: float, *, rounds: int = 20) -> None:
        """Move on by `seconds`, waking every sleeper on the way.

        After each one, and at the end, `rounds` turns of the event loop let it run on, so that a task which
        sleeps again within the step is woken again within the step. Work that leaves the loop (a database
        thread, a socket) is not waited for.
        """
        target = self._elapsed + seconds
        while (due := self._next_due()) is not None and due <= target:
            self._elapsed = max(self._elapsed, due)
            _, _, future = heapq.heappop(self._waiting)
            future.set_result(None)
            await _let_others_run(rounds)
        self._elapsed = max(self._elapsed, target)
        await _let_others_run(rounds)

    def set_wall_clock(self, now: float) -> None:
        """Set `now()` without moving `monotonic()` or waking anybody, as an operator or NTP would."""
        self._start = now - self._elapsed

    def _next_due(self) -> float | None:
        while self._waiting and self._waiting[0][2].done():  # cancelled in its sleep
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None


class SeededRandomness:
    """The same bytes for the same seed, on every machine and Python. For tests and the simulator ONLY."""

    def __init__(self, seed: int | str) -> None:
        self._seed = str(seed).encode()
        self._drawn = 0

    def token(self, n: int) -> bytes:
        """See `Randomness.token`; repeatable, so no secret."""
        self._drawn += 1
        return hashlib.shake_256(b"%d:%s" % (self._drawn, self._seed)).digest(n)

    def new_id(self) -> str:
        """See `Randomness.new_id`; repeatable."""
        return self.token(ID_BYTES).hex()

    def uniform(self) -> float:
        """See `Randomness.uniform`; repeatable."""
        return (int.from_bytes(self.token(8), "big") >> 11) / (1 << 53)


async def _let_others_run(rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)
