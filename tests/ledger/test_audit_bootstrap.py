"""What the audit knows of orders of nodes: a row that was altered by hand, past every constraint, is found."""

import asyncio
import dataclasses

import pytest

from ledger import accounts
from ledger.accounts import EARNED
from ledger.audit import audit
from ledger.bootstrap import BootstrapState
from ledger.entries import Code
from ledger.money import Msats
from ledger.records import InvoiceState, NewAction
from ledger.sqlite import open_ledger
from tests.ledger.books import NOW, applied, invoice, moves, paid_in
from tests.ledger.store_contract_bootstrap import FIELDS, order
from tests.ledger.test_audit import alter

WAITS, WORKS, READY = "b1" * 16, "b2" * 16, "b3" * 16
FEE = 10_000_000
HASH = {WORKS: "92" * 32, READY: "93" * 32}


async def live_a_little(path):
    """WAITS is unpaid, WORKS is paid and being set up, READY is done and its key handed out."""
    store = open_ledger(f"sqlite:///{path}")
    await store.open_books(Msats(0), Msats(0), NOW)
    make = NewAction(kind="CreateInvoice", job_id=None, body=f'{{"bootstrap_id":"{WAITS}"}}')
    set_up = NewAction(kind="ProvisionNode", job_id=None, body=f'{{"bootstrap_id":"{WORKS}"}}')
    await applied(store, bootstrap=order(WAITS), actions=(make,))
    for node in (WORKS, READY):
        await applied(store, bootstrap=order(node))
        await pays(store, node, set_up if node == WORKS else None)
    earned = moves(accounts.job(READY), EARNED, FEE, Code.SETTLEMENT)
    await changed(store, READY, entries=(earned,), state=BootstrapState.READY, **FIELDS[BootstrapState.READY])
    await store.take_ssh_key(READY)
    await store.close()


async def changed(store, node, *, entries=(), invoices=(), actions=(), **fields):
    row = await store.look(lambda view: view.bootstrap(node))
    row = dataclasses.replace(row, **fields)
    await applied(store, bootstrap=row, entries=entries, invoices=invoices, actions=actions)


async def pays(store, node, action):
    account = accounts.job(node)
    open_one = invoice(HASH[node], account=account, job_id=None, amount=Msats(FEE))
    await changed(store, node, invoices=(open_one,), payment_hash=HASH[node], payment_request="lnbc1")
    settled = dataclasses.replace(open_one, state=InvoiceState.SETTLED, received=Msats(FEE))
    await changed(
        store,
        node,
        entries=(paid_in(account, FEE, f"settled:{HASH[node]}"),),
        invoices=(settled,),
        actions=() if action is None else (action,),
        state=BootstrapState.PROVISIONING,
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


def test_a_sound_ledger_passes(path):
    assert audit(path) == []


ALTERED = [
    # what was done by hand, the rule that finds it, the row it names, what its sentence says
    ("UPDATE bootstrap_jobs SET state = 'odd' WHERE id LIKE 'b1%'", "I6", WAITS, "there is no state odd"),
    ("DELETE FROM outbox WHERE kind = 'CreateInvoice'", "I6", WAITS, "nothing to be done for it"),
    ("DELETE FROM outbox WHERE kind = 'ProvisionNode'", "I6", WORKS, "nothing to be done for it"),
    ("UPDATE bootstrap_jobs SET state = 'expired' WHERE id LIKE 'b2%'", "I2", WORKS, f"and holds {FEE}"),
    ("UPDATE accounts SET balance_msat = 1 WHERE name LIKE 'job:b3%'", "I2", READY, "and holds 1"),
    ("UPDATE accounts SET balance_msat = 1 WHERE name LIKE 'job:b2%'", "I2", WORKS, "and holds 1"),
    ("UPDATE bootstrap_jobs SET amount_msat = 5 WHERE id LIKE 'b3%'", "I2", READY, f"{FEE} were earned"),
    ("UPDATE bootstrap_jobs SET state = 'failed' WHERE id LIKE 'b3%'", "I2", READY, f"{FEE} were earned"),
    ("UPDATE invoices SET account = 'job:x' WHERE payment_hash LIKE '92%'", "I2", WORKS, "fills job:x"),
    ("UPDATE bootstrap_jobs SET ssh_private_key = 'k' WHERE id LIKE 'b3%'", "I7", READY, "still there"),
]


@pytest.mark.parametrize(("statement", "rule", "node", "words"), ALTERED)
def test_a_row_altered_by_hand_is_found_and_named(path, statement, rule, node, words):
    alter(path, statement)
    findings = audit(path)
    assert [
        f for f in findings if f.rule.startswith(rule) and f.row == f"node order {node}" and words in f.sentence
    ], findings


def test_a_step_that_was_added_to_the_graph_is_found(path):
    alter(path, "INSERT INTO bootstrap_transitions VALUES ('failed', 'ready')")
    assert [f.row for f in audit(path)] == ["step bootstrap → failed → ready"]
