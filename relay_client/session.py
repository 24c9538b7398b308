"""One relay's state, without a socket: text in, happenings and text out (NIP-01, NIP-42).

A driver feeds what it reads to `receive` and sends what `texts_to_send` returns; nothing here waits, looks
at a clock or rolls a die. Times are seconds of whatever monotonic clock the driver keeps.

    opened()     → REQ for every subscription       lost()       → forget what belonged to that connection
    subscribe()  → REQ          unsubscribe() → CLOSE
    publish()    → EVENT        receive(OK)   → PublishAnswered
    receive(AUTH) → ChallengeReceived;  authenticate() → AUTH;  receive(OK) → Authenticated

A relay is believed in nothing. An event is reported only for a subscription that is open here and only if
a filter of that subscription matches it here; anything else is `Misbehaved`. Signatures are left to the
caller, who drops doubles first.

What a relay refuses with `auth-required:` is held back while we authenticate, and sent once more when the
relay accepts, or `AUTH_GRACE_S` after our AUTH if it never says (some never do). A second refusal is final.
"""

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from relay_client import wire
from relay_client.errors import InvalidEvent, InvalidFrame, NotConnected
from relay_client.event import Event, UnverifiedEvent
from relay_client.filter import Filter
from relay_client.happenings import (
    Authenticated,
    CaughtUp,
    ChallengeReceived,
    EventHeard,
    Happening,
    Misbehaved,
    Misbehaviour,
    NoticeHeard,
    PublishAnswered,
    SubscriptionClosed,
)
from relay_client.keys import Keys
from relay_client.wire import Prefix

KIND_CLIENT_AUTH: Final = 22_242
"""NIP-42's event that proves who we are."""
MAX_CHALLENGE_CHARS: Final = 256
"""A longer challenge is never signed: it could be anything."""
MAX_CHALLENGES: Final = 4
"""Most AUTH events we sign in one connection."""
AUTH_GRACE_S: Final = 2.0
"""How long a challenge, or the OK to our AUTH, may take before we go on without it."""
MAX_SUBSCRIPTIONS: Final = 20
"""Common relays allow 20 to 32 in one connection."""
_REMEMBERED_CLOSED: Final = 64


class _Auth(enum.Enum):
    NONE = enum.auto()
    SENT = enum.auto()
    ACCEPTED = enum.auto()  # or assumed to be, after the grace
    REFUSED = enum.auto()


@dataclasses.dataclass(slots=True)
class _Subscription:
    asked: tuple[Filter, ...]  # as the caller gave them
    sent: tuple[Filter, ...] = ()  # as the relay has them
    former: tuple[Filter, ...] = ()  # replaced; its events may still be under way until EOSE
    is_open: bool = False
    is_caught_up: bool = False
    is_retried: bool = False
    refusal: SubscriptionClosed | None = None  # held back for AUTH


@dataclasses.dataclass(slots=True)
class _Publish:
    text: str
    is_retried: bool = False
    refusal: PublishAnswered | None = None  # held back for AUTH


class Session:
    """The conversation with one relay, over as many connections as it takes.

    Args:
        url: the address as dialled; it goes into the AUTH event, so a relay cannot pass our proof on.
        keys: who we are, for NIP-42; None answers no challenge (a relay named by a stranger gets none).
    """

    def __init__(self, url: str, keys: Keys | None = None) -> None:
        self.url = url
        self._keys = keys
        self._is_open = False
        self._texts: list[str] = []
        self._subscriptions: dict[str, _Subscription] = {}
        self._lately_closed: dict[str, None] = {}
        self._publishes: dict[str, _Publish] = {}
        self._auth = _Auth.NONE
        self._auth_event_id: str | None = None
        self._challenge: str | None = None
        self._answered: set[str] = set()
        self._deadline: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._is_open

    @property
    def deadline(self) -> float | None:
        """When `time_passed` wants to be called; None if nothing waits for time."""
        return self._deadline

    def texts_to_send(self) -> list[str]:
        """Take the messages for the relay, in order; each is returned once."""
        texts, self._texts = self._texts, []
        return texts

    def opened(self, since: Callable[[str], int | None] = lambda _: None) -> None:
        """A connection is there: every subscription is asked for (again).

        Args:
            since: for a subscription id, the Unix second from which on events are wanted now; None leaves
                the filters as they were given.
        """
        self._is_open = True
        for sub_id, subscription in self._subscriptions.items():
            self._request(sub_id, subscription, since(sub_id))

    def lost(self) -> None:
        """The connection is gone: unanswered publishes are forgotten, subscriptions stay wanted."""
        self._is_open = False
        self._texts.clear()
        self._publishes.clear()
        self._lately_closed.clear()
        self._answered.clear()
        self._auth, self._auth_event_id, self._challenge, self._deadline = _Auth.NONE, None, None, None
        for subscription in self._subscriptions.values():
            subscription.is_open = subscription.is_retried = False
            subscription.former, subscription.refusal = (), None

    def subscribe(self, sub_id: str, filters: Sequence[Filter], since: int | None = None) -> None:
        """Ask for what matches any of the filters; the same id again replaces the filters.

        While there is no connection this is only noted, for `opened`.

        Raises:
            ValueError: the id has not 1 to 64 characters, there is no filter, or there are too many
                subscriptions.
        """
        check_subscription(sub_id, filters)
        subscription = self._subscriptions.get(sub_id)
        if subscription is None:
            if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
                raise ValueError(f"no more than {MAX_SUBSCRIPTIONS} subscriptions fit one relay connection")
            subscription = self._subscriptions[sub_id] = _Subscription(tuple(filters))
        subscription.asked = tuple(filters)
        if self._is_open:
            self._request(sub_id, subscription, since)

    def resubscribe(self, sub_id: str, since: int | None) -> None:
        """Ask again for what the relay closed; nothing to do if it is open or not wanted any more."""
        subscription = self._subscriptions.get(sub_id)
        if self._is_open and subscription is not None and not subscription.is_open:
            self._request(sub_id, subscription, since)

    def unsubscribe(self, sub_id: str) -> None:
        """Want no more of it; what the relay has already sent is ignored. An unknown id is nothing to do."""
        subscription = self._subscriptions.pop(sub_id, None)
        if subscription is not None and self._is_open:
            self._texts.append(wire.close_message(sub_id))
            self._lately_closed[sub_id] = None
            while len(self._lately_closed) > _REMEMBERED_CLOSED:
                del self._lately_closed[next(iter(self._lately_closed))]

    def publish(self, event: Event) -> None:
        """Send an event; the answer comes as `PublishAnswered`. One that still waits is not sent twice.

        Raises:
            NotConnected: there is no connection.
        """
        if not self._is_open:
            raise NotConnected(f"{self.url} is not connected; the event can be sent again later.")
        if event.id not in self._publishes:
            text = wire.event_message(event)
            self._publishes[event.id] = _Publish(text)
            self._texts.append(text)

    def forget(self, event_id: str) -> None:
        """Nobody waits for the answer to this publish any more."""
        self._publishes.pop(event_id, None)

    def authenticate(self, *, created_at: int, aux: bytes, now: float) -> None:
        """Answer the challenge reported last; does nothing if there is none that is unanswered (NIP-42).

        Args:
            created_at: the time, in Unix seconds.
            aux: 32 fresh random bytes for the signature.
            now: the time, on the driver's clock.
        """
        challenge, self._challenge = self._challenge, None
        if challenge is None or self._keys is None or not self._is_open:
            return
        self._answered.add(challenge)
        event = self._keys.sign(
            kind=KIND_CLIENT_AUTH,
            created_at=created_at,
            tags=[["relay", self.url], ["challenge", challenge]],
            aux=aux,
        )
        self._auth, self._auth_event_id = _Auth.SENT, event.id
        self._texts.append(wire.auth_message(event))
        if self._has_held():
            self._deadline = now + AUTH_GRACE_S

    def time_passed(self, now: float) -> tuple[Happening, ...]:
        """The clock moved on: a grace may be over."""
        if self._deadline is None or now < self._deadline:
            return ()
        self._deadline = None
        if self._auth is _Auth.SENT:
            self._auth = _Auth.ACCEPTED
            self._send_held()
            return ()
        return self._give_up_held()

    def receive(self, frame: str | bytes, now: float) -> tuple[Happening, ...]:
        """Take one message of the relay; never raises for anything a relay can send."""
        try:
            message = wire.decode_relay_message(frame)
        except InvalidFrame:
            return (Misbehaved(Misbehaviour.UNREADABLE_FRAME),)
        match message:
            case wire.RelayEvent():
                return self._on_event(message)
            case wire.RelayOk():
                return self._on_ok(message, now)
            case wire.RelayEose():
                return self._on_eose(message.subscription)
            case wire.RelayClosed():
                return self._on_closed(message, now)
            case wire.RelayNotice():
                return (NoticeHeard(message.text), Misbehaved(Misbehaviour.NOTICE))
            case wire.RelayAuth():
                return self._on_challenge(message.challenge)
        assert_never(message)

    def _on_event(self, message: wire.RelayEvent) -> tuple[Happening, ...]:
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

    def _on_eose(self, sub_id: str) -> tuple[Happening, ...]:
        subscription = self._subscriptions.get(sub_id)
        if subscription is None or not subscription.is_open:
            return self._unknown(sub_id)
        subscription.former, subscription.is_retried = (), False
        if subscription.is_caught_up:
            return (Misbehaved(Misbehaviour.REPEATED_EOSE),)
        subscription.is_caught_up = True
        return (CaughtUp(sub_id),)

    def _on_closed(self, message: wire.RelayClosed, now: float) -> tuple[Happening, ...]:
        subscription = self._subscriptions.get(message.subscription)
        if subscription is None or not subscription.is_open:
            return self._unknown(message.subscription)
        subscription.is_open = False
        refusal = SubscriptionClosed(message.subscription, message.prefix, message.text)
        if message.prefix is Prefix.AUTH_REQUIRED and self._may_retry(subscription):
            subscription.refusal = refusal
            self._hold(now)
            return ()
        return (refusal,)

    def _on_ok(self, message: wire.RelayOk, now: float) -> tuple[Happening, ...]:
        event_id = message.event_id or self._only_outstanding()
        if event_id is not None and event_id == self._auth_event_id:
            return self._on_auth_answer(message)
        publish = self._publishes.get(event_id) if event_id else None
        if event_id is None or publish is None:
            return ()  # the caller stopped waiting, or no one can tell what this answers
        answer = PublishAnswered(event_id, message.accepted, message.prefix, message.text)
        if not message.accepted and message.prefix is Prefix.AUTH_REQUIRED and self._may_retry(publish):
            publish.refusal = answer
            self._hold(now)
            return ()
        del self._publishes[event_id]
        return (answer,)

    def _on_auth_answer(self, message: wire.RelayOk) -> tuple[Happening, ...]:
        self._auth_event_id, self._deadline = None, None
        answer = Authenticated(message.accepted, message.text)
        if message.accepted:
            self._auth = _Auth.ACCEPTED
            self._send_held()
            return (answer,)
        self._auth = _Auth.REFUSED
        return (answer, *self._give_up_held())

    def _on_challenge(self, challenge: str) -> tuple[Happening, ...]:
        if len(challenge) > MAX_CHALLENGE_CHARS:
            return (Misbehaved(Misbehaviour.OVERLONG_CHALLENGE),)
        if self._keys is None or challenge in self._answered or challenge == self._challenge:
            return ()
        if len(self._answered) >= MAX_CHALLENGES:
            return (Misbehaved(Misbehaviour.AUTH_FLOOD),)
        self._challenge = challenge
        return (ChallengeReceived(),)

    def _unknown(self, sub_id: str) -> tuple[Happening, ...]:
        if sub_id in self._lately_closed:
            return ()
        return (Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION),)

    def _request(self, sub_id: str, subscription: _Subscription, since: int | None) -> None:
        if subscription.is_open:
            subscription.former = subscription.sent
        subscription.sent = tuple(_not_before(filter_, since) for filter_ in subscription.asked)
        subscription.is_open, subscription.is_caught_up, subscription.refusal = True, False, None
        self._lately_closed.pop(sub_id, None)
        self._texts.append(wire.req_message(sub_id, subscription.sent))

    def _only_outstanding(self) -> str | None:
        """The one event that can be meant by an OK without an id; None if that cannot be told."""
        waiting = [event_id for event_id, publish in self._publishes.items() if publish.refusal is None]
        if self._auth_event_id is not None:
            waiting.append(self._auth_event_id)
        return waiting[0] if len(waiting) == 1 else None

    def _may_retry(self, request: _Subscription | _Publish) -> bool:
        return self._keys is not None and self._auth is not _Auth.REFUSED and not request.is_retried

    def _has_held(self) -> bool:
        return any(publish.refusal for publish in self._publishes.values()) or any(
            subscription.refusal for subscription in self._subscriptions.values()
        )

    def _hold(self, now: float) -> None:
        if self._auth is _Auth.ACCEPTED:
            self._send_held()  # the refusal crossed our AUTH on its way
        elif self._deadline is None:
            self._deadline = now + AUTH_GRACE_S

    def _send_held(self) -> None:
        for publish in self._publishes.values():
            if publish.refusal is not None:
                publish.refusal, publish.is_retried = None, True
                self._texts.append(publish.text)
        for sub_id, subscription in self._subscriptions.items():
            if subscription.refusal is not None:
                subscription.refusal, subscription.is_retried, subscription.is_open = None, True, True
                self._texts.append(wire.req_message(sub_id, subscription.sent))

    def _give_up_held(self) -> tuple[Happening, ...]:
        answers: list[Happening] = []
        for event_id, publish in list(self._publishes.items()):
            if publish.refusal is not None:
                del self._publishes[event_id]
                answers.append(publish.refusal)
        for subscription in self._subscriptions.values():
            if subscription.refusal is not None:
                answers.append(subscription.refusal)
                subscription.refusal = None
        return tuple(answers)


def check_subscription(sub_id: str, filters: Sequence[Filter]) -> None:
    """Raises ValueError unless the id has 1 to 64 characters and there is a filter (NIP-01)."""
    if not 0 < len(sub_id) <= wire.MAX_SUBSCRIPTION_ID_CHARS or not filters:
        raise ValueError("a subscription has an id of 1 to 64 characters and at least one filter")


def _not_before(filter_: Filter, since: int | None) -> Filter:
    """The filter, narrowed to events from `since` on; never widened."""
    if since is None or (filter_.since is not None and filter_.since >= since):
        return filter_
    return dataclasses.replace(filter_, since=since)
