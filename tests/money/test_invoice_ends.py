"""Every end of an invoice in every state of its job: what is booked, what becomes of the job, who has the money.

A job that runs or has ended may have a second invoice, made by a process that was slow; nobody waits for it, and
it may be paid all the same. Of a job that waits, has expired or was cancelled the invoice is its own.
"""

import dataclasses

import pytest

from ledger.money import Msats, msats_from_sats
from ledger.records import InvoiceState, JobState
from tests.money.machine import POLICY, RELAY, STEPS, STRANGER, Customers
from tests.money.rules import Rules
from tests.money.world import RunAgent, World
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice
from timmy_dvm.core.facts import CancelAsked, InvoiceMade
from timmy_dvm.core.pricing import BtcPrice, Freshness

POOL = msats_from_sats(100)
SECOND = Msats(13_000)
ENDS = ("open", "settled", "late", "twice", "over", "under", "expired", "cancelled", "unknown")
PAID = ("settled", "late", "twice", "over", "under")
CAME = {"settled": 100, "late": 100, "twice": 100, "over": 200, "under": 50}
"""Of what the invoice asks, in percent; rounded down to whole sats."""

# For each state of the job, by the end of its invoice in the order above: the state after it, and what was booked
# at once. `in` is node → job, `back` is job → refund, `earned` is job → earned (sats); `=`: as it was.
# A hash is credited once, whatever a node takes for it again: the wallet then holds more than the books say.
GRID = {
    "awaiting_eval_payment": (
        "=", "evaluating in 13", "evaluating in 13", "evaluating in 13", "evaluating in 26", "= in 6",
        "expired", "expired", "expired",
    ),
    "awaiting_work_payment": (
        "=", "executing in 11", "executing in 11", "executing in 11", "executing in 22", "= in 5",
        "expired earned 2", "expired earned 2", "expired earned 2",
    ),
    "evaluating": ("=", "= in 13", "= in 13", "= in 13", "= in 26", "= in 6", "=", "=", "="),
    "executing": ("=", "= in 13", "= in 13", "= in 13", "= in 26", "= in 6", "=", "=", "="),
    "complete": (
        "=", "= in 13 back 13", "= in 13 back 13", "= in 13 back 13", "= in 26 back 26", "= in 6 back 6",
        "=", "=", "=",
    ),
    "rejected": (
        "=", "= in 13 back 13", "= in 13 back 13", "= in 13 back 13", "= in 26 back 26", "= in 6 back 6",
        "=", "=", "=",
    ),
    "failed": (
        "=", "= in 13 back 13", "= in 13 back 13", "= in 13 back 13", "= in 26 back 26", "= in 6 back 6",
        "=", "=", "=",
    ),
    "expired": (
        "=", "= in 13 back 13", "= in 13 back 13", "= in 13 back 13", "= in 26 back 26", "= in 6 back 6",
        "=", "=", "=",
    ),
    "cancelled": (
        "=", "= in 13 back 13", "= in 13 back 13", "= in 13 back 13", "= in 26 back 26", "= in 6 back 6",
        "=", "=", "=",
    ),
}  # fmt: skip


class Case:
    """One job in one state, and the invoice whose end is looked at."""

    def __init__(self, state: str) -> None:
        self.world = World(dataclasses.replace(POLICY, credit_below=Msats(1)), POOL, {})
        self.rules = Rules(self.world, {}, {0: 0}, POOL)
        self.btc = BtcPrice.from_usd(100_000, source="test", freshness=Freshness.FIXED, at=self.world.now)
        self.job_id = self._asked(STEPS if state == "awaiting_work_payment" else RELAY)
        self.invoice = self._last_invoice()
        getattr(self, f"_to_{state}")()
        assert str(self.state) == state

    def _asked(self, how) -> str:
        fact = Customers.request(self, STRANGER, how, 12)
        self.world.live(self.world.life.engine.handle(fact))
        self._do(CreateInvoice)
        return fact.job_id

    def _do(self, kind) -> None:
        for row in self.world.due(kind):
            self.world.live(self.world.perform(row))

    def _last_invoice(self):
        return self.world.run(self.world.ledger.story(self.job_id)).invoices[-1]

    @property
    def state(self) -> JobState:
        return self.world.run(self.world.ledger.job(self.job_id)).state

    def entries(self) -> list[str]:
        """Every entry of the job as the grid has it."""
        story = self.world.run(self.world.ledger.story(self.job_id))
        words = {("node", "job"): "in", ("job", "refund"): "back", ("job", "earned"): "earned"}
        told = []
        for _, entry in story.entries:
            debit, credit = sorted(entry.postings, key=lambda posting: posting.amount)[:: len(entry.postings) - 1]
            pair = (debit.account.partition(":")[0], credit.account.partition(":")[0])
            told.append(f"{words.get(pair, ' → '.join(pair))} {credit.amount // 1_000}")
        return told

    # To each state

    def _pay(self, percent: int = 100) -> None:
        sats = self.invoice.amount // 1_000 * percent // 100
        self.world.wallet.settle(self.invoice.payment_hash, msats_from_sats(sats))
        self.world.live(self.world.listing())

    def _second(self) -> None:
        """Another invoice of this job, made when it was no longer waited for."""
        made = self.world.run(self.world.wallet.create_invoice(SECOND, memo="", expiry_s=3_600, key="second"))
        fact = InvoiceMade(
            job_id=self.job_id, key="second", payment_hash=made.payment_hash, bolt11=made.bolt11,
            amount=made.amount_msat, created_at=self.world.now, expires_at=made.expires_at, at=self.world.now,
        )  # fmt: skip
        self.world.live(self.world.life.engine.handle(fact))
        self.invoice = self._last_invoice()

    def _to_awaiting_eval_payment(self) -> None:
        """It waits."""

    def _to_awaiting_work_payment(self) -> None:
        self._pay()
        self._do(RunAgent)
        self._do(CreateInvoice)
        self.invoice = self._last_invoice()

    def _to_evaluating(self) -> None:
        self._pay()
        self._second()

    def _to_executing(self) -> None:
        self._pay()
        self._do(RunAgent)
        self._second()

    def _to_complete(self) -> None:
        self._pay()
        self._do(RunAgent)
        self._do(RunAgent)
        self._second()

    def _to_rejected(self) -> None:
        self._pay()
        self.world.model.accepts = False
        self._do(RunAgent)
        self._second()

    def _to_failed(self) -> None:
        self._pay()
        self.world.model.is_away = True
        self._do(RunAgent)
        self._second()

    def _to_expired(self) -> None:
        self._time_is_over()
        assert self._last_invoice().state is InvoiceState.EXPIRED

    def _to_cancelled(self) -> None:
        job = self.world.run(self.world.ledger.job(self.job_id))
        fact = CancelAsked(
            event_id=self.world.fresh_hex(), request_event_id=job.event_id, pubkey=STRANGER, at=self.world.now
        )
        self.world.live(self.world.life.engine.handle(fact))

    # The ends

    def ends(self, how: str) -> None:
        if how == "late":
            self._until(self.invoice.expires_at + 1)
        if how in PAID:
            self._pay(CAME[how])
        if how == "twice":
            self.world.wallet.settle_again(self.invoice.payment_hash)
            self.rules.again[self.invoice.payment_hash] = self.invoice.amount
            self.world.live(self.world.hint(self.invoice.payment_hash), self.world.listing())
        if how == "cancelled":
            self.world.wallet.cancel(self.invoice.payment_hash)
        if how == "unknown":
            self.world.wallet.lookups_unknown = True
            self._time_is_over()
            assert self.state is not JobState.EXPIRED or self.was is JobState.EXPIRED, "a day is waited"
            self._until(self.invoice.expires_at + 86_400)
        if how in ("expired", "cancelled", "unknown"):
            self._time_is_over()
        self.world.wallet.lookups_unknown = False

    def _until(self, moment: int) -> None:
        self.world.run(self.world.clock.advance(max(0, moment - self.world.now), rounds=1))

    def _time_is_over(self) -> None:
        """The deadline of whoever waits passes, and the wallet's record is read; a run has its own deadline."""
        self._until(self.invoice.expires_at + 60)
        self._until(max([self.world.now, *(row.due_at or 0 for row in self.world.pending())]))
        if self.state in (JobState.AWAITING_EVAL_PAYMENT, JobState.AWAITING_WORK_PAYMENT):
            self.world.live(self.world.deadlines())
        self._do(CheckInvoice)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("state", GRID)
def test_an_invoice_ends(state, end):
    case = Case(state)
    try:
        case.was, before = case.state, case.entries()
        case.ends(end)
        after, *booked = GRID[state][ENDS.index(end)].split(" ", 1)
        assert str(case.state) == (state if after == "=" else after)
        assert " ".join(case.entries()[len(before) :]) == "".join(booked)
        case.rules.hold()
        while not case.world.rests():
            case.rules.hold()
        case.rules.all_is_told()
    finally:
        case.world.close()


def test_every_state_and_every_end_has_its_place():
    assert set(GRID) == {str(state) for state in JobState}
    assert all(len(row) == len(ENDS) for row in GRID.values())
