"""Customers of every kind at a Timmy whose wallet has moods and whose process dies: rules of a state machine.

Jobs of both doors and both modes, credit, sessions, the pool, change by claim and by address, and time. What
people do is drawn; what must be true of the money is looked at after every step, by `rules.Rules`.
"""

import dataclasses

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.money import Msats, msats_from_sats
from ledger.records import Door, Mode, RefundState
from lightning import bolt11
from lightning.backend import Sent
from lightning.simulated import Outcome
from tests.money.givers import Givers
from tests.money.rules import Rules
from tests.money.world import RunAgent, World
from timmy_dvm.core.actions import CreateInvoice, FindPayment, PayRefund
from timmy_dvm.core.credit_facts import PayoutAsked, TopUpAsked
from timmy_dvm.core.facts import CancelAsked, RefundClaimed, RequestReceived
from timmy_dvm.core.free_tier import DailyBudgets
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.core.refund_facts import CreditWished
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked, SessionTopUpAsked

REGULAR, FRIEND, STRANGER = "a1" * 32, "b2" * 32, "c3" * 32
SCORES = {REGULAR: 20, FRIEND: 60}
ESTABLISHED, TRUSTED = msats_from_sats(30), msats_from_sats(90)
BUDGETS = {0: 0, 10: ESTABLISHED, 50: TRUSTED, 80: TRUSTED}
POLICY = Policy(
    daily_budgets=DailyBudgets(established=ESTABLISHED, trusted=TRUSTED, elite=TRUSTED),
    jobs_per_key_minute=10_000,
    open_jobs_per_key=10_000,
    open_invoices=10_000,
    credit_below=msats_from_sats(3),
)
RELAY, STEPS, PAGE = (Door.NOSTR, Mode.ONCE), (Door.HTTP, Mode.STEPS), (Door.HTTP, Mode.ONCE)
WHO = st.sampled_from([REGULAR, FRIEND, FRIEND, STRANGER, None])
PAYERS = st.sampled_from([STRANGER, STRANGER, REGULAR, FRIEND, None])
KEYS = st.sampled_from([REGULAR, FRIEND, STRANGER])
PICK = st.integers(0, 1_000)
NEWS = st.sampled_from(["hint", "hint", "twice", "listing", "lost"])
TOKENS = st.sampled_from([(0, 300), (100, 280), (500, 200), (240, 1), (240, 120), (240, 390), (240, 1_700)])
"""The first three cost whole sats to the last digit; the last is more than any estimate."""
SHORT, LONG = 12, 300
MOODS = [outcome for outcome in Outcome if outcome is not Outcome.SUCCEEDED]
DIES = st.sampled_from([None, None, 0, 1, 2, 3, 4])
TROUBLE = st.sampled_from([None, None, *MOODS])


class Customers(Givers, RuleBasedStateMachine):
    """Whoever comes, and everything that may go wrong meanwhile. A subclass may come with more."""

    @initialize(
        pool=st.sampled_from([15, 60, 60, 10_000]), odd=st.sampled_from([0, 1, 999]), capped=st.booleans(),
        usd=st.sampled_from([100_000, 100_000, 63_211]),
    )  # fmt: skip
    def begin(self, pool, odd, capped, usd):
        pool = Msats(msats_from_sats(pool) + odd)
        policy = dataclasses.replace(POLICY, wallet_limits_fees=capped)
        self.world = World(policy, pool, SCORES)
        self.rules = Rules(self.world, SCORES, BUDGETS, pool)
        self.btc = BtcPrice.from_usd(usd, source="test", freshness=Freshness.FIXED, at=self.world.now)
        self.sessions: list[str] = []

    def picked(self, things, pick):
        things = list(things)
        return things[pick % len(things)]

    def hears(self, *facts):
        """Facts that come at once."""
        self.world.live(*(self.world.life.engine.handle(fact) for fact in facts))

    def due(self, kind):
        return self.world.due(kind) if hasattr(self, "world") else []

    def unpaid(self):
        """What a customer was shown, and did not pay yet."""
        received = self.world.wallet.truth.received
        shown = self.world.query(
            lambda db: db.execute("SELECT payment_hash FROM invoices ORDER BY row").fetchall()
        )
        return [each for (each,) in shown if each not in received]

    def refunds(self, *states):
        rows = self.world.run(self.world.ledger.refunds(open_only=True))
        return [row for row in rows if row.state in states]

    # Asking and paying

    def request(self, pubkey, how, length=SHORT, session_id=None, refund_to=None):
        door, mode = PAGE if pubkey is None and how is RELAY else how  # who signs has a key
        text = f"Why {self.world.fresh()}?".ljust(length, "y")
        return RequestReceived(
            job_id=self.world.random.new_id(), door=door, mode=mode, pubkey=pubkey, text=text, origin="{}",
            event_id=self.world.fresh_hex() if door is Door.NOSTR else None, btc=self.btc,
            asked_at=self.world.now, at=self.world.now, session_id=session_id, refund_to=refund_to,
        )  # fmt: skip

    @rule(
        who=WHO, how=st.sampled_from([RELAY, RELAY, STEPS, PAGE]), length=st.sampled_from([SHORT, SHORT, LONG]),
        number=st.sampled_from([1, 1, 1, 4]), named=st.booleans(),
    )  # fmt: skip
    def ask(self, who, how, length, number, named):
        address = "me@customer.example" if named else None
        self.hears(*(self.request(who, how, length, refund_to=address) for _ in range(number)))

    @rule(
        who=PAYERS, how=st.sampled_from([RELAY, RELAY, STEPS, PAGE]), percent=st.sampled_from([100, 100, 200]),
        news=NEWS, tokens=TOKENS, runs=st.sampled_from([0, 2, 2]),
    )  # fmt: skip
    def ask_and_pay(self, who, how, percent, news, tokens, runs):
        """What most customers do, to the end or into the middle."""
        self.ask(who, how, SHORT, 1, named=False)
        for _ in range(2 if how is STEPS else 1):
            self.invoices_are_made()
            if unpaid := self.unpaid():
                self.pay(len(unpaid) - 1, percent, 0, news)
            for _ in range(runs):
                self.run_the_model(-1, tokens, accepts=True, is_away=False)

    @rule()
    def invoices_are_made(self):
        for row in self.due(CreateInvoice):
            self.world.live(self.world.perform(row))

    @precondition(lambda self: self.unpaid())
    @rule(
        pick=PICK, percent=st.sampled_from([100, 100, 150, 200, 99, 50]), msat=st.sampled_from([0, 0, 1, 999]),
        news=NEWS,
    )  # fmt: skip
    def pay(self, pick, percent, msat, news):
        """Whenever: a simulated node takes money for what has expired as well."""
        payment_hash = self.picked(self.unpaid(), pick)
        wallet = self.world.wallet
        amount = wallet.truth.invoices[payment_hash].amount_msat * percent // 100 + msat
        wallet.settle(payment_hash, Msats(amount))
        self.news_of(payment_hash, news)

    def news_of(self, payment_hash, news):
        if news == "listing":
            self.world.live(self.world.listing())
        elif news != "lost":
            self.world.live(*(self.world.hint(payment_hash) for _ in range(2 if news == "twice" else 1)))

    @rule(pick=PICK, of_ours=st.booleans())
    def forge_a_notice(self, pick, of_ours):
        unpaid = self.unpaid() if of_ours else []
        self.world.live(self.world.hint(self.picked(unpaid, pick) if unpaid else self.world.fresh_hex()))

    @rule()
    def read_the_listing(self):
        self.world.live(self.world.listing())

    @rule(pick=PICK)
    def cancel(self, pick):
        jobs = self.world.run(self.world.ledger.jobs(limit=100))
        if jobs and (job := self.picked(jobs, pick)).event_id and job.pubkey:
            self.hears(
                CancelAsked(
                    event_id=self.world.fresh_hex(), request_event_id=job.event_id, pubkey=job.pubkey,
                    at=self.world.now,
                )
            )  # fmt: skip

    # Credit and sessions

    @rule(who=KEYS, sats=st.sampled_from([5, 40, 200]), news=NEWS, pays=st.sampled_from([True, True, False]))
    def top_up(self, who, sats, news, pays):
        fact = TopUpAsked(
            topup_id=self.world.random.new_id(), event_id=self.world.fresh_hex(), door=Door.NOSTR, pubkey=who,
            amount=msats_from_sats(sats), origin="{}", at=self.world.now,
        )  # fmt: skip
        self._filled(fact, news, pays=pays)

    def _filled(self, fact, news, *, pays):
        self.hears(fact)
        self.invoices_are_made()
        if pays and self.unpaid():
            self.pay(-1, 100, 0, news)

    @rule(who=WHO, news=NEWS, pays=st.sampled_from([True, True, True, False]))
    def open_session(self, who, news, pays):
        session_id = self.world.random.new_id()
        self.sessions.append(session_id)
        fact = SessionAsked(
            session_id=session_id, topup_id=self.world.random.new_id(), pubkey=who,
            amount=msats_from_sats(100), at=self.world.now,
        )  # fmt: skip
        self._filled(fact, news, pays=pays)

    @precondition(lambda self: self.sessions)
    @rule(pick=PICK, news=NEWS, pays=st.booleans())
    def top_session_up(self, pick, news, pays):
        fact = SessionTopUpAsked(
            session_id=self.picked(self.sessions, pick), topup_id=self.world.random.new_id(),
            amount=msats_from_sats(100), at=self.world.now,
        )  # fmt: skip
        self._filled(fact, news, pays=pays)

    @precondition(lambda self: self.sessions)
    @rule(pick=PICK, number=st.sampled_from([1, 2, 20]))
    def request_in_session(self, pick, number):
        """Twenty at once take what is there, and nothing more."""
        session_id = self.picked(self.sessions, pick)
        self.hears(*(self.request(None, PAGE, session_id=session_id) for _ in range(number)))

    def _bill(self, amount):
        """A BOLT11 of the customer's, as a door decodes it."""
        text = self.world.customer.invoice(Msats(amount))
        made = bolt11.decode(text)
        return {
            "bolt11": text, "payment_hash": made.payment_hash, "amount": made.amount_msat,
            "expires_at": made.expires_at,
        }  # fmt: skip

    @precondition(lambda self: self.sessions)
    @rule(pick=PICK, sats=st.sampled_from([None, 1, 40, 97, 98]))
    def close_session(self, pick, sats):
        bill = {} if sats is None else self._bill(msats_from_sats(sats))
        self.hears(
            SessionCloseAsked(
                session_id=self.picked(self.sessions, pick), refund_id=self.world.random.new_id(),
                at=self.world.now, **bill,
            )
        )  # fmt: skip

    @rule(who=KEYS, sats=st.sampled_from([3, 38, 190]), number=st.sampled_from([1, 2]))
    def pay_credit_out(self, who, sats, number):
        self.hears(
            *(
                PayoutAsked(
                    refund_id=self.world.random.new_id(), event_id=self.world.fresh_hex(), pubkey=who,
                    rail_ok=True, origin="{}", at=self.world.now, **self._bill(msats_from_sats(sats)),
                )
                for _ in range(number)
            )
        )  # fmt: skip

    # What is owed

    def claim_of(self, refund):
        job = self.world.run(self.world.ledger.job(refund.job_id))
        by_event = job.event_id is not None
        return RefundClaimed(
            event_id=self.world.fresh_hex() if by_event else None, request_event_id=job.event_id,
            job_id=None if by_event else job.id, by_secret=not by_event, pubkey=job.pubkey, rail_ok=True,
            origin="{}" if by_event else "", version=refund.version, at=self.world.now,
            **self._bill(refund.amount),
        )  # fmt: skip

    def owed(self):
        return [row for row in self.refunds(RefundState.HELD, RefundState.OWED) if row.job_id]

    @precondition(lambda self: self.owed())
    @rule(
        pick=PICK, number=st.sampled_from([1, 1, 3]), sends=st.sampled_from([True, True, False]),
        dies=DIES, trouble=TROUBLE,
    )  # fmt: skip
    def claim(self, pick, number, sends, dies, trouble):
        """Whoever claims at the door is there when the process dies over it, or the wallet loses its tongue."""
        if dies is not None:
            self.world.fate.dies_in = dies
        if trouble:
            self.world.wallet.next_outcomes.append(trouble)
        if owed := self.owed():
            refund = self.picked(owed, pick)
            self.hears(*(self.claim_of(refund) for _ in range(number)))
        if sends:
            self.payments_leave()

    @rule(dies=DIES, trouble=TROUBLE, percent=st.sampled_from([100, 200]))
    def pay_and_claim_the_change(self, dies, trouble, percent):
        """The whole way of a sat that comes back."""
        self.ask_and_pay(STRANGER, RELAY, percent, "hint", (240, 120), 2)
        self.claim(-1, 1, sends=True, dies=dies, trouble=trouble)

    @precondition(lambda self: self.refunds(RefundState.HELD))
    @rule(pick=PICK)
    def wish_for_credit(self, pick):
        refund = self.picked(self.refunds(RefundState.HELD), pick)
        job = self.world.run(self.world.ledger.job(refund.job_id)) if refund.job_id else None
        if job and job.event_id and job.pubkey:
            self.hears(
                CreditWished(
                    event_id=self.world.fresh_hex(), request_event_id=job.event_id, pubkey=job.pubkey,
                    origin="{}", at=self.world.now,
                )
            )  # fmt: skip

    @rule()
    def payments_leave(self):
        for row in self.due(PayRefund):
            self.world.live(self.world.perform(row))

    @precondition(lambda self: self.world.wallet.truth.payments)
    @rule(pick=PICK, end=st.sampled_from([None, Sent.SUCCEEDED, Sent.FAILED]))
    def a_payment_is_looked_up(self, pick, end):
        """Perhaps after it arrived or failed."""
        payments = self.world.wallet.truth.payments.values()
        flying = [each for each in payments if each.state in (Sent.IN_FLIGHT, Sent.UNKNOWN)]
        if flying and end:
            self.world.wallet.resolve_payment(self.picked(flying, pick).payment_hash, end)
        for row in self.due(FindPayment):
            self.world.live(self.world.perform(row))

    # What Timmy does

    @precondition(lambda self: self.due(RunAgent))
    @rule(
        pick=PICK, tokens=TOKENS, accepts=st.sampled_from([True, True, True, False]),
        is_away=st.sampled_from([False, False, True]),
    )  # fmt: skip
    def run_the_model(self, pick, tokens, accepts, is_away):
        model = self.world.model
        model.tokens, model.accepts, model.is_away = tokens, accepts, is_away
        if due := self.due(RunAgent):
            self.world.live(self.world.perform(self.picked(due, pick)))

    @precondition(lambda self: self.due(None))
    @rule(pick=PICK, number=st.integers(1, 6), address_answers=st.booleans())
    def something_is_done(self, pick, number, address_answers):
        for _ in range(number):
            if due := self.due(None):
                self.world.live(self.world.perform(self.picked(due, pick), address_answers=address_answers))

    # What goes wrong

    @rule(seconds=st.sampled_from([1, 10, 61, 61, 700, 3_700, 86_400, 40 * 86_400, 70 * 86_400]))
    def wait(self, seconds):
        """A moment, or over midnight, or so long that trust fades."""
        self.world.run(self.world.clock.advance(seconds, rounds=1))
        self.world.live(self.world.deadlines())

    @rule(moment=st.sampled_from([None, 0, 1, 2, 3, 4, 5, 6]))
    def die(self, moment):
        """At once, or at one of the next commits or calls of the wallet."""
        if moment is None:
            self.world.die()
        else:
            self.world.fate.dies_in = moment

    @rule(
        down=st.sampled_from([False] * 5 + [True]), behind=st.sampled_from([False] * 5 + [True]),
        fee=st.sampled_from([0, 0, 900, 5_000]), lost=st.sampled_from([0, 0, 1]),
        outcome=st.sampled_from([None, *MOODS]),
    )  # fmt: skip
    def the_wallet_has_a_mood(self, down, behind, fee, lost, outcome):
        wallet = self.world.wallet
        wallet.down, wallet.lookups_unknown = down, behind
        wallet.fee_msat, wallet.lose_creates = Msats(fee), lost
        if outcome:
            wallet.next_outcomes.append(outcome)

    # What holds

    @invariant()
    def the_money_is_right(self):
        if hasattr(self, "world"):
            self.rules.hold()

    @invariant()
    def the_watchdog_misses_nothing(self):
        """No alarm is a false one: nobody reached into this wallet."""
        if hasattr(self, "world") and (off := self.world.run(self.world.life.watchdog._differences())):
            assert off[0] == 0, f"{off[0]} msat are said to be missing"

    def teardown(self):
        if not hasattr(self, "world"):
            return
        try:
            self.all_ends_well()
        finally:
            self.world.close()

    def all_ends_well(self):
        """The trouble is over: everything asked ends, and what came is earned, returned or listed as owed."""
        world = self.world
        world.fate.dies_in = None
        self.the_wallet_has_a_mood(down=False, behind=False, fee=0, lost=0, outcome=None)
        world.wallet.next_outcomes.clear()
        for payment in list(world.wallet.truth.payments.values()):
            if payment.state in (Sent.IN_FLIGHT, Sent.UNKNOWN):
                world.wallet.resolve_payment(payment.payment_hash, Sent.SUCCEEDED)
        world.live(world.listing())
        for _ in range(600):
            if world.rests():
                break
        else:
            raise AssertionError("there is always something left to do")
        self.rules.hold()
        self.rules.all_is_told()
