"""What this port answers, as models for its description (`/openapi.json`).

Nothing is built out of them when a route answers: the views are plain dicts, and the tests hold every answer they
see against the description. A field that `perhaps()` declares is left out where it does not apply.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Sats = Annotated[int, Field(ge=0, description="Whole satoshis.")]
Dollars = Annotated[Decimal, WithJsonSchema({"type": "number", "minimum": 0, "description": "US dollars."})]
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time", "description": "ISO 8601, UTC."})]
Hex32 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Hex64 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
TierName = Literal["anonymous", "new", "established", "trusted", "elite"]
RefundStateName = Literal["not_applicable", "pending", "paid"]
OneRefundState = Literal["owed", "sending", "in_doubt", "held", "sent", "credited", "paid_elsewhere"]
JobStateName = Literal[
    "awaiting_eval_payment",
    "evaluating",
    "awaiting_work_payment",
    "executing",
    "complete",
    "rejected",
    "failed",
    "expired",
    "cancelled",
]


def perhaps(meaning: str, alias: str | None = None) -> Any:
    """A field that is left out where it does not apply. ``alias``: spelt as the first Timmy spelt it."""
    return Field(default_factory=lambda: None, description=meaning, alias=alias)


class Said(BaseModel):
    """An object of ours."""

    model_config = ConfigDict(alias_generator=to_camel)


class Answered(Said):
    """A whole answer: it tells the tier of who asks, or of whose job it is."""

    trust_tier: TierName = Field(alias="trust_tier")


class Problem(Answered):
    """What went wrong, and what to do next."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(description="A sentence for people.")
    code: str = Field(description="A stable word for programs.", pattern="^[a-z0-9_]+$")
    retry_after_seconds: int = perhaps("When to try again.")
    job_id: str = perhaps("The job that was made nevertheless.")
    incident: str = perhaps("Under which number the operator finds a mistake of ours.")


class Invoice(Said):
    """A Lightning invoice, everywhere the same."""

    payment_request: str = Field(description="BOLT11.")
    payment_hash: Hex64
    amount_sats: Sats
    expires_at: Moment


class PricingBreakdown(Said):
    """The price as it was told."""

    estimated_sats: Sats
    eval_fee_sats: Sats
    work_fee_sats: Sats
    estimated_cost_usd: Dollars
    margin_pct: int
    btc_price_usd: Dollars
    btc_price_source: str = Field(description="Who said so and how far to trust it: `name (fresh)`.")
    work_model: str
    max_output_tokens: int


class LedgerRefund(Said):
    """A refund, in short."""

    amount_sats: Sats
    state: OneRefundState
    reason: str


class CostLedger(Said):
    """What a job that is complete really cost."""

    actual_input_tokens: int
    actual_output_tokens: int
    total_tokens: int
    actual_cost_usd: Dollars
    actual_amount_sats: Sats = Field(description="The customer's charge for the work.")
    work_amount_sats: Sats = Field(description="The customer's share of the work price.")
    refund_amount_sats: Sats = Field(description="The difference of the two.")
    refund_state: RefundStateName
    cost_sats: Sats = Field(description="All that the job cost, whoever paid it.")
    absorbed_sats: Sats = Field(alias="absorbed_sats", description="What the pool paid.")
    eval_amount_sats: Sats
    shortfall_sats: Sats
    pool_credit_sats: Sats
    refunds: list[LedgerRefund]


class Refund(Said):
    """What came back, and what waits to be claimed with a BOLT11 for exactly its sum."""

    refund_state: RefundStateName
    refund_amount_sats: Sats
    claimable_sats: list[Sats]


class RefundPart(Said):
    """One amount on its way back."""

    refund_id: Hex32
    amount_sats: Sats
    amount_msat: int
    reason: str
    state: OneRefundState
    fee_msat: int
    note: str | None


class Job(Answered):
    """A job as it stands."""

    job_id: Hex32
    state: JobStateName
    created_at: Moment
    completed_at: Moment | None = Field(description="Null in every state but `complete`.")
    eval_invoice: Invoice | None = Field(description="Null where credit or the pool pays.")
    work_invoice: Invoice = perhaps("What is asked once the request was accepted; not with `pay: once`.")
    pricing_breakdown: PricingBreakdown = perhaps("Once there is a price.")
    result: str = perhaps("The answer, in `complete`.")
    cost_ledger: CostLedger = perhaps("What it really cost, in `complete`.")
    truncated: Literal[True] = perhaps("The answer stopped at its limit.")
    reason: str = perhaps("Why it was rejected.")
    error_message: str = perhaps("What went wrong.")
    free_tier: Literal[True] = perhaps("The pool paid at least a part.", "free_tier")
    absorbed_sats: Sats = perhaps("What the pool paid.", "absorbed_sats")
    refund: Refund = perhaps("What came or comes back.")
    refunds: list[RefundPart] = perhaps("The same, one by one.")


class JobMade(Job):
    """A job that was just made."""

    claim_secret: Hex64 = Field(description="Claims its refund without a key; it is told once.")


SignedEvent = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "description": "As it was signed (NIP-01)."})
]


class EventNoted(Answered):
    """A request that makes no job at once: an operation, a cancellation; it is answered on relays."""

    event_id: Hex64
    job_id: None
    events: list[SignedEvent]


class EventTaken(Job):
    """The job of a request event, and what was answered so far."""

    event_id: Hex64
    events: list[SignedEvent]


class EventAnswers(Answered):
    """What was answered to a request event so far."""

    event_id: Hex64
    state: JobStateName
    events: list[SignedEvent]


class FreeTier(Said):
    """What the pool would do."""

    serve: Literal["free", "partial", "gate"]
    absorb_sats: Sats
    charge_sats: Sats


class Standing(Said):
    """Who asks, as the price sees them."""

    trust_tier: TierName = Field(alias="trust_tier")
    free_tier: FreeTier = Field(alias="free_tier")
    why: str = Field(description="What made the tier, and what the next one needs.")


class DailyBudgets(Said):
    """What the pool gives a key of each tier in a day, in sats."""

    new: Sats
    established: Sats
    trusted: Sats
    elite: Sats


class PoolBrief(Said):
    """What the pool could give."""

    balance_sats: Sats
    daily_budgets: DailyBudgets


class Estimate(Answered):
    """What a request would cost, and who would pay it."""

    estimated_sats: Sats
    eval_fee_sats: Sats
    work_fee_sats: Sats
    credit_sats: Sats
    invoice_sats: Sats
    estimated_cost_usd: Dollars
    margin_pct: int
    btc_price_usd: Dollars
    btc_price_source: str
    token_estimate: int
    work_model: str
    max_output_tokens: int
    identity: Standing
    pool: PoolBrief


class PoolState(Said):
    """The pool, as health shows it."""

    balance_sats: int
    reserved_sats: int


class RelayState(Said):
    """How one relay is doing."""

    url: str
    state: Literal["stopped", "connecting", "connected", "waiting", "penalised"]
    connected_since: Moment | None
    last_event_at: Moment | None
    reconnects: int
    misbehaviour: float
    last_error: str | None
    faults: dict[str, int]
    accepted: int
    refused: int
    last_refusal: str | None
    pause_seconds: float
    unserved: dict[str, str]
    limitation: dict[str, int | bool]


class Health(Answered):
    """Whether everything that serving needs is there."""

    status: Literal["ok", "no_relay", "no_wallet", "wallet_short", "no_ledger"]
    version: str
    npub: str
    stub_mode: bool = Field(description="Whether the wallet is simulated.")
    agent: str
    relays: list[RelayState]
    pool: PoolState = perhaps("Not without a ledger.")


class DevPaid(Answered):
    """One of our own invoices, paid for a developer."""

    ok: Literal[True]
    payment_hash: Hex64
    already_paid: bool
    preimage: str = perhaps(
        "What the payer learns: with it an L402 credential is whole. Given the first time only."
    )


class RefundMoved(Answered):
    """A refund that was claimed."""

    refund_state: RefundStateName
    refund_amount_sats: Sats


class Withdrawal(Answered):
    """A refund as a phone wallet takes it."""

    lnurl: str = Field(description="LNURL-withdraw (LUD-03); show it as a QR code. It is good for one payment.")
    amount_sats: Sats
    qr: str = Field(description="Where that code is drawn: a path at this address.")


class Lnurl(BaseModel):
    """An answer of LUD-03, with HTTP's 200 whether or not it can be done."""

    model_config = ConfigDict(extra="allow")

    status: Literal["OK", "ERROR"] = perhaps("Of a withdrawal, and of what can't be done.")
    reason: str = perhaps("Why it can't be done.")
    tag: Literal["withdrawRequest"] = perhaps("Of the terms.")


class Tried(Answered):
    """A free try."""

    result: str


class Snapshot(Answered):
    """What there is to see in the Workshop."""

    model_config = ConfigDict(extra="allow")


RATE_HEADERS: Final[Mapping[str, Any]] = {
    "X-RateLimit-Limit": {"description": "How many there are in all.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "How many are left.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {
        "description": "Unix second at which there is one more.",
        "schema": {"type": "integer"},
    },
}
Documented = dict[int | str, dict[str, Any]]


def answers(
    model: Any,
    meaning: str,
    status: int = 200,
    *,
    problems: Mapping[int, str] | None = None,
    headers: Mapping[str, Any] | None = None,
) -> Documented:
    """A route's ``responses``: what it answers, and by status what may stand in the way.

    Args:
        model: of the answer.
        meaning: a sentence on it.
        status: with which it is answered.
        problems: what each status below 500 means here; the shape is :class:`Problem` in all routes.
        headers: that go with the answer, as OpenAPI describes them.
    """
    first: dict[str, Any] = {"model": model, "description": meaning}
    if headers:
        first["headers"] = dict(headers)
    others: Documented = {code: {"model": Problem, "description": why} for code, why in (problems or {}).items()}
    return {status: first, **others}
