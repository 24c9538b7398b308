"""Why a request is refused, and what to do about it. Pure.

Every refusal is a sentence that ends in a next step; its code is a stable word for programs.
"""

import unicodedata
from typing import Final

from ledger.money import Msats, sats_up
from ledger.records import Door
from timmy_dvm.core.actions import Refused
from timmy_dvm.core.case import Case
from timmy_dvm.core.facts import QuestionAsked, RequestReceived
from timmy_dvm.core.policy import Policy

_CANCELS_PER_PLACE: Final = 4
"""A key may cancel this many requests an hour for each that it may leave unpaid."""

_EMPTY: Final = {
    Door.NOSTR: "There is no request text: put it in an i tag of type text, or in content.",
    Door.HTTP: "There is no request text: put it in `request`.",
}
_SEEN: Final = frozenset("LNPS")
"""Letters, numbers, punctuation, symbols: what Unicode's general categories call by these begins to be seen."""
_FILLERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols by category, and nothing to the eye: Hangul's fillers, and Braille without a dot."""


def _is_blank(text: str) -> bool:
    """Whether nothing in a text can be seen: white space, control characters, marks on nothing."""
    return not any(unicodedata.category(each)[0] in _SEEN and each not in _FILLERS for each in text)


def has_paid(case: Case) -> bool:
    """Whether this key has paid for a job before."""
    return case.identity is not None and case.identity.paid_jobs > 0


def no_request(text: str, door: Door, policy: Policy) -> Refused | None:
    """Why a text is nothing to ask: there is none, or too much of it."""
    limit = policy.request_chars(door)
    if _is_blank(text):
        return Refused(code="empty", sentence=_EMPTY[door])
    if len(text) > limit:
        sentence = f"The request has {len(text)} characters; the limit is {limit}. Please shorten it."
        return Refused(code="too_long", sentence=sentence)
    return None


def no_price(case: Case, fact: RequestReceived | QuestionAsked, policy: Policy) -> Refused | None:
    """Why a text can't be priced, with what to do about it; None where it can."""
    if (refusal := no_request(fact.text[fact.preface_chars :], fact.door, policy)) is not None:
        return refusal
    if fact.max_tokens is not None and fact.max_tokens < 1:
        return Refused(code="bad_param", sentence="max_tokens must be a whole number above 0, or be left out.")
    if fact.follows is not None and not case.turns:
        sentence = "What you go on from is not an answer to you, or was forgotten: ask anew, without naming it."
        return Refused(code="no_thread", sentence=sentence)
    return None


def before_pricing(case: Case, fact: RequestReceived, policy: Policy) -> Refused | None:
    """What is wrong with the request itself, with what to do about it; None where nothing is."""
    if (refusal := no_price(case, fact, policy)) is not None:
        return refusal
    if fact.expires_at is not None and fact.expires_at < fact.at + policy.shortest_invoice_s:
        sentence = "Your request expires before it could be paid: ask again with a later expiration, or none."
        return Refused(code="expires_too_soon", sentence=sentence)
    return too_often(case, policy) or too_little_work(case, fact, policy)


def too_little_work(case: Case, fact: RequestReceived, policy: Policy) -> Refused | None:
    """A key that never paid must show that its request cost it something; what it has as credit it paid for."""
    wanted = policy.min_work_bits if fact.door is Door.NOSTR else 0
    if fact.work_bits >= wanted or has_paid(case) or case.credit:
        return None
    sentence = (
        f"A request of a new key needs a proof of work of {wanted} bits here (NIP-13), and this one shows "
        f"{fact.work_bits}: mine its event id to a nonce tag that commits to {wanted}, sign it, and ask again."
    )
    return Refused(code="pow", sentence=sentence)


def too_often(case: Case, policy: Policy) -> Refused | None:
    """This key has asked for too much within a minute."""
    if case.jobs_last_minute < policy.jobs_per_key_minute:
        return None
    sentence = f"{policy.jobs_per_key_minute} requests a minute are the limit for one key: wait a minute."
    return Refused(code="rate_limited", sentence=sentence)


def to_wait(case: Case, policy: Policy) -> Refused | None:
    """Too many jobs wait for money already: this key's, or everybody's. Half of all is for keys that paid."""
    if case.open_jobs >= policy.open_jobs_per_key:
        sentence = f"You have {case.open_jobs} unpaid requests here: pay or cancel one, or wait until one expires."
        return Refused(code="too_many_open", sentence=sentence)
    if case.cancelled_last_hour >= _CANCELS_PER_PLACE * policy.open_jobs_per_key:
        # Their invoices can still be paid, and our wallet watches each to its end.
        sentence = "You have cancelled many requests within an hour: ask again when their invoices have expired."
        return Refused(code="too_many_cancelled", sentence=sentence)
    room = policy.open_invoices if has_paid(case) else policy.open_invoices // 2
    if case.open_invoices >= room:
        return Refused(
            code="busy", sentence="Too many requests wait for payment just now: ask again in 10 minutes."
        )
    return None


def underbid(due: Msats) -> Refused:
    """A bid below what would be due now; the sentence names it."""
    sentence = (
        f"Your bid is below the price: {sats_up(due)} sats ({due} msat). Ask again with that bid, or without one."
    )
    return Refused(code="underbid", sentence=sentence)
