"""A customer with an account: what they hand in about their own credit, over the house's engine."""

import dataclasses
import hashlib

import msgspec

from ledger import accounts
from ledger.money import Msats, msats_from_sats
from ledger.records import Door
from lightning import bolt11
from tests.flows.house import ALICE, House
from timmy_dvm.core.actions import CreateInvoice, CreditAdded, PriceTold
from timmy_dvm.core.credit_facts import ForgetAsked, PayoutAsked, TopUpAsked
from timmy_dvm.core.facts import CancelAsked, PaymentSeen


def event_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class Account:
    """One key's account at a house."""

    def __init__(self, house: House, pubkey: str = ALICE) -> None:
        self.house = house
        self.pubkey = pubkey

    def topup(self, sats: int, name: str = "topup", **changes) -> TopUpAsked:
        fact = TopUpAsked(
            topup_id=self.house.random.new_id(),
            event_id=event_id(name),
            door=Door.NOSTR,
            pubkey=self.pubkey,
            amount=msats_from_sats(sats),
            origin="{}",
            at=int(self.house.clock.now()),
        )
        return dataclasses.replace(fact, **changes)

    async def asks_to_top_up(self, sats: int, name: str = "topup") -> PriceTold:
        """Its invoice, once that is told."""
        before = self._published("PriceTold")
        await self.house.engine.handle(self.topup(sats, name))
        await self.house.until(lambda: self._published("PriceTold") > before)
        price = self.house.recorder.last(PriceTold)
        assert isinstance(price, PriceTold)
        return price

    async def tops_up(self, sats: int, name: str = "topup") -> CreditAdded:
        """To the receipt."""
        price = await self.asks_to_top_up(sats, name)
        self.house.customer.pays(price.bolt11)
        return await self.hears_of_credit()

    async def is_credited(self, sats: int) -> None:
        """A top-up in a house where nothing happens by itself."""
        await self.house.engine.handle(self.topup(sats))
        (row,) = [row for row in await self.house.store.pending() if row.kind == CreateInvoice.__name__]
        wanted = msgspec.json.decode(row.body, type=CreateInvoice)
        await self.house.steps.create_invoice(row.id, wanted)
        topup = await self.house.store.look(lambda view: view.topup(wanted.topup_id))
        self.house.wallet.settle(topup.payment_hash)
        at = int(self.house.clock.now())
        await self.house.engine.handle(PaymentSeen(payment_hash=topup.payment_hash, received=None, at=at))

    async def hears_of_credit(self) -> CreditAdded:
        await self.house.until(lambda: self._published("CreditAdded"))
        told = self.house.recorder.last(CreditAdded)
        assert isinstance(told, CreditAdded)
        return told

    def _published(self, message: str) -> int:
        """What is published is on disk; what is said may not be yet."""
        return sum(text.startswith(f"{message}:") for text in self.house.recorder.published)

    def payout(self, invoice: str, name: str = "payout", **changes) -> PayoutAsked:
        decoded = bolt11.decode(invoice)
        fact = PayoutAsked(
            refund_id=self.house.random.new_id(),
            event_id=event_id(name),
            pubkey=self.pubkey,
            bolt11=invoice,
            payment_hash=decoded.payment_hash,
            amount=decoded.amount_msat,
            rail_ok=True,
            expires_at=decoded.expires_at,
            origin="{}",
            at=int(self.house.clock.now()),
        )
        return dataclasses.replace(fact, **changes)

    async def takes_out(self, sats: int, name: str = "payout") -> str:
        """Hand in an invoice of the customer's; the pay-out's id."""
        fact = self.payout(self.house.customer.invoice(msats_from_sats(sats)), name)
        await self.house.engine.handle(fact)
        return fact.refund_id

    async def cancels(self, name: str) -> None:
        fact = CancelAsked(
            event_id=event_id(f"cancel {name}"),
            request_event_id=event_id(name),
            pubkey=self.pubkey,
            at=int(self.house.clock.now()),
        )
        await self.house.engine.handle(fact)

    async def forgets(self, name: str = "forget") -> None:
        fact = ForgetAsked(
            event_id=event_id(name), pubkey=self.pubkey, origin="{}", at=int(self.house.clock.now())
        )
        await self.house.engine.handle(fact)

    async def balance(self) -> Msats:
        return await self.house.balance(accounts.customer(self.pubkey))
