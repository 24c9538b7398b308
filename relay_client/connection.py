"""A configured relay: dial, talk, lose the connection, dial again, for ever.

How one connection is read and written is `conversation`'s. Here is what outlives it: coming back, later and
later and never in step with others; asking again for what the relay closed; and what is known of the relay
(`information`), of its faults (`happenings.Score`) and of its patience (`publishing`).
"""

import collections
import enum
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from websockets.asyncio.client import ClientConnection

from relay_client.conversation import Conversation
from relay_client.dial import DialOptions, Outside, PublishOutcome, PublishState, open_socket
from relay_client.errors import NotConnected
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.happenings import (
    Happening,
    Misbehaviour,
    NoticeHeard,
    PublishAnswered,
    Score,
    SubscriptionClosed,
)
from relay_client.information import Information
from relay_client.pace import is_complaint
from relay_client.publishing import Publishing
from relay_client.session import Session
from relay_client.wire import Prefix

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0
STABLE_AFTER_S: Final = 10.0
"""A connection that lived this long makes the next back-off start from the first again."""
PENALTY_S: Final = 300.0
"""How long a relay is left alone that misbehaved too much."""
RESUBSCRIBE_FIRST_S: Final = 5.0
"""How long a subscription rests that the relay closed, the first time; then it doubles."""
SILENCE_S: Final = 45.0
"""A relay that has said nothing at all for so long is noted as silent."""

# Refusals that do not change by asking again on the same connection.
_FINAL_REFUSALS: Final = frozenset(
    {Prefix.RESTRICTED, Prefix.BLOCKED, Prefix.AUTH_REQUIRED, Prefix.INVALID, Prefix.UNSUPPORTED}
)


class RelayState(enum.Enum):
    """Where a connection stands."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    """Not reachable just now; it is tried again, for ever."""
    PENALISED = "penalised"
    """Dropped for misbehaviour; it is tried again when `PENALTY_S` is over."""


class Listener(Protocol):
    """Who hears what a relay says."""

    async def heard(self, connection: "RelayConnection", happening: Happening) -> None:
        """Take one happening; until this returns, nothing more is read from that relay."""

    def changed(self, connection: "RelayConnection") -> None:
        """The connection's state is another."""

    def since(self, connection: "RelayConnection", sub_id: str) -> int | None:
        """From which Unix second on this subscription is wanted now; None leaves it to its filters."""


class RelayConnection:
    """One configured relay, kept connected while `run` runs.

    Args:
        session: what is to be said; its `url` is dialled.
        listener: who hears what is heard.
        outside: clock, sleep and randomness.
        options: how sockets are opened.
        information: the relay's limits; without it none are known.

    Attributes:
        url: the relay's address.
        state: where the connection stands.
        connected_since: Unix seconds; None while there is no connection.
        last_error: why the last connection ended or could not be made.
        score: what the relay has done wrong.
        information: its limits.
        publishing: how it takes what is published.
    """

    def __init__(
        self,
        session: Session,
        listener: Listener,
        outside: Outside,
        options: DialOptions,
        information: Information | None = None,
    ) -> None:
        self.url = session.url
        self.state = RelayState.STOPPED
        self.connected_since: float | None = None
        self.last_error: str | None = None
        self.score = Score()
        self.information = information or Information(session.url, None, outside, options)
        self.publishing = Publishing(session, self.information, self.score, outside)
        self._session = session
        self._listener = listener
        self._outside = outside
        self._options = options
        self._connections = 0
        # What belongs to the present connection.
        self._conversation: Conversation | None = None
        self._closings: collections.Counter[str] = collections.Counter()

    @property
    def reconnects(self) -> int:
        """How often a connection was made again."""
        return max(0, self._connections - 1)

    @property
    def is_fit(self) -> bool:
        """Whether the relay is connected and behaves, so that it may be asked something."""
        return self.state is RelayState.CONNECTED and not self.score.is_too_high(self._outside.monotonic())

    @property
    def unserved(self) -> Mapping[str, str]:
        """For the id of each subscription that the relay does not serve just now, why."""
        return self._session.subscriptions.unserved

    @property
    def points(self) -> float:
        """What the relay has done wrong and is not forgiven yet; it is dropped at `DROP_AT_POINTS`."""
        return self.score.points(self._outside.monotonic())

    def blame(self, what: Misbehaviour) -> None:
        """Count something the relay did wrong that only the listener could see."""
        self.score.add(what, self._outside.monotonic())

    def subscribe(self, sub_id: str, filters: Sequence[Filter]) -> None:
        """Ask for events, now and after each reconnect. Raises ValueError as `Session.subscribe` does."""
        self._session.subscribe(sub_id, filters, self._listener.since(self, sub_id))
        self._flush()

    def unsubscribe(self, sub_id: str) -> None:
        """Want no more of it."""
        self._session.unsubscribe(sub_id)
        self._flush()

    async def publish(self, event: Event, timeout_s: float, *, is_spare: bool = False) -> PublishOutcome:
        """Send an event and wait for the relay's answer, at most `timeout_s`; see `Publishing.publish`."""
        if self._conversation is None:
            return PublishOutcome(PublishState.NOT_CONNECTED, text=self.last_error or "not connected yet")
        return await self.publishing.publish(event, timeout_s, is_spare=is_spare)

    async def run(self) -> None:
        """Stay connected until cancelled; never ends by itself, whatever the relay does."""
        failures = 0
        try:
            while True:
                self._become(RelayState.CONNECTING)
                lived_s = await self._connect_once()
                if self.score.is_too_high(self._outside.monotonic()):
                    self._become(RelayState.PENALISED)
                    await self._outside.sleep(PENALTY_S)
                    self.score.clear()
                    continue
                failures = 0 if lived_s >= STABLE_AFTER_S else failures + 1
                self._become(RelayState.WAITING)
                await self._outside.sleep(self._backoff_s(failures))
        finally:
            self._become(RelayState.STOPPED)

    def _backoff_s(self, failures: int) -> float:
        """Half to all of a delay that doubles: many clients must not come back at the same moment."""
        longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures, 16))
        return longest * (0.5 + 0.5 * self._outside.jitter())

    def _become(self, state: RelayState) -> None:
        self.state = state
        self._listener.changed(self)

    async def _connect_once(self) -> float:
        """Dial and talk until the connection ends; returns how many seconds it lived."""
        started = self._outside.monotonic()
        try:
            async with open_socket(self.url, self._options) as ws:
                started = self._outside.monotonic()
                self.last_error = await self._converse(ws)
        except NotConnected as error:
            self.last_error = str(error)
            return 0.0
        return self._outside.monotonic() - started

    async def _converse(self, ws: ClientConnection) -> str:
        """One connection, from opened to lost; returns why it ended."""
        conversation = Conversation(self._session, ws, self.score, self._outside, self._heard)
        self._connections += 1
        try:
            self._session.opened(lambda sub_id: self._listener.since(self, sub_id))
            self._conversation = conversation
            self.publishing.opened(conversation)
            self._flush()
            self.connected_since = self._outside.unix_time()
            self._become(RelayState.CONNECTED)
            return await conversation.run(
                self._learn(), self._notice_silence(conversation), self.publishing.offer_kept()
            )
        finally:
            self._conversation = self.connected_since = None
            self._session.lost()
            self._closings.clear()
            self.publishing.lost()

    async def _heard(self, happening: Happening) -> None:
        match happening:
            case PublishAnswered():
                self.publishing.answered(happening)
                return
            case SubscriptionClosed():
                self._on_closed(happening)
            case NoticeHeard(text) if is_complaint(text):
                self.publishing.slow_down()
            case _:
                pass
        await self._listener.heard(self, happening)

    def _flush(self) -> None:
        if self._conversation is not None:
            self._conversation.flush()

    def _on_closed(self, closed: SubscriptionClosed) -> None:
        if closed.prefix is Prefix.RATE_LIMITED:
            self.publishing.slow_down()
        if closed.prefix not in _FINAL_REFUSALS and self._conversation is not None:
            self._conversation.help(self._ask_again(closed.subscription))

    async def _ask_again(self, sub_id: str) -> None:
        """A relay may close what it has served for hours, or have had a bad moment."""
        closings = self._closings[sub_id]
        self._closings[sub_id] += 1
        longest = min(BACKOFF_MAX_S, RESUBSCRIBE_FIRST_S * 2.0 ** min(closings, 16))
        await self._outside.sleep(longest * (0.5 + 0.5 * self._outside.jitter()))
        self._session.resubscribe(sub_id, self._listener.since(self, sub_id))
        self._flush()

    async def _learn(self) -> None:
        await self.information.refresh()
        self._session.subscriptions.most = self.information.max_subscriptions

    async def _notice_silence(self, conversation: Conversation) -> None:
        await self._outside.sleep(SILENCE_S)
        if self._session.subscriptions.unanswered and not conversation.frames:
            self.blame(Misbehaviour.UNANSWERED)
