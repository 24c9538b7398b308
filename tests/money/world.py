"""Timmy's production parts over a ledger in memory and a simulated wallet, one step at a time, any the last.

Nothing happens by itself: engine, dispatch, wallet steps, runs and the ear for payments are the product's, and a
test says which takes its next step. A process dies at a commit or at a call of the wallet, before or after it; the
next one has the same ledger and wallet, and nothing else. There are no threads: the same steps do the same.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from ledger.money import Msats, msats_from_sats
from ledger.records import Change, FactRecord, IdentityRecord, NewEvent, PendingAction
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable
from lightning import bolt11
from lightning.errors import LightningError
from lightning.simulated import SimulatedWallet
from lightning.simulated_node import OutsideWallet
from tests.flows.house import NoProfiles, NoWay, Recorder
from timmy_dvm.agent.runner import Answer, Task, Unavailable, Usage, Verdict
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.actions import Action, AskForInvoice, RunAgent
from timmy_dvm.core.facts import DeadlinePassed
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import RefundInvoiced, RefundNotInvoiced
from timmy_dvm.dispatch import Dispatch, pause_s
from timmy_dvm.engine import Engine
from timmy_dvm.nodes import Nodes
from timmy_dvm.payees import Payees
from timmy_dvm.payments import Payments
from timmy_dvm.provision.stub import StubProvisioner
from timmy_dvm.runs import Runs
from timmy_dvm.solvency import Watchdog
from timmy_dvm.wallet import WalletSteps

T = TypeVar("T")
LOOK_EVERY_S = 86_400
"""Nobody else writes to this ledger."""
OPENING = msats_from_sats(100_000)
_decode = msgspec.json.Decoder(Action).decode


class Died(BaseException):
    """The process is gone. No `except Exception` of the product may hold it up."""


class Fate:
    """When this process dies: at the so-maniest moment from now, and with it all that it had begun."""

    def __init__(self) -> None:
        self.dies_in: int | None = None
        self.dead = False

    def moment(self) -> None:
        if self.dies_in is not None:
            self.dies_in -= 1
            self.dead = self.dead or self.dies_in < 0
        if self.dead:
            raise Died


class MortalStore:
    """The ledger, with a moment to die before and after each commit."""

    def __init__(self, store, fate: Fate) -> None:
        self._store = store
        self._fate = fate

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def commit(self, fact, decide):
        self._fate.moment()
        outcome = await self._store.commit(fact, decide)
        self._fate.moment()
        return outcome


class MortalWallet(SimulatedWallet):
    """Our wallet, with a moment to die before and after each call that does something. The wallet lives on."""

    fate = Fate()

    async def create_invoice(self, amount_msat, **terms):
        self.fate.moment()
        made = await super().create_invoice(amount_msat, **terms)
        self.fate.moment()
        return made

    async def pay(self, text, **terms):
        self.fate.moment()
        status = await super().pay(text, **terms)
        self.fate.moment()
        return status

    @property
    def truth(self):
        """What really happened, whatever was said of it."""
        return self._state


class StillClock(ManualClock):
    """Nobody sleeps here: whoever wants to waits for something that never comes."""

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"somebody would sleep for {seconds} seconds, and nothing is out of order")


class Silent(Recorder):
    """Says everything, and nothing of it is to be published."""

    def speak(self, message, **about) -> Sequence[NewEvent]:
        self.said.append(message)
        return ()


class Model:
    """Does what it is told next, and remembers the ``(input, output)`` tokens it used, by the request's text."""

    eval_model = work_model = "offline"

    def __init__(self) -> None:
        self.accepts = True
        self.is_away = False
        self.tokens = (240, 120)
        self.worked: dict[str, tuple[int, int]] = {}

    async def evaluate(self, task: Task, *, deadline_s: float) -> Verdict:
        if self.is_away:
            raise Unavailable
        return Verdict(self.accepts, "" if self.accepts else "No.", Usage("offline", 10, 2))

    async def work(self, task: Task, *, deadline_s: float, on_text=None) -> Answer:
        if self.is_away:
            raise Unavailable
        self.worked[task.text] = self.tokens
        return Answer("So it is.", Usage("offline", *self.tokens), truncated=False)


class Life:
    """One process of Timmy's: everything that a death takes."""

    def __init__(self, world: "World") -> None:
        store, clock, wallet, policy = world.store, world.clock, world.wallet, world.policy
        self.engine = Engine(store, policy, world.recorder)
        self.watchdog = Watchdog(store, wallet, clock)
        steps = WalletSteps(wallet, store, self.engine, clock, self.watchdog.alarm)
        runs = Runs(world.model, store, self.engine, clock, policy.prices, 50)
        payees = Payees(NoWay(), NoProfiles(), self.engine, clock, wallet.network)
        nodes = Nodes(store, self.engine, clock, StubProvisioner(clock, SeededRandomness("nodes")))
        self.dispatch = Dispatch(
            store, self.engine, steps, runs, world.recorder, clock, payees, nodes, look_every_s=LOOK_EVERY_S
        )
        self.payments = Payments(store, self.engine, wallet, clock)
        self.found: frozenset[int] = frozenset()
        """What the outbox held when it began: a process before it may have begun that."""


class World:
    """All that outlives a process, and the one that lives now. Amounts are msat."""

    def __init__(self, policy: Policy, pool: Msats, scores: dict[str, int]) -> None:
        self.loop = asyncio.new_event_loop()
        self.policy = policy
        self.clock = StillClock()
        self.random = SeededRandomness("money")
        self.fate = Fate()
        self.ledger = open_ledger("sqlite:///:memory:")
        self.store = MortalStore(self.ledger, self.fate)
        self.wallet = MortalWallet(
            seed=b"timmy", now=self.clock.now, random_bytes=self.random.token, balance_msat=OPENING
        )
        self.wallet.fate = self.fate
        self.customer = OutsideWallet(
            self.wallet, seed=b"alice", now=self.clock.now, random_bytes=self.random.token
        )
        self.recorder = Silent()
        self.model = Model()
        self.deaths = 0
        self._number = 0
        self.run(self._begin(pool, scores))
        self.life = Life(self)

    async def _begin(self, pool: Msats, scores: dict[str, int]) -> None:
        await self.ledger.open_books(OPENING, pool, self.now)
        for pubkey, score in scores.items():
            row = IdentityRecord(pubkey=pubkey, trust_score=score, first_seen=self.now, last_seen=self.now)
            fact = FactRecord(id=f"known {pubkey}", kind="Test", job_id=None, at=self.now, body="{}")
            await self.ledger.commit(fact, lambda _, row=row: Change(identity=row))

    def close(self) -> None:
        self.run(self.ledger.close())
        self.loop.close()

    @property
    def now(self) -> int:
        return int(self.clock.now())

    def fresh(self) -> int:
        self._number += 1
        return self._number

    def fresh_hex(self) -> str:
        return hashlib.sha256(f"event {self.fresh()}".encode()).hexdigest()

    # A process, step by step

    def run(self, awaitable: Awaitable[T]) -> T:
        return self.loop.run_until_complete(awaitable)

    def live(self, *steps: Awaitable[object]) -> None:
        """Steps that are taken at once. Dies one of them, all die, and a new process begins."""
        outcomes = self.run(_all(steps))
        if self.fate.dead:
            self.die()
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Died):
                raise outcome

    def die(self) -> None:
        """What was in the process is gone; another begins with what is on disk."""
        self.deaths += 1
        self.fate.dead, self.fate.dies_in = False, None
        self.life = Life(self)
        self.life.found = frozenset(row.id for row in self.pending())
        self.life.payments._cursor = self.run(self.ledger.setting("wallet_cursor"))

    def pending(self) -> Sequence[PendingAction]:
        return self.run(self.ledger.pending())

    def due(self, kind: type | None = None) -> list[PendingAction]:
        """What of the outbox may be done now, oldest first."""
        rows = [row for row in self.pending() if (row.due_at or 0) <= self.now]
        return [row for row in rows if kind is None or row.kind == kind.__name__]

    async def perform(self, row: PendingAction, *, address_answers: bool = True) -> None:
        """One action of the outbox, as dispatch would; where there is no outcome it comes again later."""
        body = _decode(row.body)
        if isinstance(body, AskForInvoice):
            await self.life.engine.handle(self._asked(body, answers=address_answers), done=row.id)
            return
        try:
            await self.life.dispatch._do(row, recovered=row.id in self.life.found)
        except (LightningError, StoreUnavailable):
            await self.ledger.postpone(row.id, self.now + pause_s(row.attempts))

    def _asked(self, wanted: AskForInvoice, *, answers: bool) -> RefundInvoiced | RefundNotInvoiced:
        """What the customer's Lightning address says when it is asked for an invoice."""
        about = {"refund_id": wanted.refund_id, "attempts": wanted.attempts, "at": self.now}
        if not answers:
            return RefundNotInvoiced(sentence="It is away.", lasting=False, **about)
        text = self.customer.invoice(Msats(wanted.amount))
        made = bolt11.decode(text)
        return RefundInvoiced(bolt11=text, payment_hash=made.payment_hash, expires_at=made.expires_at, **about)

    async def deadlines(self) -> None:
        """Whatever is overdue, as the timers would."""
        for due_at, job_id in await self.ledger.due():
            if due_at <= self.now:
                await self.life.engine.handle(DeadlinePassed(job_id=job_id, due_at=due_at, at=self.now))

    async def listing(self) -> None:
        """The wallet's listing since the cursor, as the ear reads it; and the cursor is kept."""
        try:
            await self.life.payments._list()
        except LightningError:
            return
        await self.life.payments._save_cursor()

    async def hint(self, payment_hash: str) -> None:
        """A push: true, forged or a repeat."""
        await self.life.payments._places.acquire()
        await self.life.payments._look(payment_hash)

    def query(self, work: Callable[..., T]) -> T:
        """Look at the rows themselves; ``work`` gets the connection."""
        return self.run(self.ledger._reader.run(work))

    def rests(self) -> bool:
        """Take one good step of whatever waits. True where nothing does any more."""
        if self.due():
            self.model.accepts, self.model.is_away = True, False
            self.live(self.perform(self.due()[0]))
            return False
        soon = [row.due_at for row in self.pending() if row.due_at and row.kind != "CloseIdleSession"]
        soon += [due_at for due_at, _ in self.run(self.ledger.due())]
        if not soon:
            return True
        self.run(self.clock.advance(max(0, min(soon) - self.now), rounds=1))
        self.live(self.deadlines())
        return False


async def _all(steps: Sequence[Awaitable[object]]) -> list[object]:
    return list(await asyncio.gather(*steps, return_exceptions=True))


__all__ = ["OPENING", "Died", "RunAgent", "World"]
