"""Read-only answers, in the names of the HTTP port: the same object whether HTTP or the command line asks."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from ledger.accounts import as_shown
from ledger.money import Msats, sats_down, sats_up
from ledger.records import InvoiceRecord, JobRecord, JobState, Mode, Quote, RefundRecord
from ledger.reservations import PoolBooks
from ledger.store import Story
from timmy_dvm.core.facts import EvalDone, InvoiceMade
from timmy_dvm.core.pricing import MICRO_PER_USD
from timmy_dvm.core.refunds import CLAIMABLE, shown_state
from timmy_dvm.core.settling import cost_ledger
from timmy_dvm.core.trust import Tier

_VERDICT: Final = EvalDone.__name__
_INVOICED: Final = InvoiceMade.__name__
"""Facts, by their kinds in a story."""


def when(at: int | None) -> str | None:
    """A unix second as ISO 8601, UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def job_view(story: Story, tier: Tier) -> dict[str, object]:
    """A job as ``GET /api/jobs/{id}`` shows it to its owner.

    ``evalInvoice`` is null where credit or the pool pays; with one invoice for both steps it is that one, and the
    price stands beside it from the first.
    """
    job = story.job
    eval_invoice, work_invoice = _invoices(story)
    view: dict[str, object] = {
        "jobId": job.id,
        "state": str(job.state),
        "createdAt": when(job.created_at),
        "completedAt": when(job.ended_at) if job.state is JobState.COMPLETE else None,
        "trust_tier": str(tier),
        "evalInvoice": None if eval_invoice is None else invoice_view(eval_invoice),
    }
    if work_invoice is not None:
        view["workInvoice"] = invoice_view(work_invoice)
    if job.mode is Mode.ONCE or job.state is not JobState.AWAITING_EVAL_PAYMENT:
        view["pricingBreakdown"] = quote_view(job.quote)
    if job.state is JobState.COMPLETE:
        view["result"] = story.texts.result
        view["costLedger"] = cost_ledger(job, story.refunds)
    if job.truncated:
        view["truncated"] = True
    if job.reason is not None:
        view["reason"] = job.reason
    if job.error_message is not None:
        view["errorMessage"] = job.error_message
    if job.free_tier:
        view["free_tier"] = True
        view["absorbed_sats"] = job.absorbed_sats
    if story.refunds:
        view["refund"] = _refund_of(story)
        view["refunds"] = [refund_view(refund) for refund in story.refunds]
    return view


def _invoices(story: Story) -> tuple[InvoiceRecord | None, InvoiceRecord | None]:
    """The newest invoice for eval, and the newest for work: what was asked once eval had passed."""
    kinds = [fact.kind for fact in story.facts]
    before = kinds[: kinds.index(_VERDICT)] if _VERDICT in kinds else kinds
    asked_for_eval = before.count(_INVOICED)
    return _newest(story.invoices[:asked_for_eval]), _newest(story.invoices[asked_for_eval:])


def _newest(invoices: Sequence[InvoiceRecord]) -> InvoiceRecord | None:
    return invoices[-1] if invoices else None


def _refund_of(story: Story) -> dict[str, object]:
    """What came back, and what waits to be claimed with a BOLT11 for exactly its sum."""
    return {
        "refundState": shown_state(story.refunds),
        "refundAmountSats": sats_down(Msats(sum(row.amount for row in story.refunds))),
        "claimableSats": [sats_down(row.sendable) for row in story.refunds if row.state in CLAIMABLE],
    }


def story_view(story: Story, tier: Tier) -> dict[str, object]:
    """:func:`job_view` and, for the operator, everything the ledger knows of the job in the order it happened."""
    job = story.job
    return {
        **job_view(story, tier),
        "eventId": job.event_id,
        "pubkey": job.pubkey,
        "request": story.texts.request,
        "forgotten": story.texts.forgotten,
        "runs": {"eval": job.eval_runs, "work": job.work_runs},
        "invoices": [invoice_view(invoice) | {"state": str(invoice.state)} for invoice in story.invoices],
        "facts": [{"id": fact.id, "kind": fact.kind, "at": when(fact.at)} for fact in story.facts],
        "entries": [
            {
                "id": entry.id,
                "code": str(entry.code),
                "at": when(at),
                "postings": {p.account: as_shown(p.account, p.amount) for p in entry.postings},
            }
            for at, entry in story.entries
        ],
        "events": [
            {
                "id": event.id,
                "role": str(event.role),
                "deliveries": {d.relay: d.outcome for d in deliveries},
            }
            for event, deliveries in story.events
        ],
    }


def jobs_view(jobs: Sequence[JobRecord]) -> list[dict[str, object]]:
    """Jobs as a list, without their texts."""
    return [
        {
            "jobId": job.id,
            "state": str(job.state),
            "createdAt": when(job.created_at),
            "eventId": job.event_id,
            "pubkey": job.pubkey,
            "quotedSats": sats_up(Msats(job.quote.eval_fee + job.quote.work_fee)),
            "chargedSats": sats_up(Msats(job.charge_eval + job.charge_work)),
        }
        for job in jobs
    ]


def invoice_view(invoice: InvoiceRecord) -> dict[str, object]:
    """The invoice object, everywhere the same."""
    return {
        "paymentRequest": invoice.bolt11,
        "paymentHash": invoice.payment_hash,
        "amountSats": sats_up(invoice.amount),
        "expiresAt": when(invoice.expires_at),
    }


def quote_view(quote: Quote) -> dict[str, object]:
    """The price as it was told."""
    return {
        "estimatedSats": sats_up(Msats(quote.eval_fee + quote.work_fee)),
        "evalFeeSats": sats_up(quote.eval_fee),
        "workFeeSats": sats_up(quote.work_fee),
        "estimatedCostUsd": Decimal(quote.estimated_cost) / MICRO_PER_USD,
        "marginPct": quote.margin_percent,
        "btcPriceUsd": Decimal(quote.btc_price_micro_usd) / MICRO_PER_USD,
        "btcPriceSource": quote.btc_price_source,
        "workModel": quote.work_model,
        "maxOutputTokens": quote.max_output_tokens,
    }


def refund_view(refund: RefundRecord) -> dict[str, object]:
    """One amount on its way back."""
    return {
        "refundId": refund.id,
        "amountSats": sats_down(refund.amount),
        "amountMsat": refund.amount,
        "reason": refund.reason,
        "state": str(refund.state),
        "feeMsat": refund.fee,
        "note": refund.note,
    }


def pool_view(books: PoolBooks, daily_budgets: Mapping[str, int]) -> dict[str, object]:
    """The generosity pool's public books, as ``GET /api/pool`` gives them: no key and no job is named.

    ``today`` is what the books were asked for, by tier; ``daily_budgets`` is in sats.
    """
    return {
        "balanceSats": sats_down(books.balance),
        "reservedSats": sats_down(books.reserved),
        "inSats": sats_down(books.given),
        "outSats": sats_down(books.granted),
        "dailyBudgets": dict(daily_budgets),
        "today": [
            {
                "tier": use.tier,
                "grantedSats": sats_down(use.granted),
                "reservedSats": sats_down(use.reserved),
                "jobs": use.jobs,
            }
            for use in books.today
        ],
        "grants": [
            {"at": when(grant.at), "tier": grant.tier, "grantedSats": sats_down(grant.granted)}
            for grant in books.grants
        ],
        "entries": [{"at": when(move.at), "code": move.code, "amountMsat": move.amount} for move in books.moves],
        "donors": [],
    }


def books_view(balances: Mapping[str, Msats]) -> dict[str, int]:
    """Single accounts and, added up, families of accounts; in sats, rounded down, as a person reads them."""
    totals: dict[str, int] = {}
    for name, balance in balances.items():
        family = name.partition(":")[0]
        totals[family] = totals.get(family, 0) + as_shown(name, balance)
    return {name: sats_down(Msats(total)) for name, total in sorted(totals.items())}
