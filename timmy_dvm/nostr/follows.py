"""Whom the operator follows (NIP-02 kind 3 of their own key): the pool may treat these keys as of a higher tier.

The list is asked of the configured relays once a day and kept in the ledger, so that a start without relays knows
it too. The newest list counts; none, or an older one, changes nothing. Of a list as long as our relays let through
(`relay_client.event.MAX_TAGS`) all is read; a longer one is no event to us.
"""

import re
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from ledger.store import StoreUnavailable
from relay_client.event import Event
from relay_client.filter import Filter
from timmy_dvm.clock import Clock
from timmy_dvm.core.trust import Tier
from timmy_dvm.log import get_logger
from timmy_dvm.nostr.cursors import Memory

KIND_FOLLOWS: Final = 3
REFRESH_S: Final = 86_400
RETRY_S: Final = 60
"""While nobody told us of a list: no relay may be connected yet, and a new operator may not have one."""
LONGEST_RETRY_S: Final = 3_600
_SETTING: Final = "follows:"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
log = get_logger("follows")


class Relays(Protocol):
    """Relays that can be asked once (`RelayPool`)."""

    async def query(self, filters: Sequence[Filter]) -> list[Event]:
        """What they have stored; proved, matching, newest first."""
        ...


class Listed(msgspec.Struct, frozen=True):
    """A list as it is kept: the second it was signed, the one it was last heard at, and its keys in hex."""

    signed_at: int = 0
    heard_at: int = 0
    keys: frozenset[str] = frozenset()

    def to_json(self) -> str:
        """The same bytes for the same list."""
        return msgspec.json.encode(self, order="deterministic").decode()


class Follows:
    """The operator's follow list.

    Args:
        relays: who is asked.
        memory: where the list is kept.
        clock: the day.
        owner: whose list it is, hex.
        tier: what the pool treats its keys as, at least.
    """

    def __init__(self, relays: Relays, memory: Memory, clock: Clock, *, owner: str, tier: Tier) -> None:
        self._relays = relays
        self._memory = memory
        self._clock = clock
        self._owner = owner
        self._tier = tier
        self._listed = Listed()

    def lift(self, pubkey: str) -> Tier | None:
        """What the pool treats a key as, at least; None where it is not followed. From any thread."""
        return self._tier if pubkey in self._listed.keys else None

    async def run(self) -> None:
        """Read what is kept, then ask once a day, until cancelled. What goes wrong is tried again later."""
        pause = RETRY_S
        while True:
            try:
                await self._refresh()
            except StoreUnavailable as error:
                log.warning("the follow list has to wait", action="follows_wait", error=str(error))
            left = self._listed.heard_at + REFRESH_S - int(self._clock.now())
            if left > 0:
                pause = RETRY_S
                await self._clock.sleep(min(left, REFRESH_S))
            else:
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY_S)

    async def _refresh(self) -> None:
        if not self._listed.heard_at:
            self._listed = _read(await self._memory.setting(_SETTING + self._owner))
        now = int(self._clock.now())
        if 0 <= now - self._listed.heard_at < REFRESH_S:
            return
        wanted = Filter(authors=frozenset({self._owner}), kinds=frozenset({KIND_FOLLOWS}))
        found = await self._relays.query([wanted])
        if not found:
            return
        newest = Listed(signed_at=found[0].created_at, heard_at=now, keys=keys_in(found[0]))
        if newest.signed_at < self._listed.signed_at:
            newest = msgspec.structs.replace(self._listed, heard_at=now)
        await self._memory.remember(_SETTING + self._owner, newest.to_json())
        self._listed = newest
        log.info("the operator's follow list is read", action="follows", count=len(newest.keys))


def keys_in(event: Event) -> frozenset[str]:
    """The keys a follow list names, hex; what is none is left out."""
    return frozenset(value for value in event.tag_values("p") if _HEX.fullmatch(value))


def _read(text: str | None) -> Listed:
    """What was kept; nothing, where it can't be read: it is asked for again."""
    try:
        return msgspec.json.decode(text or "{}", type=Listed)
    except msgspec.MsgspecError:
        return Listed()
