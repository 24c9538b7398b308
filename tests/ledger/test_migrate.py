import sqlite3
import threading

import pytest

from ledger import migrate
from ledger.migrate import check_version, migrations, schema_of, version_of
from ledger.queries import sql_text, statements
from ledger.store import StoreUnavailable
from timmy_dvm.core import transitions

GRAPHS = {
    "job": "SELECT from_state, to_state FROM job_transitions",
    "refund": "SELECT from_state, to_state FROM refund_transitions",
}


def opened(place=":memory:"):
    return sqlite3.connect(place, isolation_level=None, timeout=10)


def oldest(connection):
    """A ledger as the first release made it."""
    for statement in statements(sql_text("migrations/0001_first.sql")):
        connection.execute(statement)
    connection.execute("INSERT INTO schema_version VALUES (1, '0001_first.sql')")


def seeds(connection):
    queries = ("SELECT * FROM accounts", GRAPHS["job"], GRAPHS["refund"])
    return [connection.execute(query).fetchall() for query in queries]


@pytest.fixture
def fresh():
    connection = opened()
    migrate.migrate(connection)
    yield connection
    connection.close()


@pytest.fixture
def old():
    connection = opened()
    oldest(connection)
    yield connection
    connection.close()


def test_a_migrated_ledger_is_a_fresh_one(fresh, old):
    migrate.migrate(old)
    assert schema_of(old) == schema_of(fresh)
    assert seeds(old) == seeds(fresh)
    assert version_of(old) == version_of(fresh) == migrations()[-1][0]


def test_migrations_are_numbered_without_a_gap():
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_what_is_newer_than_the_ledger_is_run_in_order_and_only_once(old, monkeypatch):
    texts = {
        "migrations/0002_two.sql": "CREATE TABLE two (a INTEGER) STRICT; INSERT INTO two VALUES (2);",
        "migrations/0003_three.sql": "ALTER TABLE two ADD COLUMN b INTEGER;",
    }
    monkeypatch.setattr(
        migrate, "migrations", lambda: [(1, "0001_first.sql"), (2, "0002_two.sql"), (3, "0003_three.sql")]
    )
    monkeypatch.setattr(migrate, "sql_text", texts.__getitem__)
    for _ in range(2):
        migrate.migrate(old)
        assert old.execute("SELECT a, b FROM two").fetchall() == [(2, None)]
    assert old.execute("SELECT number FROM schema_version").fetchall() == [(1,), (2,), (3,)]


def test_a_migration_that_fails_changes_nothing(old, monkeypatch):
    monkeypatch.setattr(migrate, "migrations", lambda: [(1, "0001_first.sql"), (2, "0002_bad.sql")])
    monkeypatch.setattr(
        migrate, "sql_text", lambda _: "CREATE TABLE two (a INTEGER) STRICT; CREATE TABLE jobs (b);"
    )
    before = schema_of(old)
    with pytest.raises(sqlite3.OperationalError, match="jobs already exists"):
        migrate.migrate(old)
    assert schema_of(old) == before
    assert version_of(old) == 1
    assert not old.in_transaction


def test_a_newer_ledger_is_left_alone(fresh):
    fresh.execute("INSERT INTO schema_version VALUES (9999, 'later')")
    for look in (migrate.migrate, check_version):
        with pytest.raises(StoreUnavailable, match=r"a newer Timmy wrote this ledger \(schema 9999"):
            look(fresh)


def test_an_older_or_missing_ledger_is_not_read(monkeypatch, old):
    monkeypatch.setattr(migrate, "migrations", lambda: [(1, "0001_first.sql"), (2, "0002_two.sql")])
    with pytest.raises(StoreUnavailable, match="older version"):
        check_version(old)
    empty = opened()
    with pytest.raises(StoreUnavailable, match="no ledger yet"):
        check_version(empty)
    empty.close()


def test_another_programs_database_is_left_alone():
    connection = opened()
    connection.execute("CREATE TABLE wallet (id)")
    with pytest.raises(StoreUnavailable, match="another program's database"):
        migrate.migrate(connection)
    assert len(schema_of(connection)) == 1
    connection.close()


def test_two_that_start_at_once_make_one_ledger(tmp_path):
    """The lock keeps two bots apart, but not two that are only just finding out that there is no ledger."""
    errors = []

    def start():
        connection = opened(tmp_path / "timmy.db")
        try:
            migrate.migrate(connection)
        except sqlite3.Error as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_the_graphs_are_the_ones_the_core_decides_by(fresh):
    for name, graph in (("job", transitions.JOB), ("refund", transitions.REFUND)):
        rows = fresh.execute(GRAPHS[name]).fetchall()
        assert set(rows) == {(old, new) for old, onward in graph.items() for new in onward}
