"""What the routes of sessions answer, as models for the port's description; see `answers`."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from timmy_dvm.http.answers import (
    Answered,
    CostLedger,
    Documented,
    Hex32,
    Invoice,
    LedgerRefund,
    Problem,
    RefundStateName,
    Sats,
    Withdrawal,
    answers,
    perhaps,
)

SessionStateName = Literal["awaiting_payment", "active", "closed", "expired"]


class SessionMade(Answered):
    """A session that was just asked for."""

    session_id: Hex32
    state: SessionStateName
    invoice: Invoice = Field(description="Its deposit.")


class Session(Answered):
    """A session as it stands."""

    session_id: Hex32
    state: SessionStateName
    balance_sats: Sats
    macaroon: str | None = Field(description="Null until it is paid.")
    invoice: Invoice = perhaps("Its deposit, until that is paid.")
    pending_topup: Invoice = perhaps("A top-up that waits for its payment.")
    payout_sats: Sats = perhaps("For how much a BOLT11 may be that takes all of it out.")
    refund_state: RefundStateName = perhaps("Of one that is closed.")
    refund_amount_sats: Sats = perhaps("What went back, or goes.")
    max_fee_sats: Sats = perhaps("What the way may cost, out of the sum.")
    claimable_sats: list[Sats] = perhaps("For how much a BOLT11 must be that claims what is held.")
    refunds: list[LedgerRefund] = perhaps("The same, one by one.")
    message: str = perhaps("What happens to the rest, once it is closed.")


class Held(BaseModel):
    """A sum that is held, as a phone wallet takes it."""

    model_config = ConfigDict(alias_generator=to_camel)

    lnurl: str = Field(description="LNURL-withdraw (LUD-03), good for one payment.")
    amount_sats: Sats
    qr: str = Field(description="Where it is drawn as a QR code: a path at this address.")


class SessionClosed(Session):
    """A session that was closed, with the ways on which its rest comes back."""

    withdrawals: list[Held] = perhaps("What is held, as LNURLs: instead of an invoice or an address.")


class SessionServed(Answered):
    """A request that was done, paid out of a session."""

    job_id: Hex32
    session_id: Hex32
    result: str
    debited_sats: Sats
    balance_sats: Sats
    cost_ledger: CostLedger
    truncated: Literal[True] = perhaps("The answer stopped at its limit.")
    free_tier: Literal[True] = perhaps("The pool paid at least a part.", "free_tier")
    absorbed_sats: Sats = perhaps("What the pool paid.", "absorbed_sats")


class SessionTopUp(Answered):
    """A top-up that was asked for."""

    session_id: Hex32
    invoice: Invoice


class PaymentRequired(Problem):
    """What to pay, and what to show once it is paid (L402); the same stands in `WWW-Authenticate`."""

    session_id: Hex32 = perhaps("The session that the payment fills.")
    balance_sats: Sats = perhaps("What is in it.")
    macaroon: str = perhaps("What to show with the preimage.")
    invoice: Invoice = perhaps("What to pay.")


_MONEY: Final = {
    400: "Not as described, too long, or rejected.",
    401: "No credential of this session.",
    402: "The credit does not cover it.",
    404: "There is no such session.",
    409: "It is closed, or something of it waits already.",
    413: "The body is too large.",
    429: "Too many deposits wait.",
    503: "The work failed, or no invoice can be made just now.",
}
MADE: Final = answers(SessionMade, "The session, with its deposit.", 201, problems=_MONEY)
_BALANCE: Final = {"X-Balance-Sats": {"description": "What is left, in sats.", "schema": {"type": "integer"}}}
SHOWN: Final = answers(
    Session, "The session.", problems={401: "A credential that is none, or has ended.", 404: _MONEY[404]}
)
SERVED: Final = answers(SessionServed, "The answer, and what it cost.", problems=_MONEY)
FILLED: Final = answers(SessionTopUp, "The invoice.", 201, problems=_MONEY)
CLOSED: Final = answers(SessionClosed, "Closed; where its rest is.", problems=_MONEY)
WITHDRAWN: Final = answers(Withdrawal, "An LNURL for it.", problems=_MONEY)
_PAY: Final[Documented] = {402: {"model": PaymentRequired, "description": "A deposit or a top-up, to be paid."}}
LOOKED: Final[Documented] = {**answers(Session, "The session.", problems=_MONEY, headers=_BALANCE), **_PAY}
ASKED: Final[Documented] = {
    **answers(SessionServed, "The answer, and what it cost.", problems=_MONEY, headers=_BALANCE),
    **_PAY,
}
