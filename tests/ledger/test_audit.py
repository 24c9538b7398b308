"""A row that was altered by hand, past every constraint, is found and named."""

import asyncio
import dataclasses
import sqlite3
from contextlib import closing

import pytest

from ledger.accounts import EARNED, NODE, POOL, SHORTFALL
from ledger.audit import QUERIES, Finding, audit
from ledger.entries import Code, Entry, Posting
from ledger.money import Msats
from ledger.records import EventRole, InvoiceState, JobState, NewAction, NewEvent, RefundState
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable
from tests.ledger.books import (
    KEY,
    NOW,
    applied,
    begun,
    granted,
    identity,
    invoice,
    moved,
    moves,
    new_job,
    paid_in,
    refund,
    reservation,
)

DONE, OPEN, WORKING, FREE = "d0" * 16, "0e" * 16, "30" * 16, "4f" * 16
PAID, SENT, LATER = "01" * 32, "02" * 32, "03" * 32


async def live_a_little(path):
    """One of everything: a finished job with a shortfall, change that was sent and change that is owed; a job the
    pool paid in part, and one that works for nothing.
    """
    store = open_ledger(f"sqlite:///{path}")
    await store.open_books(Msats(900_000), Msats(100_000), NOW)
    ask = NewAction(kind="CreateInvoice", job_id=OPEN, body="{}")
    await applied(
        store, identity=identity(), new_job=new_job(OPEN, pubkey=KEY, event_id="ee" * 32), actions=(ask,)
    )
    await serve_free(store)
    await end_a_job(store, await begun(store, DONE))
    first = await store.look(lambda view: view.refund("r1"))
    sending = dataclasses.replace(first, state=RefundState.SENDING, payment_hash=SENT, bolt11="lnbc1")
    await applied(store, refunds=(sending,))
    gone = moves("refund:r1", NODE, 6_000, Code.SENT)
    await applied(
        store, entries=(gone,), refunds=(dataclasses.replace(sending, version=2, state=RefundState.SENT),)
    )
    await store.close()


async def serve_free(store):
    """FREE was paid 7 of the 10 sats set aside for it, and WORKING has 52 set aside: 59 of the day's 60 sats."""
    works = {"state": JobState.EVALUATING, "paid_at": NOW, "due_at": NOW + 900, "pubkey": KEY, "free_tier": True}
    done = new_job(FREE, **works, absorbed_sats=10, share_eval=Msats(0), share_work=Msats(42_000))
    paid = moves(NODE, f"job:{FREE}", 42_000, Code.SETTLED)
    budget = Msats(60_000)
    first = reservation(FREE, 10_000, budget=budget)
    job = (await applied(store, new_job=done, **(first | {"entries": (*first["entries"], paid)}))).job
    end = granted(7_000, 10_000, FREE)
    owed = moves(f"job:{FREE}", "customer:k", 42_000, Code.DUST)
    job = await moved(store, job, JobState.EXECUTING)
    ended = dataclasses.replace(job, state=JobState.COMPLETE, ended_at=NOW, due_at=None, absorbed_sats=7)
    await applied(store, job=ended, **(end | {"entries": (*end["entries"], owed)}))
    free = new_job(WORKING, **works, absorbed_sats=52, share_eval=Msats(0), share_work=Msats(0))
    await applied(store, new_job=free, **reservation(WORKING, 52_000, budget=budget))


async def end_a_job(store, job):
    """Paid 60,000 of 52,000, cost 55,000: all of the share is charged, we bear 3,000, 8,000 go back."""
    terms = {"account": f"job:{DONE}", "job_id": DONE}
    paid = invoice(PAID, state=InvoiceState.SETTLED, received=Msats(60_000), **terms)
    booked = paid_in(f"job:{DONE}", 60_000, f"settled:{PAID}")
    await applied(store, invoices=(paid, invoice(LATER, **terms)), entries=(booked,))
    job = await moved(store, job, JobState.EVALUATING, paid_at=NOW, due_at=NOW + 900)
    job = await moved(store, job, JobState.EXECUTING)
    postings = (Posting(f"job:{DONE}", -52_000), Posting(SHORTFALL, -3_000), Posting(EARNED, 55_000))
    ended = dataclasses.replace(
        job,
        state=JobState.COMPLETE,
        ended_at=NOW,
        due_at=None,
        charge_eval=Msats(2_000),
        charge_work=Msats(50_000),
        shortfall=Msats(3_000),
        pool_credit=Msats(5_000),
    )
    await applied(
        store,
        job=ended,
        entries=(
            Entry("settlement:done", Code.SETTLEMENT, postings),
            moves(EARNED, POOL, 5_000, Code.POOL_CREDIT, "pool_credit"),
            moves(f"job:{DONE}", "refund:r1", 6_000, Code.OWED, "owed:r1"),
            moves(f"job:{DONE}", "refund:r2", 2_000, Code.OWED, "owed:r2"),
        ),
        refunds=(
            refund("r1", job_id=DONE, amount=Msats(6_000)),
            refund("r2", job_id=DONE, amount=Msats(2_000)),
        ),
        events=(NewEvent(id="e1" * 32, job_id=DONE, role=EventRole.RESULT, json="{}", targets="[]"),),
    )


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


def alter(path, *statements):
    """Run statements past triggers, CHECKs and references, and leave no other sign."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)


def test_a_sound_ledger_passes(path):
    assert audit(path) == []


COPY = "INSERT INTO events (id, job, role, json, targets) SELECT 'other', job, role, json, targets FROM events"

ALTERED = [
    # what was done by hand, the rule that finds it, the row it names, what its sentence says
    ("UPDATE postings SET amount_msat = 7 WHERE amount_msat = 60000", "I1", "entry settled:" + PAID, "not 0"),
    (
        "UPDATE postings SET amount_msat = 7 WHERE amount_msat = 60000",
        "I2",
        "account job:" + DONE,
        "sum to -59993",
    ),
    ("DELETE FROM postings WHERE entry = 1", "I1", "entry opening", "it has no postings"),
    ("DELETE FROM entries WHERE id = 1", "I1", "posting 1 of account 1", "without an entry"),
    ("INSERT INTO seals VALUES ('odd', 7, x'00')", "I1", "seals row odd 7", "there is no table odd with seals"),
    (
        "UPDATE jobs SET asked_at = 7 WHERE id LIKE 'd0%'",
        "seal",
        "jobs row",
        "changed by another hand than Timmy's",
    ),
    ("INSERT INTO settings VALUES ('a', 'b')", "seal", "settings row a", "added by another hand"),
    ("DELETE FROM events", "seal", "events row 1", "removed by another hand"),
    (
        "UPDATE facts SET body = 'odd' WHERE row = 1",
        "seal",
        "facts row 1 (opening)",
        "put it back as a backup has it",
    ),
    ("UPDATE accounts SET balance_msat = 5 WHERE name = 'pool'", "I2", "account pool", "shows 5 msat"),
    ("UPDATE accounts SET balance_msat = 5 WHERE name = 'pool'", "I2", "all accounts", "not 0"),
    ("UPDATE accounts SET balance_msat = 5 WHERE name LIKE 'job:d0%'", "I2", "job " + DONE, "still holds 5"),
    (
        "UPDATE jobs SET charge_work_msat = 1 WHERE id LIKE 'd0%'",
        "I2",
        "job " + DONE,
        "charge of 2001 msat, its settlement took 52000",
    ),
    (
        "UPDATE jobs SET shortfall_msat = 1 WHERE id LIKE 'd0%'",
        "I2",
        "job " + DONE,
        "shortfall of 1 msat, its settlement booked 3000",
    ),
    ("UPDATE jobs SET shortfall_msat = 1 WHERE id LIKE '0e%'", "I2", "job " + OPEN, "its settlement booked 0"),
    (
        "UPDATE jobs SET pool_credit_msat = 1 WHERE id LIKE 'd0%'",
        "I2",
        "job " + DONE,
        "1 msat to the pool, its books say 5000",
    ),
    (
        "UPDATE postings SET account = 2 WHERE amount_msat = -3000",
        "I2",
        "entry settlement:done",
        "-3000 msat of operator",
    ),
    ("UPDATE invoices SET received_msat = 9", "I2", "invoice " + PAID, "received 9 msat, booked are 60000"),
    ("UPDATE accounts SET balance_msat = -5 WHERE name = 'pool'", "I3", "account pool", "stands at -5"),
    (
        "UPDATE payments SET payment_hash = (SELECT payment_hash FROM invoices WHERE state = 'open')",
        "I4",
        "payment " + LATER,
        "one of our own invoices",
    ),
    ("UPDATE payments SET state = 'in_flight'", "I5", "refund r1", "it is sent, but the payment"),
    ("UPDATE refunds SET state = 'sending' WHERE id = 'r1'", "I5", "refund r1", f"the payment to {SENT} is sent"),
    ("DELETE FROM payments", "I5", "refund r1", "is not there"),
    ("UPDATE refunds SET payment_hash = NULL", "I5", "payment " + SENT, "it is sent, but refund r1 names another"),
    (
        "UPDATE refunds SET state = 'sent', payment_hash = 'x' WHERE id = 'r2'",
        "I5",
        "refund r2",
        "its account holds 2000",
    ),
    ("UPDATE refunds SET amount_msat = 1 WHERE id = 'r2'", "I5", "refund r2", "it is owed for 1 msat"),
    ("UPDATE refunds SET amount_msat = 1 WHERE id = 'r1'", "I5", "refund r1", "6000 were owed to it"),
    ("UPDATE refunds SET id = 'r3' WHERE id = 'r2'", "I5", "account refund:r2", "there is no such refund"),
    ("UPDATE jobs SET state = 'odd' WHERE id LIKE '0e%'", "I6", "job " + OPEN, "there is no state odd"),
    ("UPDATE refunds SET state = 'odd' WHERE id = 'r2'", "I6", "refund r2", "there is no state odd"),
    ("UPDATE jobs SET state = 'expired' WHERE id LIKE '0e%'", "I6", "job " + OPEN, "has no time of its end"),
    ("UPDATE jobs SET state = 'executing' WHERE id LIKE 'd0%'", "I6", "job " + DONE, "and yet it ended at"),
    ("DELETE FROM outbox", "I6", "job " + OPEN, "neither a deadline nor anything to be done"),
    ("UPDATE jobs SET due_at = NULL WHERE id LIKE '30%'", "I6", "job " + WORKING, "has no deadline"),
    ("UPDATE jobs SET paid_at = NULL WHERE id LIKE '30%'", "I6", "job " + WORKING, "was never paid for"),
    ("UPDATE jobs SET eval_runs = 4 WHERE id LIKE '30%'", "I8", "job " + WORKING, "3 is the limit"),
    (
        "UPDATE reservations SET reserved_msat = 51000 WHERE ended_at IS NULL",
        "I9",
        "job " + WORKING,
        "51000 msat reserved, and reserved:30",
    ),
    (
        "UPDATE reservations SET reserved_msat = 9000 WHERE ended_at = 1800000000",
        "I9",
        "account reserved:4f",
        "10000 msat were reserved in it, its row says 9000",
    ),
    ("DELETE FROM reservations", "I9", "account reserved:30", "its row says nothing"),
    ("DELETE FROM reservations", "I10", "job " + WORKING, "pays nothing, and the pool reserved 0 of 52000"),
    (
        "UPDATE reservations SET granted_msat = 6000",
        "I9",
        "job " + FREE,
        "grant of 6000 msat, its settlement took 7000",
    ),
    (
        "UPDATE reservations SET granted_msat = NULL, ended_at = NULL",
        "I9",
        "job " + FREE,
        "complete, and 10000 msat are still reserved",
    ),
    ("UPDATE jobs SET absorbed_sats = 1", "I9", "job " + FREE, "1 sats absorbed, its reservation 7000 msat"),
    ("UPDATE jobs SET absorbed_sats = 1", "I9", "job " + DONE, "1 sats absorbed, its reservation 0 msat"),
    (
        "UPDATE identities SET sats_absorbed_today = 6",
        "I9",
        "key " + KEY,
        "counted 6 sats, granted were 7000 msat",
    ),
    ("UPDATE identities SET sats_absorbed_today = 8", "I9", "key " + KEY, "counted 8 sats"),
    (
        "UPDATE reservations SET budget_msat = 58000",
        "I9",
        "job " + WORKING,
        "had drawn 59000 msat in that day with it, of 58000",
    ),
    (
        "UPDATE entries SET code = 'sent' WHERE entry_id LIKE 'reserved:30%'",
        "I9",
        "entry reserved:" + WORKING,
        "as sent it takes 52000 msat from pool",
    ),
    (
        "UPDATE postings SET account = 2 WHERE amount_msat = 3000",
        "I9",
        "entry released:" + FREE,
        "as released it takes 3000 msat from reserved:4f",
    ),
    ("UPDATE jobs SET share_work_msat = 1 WHERE id LIKE '30%'", "I10", "job " + WORKING, "its account holds 0"),
    (
        "UPDATE job_transitions SET to_state = 'odd' WHERE to_state = 'complete'",
        "file",
        "step job → executing",
        "gone",
    ),
]


@pytest.mark.parametrize(("statement", "rule", "row", "words"), ALTERED)
def test_a_row_altered_by_hand_is_found_and_named(path, statement, rule, row, words):
    alter(path, statement)
    findings = audit(path)
    assert [f for f in findings if f.rule.startswith(rule) and f.row.startswith(row) and words in f.sentence], (
        findings
    )


@pytest.mark.parametrize(
    ("index", "copy", "rule", "row"),
    [
        ("one_result", COPY, "I7", "job " + DONE),
        (
            "one_payment_in_flight",
            "INSERT INTO payments VALUES ('a', 2, 'b', 0, 0, 'in_flight', 1), ('b', 2, 'b', 0, 0, 'in_flight', 1)",
            "I5",
            "refund r2",
        ),
    ],
)
def test_what_is_there_twice_is_found_though_its_index_is_gone(path, index, copy, rule, row):
    alter(path, f"DROP INDEX {index}", copy)
    findings = audit(path)
    assert Finding("file has its constraints", f"index {index}", "it is gone or was altered") in findings
    assert [f for f in findings if f.rule.startswith(rule) and f.row == row]


def test_an_id_that_is_there_twice_is_found(path):
    """A UNIQUE of a column has no index to drop: the table was made anew without it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE events RENAME TO old")
        connection.execute(
            "CREATE TABLE events AS SELECT * FROM old UNION ALL SELECT 9, id, 1, 'feedback', '', '' FROM old"
        )
    assert Finding("I4 what is unique is there once", "event " + "e1" * 32, "it is there 2 times") in audit(path)


def test_a_trigger_that_is_gone_is_missed(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER entries_stay")
    assert audit(path) == [
        Finding("file has its constraints", "trigger entries_stay", "it is gone or was altered")
    ]


def test_a_damaged_index_is_found(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'due_at', 'paid_at') WHERE name = 'jobs_due'"
        )
    assert [f for f in audit(path) if f.rule == "file is sound" and "jobs_due" in f.sentence]


def test_a_file_that_can_not_be_read_says_what_to_do(path):
    path.write_bytes(b"x" * 4096)
    with pytest.raises(StoreUnavailable, match="that file is no ledger"):
        audit(path)


async def test_a_running_ledger_can_be_audited_beside_it_or_by_its_own_connection(path):
    store = open_ledger(f"sqlite:///{path}")
    await applied(store, entries=(paid_in(POOL, 1),))
    assert await asyncio.to_thread(audit, path) == []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert audit(connection) == []
        assert not connection.in_transaction
    await store.close()


def test_where_there_is_no_ledger_it_says_so(tmp_path):
    with pytest.raises(StoreUnavailable, match="there is no ledger"):
        audit(tmp_path / "timmy.db")


def test_a_finding_reads_as_a_line():
    assert str(Finding("I3 floors", "account pool", "it is below 0")) == "I3 floors: account pool: it is below 0"


def test_every_rule_of_the_audit_has_a_row_above():
    tried = {rule for _, rule, _, _ in ALTERED} | {"I7"}
    assert {name.split()[0] for name in QUERIES} == tried - {"file", "seal"}
