"""Filters: what one asks a relay for, and whether an event is meant (NIP-01).

Conditions are joined by AND, the values of one condition by OR. A condition that is None asks nothing;
a condition with no values can be met by no event.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Self, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay_client.errors import InvalidFilter
from relay_client.event import Hex32, Kind, Timestamp, UnverifiedEvent

MAX_VALUES: Final = 2_000
"""Most values of one condition in a filter that is read."""
MAX_VALUE_CHARS: Final = 1_024
"""Longest tag value in a filter that is read: relays index none that is longer (strfry)."""
MAX_LIMIT: Final = 2**31 - 1

_T = TypeVar("_T", str, int)

_TAG_NAMES: Final = frozenset(string.ascii_letters)
_TAG_KEYS: Final = frozenset(f"#{name}" for name in _TAG_NAMES)
_PLAIN_KEYS: Final = frozenset({"ids", "authors", "kinds", "since", "until", "limit"})
# The tags whose values are ids or public keys, which NIP-01 wants exact.
_HEX_TAGS: Final = frozenset("ep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One filter of a subscription.

    Attributes:
        ids: event ids, 64 lower-case hex digits each.
        authors: public keys, 64 lower-case hex digits each.
        kinds: event kinds.
        tags: by single letter without `#`: the tag's first value is one of these.
        since: Unix seconds; events of that second or later.
        until: Unix seconds; events of that second or earlier.
        limit: how many stored events a relay shall send at most, newest first.
    """

    ids: frozenset[str] | None = None
    authors: frozenset[str] | None = None
    kinds: frozenset[int] | None = None
    tags: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    since: int | None = None
    until: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if not self.tags.keys() <= _TAG_NAMES:
            raise ValueError("relays index only tags of one letter; name them without '#'")

    def matches(self, event: UnverifiedEvent) -> bool:
        """Is the event meant? `limit` plays no part: it only bounds what a relay has stored."""
        if self.kinds is not None and event.kind not in self.kinds:
            return False
        if self.authors is not None and event.pubkey not in self.authors:
            return False
        if self.ids is not None and event.id not in self.ids:
            return False
        if self.since is not None and event.created_at < self.since:
            return False
        if self.until is not None and event.created_at > self.until:
            return False
        return all(not wanted.isdisjoint(event.tag_values(name)) for name, wanted in self.tags.items())

    def to_obj(self) -> dict[str, Any]:
        """The JSON object of a REQ; values are sorted, so equal filters give equal text."""
        conditions: dict[str, Any] = {"ids": self.ids, "authors": self.authors, "kinds": self.kinds}
        conditions |= {f"#{name}": values for name, values in sorted(self.tags.items())}
        listed = {name: sorted(values) for name, values in conditions.items() if values is not None}
        bounds = {"since": self.since, "until": self.until, "limit": self.limit}
        return listed | {name: bound for name, bound in bounds.items() if bound is not None}

    def to_json(self) -> str:
        """The text of `to_obj`: equal filters give the same bytes."""
        return msgspec.json.encode(self.to_obj()).decode()

    @classmethod
    def from_wire(cls, raw: str | bytes) -> Self:
        """Read a filter from its JSON text. Raises `InvalidFilter`, as `from_obj`."""
        try:
            obj = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise InvalidFilter("This filter is not JSON; mend its text.") from None
        return cls.from_obj(obj)

    @classmethod
    def from_obj(cls, obj: object) -> Self:
        """Read the decoded JSON of a filter in a REQ, strictly: what is not understood is refused.

        Raises:
            InvalidFilter: it is no object, a key is unknown (also `search`, NIP-50), a value has the wrong
                type, or there are more than MAX_VALUES of one kind.
        """
        if not isinstance(obj, dict):
            raise InvalidFilter("A filter is a JSON object; send one.")
        plain = {key: value for key, value in obj.items() if key in _PLAIN_KEYS}
        by_tag = {str(key)[1:]: value for key, value in obj.items() if key in _TAG_KEYS}
        if len(plain) + len(by_tag) < len(obj):
            raise InvalidFilter("This filter has a condition that NIP-01 does not name; leave it out.")
        try:
            read = msgspec.convert(plain, _Conditions)
            tags = {
                name: frozenset(msgspec.convert(values, _HexValues if name in _HEX_TAGS else _Values))
                for name, values in by_tag.items()
            }
        except msgspec.ValidationError as error:
            raise InvalidFilter(f"This filter cannot be read: {error}.") from None
        return cls(
            ids=_frozen(read.ids),
            authors=_frozen(read.authors),
            kinds=_frozen(read.kinds),
            tags=tags,
            since=_given(read.since),
            until=_given(read.until),
            limit=_given(read.limit),
        )


_Values = Annotated[list[Annotated[str, Meta(max_length=MAX_VALUE_CHARS)]], Meta(max_length=MAX_VALUES)]
_HexValues = Annotated[list[Hex32], Meta(max_length=MAX_VALUES)]
_Kinds = Annotated[list[Kind], Meta(max_length=MAX_VALUES)]


class _Conditions(msgspec.Struct):
    """A filter as it stands on the wire, without its tags; absent is not the same as null."""

    ids: _HexValues | UnsetType = UNSET
    authors: _HexValues | UnsetType = UNSET
    kinds: _Kinds | UnsetType = UNSET
    since: Timestamp | UnsetType = UNSET
    until: Timestamp | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=0, le=MAX_LIMIT)] | UnsetType = UNSET


def _given(value: int | UnsetType) -> int | None:
    return None if isinstance(value, UnsetType) else value


def _frozen(values: list[_T] | UnsetType) -> frozenset[_T] | None:
    return None if isinstance(values, UnsetType) else frozenset(values)
