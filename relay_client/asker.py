"""Puts questions to one configured relay, on a connection of their own.

It is dialled when the first question comes and hung up on when none has come for `IDLE_S`. On the long-lived
connection an answer would wait behind all that the relay has stored for us, and behind a reader of the stream
who may himself be waiting for this very answer. So what is subscribed for good is never touched, nor closed by
a relay that allows few subscriptions.
"""

import asyncio
import dataclasses
from typing import Final

from websockets.asyncio.client import ClientConnection

from relay_client.conversation import Conversation
from relay_client.dial import DialOptions, Outside, open_socket
from relay_client.errors import NotConnected
from relay_client.happenings import CaughtUp, EventHeard, Happening, Score, SubscriptionClosed
from relay_client.information import Information
from relay_client.pace import Pace
from relay_client.query import Share
from relay_client.session import Session
from relay_client.wire import Prefix

MAX_QUESTIONS: Final = 8
"""Put to one relay at the same time; one more waits its turn."""
IDLE_S: Final = 60.0


@dataclasses.dataclass(slots=True, eq=False)
class _Question:
    share: Share
    is_over: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class Asker:
    """Puts questions to one configured relay, on a connection of their own.

    Args:
        session: for that connection; its `url` is dialled, its keys answer a challenge.
        score: the relay's, shared with its other connection.
        information: the relay's limits, which somebody else keeps fresh.
        outside: clock, sleep and randomness.
        options: how sockets are opened.
    """

    def __init__(
        self, session: Session, score: Score, information: Information, outside: Outside, options: DialOptions
    ) -> None:
        self._session = session
        self._score = score
        self._information = information
        self._outside = outside
        self._pace = Pace()
        self._options = options
        self._is_running = False
        self._questions: dict[str, _Question] = {}
        self._asked = 0
        self._places = asyncio.Semaphore(MAX_QUESTIONS)
        self._has_question = asyncio.Event()
        self._conversation: Conversation | None = None

    async def ask(self, share: Share) -> None:
        """Put a question and return when the relay has answered, refuses, fails, or its share is full.

        A relay that found our questions too many is left in peace for a while (`pace`): it is not asked.
        Cancelling is safe: the relay is told that nobody waits any more. Give it a deadline.
        """
        async with self._places:
            if not self._is_running or self._pace.wait_s(self._outside.monotonic()) > 0:
                return
            self._asked += 1
            sub_id = f"q{self._asked}"
            question = self._questions[sub_id] = _Question(share)
            try:
                self._session.subscribe(sub_id, share.filters)
                self._has_question.set()
                self._flush()
                await question.is_over.wait()
            finally:
                self._questions.pop(sub_id, None)
                self._session.unsubscribe(sub_id)
                self._flush()

    async def run(self) -> None:
        """Be connected while there are questions, until cancelled."""
        self._is_running = True
        try:
            while True:
                await self._has_question.wait()
                try:
                    async with open_socket(self._session.url, self._options) as ws:
                        await self._converse(ws)
                except NotConnected:
                    self._leave_unanswered()
                if not self._questions:
                    self._has_question.clear()
        finally:
            self._is_running = False
            self._leave_unanswered()

    async def _converse(self, ws: ClientConnection) -> None:
        conversation = Conversation(self._session, ws, self._score, self._outside, self._heard)
        self._session.subscriptions.most = self._information.max_subscriptions
        self._session.opened()
        self._conversation = conversation
        try:
            await conversation.run(self._hang_up_when_idle(ws))
        finally:
            if self._conversation is not None:  # else we hung up, and what was asked since is for the next one
                self._conversation = None
                self._leave_unanswered()

    async def _heard(self, happening: Happening) -> None:
        now = self._outside.monotonic()
        match happening:
            case EventHeard(sub_id) | CaughtUp(sub_id) | SubscriptionClosed(sub_id):
                question = self._questions.get(sub_id)
            case _:
                return
        if isinstance(happening, SubscriptionClosed) and happening.prefix is Prefix.RATE_LIMITED:
            self._pace.too_fast(now, self._outside.jitter())
        elif isinstance(happening, CaughtUp):
            self._pace.went_well()
        if question and not question.share.take(happening, self._score, now):
            question.is_over.set()

    async def _hang_up_when_idle(self, ws: ClientConnection) -> None:
        asked_before = -1
        while self._questions or self._asked != asked_before:
            asked_before = self._asked
            await self._outside.sleep(IDLE_S)
        self._conversation = None
        self._session.lost()
        await ws.close()

    def _leave_unanswered(self) -> None:
        for question in self._questions.values():
            question.is_over.set()
        self._questions.clear()

    def _flush(self) -> None:
        if self._conversation is not None:
            self._conversation.flush()
