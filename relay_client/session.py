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
from relay_client.errors import InvalidFrame, NotConnected
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.happenings import (
    Authenticated,
    ChallengeReceived,
    Happening,
    Misbehaved,
    Misbehaviour,
    NoticeHeard,
    PublishAnswered,
)
from relay_client.keys import Keys
from relay_client.subscriptions import Subscriptions
from relay_client.wire import Prefix

KIND_CLIENT_AUTH: Final = 22_242
"""NIP-42's event that proves who we are."""
MAX_CHALLENGE_CHARS: Final = 256
"""A longer challenge is never signed: it could be anything."""
MAX_CHALLENGES: Final = 4
"""Most AUTH events we sign in one connection."""
AUTH_GRACE_S: Final = 2.0
"""How long a challenge, or the OK to our AUTH, may take before we go on without it."""


class _Auth(enum.Enum):
    NONE = enum.auto()
    SENT = enum.auto()
    ACCEPTED = enum.auto()  # or assumed to be, after the grace
    REFUSED = enum.auto()


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
        self._subscriptions = Subscriptions(self._say)
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
    def subscriptions(self) -> Subscriptions:
        """What is asked for; to look at, and to set `most`."""
        return self._subscriptions

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
        self._subscriptions.opened(since)

    def lost(self) -> None:
        """The connection is gone: unanswered publishes are forgotten, subscriptions stay wanted."""
        self._is_open = False
        self._texts.clear()
        self._publishes.clear()
        self._answered.clear()
        self._auth, self._auth_event_id, self._challenge, self._deadline = _Auth.NONE, None, None, None
        self._subscriptions.lost()

    def subscribe(self, sub_id: str, filters: Sequence[Filter], since: int | None = None) -> None:
        """Ask for what matches any of the filters; the same id again replaces the filters.

        While there is no connection this is only noted, for `opened`.

        Raises:
            ValueError: the id has not 1 to 64 characters, there is no filter, or there are too many
                subscriptions.
        """
        self._subscriptions.subscribe(sub_id, filters, since)

    def resubscribe(self, sub_id: str, since: int | None) -> None:
        """Ask again for what the relay closed; nothing to do if it is open or not wanted any more."""
        self._subscriptions.resubscribe(sub_id, since)

    def unsubscribe(self, sub_id: str) -> None:
        """Want no more of it; what the relay has already sent is ignored. An unknown id is nothing to do."""
        self._subscriptions.unsubscribe(sub_id)

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
            self._say(text)

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
        self._say(wire.auth_message(event))
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
                return self._subscriptions.on_event(message)
            case wire.RelayOk():
                return self._on_ok(message, now)
            case wire.RelayEose():
                return self._subscriptions.on_eose(message.subscription)
            case wire.RelayClosed():
                return self._on_closed(message, now)
            case wire.RelayNotice():
                return (NoticeHeard(message.text), Misbehaved(Misbehaviour.NOTICE))
            case wire.RelayAuth():
                return self._on_challenge(message.challenge)
        assert_never(message)

    def _on_closed(self, message: wire.RelayClosed, now: float) -> tuple[Happening, ...]:
        happenings = self._subscriptions.on_closed(message, may_authenticate=self._may_authenticate)
        if happenings is None:
            self._hold(now)
            return ()
        return happenings

    def _on_ok(self, message: wire.RelayOk, now: float) -> tuple[Happening, ...]:
        event_id = message.event_id or self._only_outstanding()
        if event_id is not None and event_id == self._auth_event_id:
            return self._on_auth_answer(message)
        publish = self._publishes.get(event_id) if event_id else None
        if event_id is None or publish is None:
            return ()  # the caller stopped waiting, or no one can tell what this answers
        answer = PublishAnswered(event_id, message.accepted, message.prefix, message.text)
        if (
            not message.accepted
            and message.prefix is Prefix.AUTH_REQUIRED
            and (self._may_authenticate and not publish.is_retried)
        ):
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

    def _only_outstanding(self) -> str | None:
        """The one event that can be meant by an OK without an id; None if that cannot be told."""
        waiting = [event_id for event_id, publish in self._publishes.items() if publish.refusal is None]
        if self._auth_event_id is not None:
            waiting.append(self._auth_event_id)
        return waiting[0] if len(waiting) == 1 else None

    @property
    def _may_authenticate(self) -> bool:
        return self._keys is not None and self._auth is not _Auth.REFUSED

    def _has_held(self) -> bool:
        return self._subscriptions.has_held or any(publish.refusal for publish in self._publishes.values())

    def _hold(self, now: float) -> None:
        if self._auth is _Auth.ACCEPTED:
            self._send_held()  # the refusal crossed our AUTH on its way
        elif self._deadline is None:
            self._deadline = now + AUTH_GRACE_S

    def _send_held(self) -> None:
        for publish in self._publishes.values():
            if publish.refusal is not None:
                publish.refusal, publish.is_retried = None, True
                self._say(publish.text)
        self._subscriptions.send_held()

    def _give_up_held(self) -> tuple[Happening, ...]:
        answers: list[Happening] = []
        for event_id, publish in list(self._publishes.items()):
            if publish.refusal is not None:
                del self._publishes[event_id]
                answers.append(publish.refusal)
        return (*answers, *self._subscriptions.give_up_held())

    def _say(self, text: str) -> None:
        self._texts.append(text)
