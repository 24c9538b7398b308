"""Money on its way back begins here: one amount, one row, one account. Pure.

A finished job whose account is not empty owes what is in it. Overpaid, late, paid twice, rejected, failed and
cheaper than quoted are all this one path. Ways back, in order: what came from credit and anything below ten
sats for a known key becomes credit at once; the rest goes to the address the customer named, else to that of their
profile (``core.sending``); else it is held until the customer claims it.
"""

import hashlib
from dataclasses import dataclass

from ledger import accounts
from ledger.entries import Code, Entry, transfer
from ledger.money import MSATS_PER_SAT, ZERO, Msats, msats_from_sats, sats_down, sats_up
from ledger.records import JobRecord, JobState, RefundRecord, RefundState
from timmy_dvm.core.actions import AskForInvoice
from timmy_dvm.core.case import Do
from timmy_dvm.core.policy import Policy

CLAIM_BY = "(op refund)"
"""How a sentence names the way to claim at the relay door; a door with another way puts its own in this place."""
PROFILE = "profile"
"""The target of a refund that goes to whatever address the customer's profile names when it is sent."""
NO_TARGET = "none"
"""What a customer writes who wants to claim change, and have it go nowhere by itself."""


_GOES_OUT = frozenset({RefundState.OWED, RefundState.HELD})


@dataclass(frozen=True, slots=True)
class Returned:
    """What goes back, and the words for it: empty where nothing does."""

    refunds: tuple[RefundRecord, ...] = ()
    entries: tuple[Entry, ...] = ()
    sentence: str = ""
    actions: tuple[Do, ...] = ()


def give_back(
    job: JobRecord, left: Msats, *, from_credit: Msats, reason: str, cause: str, at: int, policy: Policy
) -> Returned:
    """Empty a job's account: ``left`` msat, of which ``from_credit`` came from the key's credit.

    ``cause`` is what happens once to this job: its ``end``, or the hash of a payment that came after it. It makes
    the ids, so two late payments never book under one. Nobody who does not know the job's id can guess them.
    """
    refunds: list[RefundRecord] = []
    entries: list[Entry] = []
    # Never at our cost, however late it was paid: else ask-and-cancel would pump fees out of us.
    is_cancelled = job.state is JobState.CANCELLED and not job.error_message
    kept = ZERO if is_cancelled else job.charge_eval + job.charge_work - job.pool_credit
    pays_its_way = is_cancelled and job.pubkey is not None

    def returns(amount: Msats, state: RefundState, why: str, target: str | None = None) -> None:
        row = RefundRecord(
            id=_refund_id(job.id, cause, len(refunds)),
            version=0,
            job_id=job.id,
            pubkey=job.pubkey,
            amount=amount,
            reason=why,
            state=state,
            kept_fee_room=Msats(kept),
            created_at=at,
            updated_at=at,
            target=target,
            kept_for_way=Msats(amount - largest(amount, policy)) if pays_its_way and state in _GOES_OUT else ZERO,
        )
        refunds.append(row)
        entries.append(
            transfer(f"owed:{row.id}", Code.OWED, accounts.job(job.id), accounts.refund(row.id), amount, why)
        )
        if state is RefundState.CREDITED:
            entries.append(credited(row))

    credit = Msats(min(left, from_credit) if job.pubkey else 0)
    if credit:
        returns(credit, RefundState.CREDITED, "credit")
    rest = Msats(left - credit)
    dust = Msats(rest % MSATS_PER_SAT)
    if dust:
        home = accounts.customer(job.pubkey) if job.pubkey else accounts.POOL
        entry_id = f"dust:{job.id}:{cause}"
        entries.append(transfer(entry_id, Code.DUST, accounts.job(job.id), home, dust))
    if whole := Msats(rest - dust):
        small = job.pubkey is not None and whole < policy.credit_below
        target = None if small else _target(job, policy)
        waits = RefundState.HELD if target is None else RefundState.OWED
        returns(whole, RefundState.CREDITED if small else waits, reason, target)
    asks = tuple(Do(ask(row)) for row in refunds if row.state is RefundState.OWED)
    return Returned(tuple(refunds), tuple(entries), _words(refunds), asks)


def _target(job: JobRecord, policy: Policy) -> str | None:
    """Where a job's change goes by itself, or None."""
    if job.refund_to is not None:
        return None if job.refund_to.lower() == NO_TARGET else job.refund_to
    return PROFILE if policy.asks_profiles and job.pubkey is not None else None


def ask(row: RefundRecord) -> AskForInvoice:
    """The question to where a refund goes.

    Raises:
        ValueError: it goes nowhere by itself.
    """
    if row.target is None:
        raise ValueError("a refund without an address has nobody to ask")
    return AskForInvoice(
        refund_id=row.id,
        attempts=row.attempts,
        amount=row.sendable,
        address=None if row.target == PROFILE else row.target,
        pubkey=row.pubkey,
    )


def _refund_id(job_id: str, cause: str, number: int) -> str:
    return hashlib.sha256(f"refund:{job_id}:{cause}:{number}".encode()).hexdigest()[:32]


def largest(held: Msats, policy: Policy) -> Msats:
    """The largest sum in whole sats that can be sent out of a sum with its fee cap beside it; 0 where none can."""
    # With the reserve at 1 %, rounded up, and at least 2 sats: sum + reserve <= held holds for exactly these.
    bound = min(held - policy.fee_reserve(ZERO), 100 * held // 101)
    return msats_from_sats(sats_down(Msats(max(0, bound))))


def claimable(amount: Msats, policy: Policy) -> Msats:
    """For how much a BOLT11 must be that claims a held rest: less what is kept for the way, where that fits."""
    return largest(amount, policy) or Msats(amount - amount % MSATS_PER_SAT)


def withdrawable(row: RefundRecord, policy: Policy) -> Msats:
    """Of how much a BOLT11 must be that has a refund; the rest of a session pays its own way."""
    return row.sendable if row.session_id is None else claimable(row.amount, policy)


def entries_when_sent(row: RefundRecord, fee: Msats) -> tuple[Entry, ...]:
    """The sum has left our wallet, at a cost of ``fee`` msat.

    Where it pays its own way, what the way cost leaves with it, and what it did not cost is credit. More than the
    cap was never the customer's to pay.
    """
    refund = accounts.refund(row.id)
    from_sum = Msats(min(fee, row.max_fee)) if row.pays_its_way else ZERO
    entries = [transfer(f"sent:{row.id}", Code.SENT, refund, accounts.NODE, row.invoiced)]
    if from_sum:
        entries.append(transfer(f"fee:{row.id}", Code.ROUTING, refund, accounts.NODE, from_sum))
    if ours := Msats(fee - from_sum):
        named = f"overfee:{row.id}" if row.pays_its_way else f"fee:{row.id}"
        entries.append(transfer(named, Code.ROUTING, accounts.ROUTING_FEES, accounts.NODE, ours))
    if row.pays_its_way and (rest := Msats(row.max_fee - from_sum)):
        entries.append(credited(row, rest))
    return tuple(entries)


def credited(row: RefundRecord, amount: Msats | None = None) -> Entry:
    """``refund → customer``: it, or ``amount`` of it, is credit now.

    Raises:
        ValueError: there is no key that could have it.
    """
    if row.pubkey is None:
        raise ValueError("only a key has credit")
    return transfer(
        f"credited:{row.id}",
        Code.CREDITED,
        accounts.refund(row.id),
        accounts.customer(row.pubkey),
        row.amount if amount is None else amount,
    )


def _words(refunds: list[RefundRecord]) -> str:
    credited = Msats(sum(r.amount for r in refunds if r.state is RefundState.CREDITED))
    words = []
    if credited:
        words.append(f"{sats_down(credited)} sats came back as credit for your next request.")
    words += [_waits(row) for row in refunds if row.state is RefundState.HELD]
    words += [_on_its_way(row) for row in refunds if row.state is RefundState.OWED]
    return " ".join(words)


def its_way(row: RefundRecord) -> str:
    """What is kept for the way of a refund that pays it itself, as one more sentence; else nothing."""
    kept = sats_up(row.kept_for_way)
    return (
        f" Up to {kept} more of your sats pay for the way; what it does not cost becomes credit." if kept else ""
    )


def _waits(row: RefundRecord) -> str:
    sats, way = sats_down(row.sendable), its_way(row)
    return f"{sats} sats are yours: claim them with a BOLT11 invoice for exactly that sum {CLAIM_BY}.{way}"


def _on_its_way(row: RefundRecord) -> str:
    sats, way = sats_down(row.sendable), its_way(row)
    if row.target == PROFILE:
        return (
            f"{sats} sats go back to your profile's Lightning address. Without one they are yours to claim "
            f"with a BOLT11 invoice for exactly that sum {CLAIM_BY}.{way}"
        )
    return f"{sats} sats go back to {place(row)}.{way}"


def place(row: RefundRecord) -> str:
    """Where a refund goes, to its customer. The address itself is not said: an answer may be read by all."""
    if row.target is None:
        return "your invoice"
    return "your profile's Lightning address" if row.target == PROFILE else "the address you named"
