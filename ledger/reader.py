"""Reading beside the writer, over aiosqlite: its connection, its thread, one hop for a whole look.

What aiosqlite offers in public is one statement a call; a look is several on one snapshot. That it can also run a
function in its thread is used in one place, :func:`_in_its_thread`, and nowhere else.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiosqlite

from ledger.store import StoreUnavailable
from ledger.writer import Connect, Done, Work, run_group, unavailable

T = TypeVar("T")
_ROWS_AT_ONCE = 64


class Reader:
    """Looks at the ledger, each look on one snapshot. See :class:`ledger.writer.Runner`.

    Args:
        connect: makes the connection; called once, here, so that trouble shows at once.
        name: what errors call the file.
    """

    def __init__(self, connect: Connect, *, name: str) -> None:
        self._plain = connect()
        self._name = name
        self._connection = aiosqlite.Connection(lambda: self._plain, _ROWS_AT_ONCE)
        self._starting = asyncio.Lock()
        self._started: asyncio.Future[aiosqlite.Connection] | None = None
        self._closed = False

    async def run(self, work: Work[T]) -> T:
        """See :class:`ledger.writer.Runner`. Cancelling is safe: a look changes nothing."""
        async with self._starting:
            if self._closed:
                raise StoreUnavailable("the ledger is closed")
            if self._started is None:
                self._started = asyncio.ensure_future(self._connection)
            # The first caller may leave at once: shielded, for aiosqlite can't be started a second time.
            await asyncio.shield(self._started)
        done = await _in_its_thread(self._connection, lambda: self._look(work))
        value: T = done.result()
        return value

    def post(self, work: Work[T]) -> Awaitable[T]:
        """See :class:`ledger.writer.Runner`; a look nobody waits for is not taken before it is awaited."""
        return self.run(work)

    async def close(self) -> None:
        """See :class:`ledger.writer.Runner`. Safe to call twice."""
        async with self._starting:
            if self._closed:
                return
            self._closed = True
            if self._started is None:
                self._plain.close()
            else:
                await self._started
                await self._connection.close()

    def _look(self, work: Work[T]) -> Done:
        try:
            (done,) = run_group(self._plain, "BEGIN", [work])
        except sqlite3.Error as error:
            return Done(error=unavailable(self._name, error))
        return done  # opened by the caller: not every exception may pass through a future


async def _in_its_thread(connection: aiosqlite.Connection, look: Callable[[], T]) -> T:
    """Run ``look`` in the connection's thread, after what was asked before."""
    # No public call of aiosqlite runs more than one statement, and its types end here.
    value: T = await connection._execute(look)  # type: ignore[no-untyped-call] # noqa: SLF001 - as said above
    return value
