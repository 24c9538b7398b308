"""Killed with SIGKILL while a key fills its account and takes from it: credited once, paid out once."""

import asyncio
import contextlib
from dataclasses import dataclass

import pytest

from ledger import accounts
from ledger.credit import TopUpRecord
from ledger.money import Msats, msats_from_sats
from ledger.records import RefundRecord, RefundState
from lightning.backend import Sent
from lightning.simulated_state import WalletState
from tests.flows.crash_world import World, a_world
from timmy_dvm.nostr.customer import Order, Said

pytestmark = pytest.mark.crash

TOPUP, PAYOUT = msats_from_sats(500), msats_from_sats(400)
MOMENTS = (
    "before commit TopUpAsked",
    "after commit TopUpAsked",
    "after create_invoice",
    "after commit InvoiceMade",
    "after settle",
    "after commit PaymentSeen",
    "before commit PayoutAsked",
    "after commit PayoutAsked",
    "after pay",
    "after commit PaymentOut",
)


@dataclass(frozen=True, slots=True)
class Ending:
    """What is on disk at the end."""

    topup: TopUpRecord
    payout: RefundRecord
    balances: dict[str, Msats]
    wallet: WalletState


class AccountWorld(World):
    """The same relays, wallet and folder, and a customer who comes for an account and not for a job."""

    def __init__(self, *parts) -> None:
        super().__init__(*parts)
        self._request = self._asks(op="topup", amount_sats="500")

    def _asks(self, **params: str):
        return self._customer.request(Order(text="", provider=self._keys.public_key, params=params))

    async def _ask_pay_and_claim(self, *, pays: bool) -> None:
        await self._serving.wait()
        async with contextlib.aclosing(self._customer.ask(self._request, self._keys.public_key)) as answers:
            async for answer in answers:
                if answer.said is Said.PRICE:
                    self._invoice = answer.bolt11
                    self._price.set()
                    if pays:
                        await self._pay_whoever_lives()
                if answer.said is Said.RECEIPT:
                    break
        await self._take_out()

    async def _take_out(self) -> None:
        claim = self._asks(op="refund", invoice=self._node.invoice(PAYOUT, "mine", 3_600, None).bolt11)
        async with contextlib.aclosing(self._customer.ask(claim, self._keys.public_key)) as answers:
            async for answer in answers:
                assert answer.said is not Said.ERROR, answer.text
                if tuple(answer.tag("refund") or ())[:2] == ("refund", "sent"):
                    return

    async def _outbox_is_empty(self) -> None:
        """But for the last look at the invoice, an hour later."""
        async with self._ledger() as store:
            while {row.kind for row in await store.pending()} - {"CheckInvoice"}:  # noqa: ASYNC110 - as there
                await asyncio.sleep(0.01)

    async def _ending(self) -> Ending:
        async with self._ledger() as store:
            topup = await store.look(lambda view: view.topup_of_event(self._request.id))
            (payout,) = await store.refunds(open_only=False)
            balances = dict(await store.balances())
        return Ending(topup, payout, balances, self._wallet_state())


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, AccountWorld) as world:
        yield world


async def all_is_well(world, ending):
    code, told = await world.audit()
    assert (code, told.splitlines()[-1]) == (0, "The books are in order.")
    (invoice,) = ending.wallet.invoices
    assert invoice == ending.topup.payment_hash
    assert [(row.payment_hash, row.received_msat) for row in ending.wallet.settlements] == [(invoice, TOPUP)]
    assert ending.topup.ended_at is not None
    (payment,) = ending.wallet.payments.values()
    assert (payment.state, payment.amount_msat) == (Sent.SUCCEEDED, PAYOUT)
    assert (ending.payout.state, ending.payout.payment_hash) == (RefundState.SENT, payment.payment_hash)
    assert ending.balances[accounts.customer(ending.topup.pubkey)] == TOPUP - PAYOUT
    assert -ending.balances["node"] == ending.wallet.balance_msat


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_once_it_is_credited_once_and_paid_out_once(world, moment):
    await all_is_well(world, await world.story(moment))


async def test_paid_while_nobody_runs_it_is_credited_at_the_next_start(world):
    ending = await world.story("after delivered", between=World.pay_the_node, pays=False)
    await all_is_well(world, ending)


async def test_killed_at_every_moment_one_after_the_other(world):
    await all_is_well(world, await world.story(*MOMENTS))
