"""The store's contract kept with SQLite: WAL, ``synchronous=FULL``, one writing thread, and aiosqlite to read.

Meant for one machine and one running bot (:func:`ledger.files.lock_ledger`); beside it anybody may look with
``read_only``. Every transaction is one hop to a thread: :mod:`ledger.writer` says why.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from ledger import accounts
from ledger.answers import AnswerRecord
from ledger.entries import Code, transfer
from ledger.files import MEMORY, path_of, prepare_file
from ledger.migrate import check_version, migrate
from ledger.money import Msats
from ledger.reader import Reader
from ledger.records import (
    Applied,
    Change,
    FactRecord,
    InvoiceRecord,
    JobRecord,
    JobState,
    JobTexts,
    NewEvent,
    Outcome,
    PendingAction,
    RefundRecord,
)
from ledger.reservations import PoolBooks
from ledger.seals import keep_sealed
from ledger.sqlite_change import Undone, apply, forget_delivered
from ledger.sqlite_view import SQL, SqliteView
from ledger.store import Decide, Store, StoreUnavailable, Story, View
from ledger.writer import Inline, Runner, Writer, unavailable

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 15
"""How long another program's lock is waited out before callers are told that the ledger can't be used."""
_WAL_BYTES_KEPT: Final = 64 * 1024 * 1024
_STATEMENTS_CACHED: Final = 256
_OLDEST_SQLITE: Final = (3, 37, 0)
"""STRICT tables."""


def open_ledger(
    url: str, *, read_only: bool = False, beside: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S
) -> Store:
    """Open the ledger at a ``sqlite:///`` URL, making it or bringing it up to date unless ``read_only``.

    ``beside`` a bot that may be running it is written to as it is, or not at all: a bot of an older version would
    go on writing to a schema that it does not know, and sealing rows without their new columns.

    ``sqlite:///:memory:`` lives as long as the store and runs without threads, so simulated time is exact.

    Raises:
        ValueError: the URL is none that this can open.
        StoreUnavailable: the file can't be opened; the message says what to look at.
    """
    path = path_of(url)
    name = MEMORY if path is None else str(path)
    try:
        if path is None:
            memory = Inline(lambda: _connect(MEMORY, busy_timeout_s), name=name)
            return SqliteStore(memory, memory)
        return _open_file(path, name, read_only=read_only, beside=beside, busy_timeout_s=busy_timeout_s)
    except sqlite3.Error as error:
        raise unavailable(name, error) from error


def _open_file(path: Path, name: str, *, read_only: bool, beside: bool, busy_timeout_s: float) -> Store:
    def connect_to_read() -> sqlite3.Connection:
        return connect_read_only(path, busy_timeout_s)

    if read_only:
        return SqliteStore(None, Reader(connect_to_read, name=name))
    prepare_file(path)
    writer = Writer(lambda: _connect(_uri(path, "rw"), busy_timeout_s, as_it_is=beside), name=name)
    return SqliteStore(writer, Reader(connect_to_read, name=name))


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


def _connect(place: str, busy_timeout_s: float, *, as_it_is: bool = False) -> sqlite3.Connection:
    """A connection that writes, on the newest schema; ``as_it_is``, only where the ledger has that already."""
    connection = _plain_connection(place, busy_timeout_s)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}").fetchall()
        # FULL: a commit that was acknowledged survives the loss of power, not only the death of the process.
        connection.execute("PRAGMA synchronous = FULL")
        # What is erased is overwritten: some builds of SQLite leave the words of a deleted row in the file.
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        if as_it_is:
            check_version(connection)
        else:
            migrate(connection)
        keep_sealed(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(
    path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S, *, any_version: bool = False
) -> sqlite3.Connection:
    """A connection that can only look, beside a running bot or without one; unless ``any_version``, of our schema.

    Raises:
        StoreUnavailable: there is no ledger of this version.
        sqlite3.Error: the file can't be read.
    """
    if not path.exists():
        raise StoreUnavailable(f"there is no ledger at {path}: `timmy run` makes it")
    connection = _plain_connection(_uri(path, "ro"), busy_timeout_s)
    try:
        connection.execute("PRAGMA query_only = ON")
        if not any_version:
            check_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _plain_connection(place: str, busy_timeout_s: float) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed")
    connection = sqlite3.connect(
        place,
        uri=place != MEMORY,
        timeout=busy_timeout_s,
        isolation_level=None,  # transactions are begun by name
        check_same_thread=False,  # opened here, so that trouble shows at once; used by its one thread only
        cached_statements=_STATEMENTS_CACHED,
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    # Else INSERT OR REPLACE would slip past the triggers that refuse a DELETE.
    connection.execute("PRAGMA recursive_triggers = ON")
    return connection


class SqliteStore:
    """See :class:`ledger.store.Store`; made by :func:`open_ledger`.

    Args:
        writer: runs the writing transactions, one at a time; None when this ledger is only looked at.
        reader: runs the reading ones beside it.
    """

    def __init__(self, writer: Runner | None, reader: Runner) -> None:
        self._writer = writer
        self._reader = reader

    async def open_books(self, wallet_balance: Msats, pool_start: Msats, at: int) -> bool:
        """See :class:`ledger.store.Store`."""
        entries = []
        if wallet_balance:
            entries.append(transfer("opening", Code.OPENING, accounts.NODE, accounts.OPERATOR, wallet_balance))
        if pool_start:
            entries.append(transfer("pool_seed", Code.POOL_SEED, accounts.OPERATOR, accounts.POOL, pool_start))
        fact = FactRecord(id="opening", kind="Opening", job_id=None, at=at, body="{}")
        outcome = await self.commit(fact, lambda _: Change(entries=tuple(entries)))
        return isinstance(outcome, Applied)

    async def commit(self, fact: FactRecord, decide: Decide) -> Outcome:
        """See :class:`ledger.store.Store`."""
        try:
            return await self._to_write().run(lambda connection: apply(connection, fact, decide))
        except Undone as race:
            return race.outcome

    async def look(self, at: Callable[[View], T]) -> T:
        """See :class:`ledger.store.Store`."""
        return await self._read(at)

    def mark_started(self, action_id: int) -> Awaitable[None]:
        """See :class:`ledger.store.Store`."""
        return self._to_write().post(lambda connection: _execute(connection, "start_action", id=action_id))

    async def postpone(self, action_id: int, due_at: int) -> None:
        """See :class:`ledger.store.Store`."""
        await self._write("postpone_action", id=action_id, due_at=due_at)

    async def finish(self, action_id: int) -> None:
        """See :class:`ledger.store.Store`."""
        await self._write("finish_action", id=action_id)

    async def delivered(
        self, action_id: int, event_id: str, outcomes: Mapping[str, str], at: int, due_at: int | None
    ) -> None:
        """See :class:`ledger.store.Store`."""

        def write(connection: sqlite3.Connection) -> None:
            for relay, outcome in outcomes.items():
                _execute(connection, "write_delivery", event_id=event_id, relay=relay, outcome=outcome, at=at)
            if due_at is None:
                _execute(connection, "finish_action", id=action_id)
                forget_delivered(connection, event_id)
            else:
                _execute(connection, "postpone_action", id=action_id, due_at=due_at)

        await self._to_write().run(write)

    async def pending(self) -> Sequence[PendingAction]:
        """See :class:`ledger.store.Store`."""
        return await self._read(SqliteView.pending)

    async def event(self, event_id: str) -> NewEvent | None:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.event(event_id))

    async def job(self, job_id: str) -> JobRecord | None:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.job(job_id))

    async def find_jobs(self, text: str) -> Sequence[JobRecord]:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.find_jobs(text))

    async def jobs(self, *, limit: int, states: Sequence[JobState] = ()) -> Sequence[JobRecord]:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.jobs(limit, states))

    async def paying_keys(self, limit: int) -> Sequence[str]:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.paying_keys(limit))

    async def texts(self, job_id: str) -> JobTexts | None:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.texts_or_none(job_id))

    async def story(self, job_id: str) -> Story | None:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.story(job_id))

    async def invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.invoice(payment_hash))

    async def open_invoices(self) -> Sequence[InvoiceRecord]:
        """See :class:`ledger.store.Store`."""
        return await self._read(SqliteView.every_open_invoice)

    async def due(self) -> Sequence[tuple[int, str]]:
        """See :class:`ledger.store.Store`."""
        return await self._read(SqliteView.due)

    async def refunds(self, *, open_only: bool) -> Sequence[RefundRecord]:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.refunds(open_only=open_only))

    async def balances(self) -> Mapping[str, Msats]:
        """See :class:`ledger.store.Store`."""
        return await self._read(SqliteView.balances)

    async def pool(self, *, since: int, limit: int) -> PoolBooks:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.pool(since, limit))

    async def setting(self, key: str) -> str | None:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.setting(key))

    async def remember(self, key: str, value: str) -> None:
        """See :class:`ledger.store.Store`."""
        await self._write("write_setting", key=key, value=value)

    async def note_world_events(self, events: Sequence[tuple[int, str]]) -> None:
        """See :class:`ledger.store.Store`."""

        def write(connection: sqlite3.Connection) -> None:
            for at, kind in events:
                _execute(connection, "write_world_event", at=at, type=kind)

        await self._to_write().run(write)

    async def world_events(self, limit: int) -> Sequence[tuple[int, str]]:
        """See :class:`ledger.store.Store`."""
        return await self._read(lambda view: view.world_events(limit))

    async def begin_answer(self, key: str, body_hash: str, seed: str, at: int) -> AnswerRecord:
        """See :class:`ledger.store.Store`."""

        def write(connection: sqlite3.Connection) -> AnswerRecord:
            _execute(connection, "begin_answer", key=key, body_hash=body_hash, seed=seed, at=at)
            return SqliteView(connection).answer(key)

        return await self._to_write().run(write)

    async def finish_answer(self, key: str, status: int, answer: str) -> None:
        """See :class:`ledger.store.Store`."""
        await self._write("finish_answer", key=key, status=status, answer=answer)

    async def take_ssh_key(self, bootstrap_id: str) -> str | None:
        """See :class:`ledger.store.Store`."""

        def take(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(SQL["take_ssh_key"], {"id": bootstrap_id}).fetchone()
            return None if row is None else str(row["ssh_private_key"])

        return await self._to_write().run(take)

    async def close(self) -> None:
        """See :class:`ledger.store.Store`."""
        await self._reader.close()
        if self._writer is not None:
            await self._writer.close()  # last, for only who may write can fold the log into the file

    def _to_write(self) -> Runner:
        if self._writer is None:
            raise StoreUnavailable(
                "the ledger was opened to look at only: write with `timmy run` or `timmy books`"
            )
        return self._writer

    async def _write(self, name: str, **values: object) -> None:
        await self._to_write().run(lambda connection: _execute(connection, name, **values))

    async def _read(self, look: Callable[[SqliteView], T]) -> T:
        return await self._reader.run(lambda connection: look(SqliteView(connection)))


def _execute(connection: sqlite3.Connection, name: str, **values: object) -> None:
    connection.execute(SQL[name], values)
