"""One thread, one connection, whole transactions: how the asyncio side reaches SQLite.

A transaction costs one hop to the thread and back, not one a statement, and whatever waits is run as one
transaction with a savepoint each: one ``fsync`` for all of it, without lingering for more to come. Reading goes
its own way, in :mod:`ledger.reader`.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, Generic, Protocol, TypeVar

from ledger.store import StoreUnavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""What one member of a group does, inside its own savepoint. Its exception undoes it alone."""
Connect = Callable[[], sqlite3.Connection]

GROUP_MAX: Final = 256
"""Members of one transaction: bounds how long the first of them waits for the last."""
WAITING_MAX: Final = 2_048
"""Callers that may wait at once; the next ones wait for a place."""

_THE_FILE_NOT_THE_MEMBER: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Primary result codes that say the ledger's file is in trouble; any other error is the member's own."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one member: its value, or the exception that reaches its caller only."""

    value: Any = None
    error: BaseException | None = None

    def result(self) -> Any:
        """The value, or the exception raised."""
        if self.error is not None:
            raise self.error
        return self.value


class _Later(Generic[T]):
    """What :meth:`Writer.post` answers. It may be awaited, and nothing complains when it is not."""

    def __init__(self, future: asyncio.Future[Done]) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, T]:
        done = yield from self._future.__await__()
        return done.result()  # type: ignore[no-any-return] # the queue holds members of all types


class Runner(Protocol):
    """Runs work in a transaction: :class:`Writer` and :class:`ledger.reader.Reader` each in a thread of their own,
    :class:`Inline` in the caller's.
    """

    async def run(self, work: Work[T]) -> T:
        """Run ``work``; return when its transaction is committed.

        Raises:
            StoreUnavailable: the transaction could not be had, or could not be committed. Nothing was changed.
        """

    def post(self, work: Work[T]) -> Awaitable[T]:
        """Have ``work`` run without waiting for it. What this returns may be awaited like :meth:`run`, or left.

        Where too much waits already ``work`` is dropped, and awaiting raises :class:`StoreUnavailable`.
        """

    async def close(self) -> None:
        """Finish what waits, then close the connection."""


def run_group(connection: sqlite3.Connection, begin: str, group: list[Work[Any]]) -> list[Done]:
    """Run a group in one transaction, each member in its own savepoint, and commit it.

    Raises:
        sqlite3.Error: the transaction as a whole failed, and all of it was rolled back.
    """
    connection.rollback()  # nothing to do, unless the last one could not even be rolled back
    try:
        connection.execute(begin)
        outcomes = [_run_member(connection, work) for work in group]
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.rollback()
        raise
    return outcomes


def _run_member(connection: sqlite3.Connection, work: Work[Any]) -> Done:
    connection.execute("SAVEPOINT member")
    try:
        value = work(connection)
    except BaseException as error:
        # A decision's failure, whatever it is, belongs to its caller and must not end the thread.
        if is_trouble_with_the_file(error):
            raise
        connection.execute("ROLLBACK TO member")
        connection.execute("RELEASE member")
        return Done(error=error)
    connection.execute("RELEASE member")
    return Done(value)


def is_trouble_with_the_file(error: BaseException) -> bool:
    """Whether an error is the ledger's file in trouble (full, locked, unreadable), and not a mistake of ours."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _THE_FILE_NOT_THE_MEMBER


def unavailable(path: str, error: sqlite3.Error) -> StoreUnavailable:
    """The error for whoever waited, with what the operator should look at."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    look_at = {
        sqlite3.SQLITE_FULL: "free some disk space",
        sqlite3.SQLITE_BUSY: "another program holds the ledger locked: end it",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable",
        sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a backup",
        sqlite3.SQLITE_NOTADB: "that file is no ledger: check ledger.url",
    }.get(code, "check the disk, and the rights of the file and its folder")
    return StoreUnavailable(f"the ledger {path} can't be used now ({error}): {look_at}")


@dataclass(frozen=True, slots=True)
class _Member:
    """One caller's work, the future it waits on, and how its place among the waiting is given back."""

    work: Work[Any]
    future: asyncio.Future[Done]
    leave: Callable[[], None]


class Writer:
    """A thread that owns a connection and takes all that waits as one transaction.

    Cancelling a caller is safe: its work is done or not, and nobody else notices. A failed transaction is
    rolled back and the next one tries anew: when the disk has room again, nothing needs a restart.

    Args:
        connect: makes the connection; called once, here.
        name: what errors call the file.
        waiting_max: callers that may wait at once; the next ones wait for a place.
    """

    def __init__(self, connect: Connect, *, name: str, waiting_max: int = WAITING_MAX) -> None:
        self._connection = connect()
        self._name = name
        self._waiting_max = waiting_max
        self._places = asyncio.Semaphore(waiting_max)
        self._queue: SimpleQueue[_Member | asyncio.Future[None]] = SimpleQueue()
        self._closed: asyncio.Future[None] | None = None
        threading.Thread(target=self._serve, name="ledger writer", daemon=True).start()

    async def run(self, work: Work[T]) -> T:
        """See :class:`Runner`."""
        await self._places.acquire()
        return await self._put(work, self._places.release)

    def post(self, work: Work[T]) -> Awaitable[T]:
        """See :class:`Runner`."""
        if self._queue.qsize() >= 2 * self._waiting_max:
            return _refused("too much waits for the ledger: try again in a moment")
        return self._put(work, _stay)

    async def close(self) -> None:
        """See :class:`Runner`. Safe to call twice."""
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
            self._queue.put(self._closed)
        await asyncio.shield(self._closed)

    def _put(self, work: Work[T], leave: Callable[[], None]) -> Awaitable[T]:
        if self._closed is not None:
            leave()
            return _refused("the ledger is closed")
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._queue.put(_Member(work, future, leave))
        return _Later(future)

    def _serve(self) -> None:
        """The thread: everything from here on touches the connection, and nothing else does."""
        closed = None
        while closed is None:
            group, closed = self._take()
            if group:
                outcomes = self._run([member.work for member in group])
                _wake(group, outcomes)
        self._connection.close()
        _in_loop_of(closed, lambda: closed.set_result(None))

    def _take(self) -> tuple[list[_Member], asyncio.Future[None] | None]:
        """Wait for one member, then take along whoever waits as well, without lingering for more."""
        group: list[_Member] = []
        while len(group) < GROUP_MAX and (not group or not self._queue.empty()):
            member = self._queue.get()
            if not isinstance(member, _Member):
                return group, member
            group.append(member)
        return group, None

    def _run(self, works: list[Work[Any]]) -> list[Done]:
        try:
            return run_group(self._connection, "BEGIN IMMEDIATE", works)
        except sqlite3.Error as error:
            return [Done(error=unavailable(self._name, error)) for _ in works]


def _refused(sentence: str) -> _Later[Any]:
    future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
    future.set_result(Done(error=StoreUnavailable(sentence)))
    return _Later(future)


def _stay() -> None:
    """What was posted holds no place among the waiting."""


def _wake(group: list[_Member], outcomes: list[Done]) -> None:
    """Wake all callers of a group with one message to their loop."""

    def wake() -> None:
        for member, done in zip(group, outcomes, strict=True):
            member.leave()
            if not member.future.done():  # a cancelled caller is gone; what it asked for is done all the same
                member.future.set_result(done)

    _in_loop_of(group[0].future, wake)


def _in_loop_of(future: asyncio.Future[Any], call: Callable[[], None]) -> None:
    try:
        future.get_loop().call_soon_threadsafe(call)
    except RuntimeError:
        # The loop is closed: the process ends, and nobody waits. What was committed stays committed.
        return


class Inline:
    """The same without a thread: for ``:memory:`` and for simulated time, where a thread would break both."""

    def __init__(self, connect: Connect, *, name: str) -> None:
        self._connection = connect()
        self._name = name
        self._closed = False

    async def run(self, work: Work[T]) -> T:
        """See :class:`Runner`. Done before it first yields."""
        return await self.post(work)

    def post(self, work: Work[T]) -> Awaitable[T]:
        """See :class:`Runner`. Done at once."""
        if self._closed:
            return _refused("the ledger is closed")
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        try:
            (done,) = run_group(self._connection, "BEGIN IMMEDIATE", [work])
        except sqlite3.Error as error:
            done = Done(error=unavailable(self._name, error))
        future.set_result(done)
        return _Later(future)

    async def close(self) -> None:
        """See :class:`Runner`. Safe to call twice."""
        self._closed = True
        self._connection.close()
