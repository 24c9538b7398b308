"""What a store promises of orders of nodes. Part of `StoreContract`."""

import asyncio
import dataclasses

import pytest

from ledger.bootstrap import BootstrapRecord, BootstrapState
from ledger.money import Msats
from ledger.records import RefundState, Stale
from ledger.store import RuleBroken
from tests.ledger.books import KEY, NOW, applied, identity, refund, write

NODE = "b0" * 16
HASH = "9a" * 32
KEY_TEXT = "-----BEGIN RSA PRIVATE KEY-----"
NEXT = {
    BootstrapState.AWAITING_PAYMENT: {
        BootstrapState.PROVISIONING, BootstrapState.FAILED, BootstrapState.EXPIRED,
    },
    BootstrapState.PROVISIONING: {BootstrapState.READY, BootstrapState.FAILED},
}  # fmt: skip
FIELDS = {
    BootstrapState.READY: {"node_ip": "192.0.2.7", "ssh_private_key": KEY_TEXT},
    BootstrapState.FAILED: {"error_message": "No node."},
}
WAY_TO = {
    BootstrapState.AWAITING_PAYMENT: (),
    BootstrapState.PROVISIONING: (BootstrapState.PROVISIONING,),
    BootstrapState.READY: (BootstrapState.PROVISIONING, BootstrapState.READY),
    BootstrapState.FAILED: (BootstrapState.PROVISIONING, BootstrapState.FAILED),
    BootstrapState.EXPIRED: (BootstrapState.EXPIRED,),
}


def order(bootstrap_id: str = NODE, **fields) -> BootstrapRecord:
    """An order that waits for its payment."""
    row = BootstrapRecord(id=bootstrap_id, pubkey=None, amount=Msats(10_000_000), created_at=NOW, updated_at=NOW)
    return dataclasses.replace(row, **fields)


async def at(store, bootstrap_id: str = NODE) -> BootstrapRecord | None:
    return await store.look(lambda view: view.bootstrap(bootstrap_id))


async def changed(store, **fields) -> BootstrapRecord:
    await applied(store, bootstrap=dataclasses.replace(await at(store), **fields))
    return await at(store)


async def in_state(store, state: BootstrapState) -> BootstrapRecord:
    await applied(store, bootstrap=order())
    for step in WAY_TO[state]:
        await changed(store, state=step, **FIELDS.get(step, {}))
    return await at(store)


class BootstrapContract:
    """Orders of nodes, and the key that is handed out once."""

    async def test_an_order_comes_back_as_it_was_written_and_rises_with_each_change(self, store):
        await applied(store, identity=identity())
        await applied(store, bootstrap=order(pubkey=KEY))
        assert await at(store) == order(pubkey=KEY, version=1)
        row = await changed(store, payment_hash=HASH, payment_request="lnbc1", updated_at=NOW + 1)
        assert (row.version, row.payment_hash, row.payment_request) == (2, HASH, "lnbc1")
        assert await store.look(lambda view: view.bootstrap_of_invoice(HASH)) == row
        assert await at(store, "no such") is None

    async def test_an_order_that_moved_meanwhile_is_stale(self, store):
        await applied(store, bootstrap=order())
        first = await at(store)
        await changed(store, state=BootstrapState.PROVISIONING)
        late = dataclasses.replace(first, state=BootstrapState.EXPIRED)
        assert await write(store, bootstrap=late) == Stale()
        assert await write(store, bootstrap=order()) == Stale()

    @pytest.mark.parametrize("old", BootstrapState)
    @pytest.mark.parametrize("new", BootstrapState)
    async def test_an_order_follows_its_graph_and_nothing_else(self, store, old, new):
        row = await in_state(store, old)
        moved = dataclasses.replace(row, state=new, node_ip=None, error_message=None)
        moved = dataclasses.replace(moved, **FIELDS.get(new, {}))
        if new in NEXT.get(old, set()):
            await applied(store, bootstrap=moved)
        elif new is not old:
            with pytest.raises(RuleBroken, match=r"not go from the state|key"):
                await write(store, bootstrap=moved)

    async def test_an_order_begins_unpaid(self, store):
        with pytest.raises(RuleBroken, match="begins awaiting payment"):
            await write(store, bootstrap=order(state=BootstrapState.PROVISIONING))

    @pytest.mark.parametrize(
        "fields", [{"payment_hash": "9b" * 32}, {"payment_request": "lnbc2"}], ids=["hash", "invoice"]
    )
    async def test_what_was_told_is_never_changed(self, store, fields):
        await applied(store, bootstrap=order())
        await changed(store, payment_hash=HASH, payment_request="lnbc1")
        with pytest.raises(RuleBroken, match="never changed"):
            await changed(store, **fields)

    async def test_a_failed_order_says_why_and_a_ready_one_has_its_node(self, store):
        await in_state(store, BootstrapState.PROVISIONING)
        for state in (BootstrapState.FAILED, BootstrapState.READY):
            with pytest.raises(RuleBroken):
                await changed(store, state=state)

    async def test_of_ten_who_look_at_once_exactly_one_has_the_key(self, store):
        row = await in_state(store, BootstrapState.READY)
        assert (row.ssh_private_key, row.ssh_key_delivered) == (None, False)
        taken = await asyncio.gather(*(store.take_ssh_key(NODE) for _ in range(10)))
        assert sorted(map(str, taken)) == sorted([KEY_TEXT, *["None"] * 9])
        assert (await at(store)).ssh_key_delivered
        assert await store.take_ssh_key(NODE) is None

    @pytest.mark.parametrize("state", [s for s in BootstrapState if s is not BootstrapState.READY])
    async def test_before_it_is_ready_and_without_an_order_there_is_no_key(self, store, state):
        await in_state(store, state)
        assert await store.take_ssh_key(NODE) is None
        assert await store.take_ssh_key("no such") is None

    async def test_a_key_that_was_handed_out_never_comes_back(self, store):
        await in_state(store, BootstrapState.READY)
        await store.take_ssh_key(NODE)
        with pytest.raises(RuleBroken, match="handed out"):
            await changed(store, ssh_private_key="another")
        await changed(store, updated_at=NOW + 9)
        assert await store.take_ssh_key(NODE) is None

    async def test_it_waits_for_payment_among_all_others(self, store):
        await applied(store, bootstrap=order())
        assert await store.look(lambda view: view.open_invoices()) == 1
        await changed(store, state=BootstrapState.EXPIRED)
        assert await store.look(lambda view: view.open_invoices()) == 0

    async def test_its_refunds_are_its_own_for_ever(self, store):
        await applied(store, bootstrap=order())
        row = refund("r1", job_id=None, pubkey=None, bootstrap_id=NODE, state=RefundState.HELD)
        await applied(store, refunds=(row,))
        (found,) = await store.look(lambda view: view.refunds_of_bootstrap(NODE))
        assert found == dataclasses.replace(row, version=1)
        assert not found.pays_its_way
        assert not await store.look(lambda view: view.refunds_of_bootstrap("no such"))
