"""Looking beside the writer: one snapshot a look, errors to whom they belong, callers that leave, and closing."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from ledger.reader import Reader
from ledger.store import StoreUnavailable
from tests.ledger.books import PATIENCE_S, Held


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "timmy.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
    return path


@pytest.fixture
def beside(path):
    """Another connection, which writes."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        yield connection


@pytest.fixture
def connections():
    """Every connection the reader made."""
    return []


@pytest.fixture
async def reader(path, connections):
    def connect():
        connections.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0))
        return connections[-1]

    reader = Reader(connect, name=str(path))
    yield reader
    await reader.close()


def insert(connection):
    connection.execute("INSERT INTO t VALUES (1)")


def count(connection):
    return connection.execute("SELECT count(*) FROM t").fetchone()[0]


def is_closed(connection):
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


async def test_a_look_answers_what_it_found(reader, beside):
    assert await reader.run(count) == 0
    insert(beside)
    assert await reader.run(count) == 1


async def test_a_look_is_one_snapshot_whatever_is_written_beside_it(reader, beside):
    def twice(connection):
        before = count(connection)
        insert(beside)
        return before, count(connection)

    assert await reader.run(twice) == (0, 0)
    assert await reader.run(twice) == (1, 1)


async def test_many_first_looks_at_once_share_one_connection(reader, connections):
    assert await asyncio.gather(*(reader.run(count) for _ in range(50))) == [0] * 50
    assert len(connections) == 1


async def test_what_a_look_raises_reaches_its_caller_alone(reader, beside):
    def odd(_):
        raise KeyError("odd")

    def stops(_):
        raise StopIteration

    def mistaken(connection):
        connection.execute("SELECT * FROM nowhere")

    looks = (count, odd, stops, mistaken, count)
    async with asyncio.timeout(PATIENCE_S):
        outcomes = await asyncio.gather(*(reader.run(look) for look in looks), return_exceptions=True)
    # RuntimeError is what Python makes of a stray StopIteration.
    assert [type(outcome) for outcome in outcomes] == [int, KeyError, RuntimeError, sqlite3.OperationalError, int]
    insert(beside)
    assert await reader.run(count) == 1  # no snapshot was left open


async def test_trouble_with_the_file_names_it_and_is_over_when_the_trouble_is(reader, path, beside):
    beside.execute("PRAGMA journal_mode = DELETE")  # where a writer can lock readers out
    beside.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match="another program holds the ledger locked") as told:
        await reader.run(count)
    assert str(path) in str(told.value)
    beside.execute("COMMIT")
    assert await reader.run(count) == 0


async def test_a_file_that_cannot_be_opened_says_so_at_once(tmp_path):
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Reader(lambda: sqlite3.connect(tmp_path / "no folder" / "timmy.db"), name="timmy.db")


async def test_the_first_caller_may_leave_while_the_connection_starts(reader):
    first = asyncio.ensure_future(reader.run(count))
    await asyncio.sleep(0)
    first.cancel()
    outcomes = await asyncio.gather(first, reader.run(count), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, int]


async def test_a_caller_may_leave_in_the_middle_of_its_look(reader):
    held = Held(reader)
    await held.started()
    leaving, staying = (asyncio.ensure_future(reader.run(count)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    held._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held.release()
    assert await staying == 0
    assert leaving.cancelled()


async def test_a_posted_look_is_taken_when_it_is_awaited(reader):
    taken = []
    posted = reader.post(taken.append)
    await reader.run(count)
    assert taken == []
    await posted
    assert len(taken) == 1


async def test_what_was_asked_before_the_close_is_answered_and_nothing_after(reader, connections):
    held = Held(reader)
    await held.started()
    before = asyncio.ensure_future(reader.run(count))
    await asyncio.sleep(0)
    ends = asyncio.ensure_future(reader.close())
    await asyncio.sleep(0)
    after = asyncio.ensure_future(reader.run(count))
    await asyncio.sleep(0)
    assert not ends.done()
    await held.release()
    assert await before == 0
    await ends
    assert is_closed(connections[0])
    for late in (after, reader.run(count), reader.post(count)):
        with pytest.raises(StoreUnavailable, match="the ledger is closed"):
            await late


async def test_closing_again_or_twice_at_once_changes_nothing(reader, connections):
    assert await reader.run(count) == 0
    await asyncio.gather(reader.close(), reader.close())
    await reader.close()
    assert is_closed(connections[0])


async def test_a_reader_nobody_used_closes_its_connection(reader, connections):
    assert not is_closed(connections[0])
    await reader.close()
    assert is_closed(connections[0])
    with pytest.raises(StoreUnavailable, match="the ledger is closed"):
        await reader.run(count)


async def test_closing_while_the_connection_starts_waits_for_it(reader, connections):
    first = asyncio.ensure_future(reader.run(count))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    await reader.close()
    assert first.cancelled()
    assert is_closed(connections[0])
