"""What a session's money does at the end of a request, and after the session's own end. Pure.

While a session is open, what a request did not use is in it again at once. Once it is closed nothing stays in it:
whatever still comes, late payments too, is on its way back in the same commit, and never ours.
"""

import dataclasses
import hashlib

from ledger import accounts
from ledger.entries import Code, Entry, transfer
from ledger.money import MSATS_PER_SAT, ZERO, Msats, sats_down
from ledger.records import JobRecord, RefundRecord, RefundState
from ledger.sessions import SessionRecord, SessionState
from timmy_dvm.core.case import Do
from timmy_dvm.core.giving_back import Returned, ask, largest
from timmy_dvm.core.policy import Policy

FEE = "fee"
"""The reason of a refund that was set aside for the way of another, and not needed."""


def given_back(session: SessionRecord | None, job: JobRecord, left: Msats, at: int, policy: Policy) -> Returned:
    """Empty the account of a job that a session paid for.

    Raises:
        LookupError: the session is not known, although its request is.
    """
    if session is None:
        raise LookupError("this request is of a session that the ledger does not know")
    if not left:
        return Returned()
    into = accounts.session(session.id)
    back = transfer(f"credit_back:{job.id}", Code.CREDIT_BACK, accounts.job(job.id), into, left)
    if session.state is not SessionState.CLOSED:
        return Returned(entries=(back,), sentence=f"{sats_down(left)} sats are in your session again.")
    rest = swept(session, left, cause=job.id, reason="closed", at=at, policy=policy)
    return dataclasses.replace(rest, entries=(back, *rest.entries))


def swept(session: SessionRecord, amount: Msats, *, cause: str, reason: str, at: int, policy: Policy) -> Returned:
    """All that is in a closed session is owed, as a refund; what is less than a sat goes to the key or the pool.

    A known key has what is small as its own credit, as the change of any job; the rest goes to the address that
    the owner named when they closed it. ``cause`` is what happens once to this session, and makes the ids.
    """
    account, entries = accounts.session(session.id), list[Entry]()
    refund_id = hashlib.sha256(f"refund:session:{session.id}:{cause}".encode()).hexdigest()[:32]
    dust = Msats(amount % MSATS_PER_SAT)
    if dust:
        home = accounts.customer(session.pubkey) if session.pubkey else accounts.POOL
        entries.append(transfer(f"dust:{refund_id}", Code.DUST, account, home, dust))
    whole = Msats(amount - dust)
    if not whole:
        return Returned(entries=tuple(entries))
    is_small = session.pubkey is not None and whole < policy.credit_below
    # What the way did not cost would pay for no way of its own.
    sendable = ZERO if is_small or reason == FEE else largest(whole, policy)
    can_go = session.refund_to is not None and sendable > 0
    waits = RefundState.OWED if can_go else RefundState.HELD
    row = RefundRecord(
        id=refund_id,
        version=0,
        job_id=None,
        pubkey=None,
        amount=whole,
        reason=reason,
        state=RefundState.CREDITED if is_small else waits,
        created_at=at,
        updated_at=at,
        session_id=session.id,
        target=session.refund_to if can_go else None,
        kept_for_way=Msats(whole - sendable) if sendable else ZERO,
    )
    refund = accounts.refund(row.id)
    entries.append(transfer(f"owed:{row.id}", Code.OWED, account, refund, whole, reason))
    if is_small and session.pubkey is not None:
        home = accounts.customer(session.pubkey)
        entries.append(transfer(f"credited:{row.id}", Code.CREDITED, refund, home, whole))
        words = f"{sats_down(whole)} sats are credit of your public key now."
    elif can_go:
        words = f"{sats_down(whole)} sats, less what the way costs, go to the address you named."
    else:
        words = (
            f"{sats_down(whole)} sats are held for you: to have them send DELETE once more, with `invoice` or "
            "`refundAddress`, or withdraw them with any wallet (LNURL)."
        )
    asks = (Do(ask(row)),) if row.state is RefundState.OWED else ()
    return Returned((row,), tuple(entries), words, asks)
