"""The end of a job: one entry says who paid what it cost, and whatever is left goes back. Pure.

``cost = grant + charge + short``, always: the pool's part, the customer's charge, and our own loss. The customer
never pays above the share that was fixed when their invoice was made.
"""

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ledger import accounts
from ledger.entries import Code, Entry, gather, transfer
from ledger.money import ZERO, Msats, msats_from_sats, sats_down, sats_up
from ledger.records import IdentityRecord, JobRecord, JobState, RefundRecord
from ledger.reservations import NewReservation, ReservationEnd
from timmy_dvm.core import free_tier, reserving, session_money, trust
from timmy_dvm.core.case import Case, Decision, Tell
from timmy_dvm.core.giving_back import Returned, give_back
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import MICRO_PER_USD
from timmy_dvm.core.refunds import shown_state
from timmy_dvm.core.transitions import job_moves

_CLAIM_BACK: Final = "Nothing of your free budget was used."


@dataclass(frozen=True, slots=True)
class Settled:
    """A job that has ended, its books, and what goes back."""

    job: JobRecord
    entries: tuple[Entry, ...]
    back: Returned
    identity: IdentityRecord | None
    reservation_end: ReservationEnd | None
    reservation: NewReservation | None = None


def settle(case: Case, job: JobRecord, state: JobState, work_cost: Msats, at: int, policy: Policy) -> Settled:
    """End a job in ``state``. ``work_cost`` is what the work really cost, 0 where there was none.

    The eval fee is earned once eval gave a verdict, whatever the verdict. The pool pays for what was done; a job
    that came to nothing gives back all that was set aside for it.
    """
    eval_cost = job.quote.eval_fee if job.eval_passed is not None else ZERO
    cost = Msats(eval_cost + work_cost)
    done = state is JobState.COMPLETE
    drawn = reserving.when_done(case, job, cost, at, policy) if done else reserving.Drawn()
    reserved = Msats(case.reserved + drawn.amount)
    grant = free_tier.grant(reserved, eval_cost, work_cost, with_eval=_grants_eval(job)) if done else ZERO
    due = _due(job, state, Msats(cost - grant))
    more = _more_credit(case, job, due)
    held = Msats(case.held + more)
    charge = Msats(min(held, due))
    short = Msats(cost - grant - charge)
    charge_eval = Msats(min(charge, eval_cost))
    charge_work = Msats(charge - charge_eval)
    ended = dataclasses.replace(
        job,
        state=job_moves(job.state, state),
        charge_eval=charge_eval,
        charge_work=charge_work,
        shortfall=short,
        free_tier=job.free_tier or bool(drawn.amount),
        absorbed_sats=sats_down(grant),
        credit_used=Msats(job.credit_used + more),
        pool_credit=_pool_credit(charge if job.session_id else charge_work, policy),
        ended_at=at,
        due_at=None,
    )
    back = _back(case, ended, Msats(held - charge), at, policy)
    if case.reserved and not done:
        back = dataclasses.replace(back, sentence=f"{back.sentence} {_CLAIM_BACK}".strip())
    entries = (
        *drawn.entries,
        *_used_more(ended, more),
        *_books(ended, charge, grant, reserved),
        *reserving.given_back(ended, Msats(reserved - grant)),
        *_credited_pool(ended),
        *back.entries,
    )
    end = reserving.end(ended, reserved, grant, at)
    return Settled(ended, entries, back, _trusted(case.identity, ended, at, policy), end, drawn.reservation)


def _grants_eval(job: JobRecord) -> bool:
    """Whether what the pool set aside pays for the eval too: in a session it is spent as far as it reaches."""
    return job.session_id is not None or free_tier.pays_eval(job.door, job.mode)


def _due(job: JobRecord, state: JobState, cost: Msats) -> Msats:
    """What the customer has to pay of a cost. Of a request that failed in a session nothing is debited."""
    if job.session_id is not None and state is JobState.FAILED:
        return ZERO
    return Msats(min(job.share_eval + job.share_work, cost))


def _more_credit(case: Case, job: JobRecord, due: Msats) -> Msats:
    """What a session adds when its work is done: the part that the pool had offered and lacks, if it is there."""
    return Msats(max(0, min(due - case.held, case.credit))) if job.session_id is not None else ZERO


def _used_more(job: JobRecord, more: Msats) -> tuple[Entry, ...]:
    if job.session_id is None or not more:
        return ()
    session = accounts.session(job.session_id)
    return (transfer(f"credit_used:{job.id}:rest", Code.CREDIT_USED, session, accounts.job(job.id), more),)


def _back(case: Case, job: JobRecord, left: Msats, at: int, policy: Policy) -> Returned:
    """What is left in the account of a job that has ended, to whom it belongs."""
    if job.session_id is not None:
        return session_money.given_back(case.session, job, left, at, policy)
    return give_back(
        job,
        left,
        from_credit=job.credit_used,
        reason=_reason(job),
        cause="end",
        at=at,
        policy=policy,
    )


def _pool_credit(charge_work: Msats, policy: Policy) -> Msats:
    """The pool's part of the work charge we keep, in whole sats, rounded down."""
    return msats_from_sats(sats_down(Msats(charge_work * policy.pool_credit_percent // 100)))


def _books(job: JobRecord, charge: Msats, grant: Msats, reserved: Msats) -> tuple[Entry, ...]:
    """The settlement, in one entry."""
    paid = (
        (accounts.job(job.id), charge),
        (accounts.reserved(job.id), grant),
        (accounts.SHORTFALL, job.shortfall),
    )
    cost = charge + grant + job.shortfall
    if not cost:
        return ()
    why = _why_short(job, cost, reserved)
    return (gather(f"settlement:{job.id}", Code.SETTLEMENT, paid, accounts.EARNED, why),)


def _why_short(job: JobRecord, cost: int, reserved: Msats) -> str:
    """Why nobody paid a part: an eval the pool was to pay, a pool that had less than it offered, an overrun."""
    if not job.shortfall:
        return ""
    if job.state is not JobState.COMPLETE:
        return "eval"
    drained = reserved < free_tier.offered(job.quote, job.share_eval, job.share_work)
    overran = cost > job.quote.eval_fee + job.quote.work_fee
    return "drained, overrun" if drained and overran else ("drained" if drained else "overrun")


def _credited_pool(job: JobRecord) -> tuple[Entry, ...]:
    """The pool's part of what the customer's work charge earned."""
    if not job.pool_credit:
        return ()
    entry_id = f"pool_credit:{job.id}"
    return (transfer(entry_id, Code.POOL_CREDIT, accounts.EARNED, accounts.POOL, job.pool_credit),)


def _reason(job: JobRecord) -> str:
    """Why money goes back. A job that we had to drop has failed its customer, whatever its state is called."""
    if job.state is JobState.COMPLETE:
        return "change"
    return str(JobState.FAILED if job.error_message else job.state)


def _trusted(identity: IdentityRecord | None, job: JobRecord, at: int, policy: Policy) -> IdentityRecord | None:
    """The key's row after this end; None where it does not change."""
    if identity is None:
        return None
    match job.state:
        case JobState.COMPLETE:
            # Who paid the eval alone was served free all the same: else the free tier would farm itself.
            charge = Msats(job.charge_eval + job.charge_work) if job.charge_work else ZERO
            return trust.after_success(identity, charge, at, policy.trust)
        case JobState.REJECTED:
            return trust.after_rejection(identity, at, policy.trust)
        case JobState.FAILED:
            return trust.after_failure(identity, at, policy.trust)
        case _:
            return None


def decision(settled: Settled, *tells: Tell, result: str | None = None) -> Decision:
    """A settled job as a decision."""
    return Decision(
        job=settled.job,
        result=result,
        identity=settled.identity,
        reservation=settled.reservation,
        entries=settled.entries,
        reservation_end=settled.reservation_end,
        refunds=settled.back.refunds,
        actions=settled.back.actions,
        tells=tells,
    )


def cost_ledger(job: JobRecord, refunds: tuple[RefundRecord, ...]) -> dict[str, object]:
    """The cost ledger of a job that is complete, in the names HTTP and receipts use; nothing in it is null.

    ``workAmountSats`` is the customer's share of the work price, ``actualAmountSats`` their work charge,
    ``refundAmountSats`` the difference. Beside them: ``costSats``, all that the job cost, is what was charged,
    ``absorbed_sats`` of the pool, and ``shortfallSats`` of our own.
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
        # What a request in a session leaves is in the session again, at once and without a refund of its own.
        "refundState": "paid" if job.session_id and work > charged else shown_state(refunds),
        "costSats": sats_up(Msats(job.charge_eval + job.charge_work + job.shortfall)) + job.absorbed_sats,
        "absorbed_sats": job.absorbed_sats,
        "evalAmountSats": sats_up(job.charge_eval),
        "shortfallSats": sats_up(job.shortfall),
        "poolCreditSats": sats_down(job.pool_credit),
        "refunds": [
            {"amountSats": sats_down(row.amount), "state": str(row.state), "reason": row.reason} for row in refunds
        ],
    }
