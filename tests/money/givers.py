"""Whoever gives to the pool, as rules beside those of customers: what they pay goes into it, whole and once."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from ledger.money import msats_from_sats
from timmy_dvm.core.donation_facts import DonationAsked


class Givers:
    """A part of the state machine, which has `world`, `hears`, `invoices_are_made`, `unpaid` and `pay`."""

    @rule(
        sats=st.sampled_from([1, 40]), percent=st.sampled_from([100, 100, 150, 50]),
        news=st.sampled_from(["hint", "twice", "listing", "lost"]), pays=st.booleans(),
    )  # fmt: skip
    def give_to_the_pool(self, sats, percent, news, pays):
        fact = DonationAsked(
            topup_id=self.world.random.new_id(), amount=msats_from_sats(sats), origin="", at=self.world.now,
            description_hash=self.world.fresh_hex(),
        )  # fmt: skip
        self.hears(fact)
        self.invoices_are_made()
        if pays and self.unpaid():
            self.pay(-1, percent, 0, news)
