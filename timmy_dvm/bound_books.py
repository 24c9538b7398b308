"""What bounds the pool beside its own books, read where the operator set such a bound, and not otherwise.

Read inside the ledger's writing transaction, like all that the engine loads. Each of these is a sum over rows of
an index of its own; whoever sets no bound pays for none of them.
"""

import dataclasses

from ledger.store import View
from timmy_dvm.core.case import Case
from timmy_dvm.core.facts import EvalDone, Fact, PaymentSeen, QuestionAsked, RequestReceived, WorkDone
from timmy_dvm.core.policy import Policy


def bounded(view: View, case: Case, fact: Fact, policy: Policy) -> Case:
    """The case with what bounds the key it is about."""
    match fact:
        case RequestReceived() | QuestionAsked() | PaymentSeen() | EvalDone() | WorkDone():
            return _for_key(view, case, key_of(case, fact), policy)
        case _:
            return case


def key_of(case: Case, fact: Fact) -> str | None:
    """Whose job it is, or whose session, or else who asks."""
    if case.job is not None:
        return case.job.pubkey
    if case.session is not None:
        return case.session.pubkey
    return fact.pubkey if isinstance(fact, RequestReceived | QuestionAsked) else None


def _for_key(view: View, case: Case, pubkey: str | None, policy: Policy) -> Case:
    if pubkey is None or not policy.lifetime_factor:
        return case
    return dataclasses.replace(case, granted_to_key=view.granted_to(pubkey), kept_of_key=view.fees_kept_of(pubkey))
