"""What outlives a Timmy that is killed: two relays, a customer with a wallet, and the folder on disk.

The lives of Timmy are processes (`crash_child.py`), one after the other on the same folder. All but the last die
by SIGKILL at the moment they were given; the customer goes on through all of them.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ledger.money import Msats
from ledger.records import JobRecord, RefundRecord
from ledger.sqlite import open_ledger
from ledger.store import Store, Story
from lightning import bolt11
from lightning.backend import Sent
from lightning.journal import Journal
from lightning.simulated import SimulatedWallet
from lightning.simulated_node import Node
from lightning.simulated_state import Payment, WalletState
from relay_client.event import Event
from relay_client.keys import Keys
from relay_client.local_relay import LocalRelay
from relay_client.pool import RelayPool
from tests.faults import FaultProxy, until
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.identity import load_or_create_key
from timmy_dvm.nostr.customer import Customer, Order, Said
from timmy_dvm.purse import NotPaid, SimulatedPurse

PATIENCE_S = 45
"""For one whole story, beside its lives."""
LIFE_S = 5
"""For each life, which begins with a start of Python."""
QUESTION = "What does a data vending machine do, and what happens to my sats if it should fail half way?"
RESULT = 6050
_CHILD = Path(__file__).with_name("crash_child.py")
_ROOT = _CHILD.parents[2]


@dataclass(frozen=True, slots=True)
class Ending:
    """All that is on disk at the end, and all that Timmy said about the request, each event once."""

    story: Story
    accounts: dict[str, Msats]
    wallet: WalletState
    said: tuple[frozenset[Event], ...]
    """By relay."""

    @property
    def job(self) -> JobRecord:
        return self.story.job

    @property
    def refund(self) -> RefundRecord:
        (refund,) = self.story.refunds
        return refund

    @property
    def results(self) -> frozenset[str]:
        """Ids of all result events any relay has."""
        return frozenset(event.id for event in frozenset().union(*self.said) if event.kind == RESULT)

    @property
    def prices(self) -> frozenset[str]:
        """Payment hashes of all invoices the customer was ever shown."""
        events = frozenset().union(*self.said)
        return frozenset(value for event in events for value in event.tag_values("payment_hash"))

    @property
    def payments(self) -> list[Payment]:
        """What left the wallet."""
        return [payment for payment in self.wallet.payments.values() if payment.state is Sent.SUCCEEDED]

    def facts(self, kind: str) -> int:
        return sum(fact.kind == kind for fact in self.story.facts)


class World:
    """Relays, customer and folder; and the Timmy that lives now, if one does.

    `road` is how he reaches the second relay.
    """

    def __init__(
        self, folder: Path, relays: tuple[LocalRelay, LocalRelay], road: FaultProxy, pool: RelayPool
    ) -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        self.folder = folder
        self.relays = relays
        self.road = road
        self._keys = load_or_create_key(folder / "nostr.key", randomness)
        self._customer = Customer(Keys.from_bytes(randomness.token(32)), pool, clock, randomness)
        self._request = self._customer.request(Order(text=QUESTION, provider=self._keys.public_key))
        self._node = Node(b"customer", clock.now, randomness.token)
        self._wallet_clock = clock.now
        self._serving = asyncio.Event()
        self._http = ""
        self._price = asyncio.Event()
        self._invoice = ""
        self._log = b""

    # Timmy's lives

    async def story(
        self,
        *moments: str,
        between: Callable[[Self], Awaitable[None]] | None = None,
        pays: bool = True,
        ahead_s: int = 0,
    ) -> Ending:
        """Die at each of these moments, one life after the other, then live until all is settled.

        Args:
            moments: of the lives that end by SIGKILL.
            between: what happens after each of those lives, while nobody runs.
            pays: whether the customer pays the running Timmy; else somebody has to in `between`.
            ahead_s: how far the clock of the last life is ahead.
        """
        try:
            async with asyncio.timeout(PATIENCE_S + LIFE_S * len(moments)), asyncio.TaskGroup() as group:
                customer = group.create_task(self._ask_pay_and_claim(pays=pays))
                for moment in moments:
                    async with self._life(moment) as child:
                        dying = group.create_task(child.wait())
                        await asyncio.wait((dying, customer), return_when=asyncio.FIRST_COMPLETED)
                    assert await dying == -signal.SIGKILL, f"{moment}: it ended otherwise"
                    assert not customer.done(), f"{moment}: it never came"
                    if between is not None:
                        await between(self)
                async with self._life("", ahead_s) as child:
                    await customer
                    await self._outbox_is_empty()
                    child.terminate()
                    await child.wait()
                assert child.returncode == 0, "it did not stop in order"
        except BaseException:
            sys.stderr.write(self._log.decode())
            raise
        return await self._ending()

    @contextlib.asynccontextmanager
    async def _life(self, moment: str, ahead_s: int = 0) -> AsyncIterator[asyncio.subprocess.Process]:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, str(_CHILD), str(self.folder), str(ahead_s), moment),
            env=self._environment(),
            cwd=self.folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        listening = asyncio.create_task(self._listen(child))
        try:
            yield child
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()
            await listening

    async def _listen(self, child: asyncio.subprocess.Process) -> None:
        assert child.stderr is not None
        async for line in child.stderr:
            self._log += line
            if line.startswith(b"ready "):
                self._http = dict(part.split("=", 1) for part in line.decode().split()[1:])["http"]
                self._serving.set()
        self._serving.clear()
        self._log += b"-- end of a life\n"

    def _environment(self) -> dict[str, str]:
        coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        return coverage | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_ROOT),
            "HOME": str(self.folder),
            "TIMMY_HTTP__PORT": "0",
            "TIMMY_NOSTR__RELAYS": f"{self.relays[0].url},{self.road.url}",
        }

    # The customer

    async def _ask_pay_and_claim(self, *, pays: bool) -> None:
        provider = self._keys.public_key
        await self._serving.wait()
        heard: set[Said] = set()
        async with contextlib.aclosing(self._customer.ask(self._request, provider)) as answers:
            async for answer in answers:
                heard.add(answer.said)
                if answer.said is Said.PRICE and answer.bolt11:
                    self._invoice = answer.bolt11
                    self._price.set()
                    if pays:
                        await self._pay_whoever_lives()
                if Said.ERROR in heard or heard >= {Said.RESULT, Said.RECEIPT}:
                    break
        await self._claim(provider)
        await until(lambda: any(tag[:2] == ("refund", "sent") for tag in self._tags()), PATIENCE_S)

    async def _pay_whoever_lives(self) -> None:
        """Pay, and when he dies over it ask the next one: paid already is paid."""
        while True:
            await self._serving.wait()
            try:
                return await SimulatedPurse(self._http).pay(self._invoice)
            except NotPaid:
                await until(lambda: not self._serving.is_set())

    async def pay_the_node(self) -> None:
        """Pay while nobody runs: a Lightning node takes money without Timmy."""
        await self._price.wait()
        wallet = SimulatedWallet(
            seed=b"timmy", now=self._wallet_clock, random_bytes=os.urandom, path=self._wallet_file
        )
        payment_hash = bolt11.decode(self._invoice).payment_hash
        if payment_hash not in self._wallet_state().received:
            wallet.settle(payment_hash)
        await wallet.aclose()

    async def _claim(self, provider: str) -> None:
        async with self._ledger() as store:
            (held,) = await store.refunds(open_only=True)
        invoice = self._node.invoice(held.amount, "change", 3_600, None).bolt11
        params = {"op": "refund", "job": self._request.id, "invoice": invoice}
        claim = self._customer.request(Order(text="", provider=provider, params=params))
        async with contextlib.aclosing(self._customer.ask(claim, provider)) as answers:
            async for answer in answers:
                if claim.id in answer.event.tag_values("e"):
                    assert answer.said is Said.RESULT, answer.text
                    return

    # What there is to see

    @property
    def _wallet_file(self) -> Path:
        return self.folder / "simulated-wallet.jsonl"

    def _wallet_state(self) -> WalletState:
        state = WalletState()
        for record in Journal(self._wallet_file).read():
            state.apply(record)
        return state

    @contextlib.asynccontextmanager
    async def _ledger(self) -> AsyncIterator[Store]:
        store = open_ledger(f"sqlite:///{self.folder / 'timmy.db'}", read_only=True)
        try:
            yield store
        finally:
            await store.close()

    async def _outbox_is_empty(self) -> None:
        async with self._ledger() as store:
            while await store.pending():  # noqa: ASYNC110 - another process empties it
                await asyncio.sleep(0.01)

    def _said_on(self, relay: LocalRelay) -> frozenset[Event]:
        events = (Event.from_wire(text) for text in relay._store.texts())
        return frozenset(
            event
            for event in events
            if event.pubkey == self._keys.public_key and self._request.id in event.tag_values("e")
        )

    def _tags(self) -> list[tuple[str, ...]]:
        return [tuple(tag) for relay in self.relays for event in self._said_on(relay) for tag in event.tags]

    async def _ending(self) -> Ending:
        async with self._ledger() as store:
            (job,) = await store.jobs(limit=10)
            story = await store.story(job.id)
            balances = dict(await store.balances())
        assert story is not None
        said = tuple(self._said_on(relay) for relay in self.relays)
        return Ending(story, balances, self._wallet_state(), said)

    async def audit(self) -> tuple[int, str]:
        """Exit code and words of `timmy audit`."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "timmy_dvm", "audit", "--data-dir", str(self.folder)),
            env=self._environment(),
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await child.communicate()
        assert child.returncode is not None
        return child.returncode, told.decode()


@contextlib.asynccontextmanager
async def a_world(folder: Path, kind: type[World] = World) -> AsyncIterator[World]:
    async with (
        LocalRelay() as one,
        LocalRelay() as two,
        FaultProxy(two.url) as road,
        RelayPool([one.url, two.url]) as pool,
    ):
        await pool.wait_connected(2)
        yield kind(folder, (one, two), road, pool)
