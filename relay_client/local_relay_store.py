"""What the embedded relay keeps: events in memory, by the rules of NIP-01, NIP-09 and NIP-40.

Memory is bounded by a number of events and by their bytes; what came first goes first.
"""

import collections
import enum
import heapq
from collections.abc import Iterable
from typing import Final

import msgspec

from relay_client.event import Event, UnverifiedEvent, is_expired
from relay_client.filter import Filter

KIND_DELETION: Final = 5
MAX_AHEAD_S: Final = 900
"""An event may be dated this many seconds ahead of our clock (as strfry has it)."""

_ID_CHARS: Final = 64
_ADDRESS_CHARS: Final = 1_024

_Address = tuple[int, str, str]  # kind, author, `d`: what a replaceable event replaces


class KindClass(enum.Enum):
    """How a relay treats a kind (NIP-01, "Kinds")."""

    REGULAR = enum.auto()
    REPLACEABLE = enum.auto()
    EPHEMERAL = enum.auto()
    ADDRESSABLE = enum.auto()


class Verdict(msgspec.Struct, frozen=True):
    """What became of an event.

    Attributes:
        accepted: what the OK says.
        reason: its words, with a prefix; empty if there is nothing to say.
        is_new: to be passed on to subscribers.
        is_stored: to be found later.
    """

    accepted: bool
    reason: str = ""
    is_new: bool = False
    is_stored: bool = False


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event and its text, made once."""

    event: Event
    text: str


class EventStore:
    """Events in memory.

    Args:
        max_events: how many are kept.
        max_bytes: how many bytes of text they may have together.
        max_limit: how many one filter is given at most.
    """

    def __init__(self, max_events: int, max_bytes: int, max_limit: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_limit = max_limit
        self._bytes = 0
        self._events: dict[str, StoredEvent] = {}  # in the order they came
        self._by_kind: dict[int, dict[str, StoredEvent]] = {}
        self._addresses: dict[_Address, str] = {}
        self._deleted_ids: collections.OrderedDict[tuple[str, str], None] = collections.OrderedDict()
        self._deleted_addresses: collections.OrderedDict[_Address, int] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._events)

    def texts(self) -> list[str]:
        """All that is kept, oldest arrival first."""
        return [stored.text for stored in self._events.values()]

    def add(self, event: Event, text: str, now: int) -> Verdict:
        """Take in a proved event, or say why not. `text` is its JSON, `now` Unix seconds."""
        if event.created_at > now + MAX_AHEAD_S:
            return Verdict(False, "invalid: created_at is too far in the future; check your clock")
        if is_expired(event, now):
            return Verdict(False, "invalid: the event has expired")
        if event.id in self._events:
            return Verdict(True, "duplicate: already have this event")
        address = address_of(event)
        if self._is_deleted(event, address):
            return Verdict(False, "blocked: its author deleted this event")
        if kind_class(event.kind) is KindClass.EPHEMERAL:
            return Verdict(True, is_new=True)
        if address is not None and (former := self._addresses.get(address)) is not None:
            if not _replaces(event, self._events[former].event):
                return Verdict(False, "replaced: have a newer version of this event")
            self._remove(former)
        if event.kind == KIND_DELETION:
            self._delete_what_it_names(event)
        self._insert(StoredEvent(event, text), address)
        return Verdict(True, is_new=True, is_stored=True)

    def query(self, filters: Iterable[Filter], now: int) -> list[StoredEvent]:
        """What matches any of the filters and has not expired, newest first, ties by lowest id (NIP-01)."""
        found: dict[str, StoredEvent] = {}
        for filter_ in filters:
            limit = self._max_limit if filter_.limit is None else min(filter_.limit, self._max_limit)
            matching = (
                stored
                for stored in self._candidates(filter_)
                if filter_.matches(stored.event) and not is_expired(stored.event, now)
            )
            found |= {stored.event.id: stored for stored in heapq.nsmallest(limit, matching, key=_newest_first)}
        return sorted(found.values(), key=_newest_first)

    def _candidates(self, filter_: Filter) -> Iterable[StoredEvent]:
        if filter_.ids is not None:
            return [self._events[id_] for id_ in filter_.ids if id_ in self._events]
        if filter_.kinds is not None:
            return (stored for kind in filter_.kinds for stored in self._by_kind.get(kind, {}).values())
        return self._events.values()

    def _is_deleted(self, event: Event, address: _Address | None) -> bool:
        if (event.id, event.pubkey) in self._deleted_ids:
            return event.kind != KIND_DELETION
        return address is not None and self._deleted_addresses.get(address, -1) >= event.created_at

    def _delete_what_it_names(self, deletion: Event) -> None:
        """Only the author's own, and never a deletion (NIP-09); it also bars what is still to come."""
        for id_ in deletion.tag_values("e"):
            if len(id_) != _ID_CHARS:
                continue
            self._deleted_ids[(id_, deletion.pubkey)] = None
            stored = self._events.get(id_)
            if stored and stored.event.pubkey == deletion.pubkey and stored.event.kind != KIND_DELETION:
                self._remove(id_)
        for named in deletion.tag_values("a"):
            address = _parse_address(named[:_ADDRESS_CHARS])
            if address is None or address[1] != deletion.pubkey:
                continue
            until = max(deletion.created_at, self._deleted_addresses.get(address, 0))
            self._deleted_addresses[address] = until
            current = self._addresses.get(address)
            if current is not None and self._events[current].event.created_at <= until:
                self._remove(current)
        for barred in (self._deleted_ids, self._deleted_addresses):
            while len(barred) > self._max_events:
                barred.popitem(last=False)

    def _insert(self, stored: StoredEvent, address: _Address | None) -> None:
        event = stored.event
        self._events[event.id] = stored
        self._by_kind.setdefault(event.kind, {})[event.id] = stored
        if address is not None:
            self._addresses[address] = event.id
        self._bytes += len(stored.text)
        while len(self._events) > self._max_events or self._bytes > self._max_bytes:
            self._remove(next(iter(self._events)))

    def _remove(self, id_: str) -> None:
        stored = self._events.pop(id_)
        of_kind = self._by_kind[stored.event.kind]
        del of_kind[id_]
        if not of_kind:
            del self._by_kind[stored.event.kind]
        address = address_of(stored.event)
        if address is not None and self._addresses.get(address) == id_:
            del self._addresses[address]
        self._bytes -= len(stored.text)


def kind_class(kind: int) -> KindClass:
    """How a kind is treated (NIP-01); kinds outside all its ranges are kept like regular ones."""
    if kind in (0, 3) or 10_000 <= kind < 20_000:  # noqa: PLR2004 - NIP-01's ranges
        return KindClass.REPLACEABLE
    if 20_000 <= kind < 30_000:  # noqa: PLR2004 - NIP-01's ranges
        return KindClass.EPHEMERAL
    if 30_000 <= kind < 40_000:  # noqa: PLR2004 - NIP-01's ranges
        return KindClass.ADDRESSABLE
    return KindClass.REGULAR


def address_of(event: UnverifiedEvent) -> _Address | None:
    """What the event is the current version of; None for an event that nothing replaces."""
    match kind_class(event.kind):
        case KindClass.REPLACEABLE:
            return event.kind, event.pubkey, ""
        case KindClass.ADDRESSABLE:
            return event.kind, event.pubkey, next(iter(event.tag_values("d")), "")
        case _:
            return None


def _replaces(new: Event, old: Event) -> bool:
    """The later wins; of the same second, the lower id (NIP-01)."""
    return (-new.created_at, new.id) < (-old.created_at, old.id)


def _newest_first(stored: StoredEvent) -> tuple[int, str]:
    return -stored.event.created_at, stored.event.id


def _parse_address(text: str) -> _Address | None:
    match text.split(":", 2):
        case [kind, pubkey, name] if kind.isascii() and kind.isdigit() and len(kind) <= 5:  # noqa: PLR2004 - 65535
            return int(kind), pubkey, name
    return None
