"""Pool money on its way through a job: set aside when the job starts, granted or given back when it ends. Pure.

A job that waits for payment holds nothing of the pool, so an invoice nobody pays costs it nothing. What was
offered is judged again when the job starts, by the pool and the day of that moment; the customer's share stays.
"""

import dataclasses
from dataclasses import dataclass

import msgspec

from ledger import accounts
from ledger.entries import Code, Entry, transfer
from ledger.money import ZERO, Msats, msats_from_sats, sats_down, sats_up
from ledger.records import JobRecord
from ledger.reservations import NewReservation, ReservationEnd
from timmy_dvm.core import free_tier, spending, trust
from timmy_dvm.core.actions import FreeUse, Working
from timmy_dvm.core.case import Case, Decision, Tell
from timmy_dvm.core.free_tier import Standing
from timmy_dvm.core.policy import Policy


def granted_today(case: Case, at: int) -> Msats:
    """What the key was granted since midnight UTC."""
    row = case.identity
    if row is None or row.absorbed_reset_at < at - at % trust.DAY_S:
        return ZERO
    return msats_from_sats(row.sats_absorbed_today)


def standing(case: Case, pubkey: str | None, at: int, policy: Policy) -> Standing:
    """How a key stands with the pool. Whoever has no key, or was never here, stands as such."""
    known = None if pubkey is None else trust.met(case.identity, pubkey, at)
    tier = trust.higher(trust.tier(known, at, policy.trust), case.lifted)
    if spending.is_spent(case, policy):
        return Standing(tier=tier, budget=ZERO, used=ZERO, pool=ZERO)
    return Standing(
        tier=tier,
        budget=policy.daily_budgets.of(tier),
        used=Msats(granted_today(case, at) + case.reserved_of_key),
        offered=case.offered_to_key,
        pool=case.pool,
        lifetime=_lifetime(case, policy),
        welcome=_welcome(case, policy) if tier is trust.Tier.NEW else ZERO,
    )


def _lifetime(case: Case, policy: Policy) -> Msats | None:
    """What a key may still draw in its life: so many times what its jobs left us, less all that it drew."""
    if not policy.lifetime_factor:
        return None
    return Msats(policy.lifetime_factor * case.kept_of_key - case.granted_to_key - case.reserved_of_key)


def why(case: Case, pubkey: str | None, at: int, policy: Policy) -> str:
    """What the pool gives a key, in words: its tier, and what bounds it besides."""
    if pubkey is None:
        return "Nobody without a key has a tier, and nothing is free for them: ask with a Nostr key."
    known = trust.met(case.identity, pubkey, at)
    told = trust.why(known, at, policy.trust, case.raised, case.lowered)
    own = trust.tier(known, at, policy.trust)
    if (treated_as := trust.higher(own, case.lifted)) is not own:
        told = f"{told} Others speak for this key: the pool's budget of the day is that of {treated_as} keys."
    if not policy.lifetime_factor:
        return told
    most, drawn = policy.lifetime_factor * case.kept_of_key, case.granted_to_key + case.reserved_of_key
    times = "" if policy.lifetime_factor == 1 else f"{policy.lifetime_factor} times "
    return (
        f"{told} In all its life the pool gives a key {times}what its paid answers left us, here "
        f"{sats_down(Msats(most))} sats; {sats_up(Msats(drawn))} of them are drawn."
    )


def _welcome(case: Case, policy: Policy) -> Msats:
    """What a new key may have as its one free answer: nothing where it had it, or the operator gives none."""
    if policy.newcomers is None or case.drew_before:
        return ZERO
    return policy.newcomers.room(case.pool, case.newcomers_today)


def starts(case: Case, decision: Decision, at: int, policy: Policy) -> Decision:
    """``decision`` starts a job, a new one or one that was paid: set aside what the pool offered for it.

    As far as the pool still can. Where it can't, the work is done all the same, for the customer never pays above
    the invoice; what lacks is our own loss.
    """
    job = decision.new_job or decision.job
    wanted = ZERO if job is None else free_tier.offered(job.quote, job.share_eval, job.share_work)
    if job is None or not wanted:
        return decision
    stands = standing(case, job.pubkey, at, policy)
    amount = stands.may_have(wanted)
    if not amount:
        return _with_job(decision, ZERO)
    entry = transfer(f"reserved:{job.id}", Code.RESERVED, accounts.POOL, accounts.reserved(job.id), amount)
    budget = max(stands.budget, stands.welcome)
    use = FreeUse(absorbed=amount, used=Msats(stands.used + amount), budget=budget)
    return dataclasses.replace(
        _with_job(decision, amount),
        # Written although it says nothing new: its version tells apart two jobs of one key that start at once.
        identity=decision.identity or case.identity,
        reservation=NewReservation(job_id=job.id, tier=str(stands.tier), budget=budget, amount=amount, at=at),
        entries=(*decision.entries, entry),
        tells=tuple(_with_use(tell, use) for tell in decision.tells),
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is set aside only when the work is done: its row, and the entry that fills it."""

    amount: Msats = ZERO
    reservation: NewReservation | None = None
    entries: tuple[Entry, ...] = ()


def when_done(case: Case, job: JobRecord, cost: Msats, at: int, policy: Policy) -> Drawn:
    """A session's request to which the pool offered a part, which is set aside now, as far as it still can."""
    price = job.quote.eval_fee + job.quote.work_fee
    if job.session_id is None or case.reserved or price <= job.credit_used:
        return Drawn()
    stands = standing(case, job.pubkey, at, policy)
    amount = stands.may_have(Msats(min(cost, price - job.credit_used)))
    if not amount:
        return Drawn()
    entry = transfer(f"reserved:{job.id}", Code.RESERVED, accounts.POOL, accounts.reserved(job.id), amount)
    row = NewReservation(
        job_id=job.id, tier=str(stands.tier), budget=max(stands.budget, stands.welcome), amount=amount, at=at
    )
    return Drawn(amount, row, (entry,))


def _with_job(decision: Decision, amount: Msats) -> Decision:
    """The decision, its job with what was set aside; without it, the job is one like any other."""
    new_job, job, sats = decision.new_job, decision.job, sats_down(amount)
    return dataclasses.replace(
        decision,
        new_job=new_job and dataclasses.replace(new_job, free_tier=bool(amount), absorbed_sats=sats),
        job=job and dataclasses.replace(job, free_tier=bool(amount), absorbed_sats=sats),
    )


def _with_use(tell: Tell, use: FreeUse) -> Tell:
    if not isinstance(tell.message, Working):
        return tell
    return dataclasses.replace(tell, message=msgspec.structs.replace(tell.message, free=use))


def given_back(job: JobRecord, left: Msats) -> tuple[Entry, ...]:
    """What of a job's reservation was not granted returns to the pool."""
    if not left:
        return ()
    return (transfer(f"released:{job.id}", Code.RELEASED, accounts.reserved(job.id), accounts.POOL, left),)


def end(job: JobRecord, reserved: Msats, grant: Msats, at: int) -> ReservationEnd | None:
    """The end of a job's reservation; None where it has none."""
    return ReservationEnd(job_id=job.id, granted=grant, at=at) if reserved else None
