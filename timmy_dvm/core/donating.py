"""A gift to the pool: an invoice without a job, and whatever comes for it goes to the pool, whole. Pure.

It is a top-up of the pool (``credit``): paid too little, too much or late, what came is booked once for each
payment hash, ``node → pool``. Nobody gets a gift back, for the pool pays nobody; and gifts that wait for payment
have places of their own, so that no crowd of givers keeps a customer out.
"""

import msgspec

from ledger import accounts
from ledger.credit import TopUpRecord
from ledger.money import MSATS_PER_SAT, sats_down
from ledger.records import Door
from timmy_dvm.core.actions import Refused
from timmy_dvm.core.case import Case, Decision, Do, Tell
from timmy_dvm.core.credit import invoice_of
from timmy_dvm.core.donation_facts import DonationAsked
from timmy_dvm.core.policy import Policy

_NOWHERE = ""
"""Whoever asked waits at the door: no event answers them."""


def asked(case: Case, fact: DonationAsked, policy: Policy) -> Decision:
    """Somebody wants to give: refuse it, or have an invoice made."""
    refusal = _why_not(case, fact, policy)
    if refusal is not None:
        return Decision(tells=(Tell(refusal, _NOWHERE),))
    row = TopUpRecord(
        id=fact.topup_id,
        event_id=None,
        account=accounts.POOL,
        pubkey=fact.donor,
        amount=fact.amount,
        origin=fact.origin,
        created_at=fact.at,
    )
    wanted = invoice_of(row, Door.HTTP, fact.at, policy)
    committed = msgspec.structs.replace(wanted, description_hash=fact.description_hash)
    return Decision(topups=(row,), actions=(Do(committed),))


def _why_not(case: Case, fact: DonationAsked, policy: Policy) -> Refused | None:
    if not MSATS_PER_SAT <= fact.amount <= policy.topup_max or fact.amount % MSATS_PER_SAT:
        most = sats_down(policy.topup_max)
        return Refused(code="topup_amount", sentence=f"A gift to the pool is of 1 to {most:,} whole sats.")
    if case.open_donations >= policy.open_donations:
        sentence = "Many gifts wait to be paid just now: try again in 10 minutes."
        return Refused(code="busy", sentence=sentence)
    return None
