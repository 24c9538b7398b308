"""People who hold sessions, beside everything else that can happen: they pay too little or late, ask much at once,
close in the middle of it, and the pool runs dry behind their backs.

The machine of ``test_decide_properties`` with some rules more. All its promises hold, and what is in a session is
what came for it, less what its requests took and did not give back, less what left.
"""

import dataclasses

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from ledger import accounts
from ledger.money import Msats
from ledger.records import Door, InvoiceState, JobState, Mode, RefundState
from ledger.sessions import SessionState
from tests.timmy_dvm.core.builders import KEY, STRANGER, sats
from tests.timmy_dvm.core.test_decide_properties import ARROWS, Timmy
from tests.timmy_dvm.core.test_transitions import SESSION_PAGE, pairs_of
from tests.timmy_dvm.core.world import ENDS, PAYS, PICK, PRICE, SENDS, TEXTS
from timmy_dvm.core.actions import CloseIdleSession
from timmy_dvm.core.facts import RequestReceived
from timmy_dvm.core.giving_back import claimable, largest
from timmy_dvm.core.refund_facts import RefundWithdrawn
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked, SessionIdle, SessionTopUpAsked

WHO = st.sampled_from([KEY, STRANGER, None])
SESSION_ARROWS = {("session", *pair) for pair in pairs_of(SESSION_PAGE)}


class TimmyWithSessions(Timmy):
    """The world with people who keep a session here."""

    @rule(pubkey=WHO, amount=st.sampled_from([99, 100, 300, 1_000_001]))
    def open_session(self, pubkey, amount):
        n = self.fresh()
        fact = SessionAsked(
            session_id=f"5{n:031x}", topup_id=f"7{n:031x}", pubkey=pubkey, amount=sats(amount), at=self.now
        )
        decision = self.ledger.commit(fact)
        assert (decision.session is None) == bool(decision.tells)
        assert decision.session is None or amount in (100, 300)

    @rule(pubkey=WHO, amount=st.sampled_from([100, 300]), **PAYS)
    def open_and_pay(self, pubkey, amount, percent, msat):
        """What most people do, so that the machine gets somewhere."""
        self.open_session(pubkey, amount)
        self.what_waits_goes_well(3)
        if self.unpaid_hashes():
            self.pay(-1, percent, msat, True)

    @precondition(lambda self: self.ledger.sessions)
    @rule(pick=PICK, amount=st.sampled_from([1, 100]), life=st.sampled_from([1, 60]), pays=st.booleans(), **PAYS)
    def top_up(self, pick, amount, life, pays, percent, msat):
        session = self.picked(self.ledger.sessions.values(), pick)
        fact = SessionTopUpAsked(
            session_id=session.id, topup_id=f"7{self.fresh():031x}", amount=sats(amount), at=self.now, life_s=life
        )
        decision = self.ledger.commit(fact)
        assert bool(decision.topups) != bool(decision.tells)
        if pays and decision.topups:
            self.what_waits_goes_well(3)
            if self.unpaid_hashes():
                self.pay(-1, percent, msat, True)

    @precondition(lambda self: self.ledger.sessions)
    @rule(pick=PICK, text=st.sampled_from(list(TEXTS)), at_once=st.integers(1, 4))
    def request(self, pick, text, at_once):
        session = self.picked(self.ledger.sessions.values(), pick)
        for _ in range(at_once):
            before = self.ledger.balances[accounts.session(session.id)]
            fact = RequestReceived(
                job_id=f"{self.fresh():032x}", door=Door.HTTP, mode=Mode.ONCE, event_id=None, pubkey=None,
                text=TEXTS[text], origin="", btc=PRICE, asked_at=self.now, at=self.now, session_id=session.id,
            )  # fmt: skip
            decision = self.ledger.commit(fact)
            assert (decision.new_job is None) == bool(decision.tells)
            if decision.new_job is None:
                assert decision.entries == decision.actions == ()
            else:
                taken = before - self.ledger.balances[accounts.session(session.id)]
                quote = decision.new_job.quote
                assert taken == decision.new_job.credit_used <= quote.eval_fee + quote.work_fee

    @precondition(lambda self: self.ledger.sessions)
    @rule(pick=PICK, how=st.sampled_from(["held", "held", "sent", "part", "more"]), **SENDS)
    def close(self, pick, how, says, really, fee):
        """Closed, or claimed of one that is closed; asked twice, no refund is paid twice."""
        session = self.picked(self.ledger.sessions.values(), pick)
        before = set(self.ledger.outbox)
        amount = self._wanted(session, how)
        decisions = [self.ledger.commit(self.close_asked(session.id, amount)) for _ in range(2)]
        assert all(len(decision.tells) == 1 for decision in decisions)
        first, second = ({row.id for row in decision.refunds} for decision in decisions)
        assert not second or second <= {row.id for row in decisions[0].refunds if row.state is RefundState.HELD}
        assert not second or first != second
        for number in set(self.ledger.outbox) - before:
            self.send(number, self.ledger.outbox[number].action, says, really, fee)

    @rule(pick=PICK, **SENDS)
    def withdraw(self, pick, says, really, fee):
        """A wallet takes what is held of a closed session (LNURL); its word is good for one payment."""
        held = [r for r in self.ledger.refunds.values() if r.session_id and r.state is RefundState.HELD]
        if not held:
            return
        row, before, n = self.picked(held, pick), set(self.ledger.outbox), self.fresh()
        fact = RefundWithdrawn(
            refund_id=row.id, version=row.version, bolt11=f"lnbc{n}", payment_hash=f"f{n:063x}", rail_ok=True,
            amount=claimable(row.amount, self.ledger.policy), expires_at=self.now + 120, at=self.now,
        )  # fmt: skip
        (sending,) = self.ledger.commit(fact).refunds
        assert sending.max_fee + fact.amount == sending.amount == row.amount
        assert self.ledger.commit(dataclasses.replace(fact, payment_hash=f"e{n:063x}")).refunds == ()
        for number in set(self.ledger.outbox) - before:
            self.send(number, self.ledger.outbox[number].action, says, really, fee)

    def _wanted(self, session, how):
        if how == "held":
            return None
        policy = self.ledger.policy
        if session.state is SessionState.CLOSED:
            held = [r for r in self.ledger.refunds_of_session(session.id) if r.state is RefundState.HELD]
            most = claimable(held[0].amount, policy) if held else 0
        else:
            most = largest(Msats(self.ledger.balances[accounts.session(session.id)]), policy)
        return {"part": most // 2_000 * 1_000, "more": most + 1_000}.get(how, most)

    def close_asked(self, session_id, amount):
        n = self.fresh()
        named = {} if amount is None else {"bolt11": f"lnbc{n}", "payment_hash": f"f{n:063x}"}
        return SessionCloseAsked(
            session_id=session_id, refund_id=f"6{n:031x}", at=self.now, expires_at=self.now + 120,
            amount=None if amount is None else Msats(amount), **named,
        )  # fmt: skip

    @rule(days=st.sampled_from([1, 31]))
    def nobody_comes_for_days(self, days):
        self.now += days * 86_400

    @precondition(lambda self: self.due_actions(CloseIdleSession))
    @rule(pick=PICK)
    def look_whether_idle(self, pick):
        self.do_well(*self.picked(self.due_actions(CloseIdleSession), pick))

    @rule(left=st.sampled_from([0, 40]))
    def the_pool_is_given_away(self, left):
        """What others take out of it; what the machine counts as given is less by that."""
        taken = self.ledger.balances[accounts.POOL] - sats(left)
        if taken > 0:
            self.ledger.balances[accounts.POOL] -= taken
            self.ledger.balances[accounts.OPERATOR] += taken

    def do_well(self, number, action):
        if isinstance(action, CloseIdleSession):
            fact = SessionIdle(session_id=action.session_id, due_at=action.due_at, at=self.now)
            self.ledger.commit(fact, number)
        else:
            super().do_well(number, action)

    # What holds ------------------------------------------------------------------------------------------------

    @invariant()
    def a_session_has_what_came_less_what_was_used_and_what_left(self):
        for session in self.ledger.sessions.values():
            account = accounts.session(session.id)
            came = sum(
                i.received for i in self.ledger.invoices.values()
                if i.state is InvoiceState.SETTLED and i.account == account
            )  # fmt: skip
            jobs = [job for job in self.ledger.jobs.values() if job.session_id == session.id]
            debited = sum(
                job.charge_eval + job.charge_work if job.state in ENDS else job.credit_used for job in jobs
            )
            rows = self.ledger.refunds_of_session(session.id)
            owed = sum(row.amount for row in rows)
            assert self.ledger.balances[account] == came + self.fees_left(rows) - debited - owed - self.dust(
                account
            )
            assert session.state is SessionState.ACTIVE or self.ledger.balances[account] == 0

    def fees_left(self, rows):
        """What the way did not cost of what was set aside for it came back, and was owed once more."""
        return sum(row.max_fee - row.fee for row in rows if row.state is RefundState.SENT)

    def dust(self, account):
        entries = [entry for entry in self.ledger.entries.values() if entry.code == "dust"]
        return -sum(p.amount for entry in entries for p in entry.postings if p.account == account)

    @invariant()
    def a_session_waits_for_one_payment_at_most(self):
        for session in self.ledger.sessions.values():
            waiting = [t for t in self.ledger.waiting_topups() if t.account == accounts.session(session.id)]
            assert len(waiting) <= 1
            assert session.state is not SessionState.AWAITING_PAYMENT or len(waiting) == 1
            assert session.state is not SessionState.CLOSED or waiting == []

    # Of a request in a session these are otherwise.

    def of_sessions(self):
        return [job for job in self.ledger.jobs.values() if job.session_id is not None]

    @invariant()
    def a_request_holds_what_was_taken_for_it_and_failed_it_costs_nothing(self):
        for job in self.of_sessions():
            held = self.ledger.balances[accounts.job(job.id)]
            assert held == (0 if job.state in ENDS else job.credit_used)
            assert self.ledger.refunds_of(job.id) == []
            if job.state is JobState.FAILED:
                assert job.charge_eval == job.charge_work == 0
            if job.state is JobState.REJECTED:
                assert job.charge_eval == job.quote.eval_fee

    @invariant()
    def states_follow_their_graph_and_runs_their_limit(self):
        moved = {(kind, old, new) for kind, old, new in self.ledger.steps if old != new}
        assert moved <= ARROWS | SESSION_ARROWS

    def teardown(self):
        super().teardown()
        if hasattr(self, "ledger"):
            states = {session.state for session in self.ledger.sessions.values()}
            assert states <= {SessionState.CLOSED, SessionState.EXPIRED}
            self.a_session_has_what_came_less_what_was_used_and_what_left()


TimmyWithSessions.TestCase.settings = settings(Timmy.TestCase.settings, max_examples=60)
TestTimmyWithSessions = TimmyWithSessions.TestCase
