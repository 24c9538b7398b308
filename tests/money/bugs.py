"""Twelve mistakes that lose money, each planted in one place of the product while its context lasts.

They are the classics of services like this one. Whoever says that a search finds no mistake must show which
mistakes it would have found.
"""

import asyncio
import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator
from unittest.mock import patch

from ledger import accounts
from ledger.entries import Code, transfer
from ledger.money import Msats, msats_from_sats, sats_down
from ledger.queries import sql_text
from ledger.records import Applied, JobState
from ledger.sqlite import SqliteStore
from lightning.backend import PayStatus, Sent
from lightning.errors import LightningError
from timmy_dvm.core import credit, free_tier, pricing, reserving, settling, trust
from timmy_dvm.core.actions import PayRefund
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import RefundClaimed
from timmy_dvm.engine import Engine, case_books
from timmy_dvm.wallet import WalletSteps

Bug = Callable[[], contextlib.AbstractContextManager[None]]
_FLOOR = "CONSTRAINT floor CHECK (kind <> 'owed' OR balance_msat >= 0),"


@contextlib.contextmanager
def read_then_write() -> Iterator[None]:
    """Balances are read, decided on, and written back as they were read with the change added."""
    commit = SqliteStore.commit

    async def from_what_was_read(self, fact, deciding):
        change, before = await self.look(lambda view: (deciding(view), _balances(view._connection)))
        await asyncio.sleep(0)  # here the others read
        outcome = await commit(self, fact, lambda _: change)
        if isinstance(outcome, Applied):
            after = Counter(before)
            for entry in change.entries:
                after.update({posting.account: posting.amount for posting in entry.postings})
            touched = [(after[p.account], p.account) for entry in change.entries for p in entry.postings]
            await self._writer.run(
                lambda db: db.executemany("UPDATE accounts SET balance_msat = ? WHERE name = ?", touched)
            )
        return outcome

    with patch.object(SqliteStore, "commit", from_what_was_read):
        yield


def _balances(db):
    return dict(map(tuple, db.execute("SELECT name, balance_msat FROM accounts")))


@contextlib.contextmanager
def release_twice() -> Iterator[None]:
    """What a job did not use of its reservation goes back to the pool two times."""
    given_back = reserving.given_back

    def twice(job, left):
        once = given_back(job, left)
        again = f"released:{job.id}:again"
        more = (transfer(again, Code.POOL_CREDIT, accounts.EARNED, accounts.POOL, left),) if left else ()
        return (*once, *more)

    with patch.object(reserving, "given_back", twice):
        yield


@contextlib.contextmanager
def credit_at_invoice_time() -> Iterator[None]:
    """A top-up is credited when its invoice is made."""
    invoice_made = credit.invoice_made

    def made_and_credited(case, fact, policy):
        decision = invoice_made(case, fact, policy)
        account = accounts.customer(case.topup.pubkey or "nobody")
        paid = transfer(f"settled:{fact.payment_hash}", Code.SETTLED, accounts.NODE, account, fact.amount)
        return dataclasses.replace(decision, entries=(*decision.entries, paid))

    with patch.object(credit, "invoice_made", made_and_credited):
        yield


@contextlib.contextmanager
def refund_before_record() -> Iterator[None]:
    """A claim is paid first and written down then."""
    handle, begin = Engine.handle, WalletSteps.__init__

    def known(self, lightning, store, engine, *rest):
        begin(self, lightning, store, engine, *rest)
        engine.wallet = lightning

    async def paid_first(self, fact, *, done=None):
        if isinstance(fact, RefundClaimed):
            policy = self._policy
            decision = await self._store.look(
                lambda view: decide(case_books.load(view, fact, policy), fact, policy)
            )
            for do in decision.actions:
                if isinstance(do.action, PayRefund):
                    pay = do.action
                    fee = Msats(pay.max_fee)
                    key = pay.payment_hash
                    with contextlib.suppress(LightningError):
                        await self.wallet.pay(pay.bolt11, max_fee_msat=fee, key=key, timeout_s=60)
        return await handle(self, fact, done=done)

    with patch.object(WalletSteps, "__init__", known), patch.object(Engine, "handle", paid_first):
        yield


@contextlib.contextmanager
def unknown_as_failed() -> Iterator[None]:
    """A payment nobody knows the end of is taken for one that failed, and its money is free."""
    payment_out = WalletSteps._payment_out

    def as_failed(self, refund, status):
        if status.state is Sent.UNKNOWN:
            status = PayStatus(Sent.FAILED, detail=status.detail)
        return payment_out(self, refund, status)

    with patch.object(WalletSteps, "_payment_out", as_failed):
        yield


@contextlib.contextmanager
def margin_twice() -> Iterator[None]:
    """The price has our margin on top of a cost that has it already."""
    actual_cost = pricing.actual_cost

    def with_margin_again(usage, prices, btc):
        cost = actual_cost(usage, prices, btc)
        total = cost.total * (100 + prices.margin_percent) // 100
        return dataclasses.replace(cost, total=total, charge_sats=pricing.usd_to_sats_up(total, btc))

    with patch.object(pricing, "actual_cost", with_margin_again):
        yield


@contextlib.contextmanager
def float_sats() -> Iterator[None]:
    """Dollars become sats in floating point: what is exactly seven sats becomes eight."""

    def in_floats(usd, btc):
        dollars = usd / pricing.PICO_PER_USD
        return max(1, math.ceil(dollars / (btc.micro_usd / pricing.MICRO_PER_USD) * 100_000_000))

    with patch.object(pricing, "usd_to_sats_up", in_floats):
        yield


@contextlib.contextmanager
def raw_estimate_as_grant() -> Iterator[None]:
    """The pool pays what was estimated, whatever the work really cost."""
    settle = settling.settle

    def of_the_estimate(case, job, state, work_cost, at, policy):
        if case.reserved and state is JobState.COMPLETE:
            work_cost = job.quote.work_fee
        return settle(case, job, state, work_cost, at, policy)

    with patch("timmy_dvm.core.running.settle", of_the_estimate):
        yield


@contextlib.contextmanager
def forgotten_release() -> Iterator[None]:
    """A run that could not even begin keeps what was set aside for its job."""
    given_back, end = reserving.given_back, reserving.end

    def kept(job, left):
        return () if job.state is JobState.FAILED else given_back(job, left)

    def still_open(job, reserved, grant, at):
        return None if job.state is JobState.FAILED else end(job, reserved, grant, at)

    with patch.object(reserving, "given_back", kept), patch.object(reserving, "end", still_open):
        yield


@contextlib.contextmanager
def decay_after_change() -> Iterator[None]:
    """Trust is changed first, and by then its key was seen a moment ago: nothing fades any more."""
    changed = trust._changed

    def seen_first(identity, change, now, rules, **more):
        return changed(dataclasses.replace(identity, last_seen=now), change, now, rules, **more)

    with patch.object(trust, "_changed", seen_first):
        yield


@contextlib.contextmanager
def pool_credit_on_the_invoice() -> Iterator[None]:
    """The pool gets its part of what was asked, not of what was kept."""
    due, asked = settling._due, [Msats(0)]

    def noted(job, state, cost):
        asked[0] = job.share_work
        return due(job, state, cost)

    def of_the_share(charge, policy):
        share = Msats(asked[0] * policy.pool_credit_percent // 100) if charge else Msats(0)
        return msats_from_sats(sats_down(share))

    with patch.object(settling, "_due", noted), patch.object(settling, "_pool_credit", of_the_share):
        yield


@contextlib.contextmanager
def no_floor() -> Iterator[None]:
    """The pool is not looked at before it is promised, and the ledger would let it go below nothing."""

    def without_floors(name):
        return sql_text(name).replace(_FLOOR, "")

    def budget_alone(self):
        return free_tier._whole_sats(self.budget - self.used)

    with (
        patch("ledger.migrate.sql_text", without_floors),
        patch("ledger.audit.sql_text", without_floors),  # which would miss the floor itself at once
        patch.object(free_tier.Standing, "available", property(budget_alone)),
    ):
        yield


BUGS: tuple[Bug, ...] = (
    read_then_write,
    release_twice,
    credit_at_invoice_time,
    refund_before_record,
    unknown_as_failed,
    margin_twice,
    float_sats,
    raw_estimate_as_grant,
    forgotten_release,
    decay_after_change,
    pool_credit_on_the_invoice,
    no_floor,
)
