"""Change that goes by itself to addresses that answer well, badly or never, beside everything that can happen.

The machine of ``test_decide_properties`` with a policy that asks profiles. All its promises hold: nothing is sent
twice, no second invoice is paid before the first has failed for certain, and all of it ends.
"""

import dataclasses

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from ledger.records import RefundState
from tests.timmy_dvm.core.builders import CLAIM, KEY, POLICIES, STRANGER, sats
from tests.timmy_dvm.core.memory_ledger import MemoryLedger
from tests.timmy_dvm.core.test_decide_properties import Timmy
from tests.timmy_dvm.core.world import OPEN, PICK, SENDS
from timmy_dvm.core.actions import AskForInvoice, PayRefund
from timmy_dvm.core.facts import RefundDue
from timmy_dvm.core.refund_facts import CreditWished, RefundInvoiced, RefundNotInvoiced, RefundWithdrawn

ANSWERS = st.sampled_from(["good", "good", "good", "old", "own", "short", "away", "never", "nowhere", "lost"])


class TimmyWhoSends(Timmy):
    """The world with addresses to send to."""

    @initialize(policy=st.sampled_from(POLICIES), capped=st.booleans(), pool=st.sampled_from([0, 90, 400]))
    def begin(self, policy, capped, pool):
        policy = dataclasses.replace(policy, wallet_limits_fees=capped, asks_profiles=True)
        self.ledger = MemoryLedger(policy, sats(pool))

    @precondition(lambda self: self.due_actions(AskForInvoice))
    @rule(pick=PICK, answer=ANSWERS, **SENDS)
    def an_address_answers(self, pick, answer, says, really, fee):
        number, asked = self.picked(self.due_actions(AskForInvoice), pick)
        before = set(self.ledger.outbox)
        self.tell_asked(number, asked, answer, pick)
        for fresh in set(self.ledger.outbox) - before:
            action = self.ledger.outbox[fresh].action
            if isinstance(action, PayRefund):
                self.send(fresh, action, says, really, fee)

    def tell_asked(self, number, asked, answer, pick=0):
        if answer == "lost":  # a process died over it: nothing was written, and it is asked again
            return
        if answer in ("away", "never", "nowhere"):
            fact = RefundNotInvoiced(
                refund_id=asked.refund_id, attempts=asked.attempts, sentence="Away.", lasting=answer != "away",
                nowhere=answer == "nowhere", at=self.now,
            )  # fmt: skip
        else:
            there = {"old": list(self.ledger.tried), "own": list(self.ledger.invoices)}.get(answer)
            fact = RefundInvoiced(
                refund_id=asked.refund_id, attempts=asked.attempts, bolt11="lnbc",
                payment_hash=self.picked(there, pick) if there else f"a{self.fresh():063x}",
                expires_at=self.now + (119 if answer == "short" else 600), at=self.now,
            )  # fmt: skip
        self.ledger.commit(fact, number)

    @precondition(lambda self: self.ledger.refunds_of_jobs())
    @rule(pick=PICK, pubkey=st.sampled_from([KEY, STRANGER]))
    def wish_for_credit(self, pick, pubkey):
        refund = self.picked(self.ledger.refunds_of_jobs(), pick)
        job = self.ledger.jobs[refund.job_id]
        fact = CreditWished(
            event_id=f"b{self.fresh():063x}",
            request_event_id=job.event_id,
            pubkey=pubkey,
            origin=CLAIM,
            at=self.now,
        )
        decision = self.ledger.commit(fact)
        assert len(decision.tells) == 1
        assert decision.refunds == () or pubkey == job.pubkey

    @precondition(lambda self: self.ledger.refunds_of_jobs())
    @rule(pick=PICK, late=st.booleans(), wrong=st.booleans())
    def withdraw(self, pick, late, wrong):
        refund = self.picked(self.ledger.refunds_of_jobs(), pick)
        fact = RefundWithdrawn(
            refund_id=refund.id, version=refund.version - late, bolt11="lnbc", rail_ok=True, at=self.now,
            payment_hash=f"9{self.fresh():063x}", amount=refund.sendable + wrong, expires_at=self.now + 600,
        )  # fmt: skip
        decision = self.ledger.commit(fact)
        assert not decision.refunds or not (late or wrong or refund.state not in OPEN)

    @precondition(lambda self: any(r.state is RefundState.HELD and r.target for r in self.ledger.refunds.values()))
    @rule(pick=PICK)
    def the_operator_has_one_tried_again(self, pick):
        held = [r for r in self.ledger.refunds.values() if r.state is RefundState.HELD and r.target]
        row = self.picked(held, pick)
        self.ledger.commit(RefundDue(refund_id=row.id, attempts=row.attempts, at=self.now))

    def do_well(self, number, action):
        if isinstance(action, AskForInvoice):
            self.tell_asked(number, action, "good")
        else:
            super().do_well(number, action)


TimmyWhoSends.TestCase.settings = settings(Timmy.TestCase.settings)
TestTimmyWhoSends = TimmyWhoSends.TestCase
