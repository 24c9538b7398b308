"""Lives of one Timmy in one process, each ended at a step, on one ledger file.

To die is never to come back from the step one was at, and to take no step from there on; then a new house opens
the same file. Wallet, relays and customer are outside and live on.
"""

import asyncio
import collections
import random
from collections.abc import Callable
from pathlib import Path

from ledger.audit import audit
from ledger.money import msats_from_sats
from ledger.records import Door, JobState, Mode, RefundState
from ledger.sqlite import open_ledger
from lightning import bolt11
from lightning.backend import Sent
from lightning.simulated import SimulatedWallet
from lightning.simulated_node import OutsideWallet
from tests.flows.house import ALICE, BTC, QUESTION, House, Recorder
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.facts import RefundClaimed, RequestReceived

STORE = ("open_books", "commit", "mark_started", "postpone", "finish", "delivered", "remember")
WALLET = ("create_invoice", "list_settled", "lookup_invoice", "pay", "lookup_payment")
AGENT = ("evaluate", "work")
PATIENCE_S = 20
REQUEST_ID, CLAIM_ID = "aa" * 32, "bb" * 32


class Fate:
    """Names every step that is taken, and lets one of them be the last."""

    def __init__(self, *, deadly: str = "", deadly_number: int = 0) -> None:
        self._deadly = deadly
        self._deadly_number = deadly_number
        self._times = collections.Counter()
        self.steps: list[str] = []
        self.died = asyncio.Event()
        self._begun: list[asyncio.Task[None]] = []

    def begin(self, steps) -> asyncio.Task[None]:
        """Take steps whether or not somebody waits for them."""
        self._begun.append(asyncio.create_task(steps))
        return self._begun[-1]

    def bury(self) -> None:
        for task in self._begun:
            task.cancel()

    async def step(self, name: str) -> None:
        """Take a step, or never come back."""
        if not self.died.is_set():
            self._times[name] += 1
            self.steps.append(f"{name}, {self._times[name]}")
            if self.steps[-1] != self._deadly and len(self.steps) != self._deadly_number:
                return
            self.died.set()
        await asyncio.Event().wait()


class Mortal:
    """Something whose named methods are steps; all else is its own."""

    def __init__(self, inner, methods, fate: Fate) -> None:
        self._inner = inner
        self._methods = methods
        self._fate = fate

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        if name not in self._methods:
            return value

        async def mortal(*args, **named):
            what = " ".join([name, *(arg.kind for arg in args[:1] if hasattr(arg, "kind"))])
            await self._fate.step(f"before {what}")
            outcome = await value(*args, **named)
            await self._fate.step(f"after {what}")
            return outcome

        # A note that a run began need not be waited for, so it has to go its way alone.
        return mortal if name != "mark_started" else lambda *args: self._fate.begin(mortal(*args))


class World:
    """What is outside, and what is on disk."""

    def __init__(self, folder) -> None:
        self._file = folder / "timmy.db"
        self._clock = ManualClock()
        noise = SeededRandomness("world")
        self._wallet = SimulatedWallet(
            seed=b"timmy",
            now=self._clock.now,
            random_bytes=noise.token,
            balance_msat=msats_from_sats(100_000),
        )
        self._customer = OutsideWallet(self._wallet, seed=b"bob", now=self._clock.now, random_bytes=noise.token)
        self._relays = Recorder()
        self._claim = ""
        self._lives = 0

    async def live(self, fate: Fate) -> Fate:
        """One life: to its death, or until all is settled."""
        self._lives += 1
        living = asyncio.create_task(self._life(fate))
        dying = asyncio.create_task(fate.died.wait())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.wait((living, dying), return_when=asyncio.FIRST_COMPLETED)
        finally:
            dying.cancel()
            living.cancel()
            await asyncio.wait((living, dying))
            fate.bury()
        if not living.cancelled():
            living.result()
        return fate

    async def _life(self, fate: Fate) -> None:
        store = open_ledger(f"sqlite:///{self._file}")
        try:
            house = House(
                Mortal(store, STORE, fate),
                self._clock,
                agent=Mortal(OfflineAgent(), AGENT, fate),
                wallet=Mortal(self._wallet, WALLET, fate),
                recorder=Mortal(self._relays, ("publish",), fate),
            )
            async with house.living():
                await self._ask_pay_and_claim(house)
        finally:
            await store.close()

    async def _ask_pay_and_claim(self, house: House) -> None:
        """The customer, from where they are; relays offer their two events again in each life."""
        await house.engine.handle(self._request())
        await house.until(lambda: self._published("PriceTold"), PATIENCE_S)
        (job,) = await house.store.jobs(limit=10)
        (invoice,) = (await house.store.story(job.id)).invoices
        if str((await self._wallet.lookup_invoice(invoice.payment_hash)).state) == "open":
            self._customer.pays(invoice.bolt11)
        await house.until(lambda: self._published("Delivered"), PATIENCE_S)

        (refund,) = (await house.store.story(job.id)).refunds
        self._claim = self._claim or self._customer.invoice(refund.amount, expiry_s=7_200)
        await house.engine.handle(self._refund_claimed())
        while (await self._refund(house, job.id)).state is not RefundState.SENT:
            await house.dispatch.idle()
            if (await self._refund(house, job.id)).state is RefundState.IN_DOUBT:
                await self._clock.advance(60)
            await asyncio.sleep(0.001)

        async def nothing_is_left_to_do() -> bool:
            return not await house.store.pending()

        await house.until(nothing_is_left_to_do, PATIENCE_S)

    async def _refund(self, house: House, job_id: str):
        (refund,) = (await house.store.story(job_id)).refunds
        return refund

    def _published(self, message: str) -> set[str]:
        return {text for text in self._relays.published if text.startswith(f"{message}:")}

    def _request(self) -> RequestReceived:
        now = int(self._clock.now())
        return RequestReceived(
            job_id=f"{self._lives:032x}",
            door=Door.NOSTR,
            mode=Mode.ONCE,
            event_id=REQUEST_ID,
            pubkey=ALICE,
            text=QUESTION,
            origin="{}",
            btc=BTC,
            asked_at=now,
            at=now,
        )

    def _refund_claimed(self) -> RefundClaimed:
        invoice = bolt11.decode(self._claim)
        return RefundClaimed(
            event_id=CLAIM_ID,
            request_event_id=REQUEST_ID,
            pubkey=ALICE,
            bolt11=self._claim,
            payment_hash=invoice.payment_hash,
            amount=invoice.amount_msat,
            rail_ok=True,
            expires_at=invoice.expires_at,
            origin="{}",
            at=int(self._clock.now()),
        )

    async def is_settled_once(self) -> None:
        """One invoice, one charge, one result, one refund; books balanced."""
        assert audit(self._file) == []
        store = open_ledger(f"sqlite:///{self._file}", read_only=True)
        try:
            (job,) = await store.jobs(limit=10)
            story = await store.story(job.id)
            balances = await store.balances()
        finally:
            await store.close()
        assert job.state is JobState.COMPLETE
        (invoice,) = story.invoices
        (refund,) = story.refunds
        state = self._wallet._state
        assert list(state.invoices) == [row.payment_hash for row in state.settlements] == [invoice.payment_hash]
        assert [len(self._published(message)) for message in ("PriceTold", "Delivered")] == [1, 1]
        charge = job.charge_eval + job.charge_work
        assert job.charge_eval == msats_from_sats(2)
        assert charge + refund.amount == invoice.received
        assert balances["earned"] == charge - job.pool_credit
        assert [(p.state, p.amount_msat) for p in state.payments.values()] == [(Sent.SUCCEEDED, refund.amount)]
        assert list(self._customer.received.values()) == [refund.amount]
        assert -balances["node"] == await self._wallet.balance_msat()


MakeWorld = Callable[[Path], World]
SHARDS = 4
PAIRS = 40


async def every_step(make_world: MakeWorld, folder: Path) -> list[str]:
    """The steps of a life without death, each with its number among those of its name."""
    world = _in(folder, make_world)
    fate = await world.live(Fate())
    await world.is_settled_once()
    return sorted(fate.steps)


async def die_at_each_step(make_world: MakeWorld, folder: Path, shard: int, *, least: int) -> None:
    """For each step of this shard a first life that ends there and a second that does not; there are so many."""
    steps = await every_step(make_world, folder / "whole")
    assert len(steps) >= least, steps
    for number, deadly in enumerate(steps[shard::SHARDS]):
        world = _in(folder / str(number), make_world)
        fate = await world.live(Fate(deadly=deadly))
        assert fate.died.is_set(), f"{deadly}: it never came"
        await _last_life(world, f"dead {deadly}")


async def die_twice(make_world: MakeWorld, folder: Path, shard: int) -> None:
    """Two lives that end at steps that the shard's dice choose, and a third that does not, again and again."""
    steps = await every_step(make_world, folder / "whole")
    dice = random.Random(shard)
    for number in range(PAIRS // SHARDS):
        world = _in(folder / str(number), make_world)
        deadly, then = dice.choice(steps), dice.randrange(1, 30)
        await world.live(Fate(deadly=deadly))
        second = await world.live(Fate(deadly_number=then))
        await _last_life(world, f"dead {deadly}; then {second.steps[-1]}")


def _in(folder: Path, make_world: MakeWorld) -> World:
    folder.mkdir()
    return make_world(folder)


async def _last_life(world: World, before: str) -> None:
    try:
        await world.live(Fate())
        await world.is_settled_once()
    except Exception as error:
        error.add_note(before)
        raise
