"""Rows are sealed by whatever statement writes them, and what another hand wrote is never made good."""

import dataclasses
import sqlite3
from contextlib import closing

import pytest

from ledger import migrate
from ledger.audit import audit
from ledger.migrate import migrations
from ledger.money import Msats
from ledger.queries import sql_text, statements
from ledger.records import EventRole, JobState, NewEvent
from ledger.seals import BROKEN, broken_seals, seal, sealed_tables
from ledger.sqlite import MEMORY, _connect, open_ledger
from ledger.store import StoreUnavailable
from tests.ledger.books import JOB, KEY, NOW, applied, begun, identity, moved, new_job
from tests.ledger.test_audit import alter


@pytest.fixture
def path(tmp_path):
    return tmp_path / "timmy.db"


@pytest.fixture
async def store(path):
    store = open_ledger(f"sqlite:///{path}")
    await store.open_books(Msats(0), Msats(0), NOW)
    yield store
    await store.close()


def named(path):
    return [finding.row for finding in audit(path) if finding.rule.startswith("seal")]


async def test_what_is_altered_beside_the_bot_and_then_used_on_stays_named(store, path):
    await applied(store, identity=identity(trust_score=12))
    alter(path, "UPDATE identities SET trust_score = 90")
    row = await store.look(lambda view: view.identity(KEY))
    await applied(store, identity=dataclasses.replace(row, trust_score=91))
    await applied(store, identity=dataclasses.replace(row, version=2, trust_score=92))
    assert named(path) == [f"identities row {KEY}"]


async def test_what_is_put_back_is_as_it_was(store, path):
    await applied(store, identity=identity(trust_score=12))
    alter(path, "UPDATE identities SET trust_score = 13")
    assert named(path) == [f"identities row {KEY}"]
    alter(path, "UPDATE identities SET trust_score = 12")
    assert named(path) == []


async def test_a_row_that_was_removed_and_comes_again_stays_named(store, path):
    await applied(store, identity=identity())
    alter(path, "DELETE FROM identities")
    await applied(store, identity=identity())
    assert named(path) == [f"identities row {KEY}"]


async def test_a_row_that_was_added_and_then_used_stays_named(store, path):
    await store.remember("here", "1")
    alter(path, "INSERT INTO settings VALUES ('there', '1')")
    await store.remember("there", "2")
    await store.remember("here", "2")
    assert named(path) == ["settings row there"]


async def test_what_timmy_himself_erases_leaves_no_broken_seal(store, path):
    job = await begun(store, pubkey=None, request="words")
    await applied(store, identity=identity())
    told = new_job("b2" * 16, pubkey=KEY, request="more words", event_id="ee" * 32)
    job = (await applied(store, new_job=told, result="said")).job
    job = await moved(store, job, JobState.CANCELLED, reason="why", due_at=None)
    event = NewEvent(id="e1" * 32, job_id=job.id, role=EventRole.FEEDBACK, json="{}", targets="[]")
    action = (await applied(store, events=(event,))).actions[0]
    await applied(store, forget=KEY)
    await store.mark_started(action.id)
    await store.delivered(action.id, event.id, {"wss://a.example": "ok"}, NOW, None)
    assert (await store.texts(job.id)).forgotten
    assert (await store.event(event.id)).json == ""
    assert named(path) == []


async def test_the_words_say_which_row_what_became_of_it_and_what_to_do(store, path):
    await begun(store)
    alter(path, "UPDATE jobs SET work_fee_msat = 51000")
    (line,) = [str(finding) for finding in audit(path) if finding.rule.startswith("seal")]
    assert line == (
        f"seal: a row is as Timmy wrote it: jobs row 1 ({JOB}): it was changed by another hand than Timmy's: put "
        "it back as a backup has it, and find out who writes to the ledger beside Timmy"
    )


def test_a_ledger_of_before_there_were_seals_is_sealed_as_it_is(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        for number, name in migrations()[:12]:
            for statement in statements(sql_text(f"migrations/{name}")):
                old.execute(statement)
            old.execute("INSERT INTO schema_version VALUES (?, ?)", (number, name))
        old.execute("INSERT INTO settings VALUES ('cursor', '7')")
        old.execute("INSERT INTO identities VALUES (?, 1, 0, 0, 0, 0, 0, ?, ?)", (KEY, NOW, NOW))
    with pytest.raises(StoreUnavailable, match="older version"):
        audit(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        migrate.migrate(old)
    assert audit(path) == []
    alter(path, "UPDATE settings SET value = '8'")
    assert named(path) == ["settings row cursor"]


async def test_who_writes_beside_a_bot_never_changes_the_schema_under_it(store, path, monkeypatch):
    """The bot would go on sealing rows as they were, and the audit would call all of them altered."""
    beside = open_ledger(f"sqlite:///{path}", beside=True)
    await beside.remember("beside", "1")
    await beside.close()
    later = [*migrations(), (99, "0099_later.sql")]
    monkeypatch.setattr(migrate, "migrations", lambda: later)
    with pytest.raises(StoreUnavailable, match="older version"):
        open_ledger(f"sqlite:///{path}", beside=True)
    monkeypatch.undo()
    assert named(path) == []


def rows_of_seals(connection):
    return dict(connection.execute("SELECT what || ' ' || row, seal FROM seals"))


async def test_a_migration_seals_anew_and_makes_nothing_good(store, path, monkeypatch):
    await applied(store, identity=identity())
    await store.remember("mine", "1")
    await store.remember("lost", "1")
    alter(path, "UPDATE settings SET value = '2' WHERE key = 'mine'", "DELETE FROM settings WHERE key = 'lost'")
    later = [*migrations(), (99, "0099_later.sql")]
    text = "ALTER TABLE identities ADD COLUMN mood TEXT; UPDATE identities SET mood = 'good';"
    monkeypatch.setattr(migrate, "migrations", lambda: later)
    monkeypatch.setattr(migrate, "sql_text", lambda _: text)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        before = rows_of_seals(connection)
        migrate.migrate(connection)
        after = rows_of_seals(connection)
    assert before[f"identities {KEY}"] not in (BROKEN, after[f"identities {KEY}"])
    assert {name for name, sealed in after.items() if sealed == BROKEN} == {"settings mine", "settings lost"}
    assert set(after) == {*before, "schema_version 99"}


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE schema_version SET number = 999, name = 'odd'", "schema_version row 999 (odd)"),
        ("DELETE FROM schema_version", f"schema_version row {migrations()[-1][0]}"),
    ],
)
async def test_a_version_that_was_altered_is_a_finding_and_no_other_version(store, path, statement, row):
    alter(path, statement)
    assert row in named(path)


async def test_a_ledger_whose_seals_are_gone_says_so(store, path):
    alter(path, "DROP TABLE seals")
    with closing(sqlite3.connect(path)) as connection:
        assert [str(finding) for finding in audit(connection) if "seals" in str(finding)] == [
            "file has its constraints: table seals: it is gone or was altered",
            "I1 a seal is of a table that has seals: the ledger: it can't be looked for: no such table: seals",
        ]


def steps_of(connection, do):
    """How many instructions SQLite runs: what something costs, on any machine."""
    ran = []
    connection.set_progress_handler(lambda: ran.append(1), 1)
    try:
        do()
    finally:
        connection.set_progress_handler(None, 1)
    return len(ran)


def test_a_seal_is_found_by_its_key_however_many_rows_there_are():
    with closing(_connect(MEMORY, 1)) as ledger:
        table = next(table for table in sealed_tables(ledger) if table.name == "outbox")

        def costs_beside(rows):
            for _ in range(rows):
                ledger.execute("INSERT INTO outbox (kind, body) VALUES ('a', '{}')")
            (newest,) = ledger.execute("SELECT max(id) FROM outbox").fetchone()
            change, remove = "UPDATE outbox SET attempts = 1 WHERE id = ?", "DELETE FROM outbox WHERE id = ?"
            changed = steps_of(ledger, lambda: ledger.execute(change, (newest,)))
            removed = steps_of(ledger, lambda: ledger.execute(remove, (newest,)))
            looked_at = steps_of(ledger, lambda: list(broken_seals(ledger, [table])))
            return changed, removed, looked_at // rows

        few, many = costs_beside(20), costs_beside(400)
        assert all(later <= 2 * before for before, later in zip(few, many, strict=True)), (few, many)


def test_a_seal_is_of_every_byte():
    assert len({seal(b"[1,2]"), seal(b"[12]"), seal(b"[2,1]"), seal(b"[1,2]")}) == 3


async def test_a_ledger_without_its_version_is_not_begun_anew(store, path):
    alter(path, "DELETE FROM schema_version")
    with pytest.raises(StoreUnavailable, match="another program"):
        open_ledger(f"sqlite:///{path}")
    assert await store.setting("none") is None


async def test_a_rule_that_fails_for_another_reason_than_a_lost_table_is_an_error(store, path, monkeypatch):
    monkeypatch.setattr("ledger.audit.QUERIES", {"I1 odd": "SELECT abs(-9223372036854775807 - 1), ''"})
    with pytest.raises(StoreUnavailable, match="integer overflow"):
        audit(path)
