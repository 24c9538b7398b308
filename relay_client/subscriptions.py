"""What is asked of one relay, over as many connections as it takes, and whether what comes was asked for (NIP-01).

Part of `session`, which says what its messages are and holds back what is refused for want of AUTH. A relay
takes so many subscriptions on one connection (`most`); one more waits until another is closed, in the order in
which they were asked for.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from relay_client import wire
from relay_client.errors import InvalidEvent
from relay_client.event import UnverifiedEvent
from relay_client.filter import Filter
from relay_client.happenings import (
    CaughtUp,
    EventHeard,
    Happening,
    Misbehaved,
    Misbehaviour,
    SubscriptionClosed,
)

MAX_SUBSCRIPTIONS: Final = 20
"""Common relays allow 20 to 32 in one connection."""
_REMEMBERED_CLOSED: Final = 64
_NO_ROOM: Final = "the relay takes no more subscriptions on one connection"


@dataclasses.dataclass(slots=True)
class _Subscription:
    asked: tuple[Filter, ...]  # as the caller gave them
    sent: tuple[Filter, ...] = ()  # as the relay has them, or will have when there is room
    former: tuple[Filter, ...] = ()  # replaced; its events may still be under way until EOSE
    is_open: bool = False
    is_caught_up: bool = False
    is_retried: bool = False
    waits_for_room: bool = False
    refusal: SubscriptionClosed | None = None  # held back for AUTH
    closed: str | None = None  # why the relay ended it


class Subscriptions:
    """The subscriptions of a session.

    Args:
        say: takes a message for the relay.

    Attributes:
        most: so many may be open at one time, as the relay says (NIP-11).
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.most = MAX_SUBSCRIPTIONS
        self._say = say
        self._subscriptions: dict[str, _Subscription] = {}
        self._lately_closed: dict[str, None] = {}
        self._is_connected = False

    @property
    def has_held(self) -> bool:
        """Whether any waits for AUTH."""
        return any(subscription.refusal for subscription in self._subscriptions.values())

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The ids of those that the relay has been asked for and has said nothing to the end of."""
        return tuple(id_ for id_, one in self._subscriptions.items() if one.is_open and not one.is_caught_up)

    @property
    def unserved(self) -> Mapping[str, str]:
        """For the id of each that the relay does not serve just now, why."""
        return {
            sub_id: one.closed or _NO_ROOM
            for sub_id, one in self._subscriptions.items()
            if one.closed is not None or one.waits_for_room
        }

    def opened(self, since: Callable[[str], int | None]) -> None:
        """A connection is there: ask for all that is wanted."""
        self._is_connected = True
        for sub_id, subscription in self._subscriptions.items():
            self._request(sub_id, subscription, since(sub_id))

    def lost(self) -> None:
        """The connection is gone; all stay wanted."""
        self._is_connected = False
        self._lately_closed.clear()
        for subscription in self._subscriptions.values():
            subscription.is_open = subscription.is_retried = subscription.waits_for_room = False
            subscription.former, subscription.refusal, subscription.closed = (), None, None

    def subscribe(self, sub_id: str, filters: Sequence[Filter], since: int | None) -> None:
        """See `Session.subscribe`."""
        check_subscription(sub_id, filters)
        subscription = self._subscriptions.get(sub_id)
        if subscription is None:
            if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
                raise ValueError(f"no more than {MAX_SUBSCRIPTIONS} subscriptions fit one relay connection")
            subscription = self._subscriptions[sub_id] = _Subscription(tuple(filters))
        subscription.asked = tuple(filters)
        if self._is_connected:
            self._request(sub_id, subscription, since)

    def resubscribe(self, sub_id: str, since: int | None) -> None:
        """See `Session.resubscribe`."""
        subscription = self._subscriptions.get(sub_id)
        if self._is_connected and subscription is not None and not subscription.is_open:
            self._request(sub_id, subscription, since)

    def unsubscribe(self, sub_id: str) -> None:
        """See `Session.unsubscribe`."""
        subscription = self._subscriptions.pop(sub_id, None)
        if subscription is not None and subscription.is_open:
            self._say(wire.close_message(sub_id))
            self._lately_closed[sub_id] = None
            while len(self._lately_closed) > _REMEMBERED_CLOSED:
                del self._lately_closed[next(iter(self._lately_closed))]
            self._fill_room()

    def on_event(self, message: wire.RelayEvent) -> tuple[Happening, ...]:
        """An event, if it was asked for."""
        subscription = self._subscriptions.get(message.subscription)
        if subscription is None or not subscription.is_open:
            return self._unknown(message.subscription)
        try:
            event = UnverifiedEvent.from_wire(message.event)
        except InvalidEvent:
            return (Misbehaved(Misbehaviour.MALFORMED_EVENT),)
        for filter_ in subscription.sent:
            if filter_.matches(event):
                return (EventHeard(message.subscription, event),)
        if any(filter_.matches(event) for filter_ in subscription.former):
            return ()
        return (Misbehaved(Misbehaviour.OUTSIDE_FILTER),)

    def on_eose(self, sub_id: str) -> tuple[Happening, ...]:
        """All that was stored has been sent."""
        subscription = self._subscriptions.get(sub_id)
        if subscription is None or not subscription.is_open:
            return self._unknown(sub_id)
        subscription.former, subscription.is_retried = (), False
        if subscription.is_caught_up:
            return (Misbehaved(Misbehaviour.REPEATED_EOSE),)
        subscription.is_caught_up = True
        return (CaughtUp(sub_id),)

    def on_closed(self, message: wire.RelayClosed, *, may_authenticate: bool) -> tuple[Happening, ...] | None:
        """The relay ended a subscription; None if that is held back until we have said who we are."""
        subscription = self._subscriptions.get(message.subscription)
        if subscription is None or not subscription.is_open:
            return self._unknown(message.subscription)
        subscription.is_open = False
        refusal = SubscriptionClosed(message.subscription, message.prefix, message.text)
        if message.prefix is wire.Prefix.AUTH_REQUIRED and may_authenticate and not subscription.is_retried:
            subscription.refusal = refusal
            self._fill_room()
            return None
        return (self._ended(subscription, refusal),)

    def send_held(self) -> None:
        """Ask once more for what waited for AUTH."""
        for sub_id, subscription in self._subscriptions.items():
            if subscription.refusal is not None:
                subscription.refusal, subscription.is_retried = None, True
                self._open(sub_id, subscription)

    def give_up_held(self) -> list[Happening]:
        """AUTH came to nothing: tell the refusals."""
        held = [(one, one.refusal) for one in self._subscriptions.values() if one.refusal is not None]
        return [self._ended(subscription, refusal) for subscription, refusal in held]

    def _ended(self, subscription: _Subscription, refusal: SubscriptionClosed) -> SubscriptionClosed:
        subscription.refusal = None
        subscription.closed = f"{refusal.prefix.value}: {refusal.text}".removeprefix(": ")
        self._fill_room()
        return refusal

    def _unknown(self, sub_id: str) -> tuple[Happening, ...]:
        if sub_id in self._lately_closed:
            return ()
        return (Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION),)

    def _request(self, sub_id: str, subscription: _Subscription, since: int | None) -> None:
        if subscription.is_open:
            subscription.former = subscription.sent
        subscription.sent = tuple(_not_before(filter_, since) for filter_ in subscription.asked)
        subscription.refusal = None
        self._open(sub_id, subscription)

    def _open(self, sub_id: str, subscription: _Subscription) -> None:
        """Send the REQ, when there is room for it."""
        subscription.waits_for_room = not subscription.is_open and not self._has_room()
        if not subscription.waits_for_room:
            subscription.is_open, subscription.is_caught_up, subscription.closed = True, False, None
            self._lately_closed.pop(sub_id, None)
            self._say(wire.req_message(sub_id, subscription.sent))

    def _has_room(self) -> bool:
        return sum(subscription.is_open for subscription in self._subscriptions.values()) < self.most

    def _fill_room(self) -> None:
        for sub_id, subscription in self._subscriptions.items():
            if subscription.waits_for_room and self._has_room():
                self._open(sub_id, subscription)


def check_subscription(sub_id: str, filters: Sequence[Filter]) -> None:
    """Raises ValueError unless the id has 1 to 64 characters and there is a filter (NIP-01)."""
    if not 0 < len(sub_id) <= wire.MAX_SUBSCRIPTION_ID_CHARS or not filters:
        raise ValueError("a subscription has an id of 1 to 64 characters and at least one filter")


def _not_before(filter_: Filter, since: int | None) -> Filter:
    """The filter, narrowed to events from `since` on; never widened."""
    if since is None or (filter_.since is not None and filter_.since >= since):
        return filter_
    return dataclasses.replace(filter_, since=since)
