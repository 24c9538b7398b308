"""The contract on SQLite, and what SQLite itself refuses to whoever writes past our code."""

import sqlite3
from contextlib import closing

import pytest

from ledger import sqlite
from ledger.accounts import POOL
from ledger.audit import audit
from ledger.files import prepare_file
from ledger.money import Msats
from ledger.records import EventRole, InvoiceState, NewEvent, RefundState
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable
from tests.ledger.books import (
    HASH,
    JOB,
    KEY,
    NOW,
    applied,
    begun,
    granted,
    identity,
    invoice,
    new_job,
    paid_in,
    refund,
    reservation,
    write,
)
from tests.ledger.store_contract import StoreContract


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data folder?" / "timmy #1.db"


@pytest.fixture(params=["file", "memory"])
async def store(request, path):
    store = open_ledger(f"sqlite:///{path if request.param == 'file' else ':memory:'}")
    yield store
    await store.close()


class TestSqlite(StoreContract):
    """The contract, on a file with its threads and in memory without."""


@pytest.fixture
async def file_store(path):
    store = open_ledger(f"sqlite:///{path}")
    yield store
    await store.close()


@pytest.fixture
async def by_hand(file_store, path):
    """A second connection to a ledger that has one row of everything, as an operator at a shell would have it."""
    await applied(
        file_store, identity=identity(), new_job=new_job(pubkey=KEY), entries=(paid_in(POOL, 5_010, "paid"),)
    )
    await applied(file_store, **reservation(amount=5_000))
    await applied(
        file_store, invoices=(invoice(state=InvoiceState.SETTLED, job_id=JOB),), refunds=(refund(job_id=JOB),)
    )
    event = NewEvent(id="e1" * 32, job_id=JOB, role=EventRole.RESULT, json="{}", targets="[]")
    sending = refund(job_id=JOB, version=1, state=RefundState.SENDING, payment_hash=HASH, bolt11="lnbc1")
    await applied(file_store, events=(event,), refunds=(sending,))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA recursive_triggers = ON")
        yield connection


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE entries SET reason = 'x'", "never changed"),
        ("DELETE FROM entries", "never deleted"),
        ("UPDATE postings SET amount_msat = 1", "never changed"),
        ("DELETE FROM postings", "never deleted"),
        (
            "REPLACE INTO entries (id, entry_id, code, reason, fact, at) VALUES (1, 'y', 'c', '', 1, 0)",
            "never deleted",
        ),
        ("INSERT INTO postings VALUES (1, 1, 5)", "takes no more postings"),
        ("INSERT INTO entries VALUES (9, 'none', 'dust', '', 1, 0)", "balances, and has postings"),
        ("UPDATE facts SET body = 'x'", "never changed"),
        ("DELETE FROM facts", "never deleted"),
        ("UPDATE accounts SET kind = 'asset' WHERE name = 'pool'", "keeps its name and kind"),
        ("UPDATE accounts SET balance_msat = -1 WHERE name = 'pool'", "floor"),
        ("DELETE FROM accounts", "never deleted"),
        ("DELETE FROM jobs", "never deleted"),
        ("UPDATE jobs SET state = 'complete', ended_at = 1", "may not go"),
        ("UPDATE jobs SET work_fee_msat = 9", "never changed"),
        ("UPDATE jobs SET event_id = 'x'", "never changed"),
        ("DELETE FROM invoices", "never deleted"),
        ("UPDATE invoices SET received_msat = 5", "settled invoice"),
        ("DELETE FROM refunds", "never deleted"),
        ("UPDATE refunds SET amount_msat = 5", "amount of a refund"),
        ("UPDATE refunds SET state = 'credited'", "may not go"),
        ("DELETE FROM payments", "never deleted"),
        ("INSERT INTO payments VALUES ('h', 1, 'b', 0, 0, 'in_flight', 1)", "UNIQUE"),
        ("UPDATE events SET json = 'x'", "never changed"),
        ("DELETE FROM events", "never deleted"),
        ("DELETE FROM reservations", "never deleted"),
        ("UPDATE reservations SET reserved_msat = 2000", "ends once, and nothing else of it changes"),
        ("UPDATE reservations SET granted_msat = 0, ended_at = 1, reserved_msat = 2000", "nothing else"),
        ("UPDATE reservations SET granted_msat = 3000, ended_at = 1", "ends drained"),
        ("UPDATE reservations SET granted_msat = 0, ended_at = 1", "ends drained"),
        ("REPLACE INTO reservations SELECT * FROM reservations", "never deleted"),
        ("INSERT INTO accounts (name, kind, balance_msat) VALUES ('reserved:z', 'owed', -1)", "floor"),
        ("DELETE FROM free_tier_grants", "is a view"),
        ("UPDATE free_tier_grants SET granted_msat = 0", "is a view"),
        ("DELETE FROM identities", "FOREIGN KEY"),
        ("INSERT INTO accounts (name, kind, balance_msat) VALUES ('job:z', 'owed', 'much')", "store TEXT value"),
    ],
)
def test_the_database_refuses_it_by_itself(by_hand, statement, refusal):
    with pytest.raises(sqlite3.Error, match=refusal):
        by_hand.execute(statement)


def test_an_entry_that_does_not_balance_is_not_sealed_and_not_committed(by_hand):
    by_hand.execute("BEGIN")
    by_hand.execute("INSERT INTO postings VALUES (7, 1, -5)")
    by_hand.execute("INSERT INTO postings VALUES (7, 3, 4)")
    with pytest.raises(sqlite3.IntegrityError, match="balances"):
        by_hand.execute("INSERT INTO entries VALUES (7, 'odd', 'dust', '', 1, 0)")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        by_hand.execute("COMMIT")
    by_hand.execute("ROLLBACK")


def test_a_payment_that_arrived_stays_as_it_is(by_hand):
    by_hand.execute("UPDATE payments SET state = 'sent'")
    with pytest.raises(sqlite3.IntegrityError, match="arrived stays"):
        by_hand.execute("UPDATE payments SET state = 'in_flight'")


async def test_every_try_of_a_payment_is_counted(file_store, by_hand):
    terms = {"job_id": JOB, "payment_hash": HASH, "bolt11": "lnbc1"}
    for version, state in enumerate(("owed", "sending", "sending", "sent"), start=2):
        await applied(
            file_store, refunds=(refund(version=version, state=RefundState(state), fee=Msats(7), **terms),)
        )
    assert by_hand.execute("SELECT state, tries, fee_msat FROM payments").fetchall() == [("sent", 2, 7)]


async def test_a_texts_row_can_be_forgotten_and_a_result_still_be_kept(file_store, by_hand):
    by_hand.execute("DELETE FROM job_texts")
    assert (await file_store.texts(JOB)).request == ""
    await applied(file_store, job=await file_store.job(JOB), result="late")
    texts = await file_store.texts(JOB)
    assert (texts.request, texts.result) == ("", "late")


async def test_what_the_pool_granted_can_be_seen_with_the_pool_after_it(file_store, path):
    await file_store.open_books(Msats(0), Msats(100_000), NOW)
    await applied(file_store, identity=identity())
    await begun(file_store, pubkey=KEY)
    await applied(file_store, **reservation())
    await applied(file_store, **granted(42_000))
    with closing(sqlite3.connect(path)) as connection:
        ((job, key, request_hash, reserved, grant, after, at),) = connection.execute(
            "SELECT * FROM free_tier_grants"
        )
    assert (job, key, reserved, grant, after, at) == (JOB, KEY, 50_000, 42_000, 50_000, NOW)
    assert len(request_hash) == 64


class TestOpening:
    """Where a ledger lies, who may read it, and how it is opened again."""

    async def test_the_files_are_for_this_user_alone(self, file_store, path):
        await applied(file_store, entries=(paid_in(POOL, 1),))
        assert {file.name[-4:] for file in path.parent.iterdir()} == {"1.db", "-wal", "-shm"}
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
        assert path.parent.stat().st_mode & 0o777 == 0o700

    async def test_a_commit_waits_for_the_disk_and_the_rules_are_on(self, file_store):
        """JOB-16."""
        pragmas = {}

        def look(connection):
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout"):
                pragmas[name] = connection.execute(f"PRAGMA {name}").fetchone()[0]

        await file_store._writer.run(look)
        full = 2
        assert pragmas == {
            "journal_mode": "wal",
            "synchronous": full,
            "foreign_keys": 1,
            "recursive_triggers": 1,
            "busy_timeout": 15_000,
        }

    async def test_it_is_there_when_opened_again(self, path):
        for number in range(3):
            store = open_ledger(f"sqlite:///{path}")
            await store.open_books(Msats(5_000), Msats(1_000), NOW)
            await applied(store, entries=(paid_in("customer:k", 1),))
            assert (await store.balances())["customer:k"] == number + 1
            assert (await store.balances())[POOL] == 1_000
            await store.close()
        assert audit(path) == []

    async def test_whoever_only_looks_sees_what_the_bot_committed_and_writes_nothing(self, file_store, path):
        looking = open_ledger(f"sqlite:///{path}", read_only=True)
        await applied(file_store, entries=(paid_in(POOL, 5),))
        assert (await looking.balances())[POOL] == 5
        for call in (
            write(looking),
            looking.remember("k", "v"),
            looking.finish(1),
            looking.open_books(Msats(0), Msats(0), 1),
        ):
            with pytest.raises(StoreUnavailable, match="to look at only"):
                await call
        with pytest.raises(StoreUnavailable, match="to look at only"):
            looking.mark_started(1)
        with pytest.raises(StoreUnavailable, match="readonly database"):
            await looking._reader.run(lambda connection: connection.execute("DELETE FROM outbox"))
        await looking.close()

    async def test_a_ledger_nobody_runs_can_be_looked_at(self, path):
        store = open_ledger(f"sqlite:///{path}")
        await applied(store, entries=(paid_in(POOL, 5),))
        await store.close()
        looking = open_ledger(f"sqlite:///{path}", read_only=True)
        assert (await looking.balances())[POOL] == 5
        await looking.close()

    async def test_looking_makes_no_ledger(self, path):
        with pytest.raises(StoreUnavailable, match=r"there is no ledger at .* `timmy run` makes it"):
            open_ledger(f"sqlite:///{path}", read_only=True)
        assert not path.parent.exists()

    async def test_looking_at_an_empty_file_says_that_it_is_no_ledger(self, path):
        prepare_file(path)
        with pytest.raises(StoreUnavailable, match="no ledger yet"):
            open_ledger(f"sqlite:///{path}", read_only=True)

    @pytest.mark.parametrize("read_only", [False, True])
    async def test_a_file_that_is_no_database_says_so(self, path, read_only):
        prepare_file(path)
        path.write_bytes(b"not a database at all" * 100)
        with pytest.raises(StoreUnavailable, match=r"is no ledger: check ledger\.url"):
            open_ledger(f"sqlite:///{path}", read_only=read_only)

    async def test_a_url_of_another_kind_is_refused(self):
        with pytest.raises(ValueError, match="sqlite:///path"):
            open_ledger("postgresql://localhost/timmy")

    async def test_an_sqlite_without_strict_tables_is_refused(self, monkeypatch):
        monkeypatch.setattr(sqlite.sqlite3, "sqlite_version_info", (3, 36, 0))
        with pytest.raises(StoreUnavailable, match="too old"):
            open_ledger("sqlite:///:memory:")
