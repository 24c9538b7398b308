"""``POST /api/dev/stub/pay/{hash}``: for developers, one of our own invoices is paid. Only under its two locks."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from ledger.money import ZERO
from ledger.records import InvoiceState
from ledger.store import Store
from lightning.backend import Lightning, Paid, Sent
from lightning.errors import WalletRefused
from timmy_dvm.http.answers import DevPaid, answers
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.wire import said

FORWARDED: Final = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fly-client-ip",
    "cdn-loop",
    "via",
)
"""Headers of a proxy: behind one, "from this machine" says nothing about who asks (D17)."""
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class PaidHow(Enum):
    """What became of a payment made for a developer."""

    PAID = "paid"
    ALREADY = "already"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a developer hears of a payment: how it went and, the first time, the preimage that a payer learns.

    With it an L402 credential can be tried out. Who asks about an invoice that is paid learns nothing.
    """

    how: PaidHow
    preimage: str | None = field(default=None, repr=False)


_ANSWERS: Final = answers(
    DevPaid,
    "It is paid.",
    problems={403: "Only on this machine.", 404: "None of our open invoices.", 503: "The wallet could not pay."},
)
Pay = Callable[[str], Awaitable[Receipt]]
"""Pays one of our own invoices, by payment hash."""


def routes(pay: Pay) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["developers"])

    @router.post("/api/dev/stub/pay/{payment_hash}", responses=_ANSWERS)
    async def dev_pay(payment_hash: Annotated[str, Path(max_length=64)], request: Request) -> Response:
        """Pay one of our own invoices."""
        if any(name in request.headers for name in FORWARDED):
            raise Fault(403, "not_local", "Invoices are paid for developers on this machine only.")
        if not _HASH.fullmatch(payment_hash):
            raise Fault(404, "unknown_invoice", "A payment hash is 64 lower-case hex digits.")
        receipt = await pay(payment_hash)
        if receipt.how is PaidHow.UNKNOWN:
            raise Fault(404, "unknown_invoice", "None of our open invoices has that payment hash.")
        if receipt.how is PaidHow.FAILED:
            raise Fault(503, "not_paid", "The wallet could not pay this invoice; nothing was taken.")
        proof = {} if receipt.preimage is None else {"preimage": receipt.preimage}
        already = receipt.how is PaidHow.ALREADY
        told = {"ok": True, "paymentHash": payment_hash, "alreadyPaid": already, **proof}
        return said({**told, "trust_tier": "anonymous"})

    return router


class DevPay:
    """A developer pays one of our invoices: with the simulated wallet, or out of our own real one.

    Args:
        wallet: it pays, and is paid.
        store: knows our invoices.
        look: reads our wallet's record of an invoice, and books what it says.
    """

    def __init__(self, wallet: Lightning, store: Store, look: Callable[[str], Awaitable[None]]) -> None:
        self._wallet = wallet
        self._store = store
        self._look = look

    async def pay(self, payment_hash: str) -> Receipt:
        """Pay the invoice with this hash, if it is one of ours and open.

        What is answered as paid is booked, if the wallet knows it by then: whoever looks next sees it.
        """
        receipt = await self._paid(payment_hash)
        if receipt.how in {PaidHow.PAID, PaidHow.ALREADY}:
            await self._look(payment_hash)
        return receipt

    async def _paid(self, payment_hash: str) -> Receipt:
        from lightning.simulated import SimulatedWallet

        invoice = await self._store.invoice(payment_hash)
        if invoice is None:
            return Receipt(PaidHow.UNKNOWN)
        if invoice.state is InvoiceState.SETTLED:
            return Receipt(PaidHow.ALREADY)
        if isinstance(self._wallet, SimulatedWallet):
            try:
                return Receipt(PaidHow.PAID, self._wallet.settle(payment_hash))
            except WalletRefused:  # paid a moment ago, or withdrawn
                status = await self._wallet.lookup_invoice(payment_hash)
                return Receipt(PaidHow.ALREADY if status.state is Paid.SETTLED else PaidHow.UNKNOWN)
        sent = await self._wallet.pay(invoice.bolt11, max_fee_msat=ZERO, key=f"dev:{payment_hash}")
        return Receipt(PaidHow.FAILED) if sent.state is Sent.FAILED else Receipt(PaidHow.PAID, sent.preimage)
