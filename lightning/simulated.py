"""A Lightning wallet inside this process that behaves, and misbehaves on demand.

Its invoices are real regtest BOLT11, signed by a node key made from a seed, so every decoder reads them; no money
and no network stand behind them. It drives `timmy demo`, `timmy run` without a configuration, the tests and the
simulator. What it was told survives the process being killed (`journal.py`).

`SimulatedWallet` is our wallet: the `Lightning` Protocol, and below it the controls a real wallet does not
have. `OutsideWallet` is a customer's. Clock and randomness come in through the constructor, and nothing here
sleeps, so it runs under virtual time.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from ledger.money import Msats
from lightning import bolt11 as invoices
from lightning.backend import Caps, Invoice, InvoiceStatus, Paid, PayStatus, Sent, SettledInvoice
from lightning.bolt11 import Bolt11Invoice
from lightning.errors import WalletRefused, WalletUnavailable
from lightning.journal import Journal
from lightning.simulated_node import NETWORK, Node, OutsideWallet, Terms, check_key, read_payable
from lightning.simulated_state import (
    Canceled,
    InvoiceMade,
    Opened,
    Payment,
    Received,
    Record,
    WalletState,
    pay_status,
)

__all__ = ["Outcome", "OutsideWallet", "SimulatedWallet"]

NOTHING = Msats(0)


class Outcome(StrEnum):
    """What becomes of the next payment. The first word is what `pay` answers, the last what a look-up finds."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_FLIGHT = "in_flight"
    """Until `SimulatedWallet.resolve_payment`."""
    UNKNOWN = "unknown"
    """Dispatched, and look-ups cannot tell either, until `SimulatedWallet.resolve_payment`."""
    UNKNOWN_THEN_SUCCEEDED = "unknown_then_succeeded"
    """The answer was lost; a look-up finds it paid."""
    UNKNOWN_THEN_FAILED = "unknown_then_failed"
    """The answer was lost; a look-up finds it failed."""
    LOST = "lost"
    """The request was lost: the wallet never heard of it, and look-ups say UNKNOWN for ever."""


class SimulatedWallet:
    """The wallet of the bot. Not thread-safe: it lives on one event loop.

    Args:
        seed: the node key comes from it; the same seed is the same node.
        now: UNIX seconds. Only it makes invoices expire.
        random_bytes: gives that many random bytes, for preimages and payment secrets.
        path: where the wallet remembers; None keeps it in memory.
        balance_msat: what a new wallet holds; one that remembers goes by its memory.

    Raises:
        WalletUnavailable: the file cannot be read or written.
        WalletRefused: the file is damaged.
    """

    caps: Caps = Caps(
        msat=True,
        description_hash=True,
        memo_bytes=invoices.MAX_DESCRIPTION_BYTES,
        fee_limit=True,
        push=True,
        resume=True,
        preset_preimage=False,
        amountless_pay=True,
        hold=False,
        reports_received=True,
    )
    network: str = NETWORK

    def __init__(
        self,
        *,
        seed: bytes,
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        path: Path | None = None,
        balance_msat: Msats = NOTHING,
    ) -> None:
        self._node = Node(seed, now, random_bytes)
        self._now = now
        self._closed = self._down = self._muted = False
        self._pushed: list[str] = []
        self._news = asyncio.Event()

        self.payees: list[OutsideWallet] = []
        """Who gets our payments. To a stranger they succeed too, but no preimage comes back."""
        self.fee_msat = NOTHING
        """What payments cost on top."""
        self.ignores_fee_limit = False
        """A route dearer than the caller allowed is taken all the same."""
        self.next_outcomes: deque[Outcome] = deque()
        """What becomes of the next payments, first one first; all others succeed."""
        self.fail_creates = 0
        """So many calls of `create_invoice` to come fail, and make nothing."""
        self.lose_creates = 0
        """So many calls of `create_invoice` to come make the invoice, and fail then."""
        self.lookups_unknown = False
        """Look-ups know nothing, as on a replica that is behind."""
        self.stale_balance_msat: Msats | None = None
        """What `balance_msat` says instead of the truth."""

        self._state = WalletState()
        self._journal = Journal(path)
        past = self._journal.read()
        for record in past:
            self._state.apply(record)
        if not past:
            self._commit(Opened(balance_msat))

    # What every wallet can do -----------------------------------------------------------------------------

    async def create_invoice(
        self,
        amount_msat: Msats,
        *,
        memo: str,
        expiry_s: int,
        key: str,
        description_hash: bytes | None = None,
    ) -> Invoice:
        """As `Lightning.create_invoice`: the same key is the same invoice, for ever.

        Not passed through `check_invoice`, which would only read again what was written a moment ago.
        """
        self._reach()
        if self.fail_creates > 0:
            self.fail_creates -= 1
            raise WalletUnavailable("The simulated wallet was told to fail this invoice; try again.")
        check_key(key)
        terms = Terms(amount_msat, memo, expiry_s, description_hash)
        terms.check()
        made = self._state.by_key.get(key)
        if made is None:
            signed = self._node.invoice(amount_msat, memo, expiry_s, description_hash)
            made = InvoiceMade(
                signed.payment_hash, signed.preimage, key, amount_msat, signed.expires_at, signed.bolt11
            )
            self._commit(made)
        elif not terms.fit(invoices.decode(made.bolt11)):
            raise WalletRefused("This key was used for an invoice with other terms; use another key.")
        if self.lose_creates > 0:
            self.lose_creates -= 1
            raise WalletUnavailable("The simulated wallet was told to lose this answer; try again.")
        return Invoice(made.payment_hash, made.bolt11, Msats(made.amount_msat), made.expires_at)

    async def lookup_invoice(self, payment_hash: str) -> InvoiceStatus:
        """As `Lightning.lookup_invoice`."""
        self._reach()
        if self.lookups_unknown:
            return InvoiceStatus(Paid.UNKNOWN)
        return self._state.invoice_status(payment_hash, self._now())

    async def list_settled(self, cursor: str | None) -> tuple[list[SettledInvoice], str]:
        """As `Lightning.list_settled`. An invoice paid twice is two rows, the second with the sum of both."""
        self._reach()
        return self._state.page(cursor)

    async def settled(self, cursor: str | None) -> AsyncIterator[tuple[str, str | None]]:
        """As `Lightning.settled`.

        Raises:
            WalletRefused: the cursor is not from this wallet.
        """
        settlements = self._state.settlements
        at = len(settlements) if cursor is None else self._state.position(cursor)
        pushed = len(self._pushed)
        while not self._closed:
            news = self._news
            while pushed < len(self._pushed) and self._pushing:
                pushed += 1
                yield self._pushed[pushed - 1], str(at)
            while at < len(settlements) and self._pushing:
                at += 1
                yield settlements[at - 1].payment_hash, str(at)
            await news.wait()

    async def pay(
        self,
        bolt11: str,
        *,
        max_fee_msat: Msats,
        key: str,
        timeout_s: float = 30,
        amount_msat: Msats | None = None,
    ) -> PayStatus:
        """As `Lightning.pay`, at once. An invoice of our own settles itself, as with some real nodes."""
        del timeout_s
        invoice, amount = read_payable(bolt11, amount_msat)
        if self._down:
            return PayStatus(Sent.UNKNOWN, detail="The simulated wallet was told to be out of reach.")
        known = self._state.payments.get(invoice.payment_hash)
        if known is not None and known.state is not Sent.FAILED:
            return pay_status(known)
        refusal = self._refusal(invoice, amount, max_fee_msat)
        try:
            if refusal:
                return self._record(invoice.payment_hash, key, Sent.FAILED, amount, refusal)
            return self._send(invoice.payment_hash, key, amount)
        except WalletUnavailable as error:
            return PayStatus(Sent.UNKNOWN, detail=str(error))

    async def lookup_payment(self, payment_hash: str) -> PayStatus:
        """As `Lightning.lookup_payment`."""
        self._reach()
        known = self._state.payments.get(payment_hash)
        if known is None or self.lookups_unknown:
            return PayStatus(Sent.UNKNOWN, detail="The simulated wallet has no record of this payment.")
        return pay_status(known)

    async def balance_msat(self) -> Msats:
        """As `Lightning.balance_msat`; what is in flight counts as gone until it has failed."""
        self._reach()
        return Msats(self._state.balance_msat) if self.stale_balance_msat is None else self.stale_balance_msat

    async def aclose(self) -> None:
        """As `Lightning.aclose`. The memory stays."""
        self._closed = True
        self._journal.close()
        self._notify()

    # What only a simulated wallet can do ------------------------------------------------------------------

    @property
    def node_id(self) -> str:
        """The compressed public key of this node, hex."""
        return self._node.id

    @property
    def down(self) -> bool:
        """Out of reach: calls fail, pushes wait. The node behind goes on taking money."""
        return self._down

    @down.setter
    def down(self, value: bool) -> None:
        self._down = value
        self._notify()

    @property
    def muted(self) -> bool:
        """Pushes wait; all else works."""
        return self._muted

    @muted.setter
    def muted(self, value: bool) -> None:
        self._muted = value
        self._notify()

    def settle(self, payment_hash: str, amount_msat: Msats | None = None) -> str:
        """Somebody pays an invoice of ours, in full or another amount, in time or late; the preimage they get.

        Raises:
            WalletRefused: no such invoice, or it is cancelled, or paid already: a node fails a second payment
                of a hash (BOLT 4).
        """
        if payment_hash in self._state.received:
            raise WalletRefused("This invoice is paid already; a node takes no second payment for it.")
        self._receive(payment_hash, amount_msat)
        return self._state.invoices[payment_hash].preimage

    def settle_again(self, payment_hash: str, amount_msat: Msats | None = None) -> None:
        """Somebody pays a paid invoice once more, which no good node lets happen: what was received grows.

        Raises:
            WalletRefused: it is not paid yet.
        """
        if payment_hash not in self._state.received:
            raise WalletRefused("This invoice is not paid yet; settle it first.")
        self._receive(payment_hash, amount_msat)

    def cancel(self, payment_hash: str) -> None:
        """Withdraw an unpaid invoice of ours.

        Raises:
            WalletRefused: no such invoice, or it is paid.
        """
        if payment_hash not in self._state.invoices or payment_hash in self._state.received:
            raise WalletRefused("Only an unpaid invoice of this wallet can be cancelled.")
        self._commit(Canceled(payment_hash))

    def push(self, payment_hash: str) -> None:
        """Push a hint nobody paid for: forged, or a repeat of a true one."""
        self._pushed.append(payment_hash)
        self._notify()

    def resolve_payment(self, payment_hash: str, state: Sent) -> None:
        """Bring a payment in flight or unknown to its end: SUCCEEDED or FAILED.

        Raises:
            WalletRefused: there is none with this hash, or it has ended, or ``state`` is no end.
        """
        known = self._state.payments.get(payment_hash)
        if known is None or known.state not in (Sent.IN_FLIGHT, Sent.UNKNOWN):
            raise WalletRefused("There is no open payment with this hash.")
        if state not in (Sent.SUCCEEDED, Sent.FAILED):
            raise WalletRefused("A payment ends as succeeded or failed.")
        self._record(payment_hash, known.key, state, Msats(known.amount_msat), fee=Msats(known.fee_msat))

    # Inside -----------------------------------------------------------------------------------------------

    @property
    def _pushing(self) -> bool:
        return not (self._down or self._muted or self._closed)

    def _reach(self) -> None:
        if self._down:
            raise WalletUnavailable("The simulated wallet was told to be out of reach; try again later.")

    def _notify(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _receive(self, payment_hash: str, amount_msat: Msats | None) -> None:
        made = self._state.invoices.get(payment_hash)
        if made is None or payment_hash in self._state.canceled:
            raise WalletRefused("There is no such invoice to pay.")
        amount = made.amount_msat if amount_msat is None else amount_msat
        if amount <= 0:
            raise WalletRefused("A payment brings at least one millisatoshi.")
        self._commit(Received(payment_hash, amount, int(self._now())))

    def _refusal(self, invoice: Bolt11Invoice, amount: Msats, max_fee_msat: Msats) -> str:
        """Why a payment cannot even leave; empty if it can."""
        if self._now() >= invoice.expires_at:
            return "The invoice has expired."
        if self.fee_msat > max_fee_msat and not self.ignores_fee_limit:
            return f"The cheapest route costs {self.fee_msat} msat, the limit is {max_fee_msat}."
        if amount + self.fee_msat > self._state.balance_msat:
            return "The balance is too low."
        if invoice.payment_hash in self._state.received or invoice.payment_hash in self._state.canceled:
            return "The invoice is our own, and paid or cancelled."
        return ""

    def _send(self, payment_hash: str, key: str, amount: Msats) -> PayStatus:
        outcome = self.next_outcomes.popleft() if self.next_outcomes else Outcome.SUCCEEDED
        match outcome:
            case Outcome.SUCCEEDED | Outcome.IN_FLIGHT | Outcome.UNKNOWN:
                return self._record(payment_hash, key, Sent(outcome.value), amount)
            case Outcome.FAILED:
                return self._record(payment_hash, key, Sent.FAILED, amount, "No route was found.")
            case Outcome.UNKNOWN_THEN_SUCCEEDED:
                self._record(payment_hash, key, Sent.SUCCEEDED, amount)
            case Outcome.UNKNOWN_THEN_FAILED:
                self._record(payment_hash, key, Sent.FAILED, amount, "No route was found.")
            case Outcome.LOST:
                pass
            case _:
                assert_never(outcome)
        return PayStatus(Sent.UNKNOWN, detail="The simulated wallet was told to lose this answer.")

    def _record(
        self,
        payment_hash: str,
        key: str,
        state: Sent,
        amount: Msats,
        detail: str = "",
        fee: Msats | None = None,
    ) -> PayStatus:
        """Write down a payment's new state and, with success, let the payee have it."""
        fee = self.fee_msat if fee is None else fee
        own = self._state.invoices.get(payment_hash)
        payee = next((one for one in self.payees if one.preimage_of(payment_hash)), None)
        preimage = None
        records: list[Record] = []
        if state is Sent.SUCCEEDED and own is not None:
            preimage = own.preimage
            records.append(Received(payment_hash, amount, int(self._now())))
        elif state is Sent.SUCCEEDED and payee is not None:
            preimage = payee.preimage_of(payment_hash)
        payment = Payment(payment_hash, key, state, amount, fee, preimage, detail)
        self._commit(*records, payment)
        if preimage and payee is not None:
            payee.receive(payment_hash, amount)
        return pay_status(payment)

    def _commit(self, *records: Record) -> None:
        """Write down, then do: what is in the journal happened, and nothing else."""
        self._journal.append(*records)
        for record in records:
            self._state.apply(record)
        self._notify()
