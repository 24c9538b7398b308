"""Nodes for a fee in a whole Timmy: paid, set up once, across restarts; the books right at each end."""

import asyncio
import sqlite3

import pytest

from ledger.audit import audit
from ledger.money import Msats, msats_from_sats
from ledger.sqlite import open_ledger
from lightning import bolt11
from tests.flows.house import House, a_house
from tests.flows.orderer import Orderer
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.facts import PaymentSeen
from timmy_dvm.provision.stub import DELAY_S, StubProvisioner

FEE = 10_000


class Broken:
    """Sets nothing up."""

    async def provision(self):
        raise OSError("no machine")


class Counting:
    """Counts how often a node is set up."""

    def __init__(self, house_clock, randomness) -> None:
        self.begun = 0
        self._stub = StubProvisioner(house_clock, randomness)

    async def provision(self):
        self.begun += 1
        return await self._stub.provision()


async def is_set_up(house: House, orderer: Orderer) -> None:
    """Let the clock go on until the node is ready, however long its key takes."""

    async def ready() -> bool:
        await house.clock.advance(DELAY_S)
        return (await orderer.row()).state == "ready"

    await house.until(ready)


async def test_a_paid_node_is_ready_and_its_fee_is_earned(tmp_path):
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}") as house:
        orderer = Orderer(house)
        invoice = await orderer.asks()
        assert bolt11.decode(invoice).amount_msat == msats_from_sats(FEE)
        house.customer.pays(invoice)
        await orderer.is_in("provisioning")
        assert await house.balance(f"job:{orderer.id}") == msats_from_sats(FEE)
        assert audit(tmp_path / "timmy.db") == []
        await is_set_up(house, orderer)
        assert await house.balance("earned") == msats_from_sats(FEE)
        assert await house.balance(f"job:{orderer.id}") == 0
        await house.books_are_right()
    assert audit(tmp_path / "timmy.db") == []


async def test_five_who_look_and_two_who_tell_of_the_payment_start_one_provisioner(tmp_path):
    clock = ManualClock()
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}", clock=clock) as house:
        counting = Counting(clock, house.random)
        house.nodes._provisioner = counting
        orderer = Orderer(house)
        invoice = await orderer.asks()
        house.customer.pays(invoice)
        payment_hash = bolt11.decode(invoice).payment_hash
        seen = PaymentSeen(payment_hash=payment_hash, received=msats_from_sats(FEE), at=int(clock.now()))
        told = [house.engine.handle(seen) for _ in range(2)]
        looks = [house.payments.look(payment_hash) for _ in range(5)]
        await asyncio.gather(*told, *looks)
        await is_set_up(house, orderer)
        await house.dispatch.idle()
        assert counting.begun == 1
        await house.books_are_right()
    assert audit(tmp_path / "timmy.db") == []


async def test_a_node_that_fails_is_owed_back_whole(tmp_path):
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}", provisioner=Broken()) as house:
        orderer = Orderer(house)
        house.customer.pays(await orderer.asks())
        await orderer.is_in("failed")
        (row,) = await orderer.is_owed(FEE)
        assert (str(row.state), row.reason) == ("held", "failed")
        assert "OSError" not in str((await orderer.row()).error_message)
        assert await house.balance("earned") == 0
        await house.books_are_right()
    assert audit(tmp_path / "timmy.db") == []


async def test_unpaid_it_expires_and_what_comes_late_is_owed_back(tmp_path):
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}") as house:
        orderer = Orderer(house)
        invoice = await orderer.asks()
        await house.clock.advance(600 + 61)
        await orderer.is_in("expired")
        house.wallet.settle(bolt11.decode(invoice).payment_hash)
        (row,) = await orderer.is_owed(FEE)
        assert (str(row.state), row.reason) == ("held", "late")
        await orderer.is_in("expired")
        await house.books_are_right()
    assert audit(tmp_path / "timmy.db") == []


@pytest.mark.parametrize(("received", "owed"), [(FEE + 7, 7), (FEE - 3, FEE - 3)], ids=["more", "less"])
async def test_what_is_not_the_fee_goes_back(tmp_path, received, owed):
    """Told by the fact alone: the simulated wallet takes only what was asked."""
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}") as house:
        orderer = Orderer(house)
        payment_hash = bolt11.decode(await orderer.asks()).payment_hash
        at = int(house.clock.now())
        await house.engine.handle(PaymentSeen(payment_hash=payment_hash, received=Msats(received * 1_000), at=at))
        if received > FEE:
            await is_set_up(house, orderer)
        else:
            await orderer.is_in("failed")
        await orderer.is_owed(owed)
    assert audit(tmp_path / "timmy.db") == []


async def test_paid_while_nobody_is_there_and_killed_in_the_middle_it_is_ready_in_the_end(tmp_path):
    """The engine is rebuilt twice: the payment came while it was away, and it died while the node was set up."""
    url, clock = f"sqlite:///{tmp_path / 'timmy.db'}", ManualClock()
    store = open_ledger(url)
    async with House(store, clock).living() as house:
        orderer = Orderer(house)
        invoice = await orderer.asks()
        wallet, customer = house.wallet, house.customer
    await store.close()
    customer.pays(invoice)
    store = open_ledger(url)
    async with House(store, clock, wallet=wallet).living() as house:
        orderer.house = house
        await orderer.is_in("provisioning")
        await house.until(lambda: started(tmp_path / "timmy.db"))
    await store.close()
    assert audit(tmp_path / "timmy.db") == []
    store = open_ledger(url)
    async with House(store, clock, wallet=wallet).living() as house:
        orderer.house = house
        assert str((await orderer.row()).state) == "provisioning"
        await is_set_up(house, orderer)
        assert await house.balance("earned") == msats_from_sats(FEE)
        assert await store.take_ssh_key(orderer.id)
        await house.books_are_right()
    await store.close()
    assert audit(tmp_path / "timmy.db") == []


async def test_ordered_while_the_wallet_is_away_and_killed_it_has_its_invoice_after_the_restart(tmp_path):
    url, clock = f"sqlite:///{tmp_path / 'timmy.db'}", ManualClock()
    store = open_ledger(url)
    async with House(store, clock).living() as house:
        orderer, wallet = Orderer(house), house.wallet
        wallet.down = True
        await orderer.orders()
        await house.dispatch.idle()
        assert (await orderer.row()).payment_request is None
    await store.close()
    assert audit(tmp_path / "timmy.db") == []
    wallet.down = False
    store = open_ledger(url)
    async with House(store, clock, wallet=wallet).living() as house:
        orderer.house = house
        await house.clock.advance(10)
        assert bolt11.decode(await orderer.invoice()).amount_msat == msats_from_sats(FEE)
    await store.close()
    assert audit(tmp_path / "timmy.db") == []


async def test_while_the_wallet_stays_away_an_order_expires():
    async with a_house() as house:
        orderer = Orderer(house)
        house.wallet.down = True
        await orderer.orders()

        async def expired() -> bool:
            await house.clock.advance(30)
            return str((await orderer.row()).state) == "expired"

        await house.until(expired)


def started(path) -> bool:
    """Whether the outbox says that a process has begun to set a node up."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT started FROM outbox WHERE kind = 'ProvisionNode'").fetchall()
    finally:
        connection.close()
    return rows == [(1,)]


async def test_the_key_is_in_no_receipt_and_after_it_was_handed_out_nowhere(tmp_path):
    path = tmp_path / "timmy.db"
    async with a_house(f"sqlite:///{path}") as house:
        orderer = Orderer(house)
        house.customer.pays(await orderer.asks())
        await is_set_up(house, orderer)
        await house.dispatch.idle()
        assert tables_with(path, "BEGIN RSA") == {"bootstrap_jobs"}
        assert await house.store.take_ssh_key(orderer.id)
        assert tables_with(path, "BEGIN RSA") == set()
    assert b"BEGIN RSA" not in path.read_bytes()


def tables_with(path, text: str) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {line.split('"')[1] for line in connection.iterdump() if text in line}
    finally:
        connection.close()
