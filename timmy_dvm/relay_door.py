"""The relay door, put together for `app`: the ear, the desk behind it, the way out, and courtesies. No rules."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ledger.store import Store
from lightning.backend import Lightning
from relay_client.keys import Keys
from relay_client.pool import Received, RelayPool
from timmy_dvm.agent.runner import Agent
from timmy_dvm.building import card_of, dials_customers_relays, owner_of
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.config import Config
from timmy_dvm.core.policy import Policy
from timmy_dvm.engine import Engine
from timmy_dvm.fetching import GuardedFetch, public_https
from timmy_dvm.nostr import announce, letterbox, mentions
from timmy_dvm.nostr.announce import Announcer
from timmy_dvm.nostr.desk import Desk, Owner
from timmy_dvm.nostr.follows import Follows
from timmy_dvm.nostr.gathering import Gatherer
from timmy_dvm.nostr.hand_in import HandIn
from timmy_dvm.nostr.letterbox import Letterbox
from timmy_dvm.nostr.lobby import Lobby, Payers
from timmy_dvm.nostr.mentions import Mentions
from timmy_dvm.nostr.nip90 import Terms
from timmy_dvm.nostr.port import NostrPort
from timmy_dvm.nostr.publishing import NostrPublisher
from timmy_dvm.nostr.ranks import Ranks
from timmy_dvm.nostr.standing import Standing
from timmy_dvm.prices import PriceSource
from timmy_dvm.resolver import SystemResolver
from timmy_dvm.web import Web

Status = Callable[[], Awaitable[dict[str, Any]]]
"""How things stand, for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What everything else is built on."""

    config: Config
    clock: Clock
    randomness: Randomness
    store: Store
    agent: Agent
    wallet: Lightning
    keys: Keys
    pool: RelayPool
    policy: Policy
    engine: Engine
    follows: Follows | None = None
    ranks: Ranks | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayDoor:
    """What runs of it, and its way out. ``courtesies`` run beside it and are owed to nobody."""

    port: NostrPort
    letters: Letterbox | None
    courtesies: tuple[Announcer | Mentions | Follows | Ranks, ...]
    publisher: NostrPublisher
    hand_in: HandIn

    async def stop(self) -> None:
        """Hear no more, and give what is being dealt with a moment."""
        await asyncio.gather(*(ear.stop() for ear in (self.port, self.letters) if ear is not None))


def relay_door(ground: Ground, prices: PriceSource, status: Status) -> RelayDoor:
    """Build it, with those courtesies that the operator wants, whom ``status`` tells how things stand."""
    table, pool, clock = ground.config.nostr, ground.pool, ground.clock
    announcer, replies = _announcer(ground), _mentions(ground, prices)
    desk = _desk(ground, prices, status)
    publisher = NostrPublisher(pool, clock, dials=dials_customers_relays(ground.config))
    letters = Letterbox(pool=pool, desk=desk, outlet=publisher, memory=ground.store, keys=ground.keys, clock=clock)
    asides: dict[str, Callable[[Received], None]] = {
        announce.SUBSCRIPTION: announcer.heard,
        mentions.SUBSCRIPTION: replies.heard,
        letterbox.SUBSCRIPTION: letters.heard,
    }
    payers = Payers(ground.store)
    ground.engine.listen(payers.applied)
    port = NostrPort(
        pool=pool,
        desk=desk,
        memory=ground.store,
        keys=ground.keys,
        clock=clock,
        terms=_terms(ground),
        payers=payers,
        lobby=Lobby(clock),
        aside=lambda received: asides[received.subscription](received),
    )
    return RelayDoor(
        port=port,
        letters=letters if table.direct_messages else None,
        courtesies=(
            *([announcer] if table.announce else []),
            *([replies] if table.mention_replies else []),
            *(speaker for speaker in (ground.follows, ground.ranks) if speaker is not None),
        ),
        publisher=publisher,
        hand_in=_hand_in(ground, desk, prices),
    )


def _hand_in(ground: Ground, desk: Desk, prices: PriceSource) -> HandIn:
    return HandIn(
        desk=desk,
        engine=ground.engine,
        store=ground.store,
        keys=ground.keys,
        clock=ground.clock,
        randomness=ground.randomness,
        prices=prices,
        terms=_terms(ground),
    )


def _desk(ground: Ground, prices: PriceSource, status: Status) -> Desk:
    owner = owner_of(ground.config)
    gatherer = Gatherer(
        books=ground.store,
        relays=ground.pool,
        pages=Web(GuardedFetch(public_https(SystemResolver()))) if ground.config.nostr.fetch_urls else None,
        public_key=ground.keys.public_key,
        clock=ground.clock,
        dials=dials_customers_relays(ground.config),
    )
    return Desk(
        engine=ground.engine,
        store=ground.store,
        gatherer=gatherer,
        prices=prices,
        clock=ground.clock,
        randomness=ground.randomness,
        network=ground.wallet.network,
        error_answers_per_second=ground.config.limits.error_answers_per_second,
        owner=None if owner is None else Owner(owner, status),
    )


def _terms(ground: Ground) -> Terms:
    table = ground.config.nostr
    return Terms(
        kinds=frozenset(table.kinds),
        open_jobs=table.open_jobs,
        models=tuple(ground.policy.work_models),
        pages=table.fetch_urls,
    )


def _announcer(ground: Ground) -> Announcer:
    return Announcer(
        card=card_of(ground.config, ground.policy),
        pool=ground.pool,
        memory=ground.store,
        standing=Standing(ground.store, ground.policy.trust, ground.clock),
        keys=ground.keys,
        clock=ground.clock,
        randomness=ground.randomness,
    )


def _mentions(ground: Ground, prices: PriceSource) -> Mentions:
    return Mentions(
        pool=ground.pool,
        engine=ground.engine,
        books=ground.store,
        prices=prices,
        public_key=ground.keys.public_key,
        clock=ground.clock,
        per_minute=ground.config.limits.chat_per_minute,
    )
