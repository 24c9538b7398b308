"""The steps of dispatch that talk to our Lightning wallet. Intent is on disk before each, the outcome after.

Each step answers whether there was an outcome; where there was none (the wallet is away, or does not know yet),
the step is simply taken again later. A payment is the exception: whatever the wallet says of it, or does not
say, is an outcome, because UNKNOWN is one.
"""

import asyncio
from collections.abc import Callable

from ledger.money import ZERO, Msats
from ledger.store import Store
from lightning.backend import Invoice, Lightning, Paid, PayStatus, Sent
from lightning.errors import InvalidInvoice, LightningError, WalletUnavailable
from timmy_dvm.clock import Clock
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice, FindPayment, PayRefund
from timmy_dvm.core.facts import InvoiceMade, InvoiceNotMade, InvoiceUnpaid, PaymentOut, PaymentSeen, PayResult
from timmy_dvm.engine import SHORT_ID, Engine, insist
from timmy_dvm.log import get_logger

_PAY_TIMEOUT_S = 60
_LIFE_LEFT_S = 30
"""An invoice is not handed out with less life than this."""
_PAYOUTS_AT_ONCE = 20
_FORGOTTEN_S = 86_400
"""A payment our wallet has not known for a day, on an invoice that has ended: nothing of it can arrive now."""
log = get_logger("wallet")


class WalletSteps:
    """Invoices made and checked, refunds paid and found, as facts for the engine.

    ``alarm`` says why nothing may be asked for or paid out now, or nothing (`solvency.Watchdog`).
    """

    def __init__(
        self,
        lightning: Lightning,
        store: Store,
        engine: Engine,
        clock: Clock,
        alarm: Callable[[], str] = lambda: "",
    ) -> None:
        self._lightning = lightning
        self._store = store
        self._engine = engine
        self._clock = clock
        self._alarm = alarm
        self._payouts = asyncio.Semaphore(_PAYOUTS_AT_ONCE)
        self._begun: set[int] = set()

    def _now(self) -> int:
        return int(self._clock.now())

    async def create_invoice(self, action_id: int, wanted: CreateInvoice) -> bool:
        """Make an invoice. While the wallet is away this is tried again, until the customer's patience ends."""
        try:
            invoice = await self._invoice(wanted, wanted.key)
            if invoice.expires_at < self._now() + _LIFE_LEFT_S:
                # Made before we were away for long, and shown to nobody.
                invoice = await self._invoice(wanted, f"{wanted.key}:{self._now()}")
        except LightningError as error:
            log.warning(
                "no invoice could be made",
                action="invoice_not_made",
                job=(wanted.job_id or wanted.topup_id or wanted.bootstrap_id)[:SHORT_ID],
                error=str(error),
            )
            if self._now() < wanted.give_up_at:
                return False
            fact: InvoiceMade | InvoiceNotMade = InvoiceNotMade(
                job_id=wanted.job_id,
                topup_id=wanted.topup_id or None,
                bootstrap_id=wanted.bootstrap_id or None,
                key=wanted.key,
                at=self._now(),
            )
        else:
            at = self._now()
            fact = InvoiceMade(
                job_id=wanted.job_id,
                topup_id=wanted.topup_id or None,
                bootstrap_id=wanted.bootstrap_id or None,
                key=wanted.key,
                payment_hash=invoice.payment_hash,
                bolt11=invoice.bolt11,
                amount=invoice.amount_msat,
                created_at=at,
                expires_at=invoice.expires_at,
                at=at,
            )
        await self._engine.handle(fact, done=action_id)
        return True

    def _stop_if_short(self) -> None:
        if reason := self._alarm():
            raise WalletUnavailable(reason)

    async def _invoice(self, wanted: CreateInvoice, key: str) -> Invoice:
        self._stop_if_short()
        return await self._lightning.create_invoice(
            Msats(wanted.amount),
            memo=wanted.memo,
            expiry_s=wanted.expiry_s,
            key=key,
            description_hash=bytes.fromhex(wanted.description_hash) or None,
        )

    async def check_invoice(self, action_id: int, asked: CheckInvoice) -> bool:
        """Read the wallet's record of an invoice whose time is over. Only that record can make it unpaid."""
        status = await self._lightning.lookup_invoice(asked.payment_hash)
        match status.state:
            case Paid.SETTLED:
                paid = PaymentSeen(payment_hash=asked.payment_hash, received=status.received_msat, at=self._now())
                await self._engine.handle(paid, done=action_id)
                return True
            case Paid.OPEN | Paid.EXPIRED | Paid.CANCELED:
                unpaid = InvoiceUnpaid(payment_hash=asked.payment_hash, at=self._now())
                await self._engine.handle(unpaid, done=action_id)
                return True
            case Paid.HELD:
                return False
            case Paid.UNKNOWN:
                return await self._unknown(action_id, asked)

    async def _unknown(self, action_id: int, asked: CheckInvoice) -> bool:
        """Our wallet has no such invoice. After a day of that its job stops waiting; late money is booked all the
        same, for the hash is kept for ever.
        """
        invoice = await self._store.invoice(asked.payment_hash)
        if invoice is not None and self._now() < invoice.expires_at + _FORGOTTEN_S:
            return False
        log.warning("the wallet has forgotten an invoice", action="invoice_forgotten", job=asked.job_id[:SHORT_ID])
        await self._engine.handle(InvoiceUnpaid(payment_hash=asked.payment_hash, at=self._now()), done=action_id)
        return True

    async def pay_refund(self, action_id: int, refund: PayRefund, *, interrupted: bool) -> None:
        """Send a refund. A send that a dead process may have begun is looked up first, never repeated blind."""
        if interrupted or action_id in self._begun:
            status = await self._look_up(refund.payment_hash)
        else:
            async with self._payouts:
                self._stop_if_short()
                await self._store.mark_started(action_id)
                self._begun.add(action_id)
                status = await self._pay(refund.bolt11, refund.payment_hash, refund.max_fee)
        await insist(self._engine, self._clock.sleep, self._payment_out(refund, status), action_id)
        self._begun.discard(action_id)

    async def find_payment(self, action_id: int, sought: FindPayment) -> bool:
        """Look a payment in doubt up by its hash, until the wallet says what became of it."""
        # A wallet that can't be reached has not said that it knows nothing: that is no reason to send again.
        status = await self._lightning.lookup_payment(sought.payment_hash)
        if status.state is Sent.UNKNOWN and self._now() >= sought.resend_until:
            self._stop_if_short()
            # Long unknown: the very same BOLT11 may go out again, for a hash is paid at most once. When the
            # invoice has ended our wallet answers FAILED, and the money is free after a day of silence.
            status = await self._pay(sought.bolt11, sought.payment_hash, sought.max_fee)
            if status.state is Sent.FAILED and self._now() < sought.since + _FORGOTTEN_S:
                return False
        if status.state in (Sent.IN_FLIGHT, Sent.UNKNOWN):
            return False
        await insist(self._engine, self._clock.sleep, self._payment_out(sought, status), action_id)
        return True

    async def _pay(self, bolt11: str, payment_hash: str, max_fee: int) -> PayStatus:
        try:
            return await self._lightning.pay(
                bolt11, max_fee_msat=Msats(max_fee), key=payment_hash, timeout_s=_PAY_TIMEOUT_S
            )
        except InvalidInvoice as error:
            return PayStatus(Sent.FAILED, detail=str(error))

    async def _look_up(self, payment_hash: str) -> PayStatus:
        try:
            return await self._lightning.lookup_payment(payment_hash)
        except LightningError as error:
            return PayStatus(Sent.UNKNOWN, detail=str(error))

    def _payment_out(self, refund: PayRefund | FindPayment, status: PayStatus) -> PaymentOut:
        if (status.fee_msat or 0) > refund.max_fee:
            log.error(
                "the wallet spent more on routing than it was allowed",
                action="fee_above_cap",
                refund=refund.refund_id[:SHORT_ID],
                fee_msat=status.fee_msat,
                cap_msat=refund.max_fee,
            )
        log.info(
            "a refund's payment was answered",
            action="payment_out",
            refund=refund.refund_id[:SHORT_ID],
            state=str(status.state),
            detail=status.detail,
        )
        return PaymentOut(
            refund_id=refund.refund_id,
            payment_hash=refund.payment_hash,
            attempts=refund.attempts,
            result=PayResult(status.state.value),
            fee=status.fee_msat or ZERO,
            detail=status.detail,
            at=self._now(),
        )
