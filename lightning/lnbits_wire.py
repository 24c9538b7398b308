"""What LNbits says, and what may be concluded from it. Pure; `lightning.lnbits` does the talking.

Read from LNbits 1.6.2. Two of its habits decide the rules here:

- A status code is not a result: "201 Created" also carries payments that are pending, failed, or somebody
  else's. Only a row of our own wallet, of the right direction, counts.
- A second try at paying is answered with what went wrong with the second try, "failed" included, whatever
  became of the first. So a refusal counts only where LNbits has no record of a payment with that hash.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar, assert_never

import msgspec

from ledger.money import MAX_MSATS, Msats
from lightning.backend import InvoiceStatus, Paid, PayStatus, Sent, SettledInvoice
from lightning.errors import WalletRefused, WalletUnavailable

HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
FAILED_SETTLES_S = 60
"""How old a payment must be, in seconds, before its "failed" counts when it is read from the record."""
_REASON_CHARACTERS = 200
_NOT_FOUND, _PAYMENT_ERROR = 404, 520
_CURSOR = re.compile(r"([0-9]{1,12}):([0-9]{1,18}):([0-9a-f]{64}|)", re.ASCII)
_EPOCH = datetime.fromtimestamp(0, UTC)

_T = TypeVar("_T")


class RowStatus(StrEnum):
    """`status` of a payment row."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"


class Row(msgspec.Struct, frozen=True):
    """A payment row. ``amount`` and ``fee`` are msat, negative when money went out; times are UTC."""

    checking_id: str
    payment_hash: str
    wallet_id: str
    amount: int
    fee: int
    bolt11: str
    status: RowStatus
    created_at: str
    updated_at: str
    expiry: str | None = None
    preimage: str | None = None
    external_id: str | None = None
    labels: list[str] | None = None
    extra: dict[str, Any] | None = None

    def __repr__(self) -> str:
        # LNbits tells the preimage of unpaid invoices too, so a row never shows itself whole.
        return f"Row({self.payment_hash}, {self.amount} msat, {self.status})"

    @property
    def is_invoice(self) -> bool:
        """Money that came in for an invoice; not the operator's share of somebody's payment, same hash."""
        return self.amount > 0 and not self.checking_id.startswith("service_fee_")


class Lookup(msgspec.Struct, frozen=True):
    """``GET /payments/{hash}``. Without ``details`` the key was not accepted: strangers see only ``paid``."""

    paid: bool
    details: Row | None = None


class Page(msgspec.Struct, frozen=True):
    """``GET /payments/paginated``."""

    data: list[Row]
    total: int


class WalletInfo(msgspec.Struct, frozen=True):
    """``GET /wallet``: ``balance`` in msat, ``id`` for the admin key only."""

    balance: int
    id: str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    detail: Any = None
    error: Any = None
    status: Any = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than 2xx. ``reason`` is one short line of LNbits', ``status`` its word for the payment."""

    code: int
    reason: str
    status: str = ""

    @property
    def is_wrong_key(self) -> bool:
        """LNbits does not know the key, or does not let it do this."""
        return self.code in (401, 403) or (self.code == _NOT_FOUND and self.reason.startswith("Wallet not found"))

    @property
    def is_no_such_payment(self) -> bool:
        """No row with that hash; a wrong key is answered like this too."""
        return self.code == _NOT_FOUND and self.reason.startswith("Payment does not exist")

    @property
    def is_definite(self) -> bool:
        """LNbits understood and said no: asking the same again cannot help. Says nothing about payments."""
        return (
            self.code in (400, 401, 403)
            or self.is_wrong_key
            or (self.code == _PAYMENT_ERROR and self.status == "failed")
        )


def parse(kind: type[_T], body: bytes) -> _T:
    """Read a JSON answer.

    Raises:
        WalletUnavailable: it is something else. The body stays out of the sentence: it may hold preimages.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WalletUnavailable(
            "LNbits answered something this version of Timmy cannot read; check the address and LNbits' version."
        ) from None


def read_refusal(code: int, body: bytes, *, secret: str) -> Refusal:
    """What an error answer says, whatever its shape; ``secret`` is cut out should LNbits repeat it."""
    try:
        said = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal(code, "no reason given")
    words = said.detail if said.detail is not None else said.error
    match words:
        case str():
            text = words
        case [{"msg": str(message)}, *_]:
            text = message
        case _:
            text = "no reason given"
    printable = "".join(letter if letter.isprintable() else " " for letter in text.replace(secret, "***"))
    return Refusal(code, printable[:_REASON_CHARACTERS], said.status if isinstance(said.status, str) else "")


def microseconds(text: str) -> int:
    """UNIX microseconds of one of LNbits' times; without a zone it means UTC.

    Raises:
        WalletUnavailable: not a time.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise WalletUnavailable("LNbits gave a time that is none; check its version.") from None
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def seconds(text: str) -> float:
    """The same in seconds."""
    return microseconds(text) / 1_000_000


def invoice_status(row: Row, *, paid: bool, now: float) -> InvoiceStatus:
    """The state of one of our invoices; ``paid`` is LNbits' own summary and must agree with the row."""
    if not row.is_invoice:
        return InvoiceStatus(Paid.UNKNOWN)
    if row.status is RowStatus.SUCCESS and paid:
        return InvoiceStatus(Paid.SETTLED, _amount(row.amount), int(seconds(row.updated_at)))
    ended = row.expiry is not None and seconds(row.expiry) <= now
    match row.status:
        case RowStatus.PENDING:
            return InvoiceStatus(Paid.EXPIRED if ended else Paid.OPEN)
        case RowStatus.FAILED:
            return InvoiceStatus(Paid.EXPIRED if ended or "expired" in (row.labels or ()) else Paid.CANCELED)
    return InvoiceStatus(Paid.UNKNOWN)


def settled_invoice(row: Row) -> SettledInvoice:
    """One line of the listing of settled invoices."""
    return SettledInvoice(row.payment_hash, _amount(row.amount), int(seconds(row.updated_at)))


def is_our_payment(row: Row, *, payment_hash: str, wallet_id: str) -> bool:
    """Whether the row is money out of our own wallet for this hash, and not the payee's side of it."""
    return row.amount < 0 and row.wallet_id == wallet_id and row.payment_hash == payment_hash


def payment_status(row: Row, *, now: float) -> PayStatus:
    """The state of a payment of ours, read from the record.

    LNbits marks a payment failed also where its node merely does not know the hash, and while a payment is
    starting that can be too early. So "failed" counts once the payment is `FAILED_SETTLES_S` old.
    """
    match row.status:
        case RowStatus.SUCCESS:
            return PayStatus(Sent.SUCCEEDED, _amount(abs(row.fee)), _proven(row))
        case RowStatus.PENDING:
            return PayStatus(Sent.IN_FLIGHT, detail="LNbits has the payment as pending.")
        case RowStatus.FAILED:
            if now - seconds(row.created_at) < FAILED_SETTLES_S:
                return PayStatus(Sent.UNKNOWN, detail="LNbits says failed; too soon to be sure. Look up again.")
            return PayStatus(Sent.FAILED, detail="LNbits has the payment as failed.")
        case _:
            assert_never(row.status)


_DEFINITE_NO = (
    "Insufficient balance",
    "You must reserve at least",
    "Bolt11 decoding failed",
    "Amountless invoices not supported",
    "Invoice amount ",
    "Invalid invoice. Bolt11 changed",
    "Only incoming payments allowed",
    "Wallet does not have permission",
    "The time limit of",
    "Daily withdrawal limit",
    "It is not allowed to spend funds",
)
"""How the reasons begin that LNbits gives before it records or sends anything."""


def refused_payment(refusal: Refusal, recorded: PayStatus | None) -> PayStatus:
    """What a refusal to pay means, next to what the record has for that hash (None: nothing at all).

    Two things make FAILED: an empty record next to a reason LNbits gives before it starts; or a payment
    recorded as failed next to a refusal that confirms it.
    """
    told = PayStatus(Sent.UNKNOWN, detail=refusal.reason)
    final = PayStatus(Sent.FAILED, detail=refusal.reason)
    if recorded is None:
        before_start = refusal.code in (400, _PAYMENT_ERROR) and refusal.reason.startswith(_DEFINITE_NO)
        return final if before_start else told
    match recorded.state:
        case Sent.SUCCEEDED | Sent.IN_FLIGHT:
            return recorded
        case Sent.FAILED:
            return final if refusal.code == _PAYMENT_ERROR and refusal.status == "failed" else told
        case Sent.UNKNOWN:
            turned_down = refusal.code == _PAYMENT_ERROR and refusal.reason.startswith("Payment failed:")
            return final if turned_down and refusal.status == "failed" else told
        case _:
            assert_never(recorded.state)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the settled invoices were read, in the order they were last changed.

    LNbits cannot list "changed after", only pages. ``offset`` rows were read, the last of them ``payment_hash``,
    changed at ``at_us`` (UNIX microseconds). Whether that row still stands there tells whether anything moved.
    """

    offset: int = 0
    at_us: int = 0
    payment_hash: str = ""

    def __str__(self) -> str:
        return f"{self.offset}:{self.at_us}:{self.payment_hash}"


def read_cursor(text: str | None) -> Cursor:
    """The cursor in a text we gave out before; ``None`` is the beginning.

    Raises:
        WalletRefused: it is none of ours.
    """
    if text is None:
        return Cursor()
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise WalletRefused("This is not a cursor of an LNbits wallet; list from the beginning, with none.")
    return Cursor(int(match[1]), int(match[2]), match[3])


def cursor_after(offset: int, row: Row) -> Cursor:
    """The cursor once ``offset`` rows were read, ``row`` the last of them."""
    return Cursor(offset, microseconds(row.updated_at), row.payment_hash)


def _amount(msat: int) -> Msats:
    if not 0 <= msat <= MAX_MSATS:
        raise WalletUnavailable("LNbits gave an amount beyond all bitcoin there is; check its version.")
    return Msats(msat)


def _proven(row: Row) -> str | None:
    """The preimage, if it is one: some nodes behind LNbits give zeros, or nothing."""
    text = row.preimage or ""
    if not HASH.fullmatch(text) or hashlib.sha256(bytes.fromhex(text)).hexdigest() != row.payment_hash:
        return None
    return text
