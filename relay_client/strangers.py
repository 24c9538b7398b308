"""Relays that a stranger named: dialled rarely, at the address that was judged, for one errand, and hung up on.

Whoever names a relay aims us at somebody. So there is one connection to one host at a time, few at once, few
in a minute over all errands, and never a proof of who we are (NIP-42): such a relay could pass it on.
"""

import asyncio
import collections
import contextlib
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from relay_client.conversation import DROPPED, Conversation
from relay_client.dial import DialOptions, Outside, PublishOutcome, PublishState, open_socket, outcome_of
from relay_client.errors import DialRefused, NotConnected
from relay_client.event import Event
from relay_client.happenings import Happening, PublishAnswered, Score
from relay_client.query import Share
from relay_client.session import Session

MAX_DIALS_AT_ONCE: Final = 8
MAX_DIALS_PER_MINUTE: Final = 50
"""Relays named by strangers are dialled no more often than this, all together."""
_MINUTE_S: Final = 60.0
_QUESTION: Final = "q"

Dialler = Callable[[str], Awaitable[tuple[str, int]]]
"""Judges a relay that a stranger named: the IP address and port to connect to, or raises `DialRefused`."""


async def refuse_to_dial(url: str) -> tuple[str, int]:
    """The `Dialler` of a pool that was given none."""
    raise DialRefused(f"{url} is not one of the configured relays, and no other is dialled.")


async def as_it_says(url: str) -> tuple[str, int]:
    """The `Dialler` of a pool whose every errand goes to relays of its owner's choice: the host that is named."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)


class Strangers:
    """Runs errands to relays that are not configured.

    Args:
        dialler: says where to connect to, or refuses; it is asked anew for each errand.
        outside: clock and randomness.
        options: how sockets are opened.
    """

    def __init__(self, dialler: Dialler, outside: Outside, options: DialOptions) -> None:
        self._dialler = dialler
        self._outside = outside
        self._options = options
        self._dials: collections.deque[float] = collections.deque()
        self._slots = asyncio.Semaphore(MAX_DIALS_AT_ONCE)
        self._hosts: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def publish(self, url: str, event: Event, timeout_s: float) -> PublishOutcome:
        """Send one event and hear the answer. Cancelling is safe: the event may or may not have arrived.

        Args:
            url: the relay's address, as `wire.parse_relay_url` spells it.
            event: what to send.
            timeout_s: for all of it.
        """
        session = Session(url)
        try:
            async with asyncio.timeout(timeout_s), self._place(url) as address:
                return await self._publish_at(address, session, event)
        except (DialRefused, NotConnected) as error:
            return PublishOutcome(PublishState.NOT_CONNECTED, text=str(error))
        except TimeoutError:
            return PublishOutcome(PublishState.NO_ANSWER, text=f"no answer within {timeout_s:g} s")
        except OSError:  # the dialler's look-up failed
            return PublishOutcome(PublishState.NOT_CONNECTED, text=f"{url} cannot be found")

    async def ask(self, url: str, share: Share) -> None:
        """Put one question; what comes back is in the share. Give it a deadline.

        Raises:
            DialRefused, OSError: the relay may not be dialled, or its host cannot be found.
            NotConnected: it cannot be reached.
        """
        session, score = Session(url), Score()
        session.subscribe(_QUESTION, share.filters)

        def hear(happening: Happening) -> bool:
            return share.take(happening, score, self._outside.monotonic())

        async with self._place(url) as address:
            await self._converse(address, session, score, hear)

    async def _publish_at(self, address: tuple[str, int], session: Session, event: Event) -> PublishOutcome:
        answers: list[PublishAnswered] = []

        def hear(happening: Happening) -> bool:
            if isinstance(happening, PublishAnswered):
                answers.append(happening)
            return not answers

        reason = await self._converse(address, session, Score(), hear, event)
        if answers:
            return outcome_of(answers[0])
        text = "the relay misbehaved" if reason == DROPPED else "the connection was lost before an answer"
        return PublishOutcome(PublishState.NO_ANSWER, text=text)

    async def _converse(
        self,
        address: tuple[str, int],
        session: Session,
        score: Score,
        hear: Callable[[Happening], bool],
        event: Event | None = None,
    ) -> str:
        """Say what is to be said and talk until `hear` has heard enough; returns why it ended otherwise."""
        async with open_socket(session.url, self._options, address) as ws:

            async def heard(happening: Happening) -> None:
                if not hear(happening):
                    conversation.end()

            conversation = Conversation(session, ws, score, self._outside, heard)
            session.opened()
            if event is not None:
                session.publish(event)
            return await conversation.run()

    @contextlib.asynccontextmanager
    async def _place(self, url: str) -> AsyncIterator[tuple[str, int]]:
        """One connection to one host at a time, and few dials altogether, so nobody can aim us at anyone."""
        host = urlsplit(url).hostname or url
        lock = self._hosts.setdefault(host, asyncio.Lock())
        async with lock, self._slots:
            now = self._outside.monotonic()
            while self._dials and now - self._dials[0] >= _MINUTE_S:
                self._dials.popleft()
            if len(self._dials) >= MAX_DIALS_PER_MINUTE:
                raise DialRefused(f"{url} is not dialled: too many other relays were in the last minute.")
            self._dials.append(now)
            yield await self._dialler(url)
