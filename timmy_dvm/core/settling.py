"""The end of a job: one entry says who paid what it cost, and whatever is left goes back. Pure.

``cost = charge + short``, always: the customer's charge, and our own loss. The customer never pays above the share
that was fixed when their invoice was made.
"""

import dataclasses
from dataclasses import dataclass
from decimal import Decimal

from ledger import accounts
from ledger.entries import Code, Entry, gather, transfer
from ledger.money import ZERO, Msats, msats_from_sats, sats_down, sats_up
from ledger.records import IdentityRecord, JobRecord, JobState, RefundRecord
from timmy_dvm.core import trust
from timmy_dvm.core.case import Case, Decision, Tell
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import MICRO_PER_USD
from timmy_dvm.core.refunds import Returned, give_back, shown_state
from timmy_dvm.core.transitions import job_moves


@dataclass(frozen=True, slots=True)
class Settled:
    """A job that has ended, its books, and what goes back."""

    job: JobRecord
    entries: tuple[Entry, ...]
    back: Returned
    identity: IdentityRecord | None


def settle(case: Case, job: JobRecord, state: JobState, work_cost: Msats, at: int, policy: Policy) -> Settled:
    """End a job in ``state``. ``work_cost`` is what the work really cost, 0 where there was none.

    The eval fee is earned once eval gave a verdict, whatever the verdict.
    """
    eval_cost = job.quote.eval_fee if job.eval_passed is not None else ZERO
    cost = Msats(eval_cost + work_cost)
    share = Msats(job.share_eval + job.share_work)
    charge = Msats(min(case.held, share, cost))
    short = Msats(cost - charge)
    charge_eval = Msats(min(charge, eval_cost))
    charge_work = Msats(charge - charge_eval)
    ended = dataclasses.replace(
        job,
        state=job_moves(job.state, state),
        charge_eval=charge_eval,
        charge_work=charge_work,
        shortfall=short,
        pool_credit=_pool_credit(charge_work, policy),
        ended_at=at,
        due_at=None,
    )
    back = give_back(
        ended,
        Msats(case.held - charge),
        from_credit=job.credit_used,
        reason=_reason(ended),
        cause="end",
        at=at,
        policy=policy,
    )
    entries = (*_books(ended, charge, short), *back.entries)
    return Settled(ended, entries, back, _trusted(case.identity, ended, charge, at))


def _pool_credit(charge_work: Msats, policy: Policy) -> Msats:
    """The pool's part of the work charge we keep, in whole sats, rounded down."""
    return msats_from_sats(sats_down(Msats(charge_work * policy.pool_credit_percent // 100)))


def _books(job: JobRecord, charge: Msats, short: Msats) -> tuple[Entry, ...]:
    """The settlement as one entry, and the pool's part of it as another."""
    entries: list[Entry] = []
    if charge or short:
        why = "" if not short else ("overrun" if job.state is JobState.COMPLETE else "eval")
        paid = ((accounts.job(job.id), charge), (accounts.SHORTFALL, short))
        entries.append(gather(f"settlement:{job.id}", Code.SETTLEMENT, paid, accounts.EARNED, why))
    if job.pool_credit:
        entry_id = f"pool_credit:{job.id}"
        entries.append(transfer(entry_id, Code.POOL_CREDIT, accounts.EARNED, accounts.POOL, job.pool_credit))
    return tuple(entries)


def _reason(job: JobRecord) -> str:
    """Why money goes back. A job that we had to drop has failed its customer, whatever its state is called."""
    if job.state is JobState.COMPLETE:
        return "change"
    return str(JobState.FAILED if job.error_message else job.state)


def _trusted(identity: IdentityRecord | None, job: JobRecord, charge: Msats, at: int) -> IdentityRecord | None:
    """The key's row after this end; None where it does not change."""
    if identity is None:
        return None
    match job.state:
        case JobState.COMPLETE:
            return trust.after_success(identity, charge, at)
        case JobState.REJECTED:
            return trust.after_rejection(identity, at)
        case JobState.FAILED:
            return trust.after_failure(identity, at)
        case _:
            return None


def decision(settled: Settled, *tells: Tell, result: str | None = None) -> Decision:
    """A settled job as a decision."""
    return Decision(
        job=settled.job,
        result=result,
        identity=settled.identity,
        entries=settled.entries,
        refunds=settled.back.refunds,
        tells=tells,
    )


def cost_ledger(job: JobRecord, refunds: tuple[RefundRecord, ...]) -> dict[str, object]:
    """The cost ledger of a job that is complete, in the names HTTP and receipts use; nothing in it is null.

    ``workAmountSats`` is the customer's share of the work price, ``actualAmountSats`` their work charge,
    ``refundAmountSats`` the difference. Raw cost and shortfall stand beside them.
    """
    work = sats_up(job.share_work)
    charged = sats_up(job.charge_work)
    return {
        "actualInputTokens": job.actual_input_tokens,
        "actualOutputTokens": job.actual_output_tokens,
        "totalTokens": job.actual_input_tokens + job.actual_output_tokens,
        "actualCostUsd": Decimal(job.actual_cost) / MICRO_PER_USD,
        "actualAmountSats": charged,
        "workAmountSats": work,
        "refundAmountSats": work - charged,
        "refundState": shown_state(refunds),
        "evalAmountSats": sats_up(job.charge_eval),
        "shortfallSats": sats_up(job.shortfall),
        "poolCreditSats": sats_down(job.pool_credit),
        "refunds": [
            {"amountSats": sats_down(row.amount), "state": str(row.state), "reason": row.reason} for row in refunds
        ],
    }
