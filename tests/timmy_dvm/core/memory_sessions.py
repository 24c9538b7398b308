"""The part of the ledger in a dictionary that holds sessions."""

import dataclasses

from ledger import accounts
from ledger.money import Msats
from timmy_dvm.core.case import Case
from timmy_dvm.core.facts import Fact, PaymentOut, RequestReceived
from timmy_dvm.core.refund_facts import RefundWithdrawn
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked, SessionIdle, SessionTopUpAsked


class MemorySessions:
    """What the memory ledger is beside its jobs and its keys' credit; it has what those have."""

    def __init__(self) -> None:
        self.sessions = {}

    def write_session(self, session) -> None:
        if session is None:
            return
        old = self.sessions.get(session.id)
        self.sessions[session.id] = self._next_version(old, session)
        if old is not None:
            self.steps.append(("session", old.state, session.state))

    def around_session(self, fact: Fact) -> Case | None:
        """The books around a fact about a session; None where it is about something else."""
        match fact:
            case RequestReceived() if fact.session_id is not None:
                return self._of(fact.session_id)
            case PaymentOut() if (row := self.refunds[fact.refund_id]).session_id is not None:
                return dataclasses.replace(self._of(row.session_id), refund=row)
            case RefundWithdrawn() if (row := self.refunds[fact.refund_id]).session_id is not None:
                return dataclasses.replace(
                    self._of(row.session_id),
                    refund=row,
                    hash_is_ours=fact.payment_hash in self.invoices,
                    hash_is_used=fact.payment_hash in self.tried,
                )
            case SessionAsked():
                return Case(identity=self.identities.get(fact.pubkey), open_invoices=len(self.waiting_topups()))
            case SessionTopUpAsked() | SessionIdle():
                return self._of(fact.session_id)
            case SessionCloseAsked():
                return dataclasses.replace(
                    self._of(fact.session_id),
                    payouts=tuple(self.refunds_of_session(fact.session_id)),
                    hash_is_ours=fact.payment_hash in self.invoices,
                    hash_is_used=fact.payment_hash in self.tried,
                )
        return None

    def with_session_of(self, case: Case) -> Case:
        """A case around a top-up, with the session that it fills."""
        if case.topup is None or accounts.family(case.topup.account) != "session":
            return case
        around = self._of(accounts.owner(case.topup.account))
        return dataclasses.replace(around, topup=case.topup, invoice=case.invoice)

    def _of(self, session_id: str) -> Case:
        session = self.sessions.get(session_id)
        if session is None:
            return Case()
        account = accounts.session(session_id)
        return Case(
            session=session,
            credit=Msats(self.balances[account]),
            identity=self.identities.get(session.pubkey),
            topups=tuple(
                (topup, self.invoices.get(topup.payment_hash))
                for topup in self.waiting_topups() if topup.account == account
            ),
        )  # fmt: skip

    def refunds_of_session(self, session_id: str) -> list:
        return [row for row in self.refunds.values() if row.session_id == session_id]
