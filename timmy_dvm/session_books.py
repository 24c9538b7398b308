"""The books around a fact about a session: its credit, its top-up that waits, and what of it is on its way back.

Read inside the ledger's writing transaction, like all that the engine loads; only what the fact's decision needs.
"""

import dataclasses

from ledger import accounts
from ledger.store import View
from timmy_dvm.core.case import Case
from timmy_dvm.core.facts import Fact
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked, SessionIdle, SessionTopUpAsked


def load(view: View, fact: Fact) -> Case | None:
    """The books around a fact about a session; None where it is about something else."""
    match fact:
        case SessionAsked():
            identity = None if fact.pubkey is None else view.identity(fact.pubkey)
            return _with_open_ones(view, Case(identity=identity), fact.pubkey)
        case SessionTopUpAsked():
            case = around(view, fact.session_id)
            return _with_open_ones(view, case, None if case.session is None else case.session.pubkey)
        case SessionCloseAsked():
            return dataclasses.replace(
                around(view, fact.session_id),
                payouts=tuple(view.refunds_of_session(fact.session_id)),
                hash_is_ours=view.invoice(fact.payment_hash) is not None,
                hash_is_used=view.payment_is_known(fact.payment_hash),
            )
        case SessionIdle():
            return around(view, fact.session_id)
        case _:
            return None


def _with_open_ones(view: View, case: Case, pubkey: str | None) -> Case:
    """What waits for payment already: everybody's, and all of the key's where the session has one."""
    mine = 0 if pubkey is None else view.open_jobs_of(pubkey) + view.open_topups_of_sessions(pubkey)
    return dataclasses.replace(case, open_jobs=mine, open_invoices=view.open_invoices())


def around(view: View, session_id: str) -> Case:
    """A session, what is in it, and the top-up it waits for; nothing where there is no such session."""
    session = view.session(session_id)
    if session is None:
        return Case()
    waiting = view.open_topup_of(session_id)
    invoice = None if waiting is None else view.invoice(waiting.payment_hash or "")
    return Case(
        session=session,
        credit=view.balance(accounts.session(session_id)),
        identity=None if session.pubkey is None else view.identity(session.pubkey),
        topups=() if waiting is None else ((waiting, invoice),),
    )
