"""The Workshop, put together for `app`: what there is to see, who may speak, and what is given away. No rules."""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter

from ledger.money import msats_from_sats
from timmy_dvm.free_answers import FreeAnswers
from timmy_dvm.http import demo, tower, world
from timmy_dvm.http.hourly import PerHour
from timmy_dvm.http.services import Services
from timmy_dvm.nostr.presence import Outlet, Presence
from timmy_dvm.relay_door import Ground
from timmy_dvm.world.chat import Chat
from timmy_dvm.world.diary import Diary
from timmy_dvm.world.frames import encode
from timmy_dvm.world.scene import Scene
from timmy_dvm.world.watchers import Watchers
from timmy_dvm.world.workshop import Workshop

_SALT_BYTES: Final = 32
_LAST_MOMENTS_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldDoor:
    """Its routes, and what runs of it. ``presence`` tells relays of it, where the operator wants that."""

    routers: tuple[APIRouter, ...]
    workshop: Workshop
    diary: Diary
    chat: Chat
    free: FreeAnswers
    presence: Presence | None

    @property
    def running(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What runs as long as the process."""
        return (self.workshop.run(), self.diary.run())

    async def stop(self) -> None:
        """Speak no more, and write down what was given and seen."""
        await self.chat.aclose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_MOMENTS_S):
                await self.free.settled()
                await self.diary.write()


def world_door(ground: Ground, services: Services, outlet: Outlet) -> WorldDoor:
    """Build it; it hears from here on what is written. ``outlet`` is how relays are told."""
    config, clock, randomness = ground.config, ground.clock, ground.randomness
    free = FreeAnswers(
        ground.agent,
        ground.store,
        ground.engine,
        price_list=ground.policy.prices,
        btc=services.prices,
        clock=clock,
        randomness=randomness,
        limit=msats_from_sats(config.free_tier.demo_sats_per_day),
        model_limit=ground.policy.model_micro_usd_per_day,
    )
    diary = Diary(ground.store, clock)
    # Who looks on holds a connection for hours: half of them stay for those who come with a request.
    watchers = Watchers(max(1, config.limits.connections // 2))
    workshop = Workshop(Scene(randomness.token(_SALT_BYTES)), watchers, diary, clock)
    ground.engine.listen(workshop.committed)
    chat = Chat(workshop, free, clock, config.limits.chat_per_minute)
    routers = (
        demo.routes(services, free, PerHour(config.limits.demo_per_address_hour, clock)),
        world.routes(
            workshop,
            chat,
            clock,
            address_of=services.addresses.bucket,
            origins=frozenset({services.public_url, *config.http.cors_origins}),
        ),
        tower.routes(),
    )
    presence = _presence(ground, workshop, outlet) if config.presence else None
    return WorldDoor(routers=routers, workshop=workshop, diary=diary, chat=chat, free=free, presence=presence)


def _presence(ground: Ground, workshop: Workshop, outlet: Outlet) -> Presence:
    def snapshot() -> str:
        return encode(workshop.snapshot()).decode()

    presence = Presence(outlet, snapshot, ground.keys, ground.clock, ground.randomness)
    workshop.tell_elsewhere(presence.hear)
    return presence
