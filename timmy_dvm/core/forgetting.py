"""A key wants its texts erased: requests, answers, reasons, and what was published of them. Pure.

The books stay: who paid what and when is neither text nor the customer's alone. Texts are still needed while
something is open or owed, for whoever is to be told of it is known from them; so the key is told what comes first.
Credit is no reason to wait: it is the key's own, under its name, and needs no text.
"""

from ledger.credit import FORGOTTEN_AT_ONCE, Unfinished
from ledger.money import sats_up
from timmy_dvm.core.actions import OperationDone, Refused
from timmy_dvm.core.case import Case, Decision, Tell
from timmy_dvm.core.credit_facts import ForgetAsked


def asked(case: Case, fact: ForgetAsked) -> Decision:
    """Erase all of it, or nothing and say why. A key with very many jobs asks again; others find nothing left."""
    first = what_comes_first(case.unfinished, fact.at)
    if first:
        sentence = f"Nothing is forgotten yet. First: {'; '.join(first)}. Then ask again."
        return Decision(tells=(Tell(Refused(code="not_yet", sentence=sentence), fact.origin),))
    count = min(case.remembered, FORGOTTEN_AT_ONCE)
    done = OperationDone(
        body={"op": "forget", "forgottenJobs": count, "moreJobs": case.remembered > FORGOTTEN_AT_ONCE}
    )
    return Decision(forget=fact.pubkey, tells=(Tell(done, fact.origin),))


def what_comes_first(left: Unfinished, at: int) -> list[str]:
    """What has to be over before a key can be forgotten, each with what to do about it."""
    first = []
    if left.jobs:
        first.append(f"{_of(left.jobs, 'request')} of yours must end, or be cancelled (kind 5)")
    if left.topups:
        first.append(f"{_of(left.topups, 'top-up')} of yours must be paid or run out, or be cancelled (kind 5)")
    if left.owed:
        first.append(f"{sats_up(left.owed)} sats are on their way back: claim them (op refund), or wait for them")
    if left.payable_until is not None:
        minutes = max(1, -(-(left.payable_until - at) // 60))
        first.append(f"an invoice of yours can still be paid: wait {_of(minutes, 'minute')} until it has run out")
    return first


def _of(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
