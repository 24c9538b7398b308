"""The composition root: builds every part, starts and stops them in order. No rules live here.

Everything long-lived runs in one TaskGroup. Start: lock, ledger, wallet, opening entries, relays, HTTP, then one
listing of what was paid while we were away, the outbox, the deadlines, and last the ear for new requests. Stop is
the other way round: first no new requests, then a moment for what is being done, then the ledger last.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from ledger.files import lock_ledger
from ledger.money import msats_from_sats
from ledger.sqlite import open_ledger
from ledger.store import Store
from lightning.backend import Lightning
from lightning.errors import LightningError
from relay_client.dial import Outside
from relay_client.local_relay import LocalRelay
from relay_client.pool import RelayPool
from timmy_dvm.agent.runner import Agent
from timmy_dvm.building import (
    agent_of,
    check,
    keys_of,
    pay_pages_of,
    policy_of,
    pool_of,
    price_source_of,
    wallet_of,
)
from timmy_dvm.clock import Clock, Randomness, SystemClock, SystemRandomness
from timmy_dvm.config import Config, ConfigError
from timmy_dvm.dispatch import Dispatch
from timmy_dvm.engine import Engine
from timmy_dvm.fetching import GuardedFetch, Judge, public_https
from timmy_dvm.http.dev_pay import DevPay
from timmy_dvm.http.health import Health
from timmy_dvm.http.server import Server, bind
from timmy_dvm.http_door import (
    claims_of,
    giving_of,
    operator_side,
    pages_of,
    routers_of,
    server_of,
    services_of,
    sessions_of,
)
from timmy_dvm.lifts import follows_of, lift_of, ranks_of
from timmy_dvm.log import get_logger
from timmy_dvm.nodes import Nodes
from timmy_dvm.nostr.profiles import RelayProfiles
from timmy_dvm.nostr.publishing import NostrPublisher
from timmy_dvm.nostr.speaker import NostrSpeaker
from timmy_dvm.nostr.streaming import PartialFeedback
from timmy_dvm.partials import Partials
from timmy_dvm.payees import Payees
from timmy_dvm.payments import Payments
from timmy_dvm.prices import HttpFetch, LivePrice
from timmy_dvm.provision.stub import StubProvisioner
from timmy_dvm.relay_door import Ground, RelayDoor, relay_door
from timmy_dvm.resolver import SystemResolver
from timmy_dvm.runs import Runs
from timmy_dvm.solvency import Watchdog
from timmy_dvm.timers import Timers
from timmy_dvm.wallet import WalletSteps
from timmy_dvm.world_door import WorldDoor, world_door

_READY_S = 20
_LAST_MOMENTS_S = 2.5
"""What is being done may finish within this; together with the rest a stop takes less than 5 s."""
log = get_logger("app")


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a serving Timmy is found."""

    npub: str
    http: str
    relays: tuple[str, ...]

    def line(self) -> str:
        """The one line on stderr that says so."""
        return f"ready npub={self.npub} http={self.http} relays={','.join(self.relays)}"


class App:
    """One running instance.

    Args:
        config: what the operator decided.
        clock, randomness: the machine's own, or a test's.
        wallet, agent: in place of the configured ones.
        judge: which of the addresses that refunds go to are connected to, in place of public https alone.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        wallet: Lightning | None = None,
        agent: Agent | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._randomness = randomness or SystemRandomness()
        self._wallet = wallet
        self._agent = agent
        # Not the look-ups of the pages that customers name: many slow ones must not keep refunds waiting.
        self._judge = judge or public_https(SystemResolver())
        self._stop = asyncio.Event()
        self._public_key = ""

    @property
    def public_key(self) -> str:
        """Timmy's public key, hex; known once it is ready."""
        return self._public_key

    def stop(self) -> None:
        """Begin to stop. ``run`` returns within 5 s."""
        self._stop.set()

    async def run(self, on_ready: Callable[[Ready], None] = lambda _: None) -> None:
        """Serve until :meth:`stop`.

        Raises:
            ConfigError: something in the configuration can't work on this machine.
            LedgerLocked: another process runs on the ledger.
            StoreUnavailable: the ledger can't be opened.
        """
        async with contextlib.AsyncExitStack() as stack:
            parts = await self._build(stack)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            tasks = [group.create_task(part) for part in parts.early]
            serving = asyncio.create_task(parts.serve(group, tasks, on_ready))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait((serving, stopping, *tasks), return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping", action="stop")
            stopping.cancel()
            await parts.wind_down(serving, tasks)

    async def _build(self, stack: contextlib.AsyncExitStack) -> "_Parts":
        config, clock = self._config, self._clock
        check(config)
        listening = stack.enter_context(contextlib.closing(bind(config.http.host, config.http.port)))
        public_url = (config.http.public_url or _address(listening)).rstrip("/")
        ground = await self._ground(stack, public_url)
        store, wallet, engine = ground.store, ground.wallet, ground.engine
        fetch = HttpFetch()
        stack.push_async_callback(fetch.aclose)
        btc_price = price_source_of(config, clock, store, fetch)
        watchdog = Watchdog(store, wallet, clock)
        payments = Payments(store, engine, wallet, clock)
        operator = operator_side(ground, payments, watchdog)
        door = relay_door(ground, btc_price, operator.show)
        partials = Partials()
        runs = Runs(ground.agent, store, engine, clock, ground.policy.prices, config.limits.in_flight, partials)
        steps = WalletSteps(wallet, store, engine, clock, watchdog.alarm)
        profiles = RelayProfiles(ground.pool, clock)
        payees = Payees(GuardedFetch(self._judge), profiles, engine, clock, wallet.network)
        nodes = Nodes(store, engine, clock, StubProvisioner(clock, self._randomness))
        pay = DevPay(wallet, store, payments.look).pay if config.pay_route else None
        services = services_of(ground, btc_price, partials, public_url)
        health = Health(config, ground.keys, ground.pool, store, payments, watchdog)
        sessions = sessions_of(ground, services, payments.look)
        world = world_door(ground, services, door.publisher)
        claims, gifts = claims_of(ground), giving_of(ground)
        routers = routers_of(services, sessions, claims, door.hand_in, health.show, pay, gifts)
        routers += [*world.routers, *operator.routers, pages_of(ground, services)]
        return _Parts(
            Ready(ground.keys.npub, public_url, ground.pool.urls),
            ground.pool,
            door,
            Dispatch(store, engine, steps, runs, door.publisher, clock, payees, nodes),
            _partial_feedback(ground, partials, door.publisher),
            Timers(store, engine, clock),
            payments,
            watchdog,
            btc_price if isinstance(btc_price, LivePrice) else None,
            world,
            server_of(ground, routers, operator.new_id),
            listening,
        )

    async def _ground(self, stack: contextlib.AsyncExitStack, public_url: str) -> Ground:
        """What must be there before anything can be built on it: ledger, wallet, agent, key, relays."""
        config, clock, randomness = self._config, self._clock, self._randomness
        store = await stack.enter_async_context(_ledger(config))
        agent = self._agent or agent_of(config, clock, randomness)
        stack.push_async_callback(agent.aclose)
        wallet = self._wallet or wallet_of(config, clock, randomness)
        stack.push_async_callback(wallet.aclose)
        await _open_books(store, wallet, config, clock)

        keys = keys_of(config, randomness)
        self._public_key = keys.public_key
        outside = Outside(
            monotonic=clock.monotonic,
            unix_time=clock.now,
            sleep=clock.sleep,
            jitter=randomness.uniform,
            entropy=randomness.token,
        )
        relays = config.nostr.relays or (await stack.enter_async_context(_embedded_relay(config, outside)),)
        policy = policy_of(config, agent, wallet)
        pool = pool_of(config, relays, keys, outside)
        follows, ranks = follows_of(config, pool, store, clock), ranks_of(config, clock, outside)
        lift = lift_of(follows, ranks)
        speaker = NostrSpeaker(keys, randomness, pay_pages_of(relays, public_url), name=config.nostr.name)
        return Ground(
            config=config,
            clock=clock,
            randomness=randomness,
            store=store,
            agent=agent,
            wallet=wallet,
            keys=keys,
            pool=pool,
            policy=policy,
            engine=Engine(store, policy, speaker) if lift is None else Engine(store, policy, speaker, lift),
            follows=follows,
            ranks=ranks,
        )


def _partial_feedback(ground: Ground, partials: Partials, publisher: NostrPublisher) -> PartialFeedback:
    randomness, rules = ground.randomness, ground.policy.trust
    return PartialFeedback(partials, publisher, ground.store, ground.keys, ground.clock, randomness, rules)


@dataclass(frozen=True, slots=True)
class _Parts:
    """All that runs, and the order in which it starts and stops."""

    ready: Ready
    pool: RelayPool
    door: RelayDoor
    dispatch: Dispatch
    streaming: PartialFeedback
    timers: Timers
    payments: Payments
    watchdog: Watchdog
    btc_price: LivePrice | None
    world: WorldDoor
    server: Server
    listening: socket.socket

    @property
    def early(self) -> tuple[Any, ...]:
        """What runs from the first moment."""
        return (self.pool.run(), self.server.serve(sockets=[self.listening]))

    async def serve(
        self, group: asyncio.TaskGroup, tasks: "list[asyncio.Task[None]]", on_ready: Callable[[Ready], None]
    ) -> None:
        """Book what was paid meanwhile, go on with the outbox, then listen; and say so when it is true."""
        tasks.append(group.create_task(self.streaming.run()))
        tasks.append(group.create_task(self.dispatch.run()))
        tasks.append(group.create_task(self.payments.run()))
        tasks.append(group.create_task(self.timers.run()))
        tasks += [group.create_task(part) for part in self.world.running]
        if self.btc_price is not None:
            tasks.append(group.create_task(self.btc_price.run()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                await self.payments.caught_up.wait()
        tasks.append(group.create_task(self.watchdog.run()))
        tasks.append(group.create_task(self.door.port.run()))
        await self.door.port.ready()
        if self.door.letters is not None:
            tasks.append(group.create_task(self.door.letters.run()))
        tasks += [group.create_task(courtesy.run()) for courtesy in self.door.courtesies]
        if self.world.presence is not None:
            tasks.append(group.create_task(self.world.presence.run()))
        ready = self.ready
        log.info("serving", action="ready", npub=ready.npub, http=ready.http, relays=list(ready.relays))
        on_ready(ready)
        await asyncio.Event().wait()

    async def wind_down(self, serving: "asyncio.Task[None]", tasks: "list[asyncio.Task[None]]") -> None:
        """First no new requests, then a moment for what is being done, then everything."""
        self.server.should_exit = True
        serving.cancel()
        await self.door.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_MOMENTS_S):
                await self.dispatch.idle()
        await self.world.stop()
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def _ledger(config: Config) -> AsyncIterator[Store]:
    path = config.ledger.sqlite_path
    if path is None:
        raise ConfigError("ledger.url: a ledger in a file is needed")
    with lock_ledger(path):
        store = open_ledger(config.ledger.url)
        try:
            yield store
        finally:
            await store.close()


@contextlib.asynccontextmanager
async def _embedded_relay(config: Config, outside: Outside) -> AsyncIterator[str]:
    """The relay of an instance without relays; where its port is taken, the next in the list is tried."""
    ports = config.nostr.relay_ports
    for port in ports:
        relay = LocalRelay(port=port, journal=config.data_dir / "relay.jsonl", outside=outside)
        try:
            await relay.start()
        except OSError as error:
            if port == ports[-1]:
                raise ConfigError(f"nostr.relay_port: can't listen on {port}: {error.strerror}") from None
            continue
        try:
            yield relay.url
        finally:
            await relay.stop()
        return


async def _open_books(store: Store, wallet: Lightning, config: Config, clock: Clock) -> None:
    """At the very first start the books open with what the wallet holds, so it must be reached then."""
    if await store.setting("books_open") is not None:
        return
    try:
        balance = await wallet.balance_msat()
    except LightningError as error:
        raise ConfigError(
            f"lightning.{config.lightning.backend}: the wallet must answer at the very first start: {error}"
        ) from None
    pool = msats_from_sats(config.free_tier.pool_start_sats)
    at = int(clock.now())
    await store.open_books(balance, pool, at)
    await store.remember("books_open", str(at))


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
