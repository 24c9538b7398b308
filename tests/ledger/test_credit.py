"""What SQLite itself refuses of top-ups and forgotten texts, what the audit finds, and that erased is erased."""

import asyncio
import dataclasses
import sqlite3
from contextlib import closing

import pytest

from ledger.audit import audit
from ledger.money import Msats
from ledger.records import EventRole, InvoiceState, JobState, NewAction
from ledger.sqlite import open_ledger
from tests.ledger.books import HASH, JOB, KEY, NOW, applied, begun, event, identity, invoice, moved, topup
from tests.ledger.test_audit import alter

SECRET = "the-very-words-of-a-customer-"
"""Said in each text of a job; long enough to need pages of their own, for those are freed and not rewritten."""
WAITS = "top-up t2"


async def a_forgotten_job(store):
    await applied(store, identity=identity())
    job = await begun(store, pubkey=KEY, request=SECRET * 500, origin=SECRET * 500, refund_to=SECRET)
    fields = {"reason": SECRET, "error_message": SECRET}
    job = await moved(store, job, JobState.EVALUATING, paid_at=NOW, due_at=NOW)
    job = await moved(store, job, JobState.FAILED, due_at=None, **fields)
    told = dataclasses.replace(event(role=EventRole.FEEDBACK), json=SECRET * 500)
    later = dataclasses.replace(event("e2" * 32, role=EventRole.FEEDBACK), json=SECRET * 500)
    outcome = await applied(store, job=job, result=SECRET * 500, events=(told, later))
    await applied(store, topups=(topup("t0", origin=SECRET * 500, ended_at=NOW),))
    first, second = outcome.actions
    await store.delivered(first.id, first.body, {}, NOW, None)
    await applied(store, forget=KEY)
    return second


async def live_a_little(path):
    store = open_ledger(f"sqlite:///{path}")
    await store.open_books(Msats(900_000), Msats(100_000), NOW)
    action = await a_forgotten_job(store)
    await store.delivered(action.id, action.body, {}, NOW, None)
    await applied(store, identity=identity("cd" * 32))
    await begun(store, "b" * 32, pubkey="cd" * 32, due_at=NOW)
    closed = invoice("04" * 32, account=f"customer:{KEY}", state=InvoiceState.EXPIRED)
    await applied(store, invoices=(closed,), topups=(topup("t1", payment_hash="04" * 32, ended_at=NOW),))
    look = NewAction(kind="CheckInvoice", job_id=None, body=f'{{"payment_hash":"{HASH}"}}')
    waits = invoice(HASH, account=f"customer:{KEY}")
    await applied(store, invoices=(waits,), topups=(topup("t2", payment_hash=HASH),), actions=(look,))
    ask = NewAction(kind="CreateInvoice", job_id=None, body='{"topup_id":"t3"}')
    await applied(store, topups=(topup("t3"),), actions=(ask,))
    await store.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "timmy.db"
    asyncio.run(live_a_little(path))
    return path.read_bytes()


@pytest.fixture
def path(sound, tmp_path):
    path = tmp_path / "timmy.db"
    path.write_bytes(sound)
    return path


def test_a_ledger_with_topups_and_forgotten_jobs_passes(path):
    assert audit(path) == []


@pytest.mark.parametrize(
    ("statement", "rule", "row", "words"),
    [
        ("UPDATE invoices SET account = 'node' WHERE state = 'open'", "I2", WAITS, "its invoice fills"),
        ("DELETE FROM outbox WHERE kind = 'CheckInvoice'", "I6", WAITS, "nothing to be done"),
        ("DELETE FROM outbox WHERE kind = 'CreateInvoice'", "I6", "top-up t3", "nothing to be done"),
        ("UPDATE topups SET ended_at = NULL WHERE id = 't1'", "I6", "top-up t1", "invoice is expired"),
        ("DELETE FROM job_texts", "I6", "job " + "b" * 32, "its texts were forgotten"),
        ("UPDATE events SET json = 'x'", "I7", "event " + "e1" * 32, "delivered and is not"),
        (
            "INSERT INTO outbox (kind, body) SELECT 'Publish', id FROM events",
            "I7",
            "event " + "e1" * 32,
            "still to be delivered",
        ),
        (
            "INSERT INTO job_texts (job, request, origin, result) SELECT row, '', '', '' FROM jobs",
            "I7",
            "event " + "e1" * 32,
            "its job is not",
        ),
    ],
)
def test_a_row_altered_by_hand_is_found_and_named(path, statement, rule, row, words):
    alter(path, statement.replace("FROM jobs", "FROM jobs WHERE ended_at IS NOT NULL"))
    findings = audit(path)
    assert [f for f in findings if f.rule.startswith(rule) and f.row == row and words in f.sentence], findings


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE topups SET amount_msat = 1", "never changed"),
        ("UPDATE topups SET account = 'customer:x'", "never changed"),
        ("UPDATE topups SET payment_hash = NULL", "one invoice and one end"),
        ("UPDATE topups SET ended_at = 9", "one invoice and one end"),
        ("DELETE FROM topups", "never deleted"),
        ("UPDATE events SET json = 'other words'", "only forgotten"),
        ("UPDATE events SET json = '', targets = 'x'", "only forgotten"),
        ("UPDATE events SET json = '', job = NULL", "only forgotten"),
    ],
)
def test_the_database_refuses_it_by_itself(path, statement, refusal):
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError, match=refusal):
        connection.execute(statement)


async def test_what_was_forgotten_is_in_no_page_of_the_file(tmp_path):
    """Deleted is not gone: a freed page keeps its bytes until it is used again."""
    path = tmp_path / "timmy.db"
    store = open_ledger(f"sqlite:///{path}")
    action = await a_forgotten_job(store)
    await store.close()
    assert SECRET.encode() in path.read_bytes(), "an event is still to be delivered"
    store = open_ledger(f"sqlite:///{path}")
    await store.delivered(action.id, action.body, {}, NOW, None)
    assert (await store.texts(JOB)).forgotten
    await store.close()
    for file in tmp_path.iterdir():
        assert SECRET.encode() not in file.read_bytes(), file
