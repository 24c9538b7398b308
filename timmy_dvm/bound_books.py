"""What bounds the pool beside its own books, read where the operator set such a bound, and not otherwise.

Read inside the ledger's writing transaction, like all that the engine loads. Each of these is a sum over rows of
an index of its own; whoever sets no bound pays for none of them.
"""

import dataclasses

from ledger.money import MicroUsd
from ledger.store import View
from timmy_dvm.core import spending, trust
from timmy_dvm.core.case import Case
from timmy_dvm.core.facts import EvalDone, Fact, PaymentSeen, QuestionAsked, RequestReceived, WorkDone
from timmy_dvm.core.policy import Policy


def bounded(view: View, case: Case, fact: Fact, policy: Policy) -> Case:
    """The case with what bounds the key it is about."""
    if isinstance(fact, RequestReceived | QuestionAsked | EvalDone) and policy.model_micro_usd_per_day:
        # Not where money came: what the pool offered for a job that is paid now stands.
        case = dataclasses.replace(case, model_cost_today=_model_cost(view, case, fact, policy))
    match fact:
        case RequestReceived() | QuestionAsked() | PaymentSeen() | EvalDone() | WorkDone():
            return _for_key(view, case, key_of(case, fact), policy)
        case _:
            return case


def _model_cost(
    view: View, case: Case, fact: RequestReceived | QuestionAsked | EvalDone, policy: Policy
) -> MicroUsd:
    if not isinstance(fact, EvalDone):
        btc = fact.btc.micro_usd
    elif case.job is not None:
        btc = case.job.quote.btc_price_micro_usd
    else:
        return MicroUsd(0)
    use = view.model_use_since(fact.at - fact.at % trust.DAY_S)
    return spending.cost(use, policy.prices, policy.eval_model, btc)


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
