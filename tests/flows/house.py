"""A whole Timmy without sockets: the production engine, dispatch, payments and timers on a manual clock.

The ledger is SQLite in memory, the wallet is simulated, the agent offline; what is said is recorded as it would be
signed. A test plays the customer.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence

from ledger.audit import audit
from ledger.money import Msats, msats_from_sats
from ledger.records import Door, EventRole, JobRecord, Mode, NewEvent
from ledger.sqlite import open_ledger
from ledger.store import Store
from lightning.simulated import SimulatedWallet
from lightning.simulated_node import OutsideWallet
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core import trust
from timmy_dvm.core.actions import Delivered, Message, PriceTold
from timmy_dvm.core.facts import RequestReceived
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.dispatch import Dispatch
from timmy_dvm.engine import Engine
from timmy_dvm.fetching import Document, FetchFailed, Why
from timmy_dvm.nodes import Nodes
from timmy_dvm.partials import Partials
from timmy_dvm.payees import Payees
from timmy_dvm.payments import Payments
from timmy_dvm.provision.ssh_key import SshKey
from timmy_dvm.provision.stub import StubProvisioner
from timmy_dvm.runs import Runs
from timmy_dvm.timers import Timers
from timmy_dvm.wallet import WalletSteps

ALICE = "a" * 64
LOOK_EVERY_S = 86_400
"""Nobody else writes to these ledgers, and weeks go by in them."""
BTC = BtcPrice.from_usd(100_000, source="test", freshness=Freshness.FIXED, at=1_700_000_000)
QUESTION = (
    "What does a data vending machine do, how is it paid, and what happens to my sats if it should fail half way?"
)


class Recorder:
    """Says everything as an event whose id is the hash of what it says, and takes every event."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.published: list[str] = []
        self.relays_up = True

    def speak(
        self,
        message: Message,
        *,
        origin: str,
        job_id: str | None,
        tier: trust.Tier,
        at: int,
        absorbed_sats: int | None = None,
    ) -> Sequence[NewEvent]:
        self.said.append(message)
        text = f"{type(message).__name__}:{origin}:{job_id}:{at}:{len(self.said)}"
        role = EventRole.RESULT if isinstance(message, Delivered) else EventRole.FEEDBACK
        event_id = hashlib.sha256(text.encode()).hexdigest()
        return [NewEvent(id=event_id, job_id=job_id, role=role, json=text, targets="[]")]

    async def publish(self, event_json: str, targets: str) -> Mapping[str, str]:
        if not self.relays_up:
            return {}
        self.published.append(event_json)
        return {"ws://relay": "accepted"}

    def publish_further(self, event_json: str, targets: str) -> None:
        """The customer has no relays of their own."""

    def last(self, kind: type[Message]) -> Message | None:
        return next((m for m in reversed(self.said) if isinstance(m, kind)), None)


class NoProfiles:
    """Knows nobody's address."""

    async def lightning_address(self, pubkey: str) -> str | None:
        return None


class NoWay:
    """Fetches nothing from nowhere."""

    async def __call__(self, url: str, max_bytes: int) -> Document:
        raise FetchFailed(Why.UNREACHABLE, "There is no way out of here.")


def a_key() -> SshKey:
    """In place of a key that takes a second to make."""
    return SshKey("-----BEGIN RSA PRIVATE KEY-----\n", "ssh-rsa AAAA")


class House:
    """Everything that decides and acts, with the outside in the test's hands."""

    def __init__(
        self,
        store: Store,
        clock: ManualClock,
        agent=None,
        wallet=None,
        policy: Policy | None = None,
        recorder=None,
        fetch=None,
        provisioner=None,
    ) -> None:
        self.clock = clock
        self.random = SeededRandomness("house")
        self.store = store
        self.policy = policy or Policy()
        self.wallet = wallet or SimulatedWallet(
            seed=b"timmy", now=clock.now, random_bytes=self.random.token, balance_msat=msats_from_sats(100_000)
        )
        self.customer = OutsideWallet(self.wallet, seed=b"alice", now=clock.now, random_bytes=self.random.token)
        self.recorder = recorder or Recorder()
        self.agent = agent or OfflineAgent(sleep=clock.sleep)
        self.engine = Engine(store, self.policy, self.recorder)
        self.partials = Partials()
        runs = Runs(self.agent, store, self.engine, clock, self.policy.prices, 50, self.partials)
        steps = WalletSteps(self.wallet, store, self.engine, clock)
        payees = Payees(fetch or NoWay(), NoProfiles(), self.engine, clock, self.wallet.network)
        self.nodes = Nodes(store, self.engine, clock, provisioner or StubProvisioner(clock, self.random), a_key)
        self.dispatch = Dispatch(
            store, self.engine, steps, runs, self.recorder, clock, payees, self.nodes, look_every_s=LOOK_EVERY_S
        )
        self.timers = Timers(store, self.engine, clock)
        self.payments = Payments(store, self.engine, self.wallet, clock)
        self._asked = 0

    @contextlib.asynccontextmanager
    async def living(self) -> AsyncIterator["House"]:
        await self.store.open_books(
            await self.wallet.balance_msat(), msats_from_sats(10_000), int(self.clock.now())
        )
        async with asyncio.TaskGroup() as group:
            parts = (self.dispatch.run(), self.payments.run(), self.timers.run())
            tasks = [group.create_task(part) for part in parts]
            await self.payments.caught_up.wait()
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()

    async def ask(self, text: str = QUESTION, **changes) -> str:
        """A request over the relay door; its job id, whether or not a job was made."""
        self._asked += 1
        job_id = self.random.new_id()
        now = int(self.clock.now())
        fact = RequestReceived(
            job_id=job_id,
            door=Door.NOSTR,
            mode=Mode.ONCE,
            event_id=hashlib.sha256(f"request {self._asked}".encode()).hexdigest(),
            pubkey=ALICE,
            text=text,
            origin="{}",
            btc=BTC,
            asked_at=now,
            at=now,
        )
        await self.engine.handle(dataclasses.replace(fact, **changes))
        return job_id

    async def until(self, condition, seconds: float = 5.0) -> None:
        """Let things happen, without moving the clock, until ``condition`` holds."""
        async with asyncio.timeout(seconds):
            while True:
                outcome = condition()
                if asyncio.iscoroutine(outcome):
                    outcome = await outcome
                if outcome:
                    return
                await asyncio.sleep(0.001)

    async def state_is(self, job_id: str, *states: str) -> None:
        async def there() -> bool:
            job = await self.store.job(job_id)
            return job is not None and str(job.state) in states

        await self.until(there)

    async def priced(self) -> PriceTold:
        await self.until(lambda: self.recorder.last(PriceTold))
        price = self.recorder.last(PriceTold)
        assert isinstance(price, PriceTold)
        return price

    async def job(self, job_id: str) -> JobRecord:
        job = await self.store.job(job_id)
        assert job is not None
        return job

    async def balance(self, account: str) -> Msats:
        return (await self.store.balances()).get(account, Msats(0))

    async def books_are_right(self) -> None:
        balances = await self.store.balances()
        assert sum(balances.values()) == 0, balances
        wallet = await self.wallet.balance_msat()
        assert -balances["node"] == wallet, (balances, wallet)


@contextlib.asynccontextmanager
async def a_house(url: str = "sqlite:///:memory:", **parts) -> AsyncIterator[House]:
    clock = parts.pop("clock", None) or ManualClock()
    store = open_ledger(url)
    try:
        async with House(store, clock, **parts).living() as house:
            yield house
    finally:
        await store.close()


__all__ = ["ALICE", "BTC", "QUESTION", "House", "a_house", "audit"]
