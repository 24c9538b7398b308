"""A full disk, a foreign lock, a failing commit: nothing acknowledged is lost, and nothing needs a restart."""

import asyncio
import contextlib
import resource
import sqlite3
from contextlib import closing

import pytest

from ledger.accounts import POOL
from ledger.audit import audit
from ledger.records import Applied, Replayed
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable
from tests.ledger.books import PATIENCE_S, Held, applied, balance, fact, paid_in, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "timmy.db"


@pytest.fixture
async def store(path):
    store = open_ledger(f"sqlite:///{path}")
    yield store
    await store.close()


@pytest.fixture
async def impatient(path):
    store = open_ledger(f"sqlite:///{path}", busy_timeout_s=0.01)
    yield store
    await store.close()


@contextlib.contextmanager
def foreign_lock(path):
    """Another program that writes, and does not end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        other.execute("ROLLBACK")


async def test_a_foreign_lock_is_waited_out_and_nobody_notices(store, path):
    with foreign_lock(path):
        commits = [asyncio.ensure_future(write(store, entries=(paid_in(POOL, 1),))) for _ in range(20)]
        assert await asyncio.wait_for(store.balances(), PATIENCE_S)  # reading goes on beside it
        assert not any(commit.done() for commit in commits)
    outcomes = await asyncio.wait_for(asyncio.gather(*commits), PATIENCE_S)
    assert all(isinstance(outcome, Applied) for outcome in outcomes)
    assert await balance(store, POOL) == 20


async def test_a_foreign_lock_that_stays_is_named_and_nothing_is_half_done(impatient, path):
    with foreign_lock(path):
        with pytest.raises(StoreUnavailable, match="another program holds the ledger locked"):
            await write(impatient, fact_id="f", entries=(paid_in(POOL, 1),))
        with pytest.raises(StoreUnavailable, match="locked"):
            await impatient.mark_started(1)
    assert isinstance(await write(impatient, fact_id="f", entries=(paid_in(POOL, 1),)), Applied)


async def test_a_full_disk_is_told_to_all_of_the_group_and_over_when_there_is_room(store, path):
    await applied(store, entries=(paid_in(POOL, 1),))

    def fill(connection):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    await store._writer.run(fill)
    big = "x" * 100_000
    outcomes = await asyncio.gather(
        *(write(store, fact_id=f"f{n}", entries=(paid_in(POOL, 1),)) for n in range(2)),
        store.remember("big", big),
        return_exceptions=True,
    )
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert "free some disk space" in str(outcomes[0])
    assert len({id(outcome) for outcome in outcomes}) == 3
    assert await balance(store, POOL) == 1  # reading goes on
    await store._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1073741823").fetchall())
    again = await asyncio.gather(*(write(store, fact_id=f"f{n}", entries=(paid_in(POOL, 1),)) for n in range(2)))
    assert all(isinstance(outcome, Applied) for outcome in again)
    assert audit(path) == []


async def test_a_write_that_fails_at_the_commit_itself_is_told_and_over_when_there_is_room(store, path):
    """The kernel refuses to let the log grow: SQLite hears of it only when it commits."""
    await applied(store, entries=(paid_in(POOL, 1),))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = path.with_name(path.name + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 100, before[1]))
    try:
        outcomes = await asyncio.gather(
            *(write(store, fact_id=f"f{n}", entries=(paid_in(POOL, 1),)) for n in range(10)),
            return_exceptions=True,
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert await balance(store, POOL) == 1
    again = await asyncio.gather(*(write(store, fact_id=f"f{n}", entries=(paid_in(POOL, 1),)) for n in range(10)))
    assert all(isinstance(outcome, Applied) for outcome in again)
    assert await balance(store, POOL) == 11
    assert audit(path) == []


async def test_trouble_in_one_member_is_trouble_for_its_group_alone(store):
    """SQLite may have undone the whole transaction by itself, so nobody in it may believe in it."""

    def fails(_):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    held = Held(store._writer)
    await held.started()
    group = [write(store, fact_id="f"), store.commit(fact("g"), fails), store.remember("k", "v")]
    waiting = asyncio.gather(*group, return_exceptions=True)
    await asyncio.sleep(0)
    await held.release()
    assert {type(outcome) for outcome in await waiting} == {StoreUnavailable}
    assert isinstance(await write(store, fact_id="f"), Applied)
    assert await store.setting("k") is None


async def test_a_commit_whose_caller_left_is_found_done(store):
    """What a caller that was cancelled finds when it asks again: the same answer as after a lost reply."""
    held = Held(store._writer)
    await held.started()
    leaving = asyncio.ensure_future(write(store, fact_id="f", entries=(paid_in(POOL, 1),)))
    await asyncio.sleep(0)
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    await held.release()
    assert await write(store, fact_id="f", entries=(paid_in(POOL, 1),)) == Replayed()
    assert await balance(store, POOL) == 1


async def test_memory_tells_trouble_in_the_same_way():
    store = open_ledger("sqlite:///:memory:")

    def full(_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with pytest.raises(StoreUnavailable, match="free some disk space"):
        await store.commit(fact("f"), full)
    assert isinstance(await write(store, fact_id="f"), Applied)
    await store.close()
