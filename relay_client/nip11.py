"""What a relay says it takes: the `limitation` of its information document (NIP-11).

Read typed and with patience: what is missing, mistyped or absurd is not known, and what is not known limits
nothing. A relay that states nonsense harms nobody but itself, and a relay that states nothing is sent all.
"""

from typing import Any, Final

import msgspec

from relay_client import wire
from relay_client.event import Event
from relay_client.wire import Prefix

MEDIA_TYPE: Final = "application/nostr+json"
MAX_DOCUMENT_BYTES: Final = 65_536
_BIGGEST: Final = 2**53
_ID_BITS: Final = 256


class Limitation(msgspec.Struct, frozen=True, kw_only=True):
    """What one relay says it takes; None where it is not known.

    Attributes:
        max_message_length: bytes of one message.
        max_subscriptions: on one connection.
        max_filters: in one subscription.
        max_limit: a filter's `limit` is cut down to it.
        max_subid_length: characters.
        max_event_tags: in one event.
        max_content_length: characters.
        min_pow_difficulty: leading zero bits of an event's id (NIP-13).
        created_at_lower_limit: seconds an event may be old.
        created_at_upper_limit: seconds an event may be ahead of its time.
        auth_required: nothing is done for who has not said who they are (NIP-42).
        payment_required: nothing is done for who has not paid.
        restricted_writes: only some may publish.
    """

    max_message_length: int | None = None
    max_subscriptions: int | None = None
    max_filters: int | None = None
    max_limit: int | None = None
    max_subid_length: int | None = None
    max_event_tags: int | None = None
    max_content_length: int | None = None
    min_pow_difficulty: int | None = None
    created_at_lower_limit: int | None = None
    created_at_upper_limit: int | None = None
    auth_required: bool | None = None
    payment_required: bool | None = None
    restricted_writes: bool | None = None

    def known(self) -> dict[str, int | bool]:
        """What is known, by name: to show."""
        told = msgspec.structs.asdict(self)
        return {name: value for name, value in told.items() if value is not None}

    def refusal(self, event: Event, now: float) -> tuple[Prefix, str] | None:
        """Why the relay would refuse an event that came now, in its own terms; None if nothing known forbids it.

        Args:
            event: what is to be sent.
            now: Unix seconds.
        """
        age = now - event.created_at
        if self.max_message_length is not None and _message_bytes(event) > self.max_message_length:
            return Prefix.INVALID, f"longer than the {self.max_message_length:,} bytes this relay takes"
        if _exceeds(len(event.content), self.max_content_length):
            return Prefix.INVALID, f"more content than the {self.max_content_length:,} characters this relay takes"
        if _exceeds(len(event.tags), self.max_event_tags):
            return Prefix.INVALID, f"more tags than the {self.max_event_tags:,} this relay takes"
        if _exceeds(age, self.created_at_lower_limit):
            return Prefix.INVALID, f"older than the {self.created_at_lower_limit:,} s this relay takes"
        if _exceeds(-age, self.created_at_upper_limit):
            return Prefix.INVALID, f"further ahead than the {self.created_at_upper_limit:,} s this relay takes"
        if _exceeds(self.min_pow_difficulty, difficulty(event.id)):
            return Prefix.POW, f"this relay asks for {self.min_pow_difficulty} bits of work"
        return None


# The least and the greatest that a relay can mean. With less than the least it could be sent nothing at all.
_BOUNDS: Final = {
    "max_message_length": (512, _BIGGEST),
    "max_subscriptions": (1, _BIGGEST),
    "max_filters": (1, _BIGGEST),
    "max_limit": (1, _BIGGEST),
    "max_subid_length": (1, _BIGGEST),
    "max_event_tags": (1, _BIGGEST),
    "max_content_length": (1, _BIGGEST),
    "min_pow_difficulty": (0, 64),
    "created_at_lower_limit": (60, _BIGGEST),
    "created_at_upper_limit": (1, _BIGGEST),
}
_FLAGS: Final = ("auth_required", "payment_required", "restricted_writes")


def read_limitation(document: bytes) -> Limitation:
    """Read a relay information document; one that can't be read says nothing. It never raises."""
    if len(document) > MAX_DOCUMENT_BYTES:
        return Limitation()
    try:
        told = msgspec.json.decode(document)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Limitation()
    limits = told.get("limitation") if isinstance(told, dict) else None
    if not isinstance(limits, dict):
        return Limitation()
    read: dict[str, Any] = {name: _number(limits.get(name), *bounds) for name, bounds in _BOUNDS.items()}
    read |= {name: limits[name] for name in _FLAGS if isinstance(limits.get(name), bool)}
    return Limitation(**read)


def document_url(relay_url: str) -> str:
    """Where a relay's document is: its own address over HTTP."""
    return "http" + relay_url.removeprefix("ws")


def difficulty(event_id: str) -> int:
    """The leading zero bits of an event's id (NIP-13)."""
    return _ID_BITS - int(event_id, 16).bit_length()


def _message_bytes(event: Event) -> int:
    return len(wire.event_message(event).encode())


def _exceeds(value: float | None, limit: int | None) -> bool:
    return value is not None and limit is not None and value > limit


def _number(value: object, least: int, most: int) -> int | None:
    """A whole number within its bounds; `true` is none."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and isinstance(value, int) and least <= value <= most else None
