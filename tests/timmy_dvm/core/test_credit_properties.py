"""Customers who fill their credit, use it and take it out, beside everything else that can happen.

The machine of ``test_decide_properties`` with some rules more. All its promises hold, and credit is neither made
nor lost: a key has what came for its top-ups and came back from its jobs, less what its jobs took and what left.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from ledger import accounts
from ledger.money import Msats
from ledger.records import Door, InvoiceState, RefundState
from tests.timmy_dvm.core.builders import CLAIM, KEY, STRANGER, sats
from tests.timmy_dvm.core.memory_ledger import FLYING
from tests.timmy_dvm.core.test_decide_properties import Timmy
from tests.timmy_dvm.core.world import PAYS, PICK, SENDS
from timmy_dvm.core.credit_facts import PayoutAsked, TopUpAsked
from timmy_dvm.core.facts import CancelAsked
from timmy_dvm.core.payouts import largest

KEYS = st.sampled_from([KEY, STRANGER])


class TimmyWithCredit(Timmy):
    """The world with customers who keep an account here."""

    @rule(pubkey=KEYS, amount=st.sampled_from([0, 1, 50, 3_000, 1_000_001]))
    def top_up(self, pubkey, amount):
        n = self.fresh()
        fact = TopUpAsked(
            topup_id=f"{n:032x}", event_id=f"e{n:063x}", door=Door.NOSTR, pubkey=pubkey, amount=sats(amount),
            origin=CLAIM, at=self.now,
        )  # fmt: skip
        decision = self.ledger.commit(fact)
        assert bool(decision.topups) != bool(decision.tells)
        assert not decision.topups or amount in (1, 50, 3_000)

    @rule(pubkey=KEYS, amount=st.sampled_from([1, 50, 3_000]), **PAYS)
    def top_up_and_pay(self, pubkey, amount, percent, msat):
        self.top_up(pubkey, amount)
        self.what_waits_goes_well(3)
        if self.unpaid_hashes():
            self.pay(-1, percent, msat, True)

    @precondition(lambda self: self.ledger.topups)
    @rule(pick=PICK, pubkey=KEYS)
    def take_a_topup_back(self, pick, pubkey):
        topup = self.picked(self.ledger.topups.values(), pick)
        fact = CancelAsked(
            event_id=f"c{self.fresh():063x}", request_event_id=topup.event_id, pubkey=pubkey, at=self.now
        )
        decision = self.ledger.commit(fact)
        assert decision.entries == decision.tells == ()
        assert pubkey == topup.pubkey or decision.topups == ()

    @rule(pubkey=KEYS, wrong=st.sampled_from([None, None, None, "more", "odd", "any", "used"]), **SENDS)
    def take_credit_out(self, pubkey, wrong, says, really, fee):
        """Two claims at once: at most one is paid."""
        before = set(self.ledger.outbox)
        most = largest(Msats(self.ledger.balances[accounts.customer(pubkey)]), self.ledger.policy)
        amount = {"more": most + 1_000, "odd": most - 1, "any": None}.get(wrong, most)
        decisions = [self.ledger.commit(self.payout_asked(pubkey, amount, wrong)) for _ in range(2)]
        assert all(len(decision.tells) == 1 for decision in decisions)
        assert decisions[1].refunds == ()
        assert wrong is None or decisions[0].refunds == ()
        for number in set(self.ledger.outbox) - before:
            self.send(number, self.ledger.outbox[number].action, says, really, fee)

    @rule(pubkey=KEYS, amount=st.sampled_from([50, 3_000]), **SENDS)
    def top_up_and_take_out(self, pubkey, amount, says, really, fee):
        """So that the machine gets somewhere."""
        self.top_up_and_pay(pubkey, amount, 100, 500)
        self.take_credit_out(pubkey, None, says, really, fee)

    def payout_asked(self, pubkey, amount, wrong):
        n = self.fresh()
        seen_before = list(self.ledger.tried) or list(self.ledger.invoices) or [f"{n:064x}"]
        return PayoutAsked(
            refund_id=f"{n:032x}", event_id=f"d{n:063x}", pubkey=pubkey, bolt11=f"lnbc{n}", rail_ok=True,
            payment_hash=seen_before[0] if wrong == "used" else f"f{n:063x}",
            amount=None if amount is None else Msats(amount), expires_at=self.now + 120, origin=CLAIM, at=self.now,
        )  # fmt: skip

    @invariant()
    def credit_is_neither_made_nor_lost(self):
        for pubkey in (KEY, STRANGER):
            account = accounts.customer(pubkey)
            came = sum(
                i.received for i in self.ledger.invoices.values()
                if i.state is InvoiceState.SETTLED and i.account == account
            )  # fmt: skip
            jobs = [job for job in self.ledger.jobs.values() if job.pubkey == pubkey]
            used = sum(job.credit_used for job in jobs)
            back = sum(
                r.amount for job in jobs for r in self.ledger.refunds_of(job.id) if r.state is RefundState.CREDITED
            )
            back += sum(
                r.max_fee - min(r.fee, r.max_fee) for job in jobs for r in self.ledger.refunds_of(job.id)
                if r.state is RefundState.SENT and r.pays_its_way
            )  # fmt: skip
            dust = sum(
                p.amount for entry in self.ledger.entries.values() if entry.code == "dust"
                for p in entry.postings if p.account == account
            )  # fmt: skip
            assert self.ledger.balances[account] == came + back + dust - used - self.taken_out(pubkey)

    def taken_out(self, pubkey):
        """All of a pay-out while it may be under way; what left, and its way, once it was sent."""
        mine = [r for r in self.ledger.refunds.values() if r.job_id is None and r.pubkey == pubkey]
        flying = sum(r.amount for r in mine if r.state in FLYING)
        return flying + sum(r.amount - r.max_fee + r.fee for r in mine if r.state is RefundState.SENT)

    @invariant()
    def a_key_has_at_most_one_payout_under_way_and_none_is_ever_tried_again(self):
        for pubkey in (KEY, STRANGER):
            assert len(self.ledger.payouts_of(pubkey)) <= 1
        for row in self.ledger.refunds.values():
            assert row.job_id is not None or (row.state not in (RefundState.HELD, RefundState.OWED))

    @invariant()
    def a_topup_waits_only_while_it_can_be_paid(self):
        for topup in self.ledger.topups.values():
            if topup.ended_at is None and topup.payment_hash is not None:
                assert self.ledger.invoices[topup.payment_hash].state is InvoiceState.OPEN

    def teardown(self):
        super().teardown()
        if hasattr(self, "ledger"):
            assert all(topup.ended_at is not None for topup in self.ledger.topups.values())
            assert self.ledger.payouts_of(KEY) == self.ledger.payouts_of(STRANGER) == []
            self.credit_is_neither_made_nor_lost()


TimmyWithCredit.TestCase.settings = settings(Timmy.TestCase.settings, max_examples=60)
TestTimmyWithCredit = TimmyWithCredit.TestCase
