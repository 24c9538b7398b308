"""What the operator decides, as one frozen value. Built from the configuration by the composition root.

Amounts are msat, times seconds. What the composition root does not fill in is not for the operator to change.
"""

from dataclasses import dataclass, field

from ledger.money import Msats
from ledger.records import Door
from timmy_dvm.core.free_tier import DailyBudgets, Newcomers
from timmy_dvm.core.pricing import PriceList
from timmy_dvm.core.trust import TrustRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Every number a decision needs.

    Attributes:
        work_models: the models a customer may choose from; the first is the default.
        http_request_chars, relay_request_chars: the longest request at each door.
        open_jobs_per_key: jobs and top-ups of one key that may wait for payment.
        jobs_per_key_minute: jobs and top-ups one key may ask for in a minute.
        open_invoices: jobs and top-ups that may wait for payment in all; half are kept for keys that paid before.
        open_donations: gifts to the pool that may wait for payment in all, beside those.
        http_invoice_s, relay_invoice_s: how long an invoice may be paid.
        shortest_invoice_s: an invoice that would have to end sooner is not made.
        invoice_patience_s: how long we go on trying to make an invoice before we say that we can't.
        topup_max: the largest top-up of a key's credit, and the largest gift to the pool.
        session_min, session_max: the bounds of a session's deposit and top-ups.
        bootstrap_fee: the price of a Bitcoin node.
        session_idle_s: after this a session that nobody used is closed.
        check_after_s: how long after its expiry an invoice is read for the last time.
        paid_to_end_s: a paid job ends within this, or fails and is refunded.
        max_runs: runs of one step; only a crash uses more than one.
        credit_below: smaller change becomes credit where there is a key.
        trust: how a key earns trust and loses it.
        daily_budgets: what a key may draw on the pool in a UTC day.
        min_work_bits: the proof of work that a request over relays needs from a key that never paid; 0: none.
        newcomers: the free answer of a new key; None: there is none.
        lifetime_factor: the pool never grants a key more than this many times what its jobs left us; 0: no bound.
        eval_model: who judges requests.
        model_micro_usd_per_day: what the model may cost in a UTC day before nothing unpaid begins; 0: no bound.
        pool_credit_percent: the pool's part of the work charge we keep.
        fee_per_refund, fee_per_day: what we pay ourselves to send money back.
        asks_profiles: whether change goes to the address of its customer's profile, where none was named.
        wallet_limits_fees: whether our wallet takes a fee limit per payment; if not, its reserve is the cap.
        claim_life_s: a claim's BOLT11 must be valid for at least this long.
        refund_pauses_s: pauses before each new try to send; after the last the refund is held.
        look_again_s: the first pause before a payment in doubt is looked up.
        resend_after_s: how long a payment must be unknown to our wallet before the same BOLT11 goes out again.
    """

    prices: PriceList = field(default_factory=PriceList)
    work_models: tuple[str, ...] = ("offline",)
    http_request_chars: int = 500
    relay_request_chars: int = 16_000
    open_jobs_per_key: int = 3
    jobs_per_key_minute: int = 20
    open_invoices: int = 1_000
    open_donations: int = 100
    http_invoice_s: int = 600
    relay_invoice_s: int = 3_600
    invoice_patience_s: int = 120
    shortest_invoice_s: int = 60
    topup_max: Msats = Msats(1_000_000_000)
    session_min: Msats = Msats(100_000)
    session_max: Msats = Msats(1_000_000_000)
    session_idle_s: int = 30 * 86_400
    bootstrap_fee: Msats = Msats(10_000_000)
    check_after_s: int = 60
    paid_to_end_s: int = 900
    max_runs: int = 3
    credit_below: Msats = Msats(10_000)
    trust: TrustRules = field(default_factory=TrustRules)
    daily_budgets: DailyBudgets = field(default_factory=DailyBudgets)
    min_work_bits: int = 0
    newcomers: Newcomers | None = None
    lifetime_factor: int = 0
    eval_model: str = "offline"
    model_micro_usd_per_day: int = 0
    pool_credit_percent: int = 10
    fee_per_refund: Msats = Msats(3_000)
    fee_per_day: Msats = Msats(200_000)
    asks_profiles: bool = False
    wallet_limits_fees: bool = True
    claim_life_s: int = 120
    refund_pauses_s: tuple[int, ...] = (60, 600, 3_600, 21_600)
    look_again_s: int = 5
    resend_after_s: int = 600

    def request_chars(self, door: Door) -> int:
        """The longest request a door takes, in characters."""
        return self.http_request_chars if door is Door.HTTP else self.relay_request_chars

    def invoice_s(self, door: Door) -> int:
        """How long an invoice for a job of this door may be paid."""
        return self.http_invoice_s if door is Door.HTTP else self.relay_invoice_s

    def fee_reserve(self, amount: Msats) -> Msats:
        """What a wallet without a fee limit may spend on routing, and any wallet on a pay-out: 1 %, rounded up,
        and at least 2 sats.
        """
        return Msats(max(2_000, -(-amount // 100)))
