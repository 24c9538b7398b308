"""The `Lightning` Protocol: what Timmy asks of a wallet, and what a wallet may answer.

The Protocol's docstrings are the contract. `tests/lightning/contract.py` runs the same claims against every
backend, simulated or real. Amounts are `ledger.money.Msats`, times are whole UNIX seconds, hashes are
64 lower-case hex digits.

Two rules shape everything here:

- A result nobody can know is a result: `Sent.UNKNOWN`, `Paid.UNKNOWN`. It is never turned into a failure.
- A push is a hint to look. Only `lookup_invoice` and `list_settled` (the wallet's own record) say "paid".
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ledger.money import Msats
from lightning import bolt11
from lightning.errors import InvalidInvoice, WalletUnavailable

CLOCK_MARGIN_S = 60
"""How far the wallet's clock and ours may be apart, in seconds."""
LONGEST_OVERRUN_S = 86_400
"""How much longer than asked an invoice may live. Some wallets round up; a clock a year off is nonsense."""


class Paid(StrEnum):
    """The state of an invoice of ours, as the wallet's own record has it."""

    OPEN = "open"
    """Unpaid, and can still be paid."""
    HELD = "held"
    """A hold invoice with money on the way that is not ours yet. Not paid."""
    SETTLED = "settled"
    """The money is ours. Final: it never leaves this state."""
    EXPIRED = "expired"
    """Past its expiry and unpaid so far. Not final: money may still arrive."""
    CANCELED = "canceled"
    """Withdrawn. Not final either: a wallet may mark a late payment on it."""
    UNKNOWN = "unknown"
    """The wallet has no such invoice, or cannot tell. Never a reason to forget it."""


class Sent(StrEnum):
    """The state of a payment of ours. Only FAILED frees the money for another try."""

    SUCCEEDED = "succeeded"
    """The payee has it. Final."""
    FAILED = "failed"
    """Nothing left the wallet and nothing will, of all tries for this hash so far."""
    IN_FLIGHT = "in_flight"
    """On its way. A payee may hold it for days: that is normal."""
    UNKNOWN = "unknown"
    """Nobody can say, or the wallet does not know the hash. Look up again; never pay another invoice instead."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What a wallet can do. Read once at start, and shown in status and health."""

    msat: bool
    """Invoices in single msat; otherwise whole sats only."""
    description_hash: bool
    """Can make an invoice over the hash of a description (LNURL-pay and zaps need it)."""
    memo_bytes: int
    """Longest memo, in bytes of UTF-8."""
    fee_limit: bool
    """`pay` honours ``max_fee_msat`` for each payment; otherwise the wallet's own reserve is the cap."""
    push: bool
    """`settled` learns at once; otherwise by polling."""
    resume: bool
    """`settled` replays what a cursor missed; otherwise only `list_settled` closes a gap."""
    preset_preimage: bool
    """The preimage can be chosen by the caller, which makes creating idempotent in the wallet itself."""
    amountless_pay: bool
    """Can pay an invoice that names no amount."""
    hold: bool
    """Can hold a payment before accepting or cancelling it."""
    reports_received: bool
    """``received_msat`` is what arrived; otherwise it is the amount asked, and overpayment stays invisible."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice of ours, checked by `check_invoice`: the BOLT11 text says the same as the other fields."""

    payment_hash: str
    bolt11: str
    amount_msat: Msats
    expires_at: int


@dataclass(frozen=True, slots=True)
class InvoiceStatus:
    """What the wallet's record says about one invoice. ``received_msat`` is given with SETTLED only."""

    state: Paid
    received_msat: Msats | None = None
    settled_at: int | None = None


@dataclass(frozen=True, slots=True)
class SettledInvoice:
    """One row of `Lightning.list_settled`: as trustworthy as `Lightning.lookup_invoice`."""

    payment_hash: str
    received_msat: Msats | None = None
    settled_at: int | None = None


@dataclass(frozen=True, slots=True)
class PayStatus:
    """How a payment of ours stands. ``detail`` is the wallet's reason, for a human; it decides nothing.

    ``fee_msat`` comes with SUCCEEDED where the wallet tells it. ``preimage`` (hex) is a secret of the payee
    and ours, and stays out of the repr.
    """

    state: Sent
    fee_msat: Msats | None = None
    preimage: str | None = field(default=None, repr=False)
    detail: str = ""


class Lightning(Protocol):
    """A wallet. One object serves one event loop; its methods may run side by side.

    Errors: every method but `pay` raises `WalletUnavailable` when the wallet cannot be reached in time or
    answers nonsense, and `WalletRefused` when it says a definite no. `pay` has rules of its own.

    Cancelling any call is safe for this object: the next call works. What it leaves in the wallet is said
    at each method.
    """

    caps: Caps
    network: str
    """The BOLT11 prefix this wallet lives on: bc, tb, tbs or bcrt."""

    async def create_invoice(
        self,
        amount_msat: Msats,
        *,
        memo: str,
        expiry_s: int,
        key: str,
        description_hash: bytes | None = None,
    ) -> Invoice:
        """Make an invoice for exactly ``amount_msat`` that lives ``expiry_s`` seconds.

        ``key`` names the purpose, one per invoice wanted: 1 to 128 characters of ``A-Z a-z 0-9 . _ : -``.
        Repeating a call with the same key and terms is safe: it gives the invoice made before or, where the
        wallet cannot find that one, another with the same terms. So store the row before publishing its
        BOLT11: an invoice nobody was shown is never paid. ``description_hash`` (32 bytes) takes the memo's
        place in the BOLT11.

        Cancelled or failed, it may leave an invoice in the wallet that nobody knows. That is harmless.

        Raises:
            WalletUnavailable: as above, or the invoice that came back fails `check_invoice`.
            WalletRefused: an amount below 1 sat, or not whole sats without ``caps.msat``; a memo over
                ``caps.memo_bytes``; a description hash without ``caps.description_hash``; a key seen
                with other terms.
            ValueError: the key or ``expiry_s`` cannot be one.
        """
        ...

    async def lookup_invoice(self, payment_hash: str) -> InvoiceStatus:
        """The wallet's record of one invoice of ours. Reads only; a hash it does not have is UNKNOWN.

        Once SETTLED it stays SETTLED. ``received_msat`` may grow if an invoice is paid more than once.
        """
        ...

    async def list_settled(self, cursor: str | None) -> tuple[list[SettledInvoice], str | None]:
        """One page of invoices that settled after ``cursor``, oldest first, and the cursor after them.

        ``None`` is the beginning of the wallet's record. Call again with the cursor that came back (there is one
        even for an empty record); the end is reached when it comes back unchanged. Rows may be repeated, none
        is skipped: also not one that settled late, long after its expiry. At most 1,000 rows a page.

        This is how a restart and the reconciler follow any number of open invoices: by pages, not by one
        look-up each. Rows of others who share the wallet come too: act on known hashes only.
        A cursor is opaque text of at most 128 characters, good for this wallet only.

        Raises:
            WalletUnavailable: as above.
            WalletRefused: as above, or this wallet cannot have given that cursor (another wallet, or one
                restored from an older state): begin again with ``None``.
        """
        ...

    def settled(self, cursor: str | None) -> AsyncIterator[tuple[str, str | None]]:
        """Hints as they come: (payment hash, cursor to resume from), each at least once, without end.

        Starts with what settled after ``cursor``, so nothing falls between listing and listening: list first,
        then listen from the cursor that gave. ``None`` is from the moment it is first awaited. Without
        ``caps.resume`` the cursor may be ``None``, and a gap is closed by `list_settled`. A hint may be
        repeated, forged, or about a stranger's invoice: look up before crediting. Store a cursor only after
        its hint was handled.

        The iterator reconnects by itself and does not raise for an unreachable wallet; a cursor refused by
        `list_settled` is refused here too. It ends when the wallet is closed. Closing or cancelling it
        leaves nothing behind.
        """
        ...

    async def pay(
        self,
        bolt11: str,
        *,
        max_fee_msat: Msats,
        key: str,
        timeout_s: float = 30,
        amount_msat: Msats | None = None,
    ) -> PayStatus:
        """Pay an invoice somebody else made. Returns within ``timeout_s`` seconds, with whatever is known.

        A payment hash is paid at most once: the same invoice again gives how that payment stands, and only after
        FAILED is it tried anew. ``amount_msat`` is for an invoice that names no amount, and needs
        ``caps.amountless_pay``; with an amount in the invoice it must be left out or equal.
        With ``caps.fee_limit`` a route dearer than ``max_fee_msat`` is FAILED. ``key`` is for the wallet's record.
        An expired invoice not paid before is FAILED.

        Write down the hash before calling. Timed out, refused oddly, dropped, "pending", wallet down:
        IN_FLIGHT or UNKNOWN. Cancelled: the payment may go on; look it up.
        Callers refuse invoices of their own wallet: some wallets settle those internally, some fail.

        Raises:
            InvalidInvoice: before anything is sent: the text does not decode, is for another network, or
                the amounts do not fit. Nothing else is ever raised; once dispatched, nothing at all.
        """
        ...

    async def lookup_payment(self, payment_hash: str) -> PayStatus:
        """The wallet's record of our payment with this hash. Reads only.

        Not found is UNKNOWN, never FAILED: an index may lag, a replica may be behind. SUCCEEDED is final.
        """
        ...

    async def balance_msat(self) -> Msats:
        """What the wallet can spend, in msat. May be stale by some seconds."""
        ...

    async def aclose(self) -> None:
        """Release connections and end `settled` iterators. May be called twice."""
        ...


def check_invoice(
    text: str,
    *,
    network: str,
    amount_msat: Msats,
    payment_hash: str,
    expiry_s: int,
    now: float,
    description_hash: bytes | None = None,
) -> Invoice:
    """Check the BOLT11 a wallet gave us against what was asked, and against what the wallet says of it.

    Every adapter passes each invoice it made through here before anyone sees it: a wallet that rounds the amount
    (1,500 msat asked, 1,000 invoiced) or sits on another network is found out before a customer pays.

    Args:
        text: the BOLT11.
        network: the prefix the wallet is configured for: bc, tb, tbs or bcrt.
        amount_msat: the exact amount asked.
        payment_hash: the hash the wallet reported for it, lower-case hex.
        expiry_s: the life asked for, in seconds.
        now: our clock, UNIX seconds.
        description_hash: the hash asked for, if one was.

    Raises:
        WalletUnavailable: they differ. The sentence says in what and what to look at.
    """
    try:
        invoice = bolt11.decode(text)
    except InvalidInvoice as error:
        raise WalletUnavailable(f"The wallet made an invoice that is not valid BOLT11: {error}") from error
    if invoice.network != network:
        raise WalletUnavailable(
            f"The wallet made an invoice for network {invoice.network}, configured is {network}; correct one."
        )
    if invoice.amount_msat != amount_msat:
        raise WalletUnavailable(
            f"The wallet made an invoice for {invoice.amount_msat} msat where {amount_msat} were asked; "
            "it may only know whole sats."
        )
    if invoice.payment_hash != payment_hash:
        raise WalletUnavailable(
            "The wallet reported a payment hash that is not the one in its invoice; do not use this wallet."
        )
    if description_hash is not None and invoice.description_hash != description_hash.hex():
        raise WalletUnavailable("The wallet made an invoice over another description hash than asked.")
    off = invoice.expires_at - (int(now) + expiry_s)
    if invoice.expires_at <= now or not -CLOCK_MARGIN_S <= off <= LONGEST_OVERRUN_S:
        raise WalletUnavailable(
            f"The wallet made an invoice that ends {off} s from the time asked; compare its clock with ours."
        )
    return Invoice(payment_hash, text, amount_msat, invoice.expires_at)
