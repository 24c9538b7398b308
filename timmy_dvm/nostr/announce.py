"""Being found and being seen alive: profile, relay lists, one announcement a served kind, heartbeats, pongs.

    kind 0       who we are                           NIP-01, NIP-24 (`bot`)
    kind 10002   the relays we listen on              NIP-65: Amethyst asks a provider on its inbox relays
    kind 10050   the relays we take private messages on   NIP-17; only where they are taken
    kind 31990   what we do for one kind of request   NIP-89, as DVM directories read it
    kind 11998   the heartbeat                        replaceable, so one a key: it names the first served kind
    kind 7000    the pong to a ping of kind 7007      `status pong`
    kind 5       what we do no more                   NIP-09

A relay is told everything when what is told differs from what it took last, when that is a day ago, and when it
took only a part. What each relay took is remembered in the ledger, so a restart repeats nothing, and a relay that
was away is told once it is back. One that lost our events between two announcements is told at the next.
"""

import asyncio
import collections
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from ledger.store import StoreUnavailable
from relay_client.connection import RelayState
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.keys import Keys
from relay_client.pool import Received
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.core.trust import Tier
from timmy_dvm.log import get_logger
from timmy_dvm.nostr import port
from timmy_dvm.nostr.bucket import TokenBucket
from timmy_dvm.nostr.cursors import Memory
from timmy_dvm.nostr.kinds import kind_of
from timmy_dvm.nostr.nip90 import KIND_DELETION, KIND_FEEDBACK, MAX_AHEAD_S
from timmy_dvm.nostr.publishing import FIRST_DIALS_S, Outlet
from timmy_dvm.nostr.relay_lists import KIND_INBOX_LIST
from timmy_dvm.nostr.standing import Standing
from timmy_dvm.nostr.wishes import MAX_MODEL_CHARS

KIND_PROFILE: Final = 0
KIND_PING: Final = 7007
KIND_RELAYS: Final = 10_002
KIND_HEARTBEAT: Final = 11_998
KIND_HANDLER: Final = 31_990

SUBSCRIPTION: Final = "timmy-pings"
MAX_INBOX_RELAYS: Final = 3
EVERY_S: Final = 86_400
"""All is announced anew after this."""
RETRY_S: Final = 600
"""A relay that did not take everything is told again after this."""
TICK_S: Final = 30
HEARTBEAT_LIFE_S: Final = 300
HEARTBEAT_S: Final = 270
"""Shorter than a beat's life, so that slow relays leave no moment without one."""
PING_FRESH_S: Final = 300
PONG_LIFE_S: Final = 600
PONGS_PER_SECOND: Final = 5
PONG_PAUSE_S: Final = 10
"""A key is answered no more often than this."""
_PONGED_KEYS: Final = 1_000
_PINGS_WAITING: Final = 32
_PONGS_AT_ONCE: Final = 4
_SETTING: Final = "announced"
_HERE: Final = "I am here. Ask by a NIP-90 request that names me in a p tag; its price comes first."
log = get_logger("announce")


class Draft(msgspec.Struct, frozen=True):
    """An event before it is dated and signed."""

    kind: int
    tags: tuple[tuple[str, ...], ...] = ()
    content: str = ""

    def signed(self, keys: Keys, randomness: Randomness, at: int) -> Event:
        """The event, of Unix second `at`."""
        return keys.sign(
            kind=self.kind, created_at=at, tags=self.tags, content=self.content, aux=randomness.token(32)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Who we are and what we serve. `models` is what a customer may choose from; empty: there is no choice.

    `direct_messages` says that private messages are answered (NIP-17).
    """

    name: str
    about: str
    kinds: tuple[int, ...]
    models: tuple[str, ...] = ()
    direct_messages: bool = False
    picture: str | None = None
    lud16: str | None = None
    nip05: str | None = None


def profile(card: Card) -> Draft:
    """Kind 0."""
    told = {"name": card.name, "about": card.about, "bot": True, "picture": card.picture}
    return Draft(KIND_PROFILE, content=_json(told | {"lud16": card.lud16, "nip05": card.nip05}))


def relay_list(relays: Sequence[str]) -> Draft:
    """Kind 10002: read and written alike, so without a marker."""
    return Draft(KIND_RELAYS, tuple(("r", url) for url in relays))


def inbox_list(relays: Sequence[str]) -> Draft:
    """Kind 10050. Without relays it says that no private messages are taken any more.

    Senders write to each of them, so NIP-17 wants few; all that we listen on are read all the same.
    """
    return Draft(KIND_INBOX_LIST, tuple(("relay", url) for url in relays[:MAX_INBOX_RELAYS]))


def handler(card: Card, kind: int) -> Draft:
    """Kind 31990 for one kind of request.

    There is no `web` tag, for noStrudel drops an announcement that has one. `encryptionSupported` and
    `supportsEncryption`, `picture` and `image` mean the same to different clients. `amount` is in sats, or
    "flexible": each request has its own price.
    """
    served = kind_of(kind)
    told = {
        "name": f"{card.name}, {served.trade}" if served.trade else card.name,
        "about": card.about,
        "picture": card.picture,
        "image": card.picture,
        "nip90Params": _params(card, kind),
        "amount": "flexible",
        "personalized": False,
        "subscription": False,
        "acceptsNutZaps": False,
        "encryptionSupported": True,
        "supportsEncryption": True,
        "lud16": card.lud16,
        "nip05": card.nip05,
    }
    return Draft(KIND_HANDLER, (("d", handler_name(kind)), ("k", str(kind)), ("t", served.topic)), _json(told))


def handler_name(kind: int) -> str:
    """The `d` of the announcement of a kind: never changed, so that a new one replaces the old."""
    return f"timmy-{kind}"


def heartbeat(kind: int, at: int) -> Draft:
    """Kind 11998, naming the announcement of `kind`."""
    return Draft(KIND_HEARTBEAT, (("d", handler_name(kind)), ("expiration", str(at + HEARTBEAT_LIFE_S))))


def pong(ping: Event, at: int, tier: Tier) -> Draft:
    """Kind 7000 for a ping; like all feedback it says how its key stands."""
    tags = (
        ("status", "pong", _HERE),
        ("e", ping.id),
        ("p", ping.pubkey),
        ("expiration", str(at + PONG_LIFE_S)),
        ("trust_tier", str(tier)),
        ("alt", "NIP-90 job feedback: pong"),
    )
    return Draft(KIND_FEEDBACK, tags, _HERE)


def retirement(public_key: str, kinds: Sequence[int]) -> Draft:
    """Kind 5, withdrawing the announcements of `kinds`."""
    named = tuple(("a", f"{KIND_HANDLER}:{public_key}:{handler_name(kind)}") for kind in kinds)
    return Draft(KIND_DELETION, (*named, ("k", str(KIND_HANDLER))), "This service is no longer offered.")


def announcements(card: Card, relays: Sequence[str]) -> tuple[Draft, ...]:
    """All that stays on a relay; `relays` are those we listen on."""
    # What stands after a question mark may be a key to the relay, which is nobody else's business.
    named = [url for url in relays if "?" not in url]
    handlers = (handler(card, kind) for kind in card.kinds)
    inbox = (inbox_list(named),) if card.direct_messages else ()
    return (profile(card), relay_list(named), *inbox, *handlers)


def _params(card: Card, kind: int) -> dict[str, Any]:
    values: dict[str, tuple[str, ...]] = {"max_tokens": (), "temperature": ()}
    if card.models:
        values["model"] = tuple(model for model in card.models if len(model) <= MAX_MODEL_CHARS)
    values |= dict.fromkeys(kind_of(kind).params, ())
    return {name: {"required": False, "values": allowed} for name, allowed in values.items()}


def _json(told: dict[str, Any]) -> str:
    return msgspec.json.encode({name: value for name, value in told.items() if value is not None}).decode()


class Announced(msgspec.Struct):
    """What relays were told, as the ledger remembers it.

    Attributes:
        relays: for each, the digest of all that it took, and when that was.
        kinds: of which an announcement may still be on a relay.
        has_inbox: a list of relays for private messages may still be on a relay.
        newest: the date of the newest event of these.
    """

    relays: dict[str, tuple[str, int]] = {}
    kinds: tuple[int, ...] = ()
    has_inbox: bool = False
    newest: int = 0

    @classmethod
    async def load(cls, memory: Memory) -> "Announced":
        """What is remembered; nothing, where that can't be read. Raises `StoreUnavailable`."""
        text = await memory.setting(_SETTING)
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except msgspec.MsgspecError:
            return cls()

    async def save(self, memory: Memory) -> None:
        """Remember it. Raises `StoreUnavailable`."""
        await memory.remember(_SETTING, msgspec.json.encode(self).decode())

    async def withdrawn(self, took: Mapping[str, bool], memory: Memory) -> None:
        """Note which relays took the retirement, so that the next start tells them anew.

        Raises:
            StoreUnavailable: that can't be written.
        """
        self.relays = {url: told for url, told in self.relays.items() if not took.get(url)}
        if all(took.values()):
            self.kinds = ()
        await self.save(memory)

    def next_date(self, now: int) -> int:
        """Now, or a moment later: of two events of one second a relay keeps either, not the newer."""
        at = self.newest + 1 if 0 <= self.newest - now < MAX_AHEAD_S else now
        self.newest = at
        return at


class Pool(port.Pool, Outlet, Protocol):
    """The relays, heard and spoken to (`relay_client.pool.RelayPool`)."""


class Announcer:
    """Tells the relays who we are, and that we are alive.

    Args:
        card: what to tell.
        pool: the relays; somebody else runs it, and hands what `SUBSCRIPTION` brings to `heard`.
        memory: where what was told is kept.
        standing: how the key of a ping stands.
        keys: Timmy's.
        clock, randomness: time, and what signatures need.
    """

    def __init__(
        self,
        *,
        card: Card,
        pool: Pool,
        memory: Memory,
        standing: Standing,
        keys: Keys,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._card = card
        self._pool = pool
        self._memory = memory
        self._standing = standing
        self._keys = keys
        self._clock = clock
        self._randomness = randomness
        self._announced = Announced()
        self._tried: dict[str, float] = {}
        self._pings: asyncio.Queue[Event] = asyncio.Queue(_PINGS_WAITING)
        self._pongs = TokenBucket(PONGS_PER_SECOND, clock)
        self._ponged: collections.OrderedDict[str, float] = collections.OrderedDict()

    async def run(self) -> None:
        """Announce, beat and answer pings until cancelled, which is safe at any moment."""
        try:
            self._announced = await Announced.load(self._memory)
        except StoreUnavailable as error:
            log.warning("what relays were told is unknown: they are told again", action="told", error=str(error))
        me = frozenset({self._keys.public_key})
        self._pool.subscribe(
            SUBSCRIPTION,
            [Filter(kinds=frozenset({KIND_PING}), tags={"p": me})],
            since=lambda _: int(self._clock.now()) - PING_FRESH_S,
        )
        with contextlib.suppress(TimeoutError):
            await self._pool.wait_connected(len(self._pool.urls), FIRST_DIALS_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_announced())
            group.create_task(self._beat())
            for _ in range(_PONGS_AT_ONCE):
                group.create_task(self._answer_pings())

    def heard(self, received: Received) -> None:
        """Take what a relay delivered for `SUBSCRIPTION`. Never waits: a ping too many is met with silence."""
        ping, now = received.event, int(self._clock.now())
        if ping.kind != KIND_PING or self._keys.public_key not in ping.tag_values("p"):
            return
        if ping.pubkey == self._keys.public_key or not now - PING_FRESH_S <= ping.created_at <= now + MAX_AHEAD_S:
            return
        if self._pings.full() or not self._may_answer(ping.pubkey):
            log.debug("a ping is not answered", action="ping_unanswered", event_id=ping.id)
            return
        self._pings.put_nowait(ping)

    def _may_answer(self, key: str) -> bool:
        now = self._clock.monotonic()
        last = self._ponged.get(key)
        if (last is not None and now - last < PONG_PAUSE_S) or not self._pongs.take():
            return False
        self._ponged[key] = now
        self._ponged.move_to_end(key)
        if len(self._ponged) > _PONGED_KEYS:
            self._ponged.popitem(last=False)
        return True

    async def _answer_pings(self) -> None:
        while True:
            ping = await self._pings.get()
            now = int(self._clock.now())
            draft = pong(ping, now, await self._standing.tier(ping.pubkey))
            await self._pool.publish(draft.signed(self._keys, self._randomness, now))

    async def _beat(self) -> None:
        while True:
            now = int(self._clock.now())
            beat = heartbeat(self._card.kinds[0], now).signed(self._keys, self._randomness, now)
            await self._pool.publish(beat)
            await self._clock.sleep(HEARTBEAT_S)

    async def _keep_announced(self) -> None:
        while True:
            await self._announce()
            await self._clock.sleep(TICK_S)

    async def _announce(self) -> None:
        """Tell everything to the connected relays for which it is time."""
        drafts = announcements(self._card, self._pool.urls)
        if gone := [kind for kind in self._announced.kinds if kind not in self._card.kinds]:
            drafts = (*drafts, retirement(self._keys.public_key, gone))
        if self._announced.has_inbox and not self._card.direct_messages:
            drafts = (*drafts, inbox_list(()))
        digest = hashlib.sha256(msgspec.json.encode(drafts)).hexdigest()
        due = self._due(digest)
        if not due:
            return
        at = self._announced.next_date(int(self._clock.now()))
        self._announced.kinds = tuple(dict.fromkeys((*self._announced.kinds, *self._card.kinds)))
        self._announced.has_inbox |= self._card.direct_messages
        await self._save()  # before it is said: what a relay may have is never forgotten
        took_all = set(due)
        for draft in drafts:
            outcomes = await self._pool.publish(draft.signed(self._keys, self._randomness, at), due)
            took_all -= {url for url in due if url not in outcomes or not outcomes[url].is_accepted}
        tried_at = self._clock.monotonic()
        self._tried |= dict.fromkeys(due, tried_at)
        self._announced.relays = {
            url: told for url, told in self._announced.relays.items() if url in self._pool.urls
        }
        self._announced.relays |= dict.fromkeys(took_all, (digest, at))
        await self._save()
        log.info("announced", action="announced", relays=sorted(took_all), not_taken=sorted(set(due) - took_all))

    def _due(self, digest: str) -> list[str]:
        now, monotonic = int(self._clock.now()), self._clock.monotonic()
        due = []
        for relay in self._pool.status():
            told, at = self._announced.relays.get(relay.url, ("", 0))
            is_told = told == digest and now - EVERY_S < at < now + MAX_AHEAD_S
            tried_at = self._tried.get(relay.url)
            is_resting = tried_at is not None and monotonic - tried_at < RETRY_S
            if relay.state is RelayState.CONNECTED and not is_told and not is_resting:
                due.append(relay.url)
        return due

    async def _save(self) -> None:
        try:
            await self._announced.save(self._memory)
        except StoreUnavailable as error:
            log.warning("could not note what relays were told", action="told_unsaved", error=str(error))
