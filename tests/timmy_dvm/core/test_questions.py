"""Questions are answered from the books and change nothing in them."""

import dataclasses
from decimal import Decimal

import pytest

from ledger import accounts
from ledger.money import Msats
from ledger.records import RefundState
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.core import credit_builders as c
from tests.timmy_dvm.core.memory_ledger import MemoryLedger
from timmy_dvm import views
from timmy_dvm.core import trust
from timmy_dvm.core.actions import CreateInvoice, Introduced, OperationDone, Refused
from timmy_dvm.core.case import MAX_CLAIMS, Case, Decision, Tell
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import MentionHeard, Op
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import BtcPrice, Freshness, estimate_request_cost

TEXT = "What is a relay, who runs one, and what does it cost to keep it going?"
DAY = 86_400


def answer(op, case=None, **changes):
    """The body of the answer to a question; anything else in the decision would be a change."""
    decision = decide(case or Case(), b.question(op, **changes), b.POLICY)
    (tell,) = decision.tells
    assert decision == Decision(tells=(tell,))
    assert tell.origin == b.CLAIM
    assert isinstance(tell.message, OperationDone)
    assert tell.message.body["op"] == op
    return tell.message.body


def test_an_estimate_says_the_price_and_what_made_it():
    assert answer(Op.ESTIMATE, text=TEXT) == {
        "op": "estimate",
        "estimatedSats": 13,
        "evalFeeSats": 2,
        "workFeeSats": 11,
        "creditSats": 0,
        "invoiceSats": 13,
        "estimatedCostUsd": Decimal("0.010167"),
        "marginPct": 40,
        "btcPriceUsd": Decimal(100_000),
        "btcPriceSource": "test (fixed)",
        "tokenEstimate": 654,
        "workModel": "offline",
        "maxOutputTokens": 400,
        "identity": {
            "trust_tier": "new",
            "free_tier": {"serve": "gate", "absorbSats": 0, "chargeSats": 13},
            "why": trust.why(b.identity(0), b.NOW, b.POLICY.trust),
        },
        "pool": {
            "balanceSats": 0,
            "dailyBudgets": {"new": 0, "established": 50, "trusted": 200, "elite": 1_000},
        },
    }


ASKED = {
    "short": {"text": "Hi"},
    "of a middle length": {"text": "x" * 200},
    "long": {"text": "x" * 16_000},
    "with white space around it": {"text": f"  {TEXT}\n"},
    "with a limit of its own": {"text": TEXT, "max_tokens": 7},
    "of another model": {"text": TEXT, "model": "claude-haiku-4-5"},
    "of a model nobody offers": {"text": TEXT, "model": "gpt-9"},
    "with words of ours before it": {"text": f"Sum up: {'x' * 16_000}", "preface_chars": 8},
    "at another bitcoin price": {"text": TEXT, "btc": BtcPrice(7_000_000, "test", Freshness.STALE, b.NOW)},
}
CREDITS = [0, 1, 999, 1_000, 5_500, 9_000, 10**9]


@pytest.mark.parametrize("shape", ASKED)
@pytest.mark.parametrize("credit", CREDITS)
def test_the_invoice_asks_what_the_estimate_said(shape, credit):
    policy = Policy(work_models=("offline", "claude-haiku-4-5"))
    case = Case(credit=Msats(credit))
    estimate = decide(case, b.question(Op.ESTIMATE, **ASKED[shape]), policy).tells[0].message.body
    made = decide(case, b.asking(**ASKED[shape]), policy)
    asked = sum(do.action.amount for do in made.actions if isinstance(do.action, CreateInvoice))
    assert asked == estimate["invoiceSats"] * 1_000
    assert made.new_job.credit_used == estimate["creditSats"] * 1_000
    told = views.quote_view(made.new_job.quote)
    assert {name: estimate[name] for name in told} == told


@pytest.mark.parametrize(
    "changes",
    [
        {"text": " "},
        {"text": ""},
        {"text": "x" * 16_001},
        {"text": "Sum up: ", "preface_chars": 8},
        {"text": "Hi", "max_tokens": 0},
    ],
)
def test_what_would_be_refused_has_no_price_for_the_same_reason(changes):
    refused = decide(Case(), b.asking(**changes), b.POLICY).tells[0].message
    decision = decide(Case(), b.question(Op.ESTIMATE, **changes), b.POLICY)
    assert isinstance(refused, Refused)
    assert [tell.message for tell in decision.tells] == [refused]
    assert dataclasses.replace(decision, tells=()) == Decision()


def test_an_estimate_is_given_to_whoever_may_not_ask_just_now():
    crowded = Case(jobs_last_minute=99, open_jobs=99, open_invoices=9_999)
    assert answer(Op.ESTIMATE, crowded, text=TEXT) == answer(Op.ESTIMATE, text=TEXT)


def test_a_stranger_learns_where_it_begins():
    body = answer(Op.ME)
    assert body.pop("why").startswith("0 of 100 points make this key new; 10 more make it established.")
    assert body == {
        "op": "me",
        "pubkey": b.KEY,
        "npub": "npub1key",
        "trust_score": 0,
        "tier": "new",
        "interaction_count": 0,
        "sats_absorbed_today": 0,
        "daily_budget_sats": 0,
        "creditSats": 0,
    }


@pytest.mark.parametrize(
    ("row", "score", "tier", "onward"),
    [
        (b.identity(9), 9, "new", "1 more make it established"),
        (b.identity(10), 10, "established", "40 more make it trusted"),
        (b.identity(50), 50, "trusted", "30 more make it elite"),
        (b.identity(100), 100, "elite", "there is no higher tier"),
        (b.identity(80, last_seen=b.NOW - 40 * DAY), 70, "trusted", "10 more make it elite"),
    ],
)
def test_a_key_learns_how_it_stands_and_what_is_next(row, score, tier, onward):
    body = answer(Op.ME, Case(identity=dataclasses.replace(row, interaction_count=4), credit=Msats(5_999)))
    assert (body["trust_score"], body["tier"], body["interaction_count"]) == (score, tier, 4)
    assert f"{score} of 100 points make this key {tier}; {onward}." in body["why"]
    assert body["creditSats"] == 5


def test_a_balance_names_what_can_be_claimed_and_how():
    held = b.refund(RefundState.HELD, 21)
    sending = b.refund(RefundState.SENDING, 9, reason="late")
    body = answer(Op.BALANCE, Case(credit=Msats(1_500), claims=((b.EVENT, held), (None, sending))))
    assert body == {
        "op": "balance",
        "creditSats": 1,
        "creditMsat": 1_500,
        "payoutSats": 0,
        "payoutFeeSats": 0,
        "payouts": [],
        "topups": [],
        "refunds": [
            {"requestId": b.EVENT, "amountSats": 21, "state": "held", "reason": "change", "claimable": True},
            {"requestId": None, "amountSats": 9, "state": "sending", "reason": "late", "claimable": False},
        ],
        "moreRefunds": False,
    }


def test_a_balance_names_what_is_on_its_way_in_and_out_and_what_could_be_taken_out():
    body = answer(
        Op.BALANCE,
        Case(
            credit=b.sats(500),
            payouts=(c.payout(21, state=RefundState.IN_DOUBT),),
            topups=((c.topup(300), None), (c.topup(payment_hash=b.HASH), c.invoice(1_000))),
        ),
    )
    assert (body["payoutSats"], body["payoutFeeSats"]) == (495, 5)
    assert body["payouts"] == [{"amountSats": 21, "state": "in_doubt"}]
    invoice = {
        "paymentRequest": b.BOLT11,
        "paymentHash": b.HASH,
        "amountSats": 1_000,
        "expires_at": c.invoice().expires_at,
    }
    assert body["topups"] == [
        {"requestId": c.ASKED, "amountSats": 300, "invoice": None},
        {"requestId": c.ASKED, "amountSats": 500, "invoice": invoice},
    ]


@pytest.mark.parametrize("more", [0, 1])
def test_a_balance_fits_into_one_event(more):
    claims = ((b.EVENT, b.refund()),) * (MAX_CLAIMS + more)
    body = answer(Op.BALANCE, Case(claims=claims))
    assert (len(body["refunds"]), body["moreRefunds"]) == (MAX_CLAIMS, bool(more))


@pytest.mark.parametrize("op", Op)
def test_a_question_moves_nothing_in_the_ledger_and_is_answered_once(op):
    ledger = MemoryLedger(b.POLICY)
    ledger.balances.update({accounts.customer(b.KEY): 5_000, accounts.NODE: -5_000})
    before = dict(ledger.balances)
    assert ledger.commit(b.question(op, TEXT)) is not None
    assert ledger.commit(b.question(op, TEXT)) is None
    assert {name: balance for name, balance in ledger.balances.items() if balance} == before
    assert (ledger.jobs, ledger.identities, ledger.entries, ledger.outbox) == ({}, {}, {}, {})


def test_who_speaks_of_us_hears_what_a_short_question_costs_at_most():
    fact = MentionHeard(event_id=b.EVENT, thread_id="e2" * 32, origin=b.CLAIM, btc=b.BTC, at=b.NOW)
    decision = decide(Case(), fact, b.POLICY)
    price = estimate_request_cost("What is a data vending machine?", "offline", b.POLICY.prices, b.BTC)
    told = Introduced(price=b.sats(price.estimated_sats))
    assert decision == Decision(tells=(Tell(told, b.CLAIM),))
