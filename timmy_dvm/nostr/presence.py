"""The Workshop on relays: who of the five works, and what there is to see [WLD-10].

    kind 20078   `agent_state`, word for word what a watcher's socket is told   ephemeral: passed on, kept nowhere
    kind 30078   `world_state`, the snapshot, under `d` `timmy-workshop`        NIP-78: a relay keeps the newest

Nobody is owed any of it: it is signed when it is sent, offered once, and left out while relays still have to take
what must arrive, or want less of us. Nothing of a customer is in it, as nothing is in the Workshop.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from relay_client.event import Event
from relay_client.keys import Keys
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.nostr.announce import Draft
from timmy_dvm.nostr.bucket import TokenBucket

KIND_AGENT_STATE: Final = 20_078
KIND_WORLD_STATE: Final = 30_078
IDENTIFIER: Final = "timmy-workshop"
WORLD_EVERY_S: Final = 60
"""The snapshot is told anew no oftener than this, and only where somebody began or ended something."""
WORLD_LIFE_S: Final = 86_400
"""A snapshot this old says nothing of a Timmy any more (NIP-40)."""
STATES_A_SECOND: Final = 2
STATES_SAVED_UP: Final = 16
"""A job's whole way through the Workshop, told as it happens."""
_STATES_WAITING: Final = 32


class Outlet(Protocol):
    """Where it leaves (`publishing.NostrPublisher`)."""

    @property
    def has_room(self) -> bool:
        """Whether an event that can be left out would be in nobody's way now."""

    async def publish_spare(self, event: Event) -> None:
        """Offer it once."""


def agent_state(frame: str) -> Draft:
    """Kind 20078."""
    return Draft(KIND_AGENT_STATE, content=frame)


def world_state(snapshot: str, at: int) -> Draft:
    """Kind 30078, as of Unix second ``at``."""
    return Draft(KIND_WORLD_STATE, (("d", IDENTIFIER), ("expiration", str(at + WORLD_LIFE_S))), snapshot)


class Presence:
    """Tells relays what watchers of the Workshop are told.

    Args:
        outlet: how events leave.
        snapshot: what there is to see now, as JSON.
        keys: Timmy's.
        clock, randomness: time and signatures.
    """

    def __init__(
        self, outlet: Outlet, snapshot: Callable[[], str], keys: Keys, clock: Clock, randomness: Randomness
    ) -> None:
        self._outlet = outlet
        self._snapshot = snapshot
        self._keys = keys
        self._clock = clock
        self._randomness = randomness
        self._left = TokenBucket(STATES_A_SECOND, clock, room=STATES_SAVED_UP)
        self._states: asyncio.Queue[str] = asyncio.Queue(_STATES_WAITING)
        self._is_new = asyncio.Event()
        self._is_new.set()

    def hear(self, frame: str) -> None:
        """Hear of an `agent_state`, as JSON. Never waits; in a storm it is left out, and the snapshot tells."""
        self._is_new.set()
        if not self._states.full():
            self._states.put_nowait(frame)

    async def run(self) -> None:
        """Tell, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_states())
            group.create_task(self._tell_world())

    async def _tell_states(self) -> None:
        while True:
            frame = await self._states.get()
            if self._left.take():
                await self._offer(agent_state(frame))

    async def _tell_world(self) -> None:
        while True:
            await self._is_new.wait()
            self._is_new.clear()
            await self._offer(world_state(self._snapshot(), int(self._clock.now())))
            await self._clock.sleep(WORLD_EVERY_S)

    async def _offer(self, draft: Draft) -> None:
        if self._outlet.has_room:
            at = int(self._clock.now())
            await self._outlet.publish_spare(draft.signed(self._keys, self._randomness, at))
