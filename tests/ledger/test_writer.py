"""The thread between asyncio and SQLite: grouping, places, closing, and loops that are gone."""

import asyncio
import sqlite3
import threading

import pytest

from ledger.store import StoreUnavailable
from ledger.writer import GROUP_MAX, Writer, is_trouble_with_the_file, run_group, unavailable
from tests.ledger.books import PATIENCE_S, Held


def connect():
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE t (a)")
    return connection


@pytest.fixture
async def writer():
    writer = Writer(connect, name="test", waiting_max=4)
    yield writer
    await writer.close()


def insert(value):
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (value,)).rowcount


def all_rows(connection):
    return [row[0] for row in connection.execute("SELECT a FROM t ORDER BY a").fetchall()]


async def test_what_waits_goes_in_one_transaction(writer):
    transactions = []
    await writer.run(lambda connection: connection.set_trace_callback(transactions.append))
    held = Held(writer)
    await held.started()
    waiting = [asyncio.ensure_future(writer.run(insert(n))) for n in range(3)]
    await asyncio.sleep(0)
    transactions.clear()
    await held.release()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert transactions.count("BEGIN IMMEDIATE") == 1


async def test_a_group_is_never_larger_than_its_bound():
    writer = Writer(connect, name="test")
    transactions = []
    await writer.run(lambda connection: connection.set_trace_callback(transactions.append))
    held = Held(writer)
    await held.started()
    transactions.clear()
    waiting = [asyncio.ensure_future(writer.run(insert(n))) for n in range(GROUP_MAX + 1)]
    await asyncio.sleep(0)
    await held.release()
    await asyncio.gather(*waiting)
    assert transactions.count("BEGIN IMMEDIATE") == 2
    await writer.close()


async def test_whoever_finds_no_place_waits_for_one(writer):
    held = Held(writer)
    await held.started()
    waiting = [asyncio.ensure_future(writer.run(insert(n))) for n in range(20)]
    await asyncio.sleep(0)
    assert writer._queue.qsize() == 3  # the fourth place is the one at work
    await held.release()
    async with asyncio.timeout(PATIENCE_S):
        assert sum(await asyncio.gather(*waiting)) == 20


async def test_a_caller_that_left_gives_its_place_back(writer):
    for _ in range(10):
        leaving = [asyncio.ensure_future(writer.run(insert(1))) for _ in range(4)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
    assert await asyncio.wait_for(writer.run(insert(2)), PATIENCE_S) == 1


async def test_what_is_posted_is_dropped_where_too_much_waits(writer):
    held = Held(writer)
    await held.started()
    marks = [writer.post(insert(n)) for n in range(9)]
    await held.release()
    assert [await mark for mark in marks[:8]] == [1] * 8
    with pytest.raises(StoreUnavailable, match="too much waits"):
        await marks[8]


async def test_a_failure_undoes_its_member_alone(writer):
    def half(connection):
        insert("half")(connection)
        raise KeyError("half")

    def exits(connection):
        insert("exits")(connection)
        raise SystemExit

    held = Held(writer)
    await held.started()
    group = [writer.post(work) for work in (insert("a"), half, exits, insert("b"))]
    await held.release()
    outcomes = await asyncio.gather(*map(wait_for_it, group), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, KeyError, RuntimeError, int]
    assert await writer.run(all_rows) == ["a", "b"]


async def wait_for_it(awaitable):
    try:
        return await awaitable
    except SystemExit as error:  # would end the test run
        raise RuntimeError from error


async def test_after_closing_nothing_is_taken_but_what_waited_is_done():
    writer = Writer(connect, name="test", waiting_max=1)
    held = Held(writer)
    await held.started()
    posted = writer.post(insert("posted"))
    waiting = asyncio.ensure_future(writer.run(insert("no place yet")))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(writer.close())
    await asyncio.sleep(0)
    await held.release()
    assert await posted == 1
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting
    await closing
    await writer.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.post(insert("late"))


def test_a_loop_that_is_gone_is_no_trouble_to_the_thread():
    gate, at_work = threading.Event(), threading.Event()

    def work(_):
        at_work.set()
        gate.wait(PATIENCE_S)

    async def leave():
        writer = Writer(connect, name="test")
        writer.post(work)
        await asyncio.to_thread(at_work.wait, PATIENCE_S)
        return writer

    async def come_back(writer):
        done = await writer.run(insert(1))
        await writer.close()
        return done

    writer = asyncio.run(leave())
    gate.set()
    assert asyncio.run(come_back(writer)) == 1


def test_what_a_failed_rollback_left_is_rolled_back_first():
    connection = connect()
    connection.execute("BEGIN")
    connection.execute("INSERT INTO t VALUES ('left')")
    (done,) = run_group(connection, "BEGIN IMMEDIATE", [all_rows])
    assert done.value == []
    connection.close()


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_FULL, "disk space"),
        (sqlite3.SQLITE_BUSY, "locked"),
        (sqlite3.SQLITE_READONLY, "writable"),
        (sqlite3.SQLITE_CORRUPT, "backup"),
        (sqlite3.SQLITE_NOTADB, "no ledger"),
        (sqlite3.SQLITE_IOERR_WRITE, "check the disk"),
    ],
)
def test_trouble_with_the_file_says_what_to_look_at(code, advice):
    error = sqlite3.OperationalError("odd")
    error.sqlite_errorcode = code
    assert is_trouble_with_the_file(error)
    assert advice in str(unavailable("timmy.db", error))


def test_a_mistake_of_ours_is_no_trouble_with_the_file():
    error = sqlite3.IntegrityError("floor")
    error.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_CHECK
    assert not is_trouble_with_the_file(error)
    assert not is_trouble_with_the_file(KeyError("x"))
    assert not is_trouble_with_the_file(sqlite3.ProgrammingError("no code"))
