"""How others rank a key (NIP-85, kind 30382): the pool may treat a well ranked one as of a higher tier.

The operator names whose word counts and where it is published. Nothing here is waited for: a key that is asked
about and not known yet is looked up beside, and is lifted from its next request on. What cannot be found, or is no
rank from 0 to 100, lifts nobody, and no rank lifts above the highest tier that the operator gave one to. A key
that several rank counts as the lowest of them says, so no provider alone lifts whom another knows better.
"""

import asyncio
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from relay_client.event import Event, is_expired
from relay_client.filter import Filter
from timmy_dvm.clock import Clock
from timmy_dvm.core.trust import Tier
from timmy_dvm.log import get_logger

KIND_ASSERTION: Final = 30_382
"""What a provider says of a public key, which is its `d` tag (NIP-85)."""
HIGHEST_RANK: Final = 100
REFRESH_S: Final = 21_600
"""So old a rank is looked up again, and counts meanwhile."""
KEPT_S: Final = 86_400
"""So long a rank counts that nobody tells us any more."""
RETRY_S: Final = 3_600
"""After this a key that nobody ranked is looked up again."""
PAUSE_S: Final = 4.0
"""Between two look-ups, so that a flood of new keys is no flood to the providers' relays."""
BATCH: Final = 50
"""Keys in one question."""
MAX_WAITING: Final = 500
MAX_KNOWN: Final = 10_000
MAX_AHEAD_S: Final = 600
"""An assertion dated further ahead is none: it would stand for ever."""
_RANK: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
log = get_logger("ranks")


class Relays(Protocol):
    """Relays that can be asked once (`RelayPool`)."""

    async def query(self, filters: Sequence[Filter], *, urls: Iterable[str] | None = None) -> list[Event]:
        """What they have stored; proved, matching, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """Whose word counts: a public key in hex, and the relay it publishes on."""

    pubkey: str
    relay: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a provider's newest assertion says: the second it was signed, and the rank; None where it has none."""

    signed_at: int
    rank: int | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a key: by provider; when to look again, and until when it counts."""

    said: Mapping[str, Said] = field(default_factory=dict)
    look_again_at: float = 0
    counts_until: float = 0


class Ranks:
    """What the providers say of keys.

    Args:
        relays: who is asked; the providers' relays must be among those it would ask.
        clock: time.
        providers: whose word counts.
        tiers: the tier from each rank on; in any order.
    """

    def __init__(
        self, relays: Relays, clock: Clock, *, providers: Sequence[Provider], tiers: Mapping[int, Tier]
    ) -> None:
        self._relays = relays
        self._clock = clock
        self._of_relay: dict[str, frozenset[str]] = {
            relay: frozenset(one.pubkey for one in providers if one.relay == relay)
            for relay in dict.fromkeys(one.relay for one in providers)
        }
        self._tiers = sorted(tiers.items(), reverse=True)
        # The ledger asks from threads of its own.
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._waiting: dict[str, None] = {}
        self._has_waiting = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def lift(self, pubkey: str) -> Tier | None:
        """What the pool treats a key as, at least; None where no rank says so, or none is known. From any thread.

        A key that is not known, or not of late, is looked up beside.
        """
        now = self._clock.now()
        with self._lock:
            known = self._known.get(pubkey, _NOTHING)
            if known is not _NOTHING:
                self._known.move_to_end(pubkey)
            if now >= known.look_again_at and len(self._waiting) < MAX_WAITING:
                self._waiting[pubkey] = None
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._has_waiting.set)
        rank = lowest(known.said.values()) if now < known.counts_until else None
        return None if rank is None else self._tier_of(rank)

    async def run(self) -> None:
        """Look up who was asked about, until cancelled, which is safe at any moment."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._waiting:
                self._has_waiting.set()
        try:
            while True:
                await self._has_waiting.wait()
                await self._look_up(self._next_batch())
                await self._clock.sleep(PAUSE_S)
        finally:
            with self._lock:
                self._loop = None

    def _tier_of(self, rank: int) -> Tier | None:
        return next((tier for least, tier in self._tiers if rank >= least), None)

    def _next_batch(self) -> list[str]:
        with self._lock:
            batch = list(self._waiting)[:BATCH]
            for pubkey in batch:
                del self._waiting[pubkey]
            if not self._waiting:
                self._has_waiting.clear()
        return batch

    async def _look_up(self, batch: list[str]) -> None:
        keys = frozenset(batch)
        found = await asyncio.gather(
            *(self._ask(relay, authors, keys) for relay, authors in self._of_relay.items())
        )
        now = self._clock.now()
        told: dict[str, dict[str, Said]] = {pubkey: {} for pubkey in batch}
        for event in (event for events in found for event in events):
            subject, said = read(event)
            if subject in keys and event.created_at <= now + MAX_AHEAD_S and not is_expired(event, int(now)):
                _keep_newer(told[subject], event.pubkey, said)
        with self._lock:
            for pubkey, said_of_it in told.items():
                self._remember(pubkey, said_of_it, now)
        log.debug("ranks are looked up", action="ranks", asked=len(batch), found=sum(map(bool, told.values())))

    async def _ask(self, relay: str, authors: frozenset[str], keys: frozenset[str]) -> list[Event]:
        wanted = Filter(authors=authors, kinds=frozenset({KIND_ASSERTION}), tags={"d": keys})
        return [event for event in await self._relays.query([wanted], urls=[relay]) if wanted.matches(event)]

    def _remember(self, pubkey: str, told: dict[str, Said], now: float) -> None:
        before = self._known.get(pubkey, _NOTHING)
        said = dict(before.said) if now < before.counts_until else {}
        for provider, one in told.items():
            _keep_newer(said, provider, one)
        self._known[pubkey] = _Known(
            said=said,
            look_again_at=now + (REFRESH_S if told else RETRY_S),
            counts_until=now + KEPT_S if told else before.counts_until,
        )
        self._known.move_to_end(pubkey)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)


_NOTHING: Final = _Known()


def lowest(said: Iterable[Said]) -> int | None:
    """The lowest rank among these; None where nobody gives one."""
    return min((one.rank for one in said if one.rank is not None), default=None)


def read(assertion: Event) -> tuple[str, Said]:
    """Of whom an assertion speaks, and what it says; a rank that is no whole number from 0 to 100, or is not the
    only one, is none.
    """
    subject = assertion.tag("d") or ()
    ranks = assertion.tag_values("rank")
    is_rank = len(ranks) == 1 and _RANK.fullmatch(ranks[0]) and int(ranks[0]) <= HIGHEST_RANK
    rank = int(ranks[0]) if is_rank else None
    return subject[1] if len(subject) > 1 else "", Said(assertion.created_at, rank)


def _keep_newer(said: dict[str, Said], provider: str, one: Said) -> None:
    """Replaceable events: the newest counts; of one second the first heard, which of one relay is NIP-01's."""
    if provider not in said or one.signed_at > said[provider].signed_at:
        said[provider] = one
