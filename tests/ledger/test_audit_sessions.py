"""What the audit knows of sessions: a row that was altered by hand, past every constraint, is found and named."""

import asyncio
import dataclasses

import pytest

from ledger import accounts
from ledger.accounts import EARNED
from ledger.audit import audit
from ledger.entries import Code
from ledger.money import Msats
from ledger.records import JobState, NewAction
from ledger.sessions import SessionState
from ledger.sqlite import open_ledger
from tests.ledger.books import NOW, applied, moved, moves, new_job, paid_in, topup
from tests.ledger.store_contract_sessions import session
from tests.ledger.test_audit import alter

ONE, TWO, WAITS = "5e" * 16, "5f" * 16, "5d" * 16
DONE, WORKS = "d0" * 16, "30" * 16


async def live_a_little(path):
    """ONE has 500 sats, of which a request took 52 and was debited 50, and another holds 40; WAITS is unpaid."""
    store = open_ledger(f"sqlite:///{path}")
    await store.open_books(Msats(0), Msats(100_000), NOW)
    look = NewAction(kind="CloseIdleSession", job_id=None, body=f'{{"session_id":"{ONE}"}}')
    make = NewAction(kind="CreateInvoice", job_id=None, body='{"topup_id":"t9"}')
    for session_id in (ONE, TWO, WAITS):
        await applied(store, session=session(session_id))
    waits = topup("t9", account=accounts.session(WAITS), pubkey=None)
    await applied(store, topups=(waits,), actions=(make,))
    await activate(store, ONE, look)
    await activate(store, TWO, look)
    await applied(store, session=await read(store, TWO, state=SessionState.CLOSED, ended_at=NOW))
    await applied(store, entries=(paid_in(accounts.session(ONE), 500_000),))
    job = await asks(store, DONE, 52_000)
    job = await moved(store, job, JobState.EXECUTING)
    job = dataclasses.replace(
        job,
        state=JobState.COMPLETE,
        ended_at=NOW,
        due_at=None,
        charge_eval=Msats(2_000),
        charge_work=Msats(48_000),
    )
    spent = moves(f"job:{DONE}", EARNED, 50_000, Code.SETTLEMENT)
    back = moves(f"job:{DONE}", accounts.session(ONE), 2_000, Code.CREDIT_BACK)
    await applied(store, job=job, entries=(spent, back))
    await asks(store, WORKS, 40_000)
    await store.close()


async def read(store, session_id, **fields):
    row = await store.look(lambda view: view.session(session_id))
    return dataclasses.replace(row, **fields)


async def activate(store, session_id, look):
    await applied(store, session=await read(store, session_id, state=SessionState.ACTIVE), actions=(look,))


async def asks(store, job_id, msat):
    works = {"state": JobState.EVALUATING, "paid_at": NOW, "due_at": NOW + 900, "session_id": ONE}
    used = moves(accounts.session(ONE), f"job:{job_id}", msat, Code.CREDIT_USED)
    return (await applied(store, new_job=new_job(job_id, credit_used=Msats(msat), **works), entries=(used,))).job


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


def test_a_sound_ledger_passes(path):
    assert audit(path) == []


ALTERED = [
    # what was done by hand, the rule that finds it, the row it names, what its sentence says
    ("UPDATE sessions SET state = 'odd' WHERE id LIKE '5d%'", "I6", "session " + WAITS, "there is no state odd"),
    ("UPDATE topups SET ended_at = 1", "I6", "session " + WAITS, "no invoice to pay"),
    ("DELETE FROM outbox", "I6", "session " + ONE, "nothing will ever close it"),
    (
        "UPDATE sessions SET state = 'closed', ended_at = 1 WHERE id LIKE '5e%'",
        "I2",
        "session " + ONE,
        "it is closed, and holds 410000 msat",
    ),
    ("DELETE FROM sessions WHERE state = 'active'", "I2", "account session:5e", "there is no such session"),
    (
        "UPDATE jobs SET credit_used_msat = 51000 WHERE id LIKE 'd0%'",
        "I2",
        "job " + DONE,
        f"51000 msat of session {ONE}, booked are 52000 of session:{ONE}",
    ),
    (
        "UPDATE jobs SET session_id = (SELECT id FROM sessions WHERE id LIKE '5f%') WHERE id LIKE 'd0%'",
        "I2",
        "job " + DONE,
        f"booked are 52000 of session:{ONE}",
    ),
    (
        "UPDATE accounts SET balance_msat = 39000 WHERE name LIKE 'job:30%'",
        "I10",
        "job " + WORKS,
        "of 40000 msat taken from its session its account holds 39000",
    ),
]


@pytest.mark.parametrize(("statement", "rule", "row", "words"), ALTERED)
def test_a_row_altered_by_hand_is_found_and_named(path, statement, rule, row, words):
    alter(path, statement)
    findings = audit(path)
    assert [f for f in findings if f.rule.startswith(rule) and f.row.startswith(row) and words in f.sentence], (
        findings
    )


def test_a_second_topup_that_waits_is_found_though_its_index_is_gone(path):
    copy = (
        "INSERT INTO topups (id, account, amount_msat, origin, created_at) "
        "SELECT 't8', account, 1, '', 1 FROM topups"
    )
    alter(path, "DROP INDEX one_open_topup_a_session", copy)
    rows = [finding.row for finding in audit(path) if finding.rule.startswith("I4")]
    assert rows == ["top-up that waits session:" + WAITS]


def test_a_step_that_was_added_to_the_graph_is_found(path):
    alter(path, "INSERT INTO session_transitions VALUES ('closed', 'active')")
    assert "step session → closed → active" in [finding.row for finding in audit(path)]
