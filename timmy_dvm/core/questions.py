"""What a key may ask beside its jobs: what a text would cost, how it stands, what is its own. Pure.

An answer is read from the books and changes nothing in them: no job is made, no invoice, no row of a key that was
never here, and no score fades by being looked at. Names are those of the HTTP port.
"""

from decimal import Decimal
from typing import Final, assert_never

from ledger.credit import TopUpRecord
from ledger.money import ZERO, msats_from_sats, sats_down, sats_up
from ledger.records import Door, InvoiceRecord, Mode, RefundRecord
from timmy_dvm.core import asking, free_tier, refusing, reserving, trust
from timmy_dvm.core.actions import Introduced, OperationDone, Refused
from timmy_dvm.core.case import MAX_CLAIMS, Case, Decision, Tell
from timmy_dvm.core.credit import invoice_shown
from timmy_dvm.core.facts import MentionHeard, Op, QuestionAsked
from timmy_dvm.core.giving_back import largest
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import MICRO_PER_USD, estimate_request_cost
from timmy_dvm.core.refunds import CLAIMABLE

_SHORT_QUESTION: Final = "What is a data vending machine?"
"""Priced to say what we cost."""


def answered(case: Case, fact: QuestionAsked, policy: Policy) -> Decision:
    """Answer, and change nothing."""
    message: OperationDone | Refused
    match fact.op:
        case Op.ESTIMATE:
            message = _estimate(case, fact, policy)
        case Op.ME:
            message = _done(fact, _me(case, fact, policy))
        case Op.BALANCE:
            message = _done(fact, _balance(case, policy))
        case _:
            assert_never(fact.op)
    return Decision(tells=(Tell(message, fact.origin),))


def introduced(fact: MentionHeard, policy: Policy) -> Decision:
    """Say who we are and what we cost."""
    price = estimate_request_cost(_SHORT_QUESTION, policy.work_models[0], policy.prices, fact.btc)
    return Decision(tells=(Tell(Introduced(price=msats_from_sats(price.estimated_sats)), fact.origin),))


def _done(fact: QuestionAsked, body: dict[str, object]) -> OperationDone:
    return OperationDone(body={"op": str(fact.op), **body})


def _estimate(case: Case, fact: QuestionAsked, policy: Policy) -> OperationDone | Refused:
    """The price as a request of this text would get it now, and what its one invoice would ask."""
    refusal = refusing.no_price(case, fact, policy)
    if refusal is not None:
        return refusal
    price = asking.price(case, fact, policy)
    stands = reserving.standing(case, fact.pubkey, fact.at, policy)
    fees = msats_from_sats(price.eval_fee_sats), msats_from_sats(price.work_fee_sats)
    mode = Mode.ONCE if fact.door is Door.NOSTR else Mode.STEPS
    terms = free_tier.terms(stands, *fees, fact.door, mode)
    funding = asking.fund(terms.due, ZERO, case.credit)
    return _done(
        fact,
        {
            "estimatedSats": price.estimated_sats,
            "evalFeeSats": price.eval_fee_sats,
            "workFeeSats": price.work_fee_sats,
            "creditSats": sats_down(funding.from_credit),
            "invoiceSats": sats_up(funding.missing),
            "estimatedCostUsd": Decimal(price.total_micro_usd) / MICRO_PER_USD,
            "marginPct": price.margin_percent,
            "btcPriceUsd": Decimal(price.btc.micro_usd) / MICRO_PER_USD,
            "btcPriceSource": price.btc.told_by,
            "tokenEstimate": price.input_tokens + price.output_tokens,
            "workModel": price.model,
            "maxOutputTokens": price.max_output_tokens,
            "identity": {
                "trust_tier": str(_tier(case, fact, policy)),
                "free_tier": _free(terms.offer),
                "why": reserving.why(case, fact.pubkey, fact.at, policy),
            },
            "pool": {"balanceSats": sats_down(case.pool), "dailyBudgets": _budgets(policy)},
        },
    )


def _tier(case: Case, fact: QuestionAsked, policy: Policy) -> trust.Tier:
    """A key's own tier, whatever it is lifted to."""
    known = None if fact.pubkey is None else trust.met(case.identity, fact.pubkey, fact.at)
    return trust.tier(known, fact.at, policy.trust)


def _free(offer: free_tier.Offer) -> dict[str, object]:
    return {
        "serve": str(offer.serve),
        "absorbSats": sats_down(offer.absorb),
        "chargeSats": sats_down(offer.charge),
    }


def _budgets(policy: Policy) -> dict[str, int]:
    keyed = [tier for tier in trust.Tier if tier is not trust.Tier.ANONYMOUS]
    return {str(tier): sats_down(policy.daily_budgets.of(tier)) for tier in keyed}


def _key_of(fact: QuestionAsked) -> str:
    if fact.pubkey is None:
        raise ValueError("only an estimate is given to nobody in particular")
    return fact.pubkey


def _me(case: Case, fact: QuestionAsked, policy: Policy) -> dict[str, object]:
    pubkey = _key_of(fact)
    row = trust.met(case.identity, pubkey, fact.at)
    return {
        "pubkey": pubkey,
        "npub": fact.npub,
        "trust_score": trust.score(row, fact.at, policy.trust),
        "tier": str(_tier(case, fact, policy)),
        "interaction_count": row.interaction_count,
        "sats_absorbed_today": sats_down(reserving.granted_today(case, fact.at)),
        "daily_budget_sats": sats_down(reserving.standing(case, fact.pubkey, fact.at, policy).budget),
        "why": reserving.why(case, pubkey, fact.at, policy),
        "creditSats": sats_down(case.credit),
    }


def _balance(case: Case, policy: Policy) -> dict[str, object]:
    """Credit and open refunds; what a customer needs to claim one is its request's id and the exact sum.

    Of the credit an invoice may have ``payoutSats`` at most, ``payoutFeeSats`` more being kept for the way.
    """
    most = largest(case.credit, policy)
    return {
        "creditSats": sats_down(case.credit),
        "creditMsat": case.credit,
        "payoutSats": sats_down(most),
        "payoutFeeSats": sats_up(policy.fee_reserve(most)) if most else 0,
        "payouts": [_payout(row) for row in case.payouts],
        "topups": [_topup(topup, invoice) for topup, invoice in case.topups],
        "refunds": [_claim(request_id, refund) for request_id, refund in case.claims[:MAX_CLAIMS]],
        "moreRefunds": len(case.claims) > MAX_CLAIMS,
    }


def _payout(row: RefundRecord) -> dict[str, object]:
    return {"amountSats": sats_down(row.invoiced), "state": str(row.state)}


def _topup(topup: TopUpRecord, invoice: InvoiceRecord | None) -> dict[str, object]:
    """A top-up that waits; ``invoice`` is None while our wallet makes it."""
    return {
        "requestId": topup.event_id,
        "amountSats": sats_down(topup.amount),
        "invoice": None if invoice is None else invoice_shown(invoice),
    }


def _claim(request_id: str | None, refund: RefundRecord) -> dict[str, object]:
    return {
        "requestId": request_id,
        "amountSats": sats_down(refund.sendable),
        "state": str(refund.state),
        "reason": refund.reason,
        "claimable": refund.state in CLAIMABLE,
    }
