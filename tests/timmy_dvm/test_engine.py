"""The one way in, over a real ledger: once for ever, all or nothing, decided again when rows move."""

import contextlib
import dataclasses
import hashlib

import pytest

from ledger.records import PUBLISH, Applied, Replayed, Short, Stale
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable
from tests.flows.house import ALICE, BTC, House
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.actions import PriceTold, Refused
from timmy_dvm.core.facts import (
    CancelAsked,
    EvalDone,
    InvoiceMade,
    PaymentSeen,
    RequestReceived,
    RunFailed,
    Step,
)
from timmy_dvm.engine import Contended, Engine, insist

NOW = int(ManualClock().now())
JOB = "1f" * 16
EVENT = "e0" * 32
HASH = "0a" * 32


def asking(**changes):
    fact = RequestReceived(
        job_id=JOB,
        door="nostr",
        mode="once",
        event_id=EVENT,
        pubkey=ALICE,
        text="a very private question",
        origin="{}",
        btc=BTC,
        asked_at=NOW,
        at=NOW,
    )
    return dataclasses.replace(fact, **changes)


def made(amount=1_000_000):
    return InvoiceMade(
        job_id=JOB,
        key=f"{JOB}:asked",
        payment_hash=HASH,
        bolt11="lnbcrt1x",
        amount=amount,
        created_at=NOW,
        expires_at=NOW + 600,
        at=NOW,
    )


class Moving:
    """A store in which rows move under the first commits."""

    def __init__(self, store, *outcomes):
        self._store = store
        self.outcomes = list(outcomes)
        self.tries = 0

    async def commit(self, fact, decide):
        self.tries += 1
        return self.outcomes.pop(0) if self.outcomes else await self._store.commit(fact, decide)


@contextlib.asynccontextmanager
async def a_ledger():
    """A house in which nobody acts: what is committed stays in the outbox."""
    store = open_ledger("sqlite:///:memory:")
    try:
        yield House(store, ManualClock())
    finally:
        await store.close()


async def test_a_fact_is_applied_once_for_ever_and_listeners_hear_of_it_once():
    async with a_ledger() as house:
        heard = []
        house.engine.listen(heard.append)
        first = await house.engine.handle(asking())
        again = await house.engine.handle(asking(job_id="2f" * 16))
        assert heard == [first]
        assert isinstance(first, Applied)
        assert isinstance(again, Replayed)
        assert await house.store.job("2f" * 16) is None


async def test_listeners_are_called_in_the_order_in_which_they_came():
    async with a_ledger() as house:
        heard = []
        house.engine.listen(lambda _: heard.append("first"))
        house.engine.listen(lambda _: heard.append("second"))
        await house.engine.handle(asking())
        assert heard == ["first", "second"]


@pytest.mark.parametrize("times", [1, 2])
async def test_an_outcome_finishes_its_outbox_row_even_when_it_was_known(times):
    async with a_ledger() as house:
        await house.engine.handle(asking())
        (action,) = await house.store.pending()
        for _ in range(times):
            await house.engine.handle(made(), done=action.id)
        assert [row.kind for row in await house.store.pending()] == [PUBLISH]


async def test_what_is_said_is_on_disk_with_the_commit_that_causes_it():
    async with a_ledger() as house:
        await house.engine.handle(asking())
        assert house.recorder.said == []
        applied = await house.engine.handle(made())
        (event,) = applied.change.events
        assert isinstance(house.recorder.last(PriceTold), PriceTold)
        assert await house.store.event(event.id) == event
        assert [row.body for row in await house.store.pending() if row.kind == PUBLISH] == [event.id]


async def test_rows_that_move_are_looked_at_and_decided_on_again():
    async with a_ledger() as house:
        moving = Moving(house.store, Stale(), Short(f"customer:{ALICE}"), Stale())
        await Engine(moving, house.policy, house.recorder).handle(asking())
        assert moving.tries == 4
        assert await house.store.job(JOB) is not None


async def test_rows_that_never_stand_still_are_given_up_and_nothing_is_written():
    async with a_ledger() as house:
        moving = Moving(house.store, *[Stale()] * 1_000)
        with pytest.raises(Contended, match=r"request:e0e0.*; hand the fact in again"):
            await Engine(moving, house.policy, house.recorder).handle(asking())
        assert await house.store.job(JOB) is None
        await Engine(house.store, house.policy, house.recorder).handle(asking())
        assert await house.store.job(JOB) is not None


async def test_the_receipt_of_a_request_holds_no_word_of_it():
    async with a_ledger() as house:
        await house.engine.handle(asking(origin='{"who":"origin"}'))
        story = await house.store.story(JOB)
        (receipt,) = story.facts
        assert (receipt.kind, receipt.at, story.texts.request) == (
            "RequestReceived",
            NOW,
            "a very private question",
        )
        assert "private" not in receipt.body
        assert "origin" not in receipt.body
        assert ALICE in receipt.body


async def test_the_receipt_of_a_verdict_or_a_failure_holds_no_word_of_the_models():
    """Receipts are kept for ever; a reason is kept with its job, where it can be forgotten."""
    verdict = EvalDone(
        job_id=JOB, run=1, accepted=False, reason="private", input_tokens=1, output_tokens=1, at=NOW
    )
    failure = RunFailed(job_id=JOB, step=Step.WORK, run=1, sentence="private", at=NOW)
    async with a_ledger() as house:
        await house.engine.handle(asking(refund_to="private@example.com"))
        for fact in (verdict, failure):
            await house.engine.handle(fact)
        story = await house.store.story(JOB)
        assert len(story.facts) == 3
        assert "private" not in "".join(receipt.body for receipt in story.facts)


async def test_money_for_an_invoice_that_is_not_ours_is_remembered_and_changes_nothing():
    async with a_ledger() as house:
        applied = await house.engine.handle(PaymentSeen(payment_hash=HASH, received=1_000, at=NOW))
        assert applied.job is None
        assert not any((await house.store.balances()).values())


async def test_money_for_our_invoice_is_booked_before_anybody_acts_on_it():
    async with a_ledger() as house:
        await house.engine.handle(asking())
        await house.engine.handle(made())
        await house.engine.handle(PaymentSeen(payment_hash=HASH, received=1_000_000, at=NOW))
        balances = await house.store.balances()
        assert (balances["node"], balances[f"job:{JOB}"]) == (-1_000_000, 1_000_000)
        assert [row.kind for row in await house.store.pending() if row.kind == "RunAgent"] == ["RunAgent"]


async def test_a_request_is_judged_by_what_its_own_key_has_open():
    async with a_ledger() as house:
        for number in range(house.policy.open_jobs_per_key + 1):
            event_id = hashlib.sha256(f"{number}".encode()).hexdigest()
            await house.engine.handle(asking(job_id=f"{number:032x}", event_id=event_id))
        refused = house.recorder.last(Refused)
        assert refused.code == "too_many_open"
        await house.engine.handle(asking(pubkey="b" * 64))
        assert await house.store.job(JOB) is not None


async def test_only_the_key_that_asked_takes_a_request_back():
    async with a_ledger() as house:
        await house.engine.handle(asking())
        for who, state in (("b" * 64, "awaiting_eval_payment"), (ALICE, "cancelled")):
            cancel = CancelAsked(event_id=who, request_event_id=EVENT, pubkey=who, at=NOW)
            await house.engine.handle(cancel)
            assert (await house.job(JOB)).state == state


class Troubled:
    """An engine whose ledger is away for a while."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.handled = []

    async def handle(self, fact, *, done=None):
        if self.errors:
            raise self.errors.pop(0)
        self.handled.append((fact, done))


async def test_an_outcome_is_handed_in_until_it_is_written_ever_less_often():
    engine = Troubled(*[StoreUnavailable("disk full"), Contended("rows moved")] * 4)
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    await insist(engine, sleep, made(), 7)
    assert engine.handled == [(made(), 7)]
    assert slept == [0.5, 1, 2, 4, 8, 15, 15, 15]


async def test_a_fault_of_ours_is_not_tried_again():
    engine = Troubled(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await insist(engine, None, made(), 7)
    assert engine.handled == []
