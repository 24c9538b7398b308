"""What a relay session reports: typed, frozen, without logic; and what misbehaviour costs a relay.

`Session.receive` turns a relay's text into these. A `Misbehaved` relay collects points (`Score`); too many
and its connection is dropped for a while. One slip is forgiven: relays have bugs, and a stranger can
sometimes make an honest relay look bad by what they store on it.
"""

import collections
import enum
from typing import Final

import msgspec

from relay_client.event import UnverifiedEvent
from relay_client.wire import Prefix

DROP_AT_POINTS: Final = 100.0
"""A relay with this many points is dropped."""
POINTS_FORGIVEN_PER_SECOND: Final = 1.0


class Misbehaviour(enum.Enum):
    """What a relay can do wrong, by itself or by what it lets through."""

    UNREADABLE_FRAME = "unreadable frame"
    OVERSIZED_FRAME = "oversized frame"
    UNKNOWN_SUBSCRIPTION = "message for a subscription we do not have"
    OUTSIDE_FILTER = "event that no filter asked for"
    MALFORMED_EVENT = "malformed event"
    FORGED_EVENT = "event with a false id or signature"
    OVERLONG_CHALLENGE = "overlong AUTH challenge"
    AUTH_FLOOD = "too many AUTH challenges"
    NOTICE = "notice"
    REPEATED_EOSE = "repeated EOSE"
    UNANSWERED = "no answer in time"


POINTS: Final[dict[Misbehaviour, float]] = {
    Misbehaviour.UNREADABLE_FRAME: 5,
    Misbehaviour.OVERSIZED_FRAME: 20,
    Misbehaviour.UNKNOWN_SUBSCRIPTION: 5,
    Misbehaviour.OUTSIDE_FILTER: 5,
    Misbehaviour.MALFORMED_EVENT: 5,
    Misbehaviour.FORGED_EVENT: 20,
    Misbehaviour.OVERLONG_CHALLENGE: 20,
    Misbehaviour.AUTH_FLOOD: 20,
    # No fault by itself: an honest relay complains now and then, only a flood adds up.
    Misbehaviour.NOTICE: 1,
    Misbehaviour.REPEATED_EOSE: 1,
    # Noted, not punished: it may be the network between us, or we who were slow to read.
    Misbehaviour.UNANSWERED: 0,
}
_PETTY: Final = frozenset({Misbehaviour.NOTICE, Misbehaviour.REPEATED_EOSE})
_PETTY_UP_TO_POINTS: Final = 10.0


class EventHeard(msgspec.Struct, frozen=True):
    """An event we asked for on this subscription; it matches a filter, who wrote it is not proved."""

    subscription: str
    event: UnverifiedEvent


class CaughtUp(msgspec.Struct, frozen=True):
    """EOSE: all stored events of this subscription have been heard (once per connection)."""

    subscription: str


class SubscriptionClosed(msgspec.Struct, frozen=True):
    """The relay ended the subscription; it is asked for again when the connection is next opened."""

    subscription: str
    prefix: Prefix
    text: str


class PublishAnswered(msgspec.Struct, frozen=True):
    """The relay's OK to an event we published."""

    event_id: str
    accepted: bool
    prefix: Prefix
    text: str


class ChallengeReceived(msgspec.Struct, frozen=True):
    """The relay asks who we are, and we may say so: call `Session.authenticate` (NIP-42)."""


class Authenticated(msgspec.Struct, frozen=True):
    """The relay's OK to our AUTH event; what it had refused for want of it is sent again if accepted."""

    accepted: bool
    text: str


class NoticeHeard(msgspec.Struct, frozen=True):
    """Words for a human."""

    text: str


class Misbehaved(msgspec.Struct, frozen=True):
    """The relay did what it must not; nothing of it was delivered."""

    what: Misbehaviour


Happening = (
    EventHeard
    | CaughtUp
    | SubscriptionClosed
    | PublishAnswered
    | ChallengeReceived
    | Authenticated
    | NoticeHeard
    | Misbehaved
)


class Score:
    """Points against one relay; they fade by `POINTS_FORGIVEN_PER_SECOND`. Times are monotonic seconds."""

    __slots__ = ("_at", "_counts", "_points")

    def __init__(self) -> None:
        self._points = 0.0
        self._at = 0.0
        self._counts: collections.Counter[Misbehaviour] = collections.Counter()

    @property
    def faults(self) -> dict[str, int]:
        """How often each misbehaviour was met since the start, as `{"forged_event": 12}`.

        What is no fault by itself, a notice or an EOSE too many, counts once it has piled up.
        """
        return {what.name.lower(): count for what, count in self._counts.items()}

    def add(self, what: Misbehaviour, now: float) -> None:
        """Count one misbehaviour."""
        self._points = self.points(now) + POINTS[what]
        self._at = now
        if what not in _PETTY or self._points > _PETTY_UP_TO_POINTS:
            self._counts[what] += 1

    def points(self, now: float) -> float:
        """What has not faded yet."""
        return max(0.0, self._points - max(0.0, now - self._at) * POINTS_FORGIVEN_PER_SECOND)

    def is_too_high(self, now: float) -> bool:
        """Whether the relay should be dropped."""
        return self.points(now) >= DROP_AT_POINTS

    def clear(self) -> None:
        """Take all points away, after the relay has served its time; what it did is not forgotten."""
        self._points = 0.0
