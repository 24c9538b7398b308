"""Visitors speak, and Timmy answers: who is heard, who is answered, and what is told in which order.

What a visitor says goes to everybody, then the limits are looked at, and the reply is thought of beside all else:
gamma works, gamma rests, Timmy speaks, and the event `visitor:reply`. However a reply ends, gamma rests.
"""

import asyncio
from typing import Final, Protocol

from ledger.store import StoreUnavailable
from timmy_dvm.agent.runner import AgentError, Answer
from timmy_dvm.clock import Clock
from timmy_dvm.free_answers import NoFreeAnswer
from timmy_dvm.log import get_logger
from timmy_dvm.nostr.bucket import PerMinute, TokenBucket
from timmy_dvm.world.frames import MAX_TEXT_CHARS, VISITOR, Said, one_line
from timmy_dvm.world.people import TIMMY
from timmy_dvm.world.watchers import Watcher
from timmy_dvm.world.workshop import Workshop

REPLIES_PER_MINUTE: Final = 3
HEARD_PER_MINUTE: Final = 12
"""Of one address; what is more is shown to nobody."""
HEARD_PER_SECOND: Final = 3
"""Of all addresses together."""
A_MOMENT: Final = "I need a moment... please ask me again in a minute."
log = get_logger("chat")


class Talker(Protocol):
    """Who thinks of replies (`free_answers.FreeAnswers`)."""

    async def talk(self, said: str) -> Answer:
        """A short reply; raises as `FreeAnswers.talk`."""


class Chat:
    """Hears visitors and answers them.

    Args:
        workshop: where it is told.
        talker: who thinks of replies.
        clock: its monotonic time counts the limits.
        per_minute: replies to one address.
    """

    def __init__(
        self, workshop: Workshop, talker: Talker, clock: Clock, per_minute: int = REPLIES_PER_MINUTE
    ) -> None:
        self._workshop = workshop
        self._talker = talker
        self._replies = PerMinute(per_minute, clock)
        self._of_address = PerMinute(HEARD_PER_MINUTE, clock)
        self._of_all = TokenBucket(HEARD_PER_SECOND, clock, room=4 * HEARD_PER_SECOND)
        self._replying: set[asyncio.Task[None]] = set()

    def hear(self, watcher: Watcher, text: str) -> None:
        """Somebody said ``text``, fit to be shown (`frames.read_message`). Never waits."""
        if not self._of_address.take(watcher.address) or not self._of_all.take():
            self._workshop.tell_one(watcher, Said(agent_id=TIMMY.id, text=A_MOMENT))
            return
        self._workshop.tell(Said(agent_id=VISITOR, text=text))
        if not self._replies.take(watcher.address):
            self._workshop.tell_one(watcher, Said(agent_id=TIMMY.id, text=A_MOMENT))
            return
        task = asyncio.ensure_future(self._reply(text))
        self._replying.add(task)
        task.add_done_callback(self._replied)

    async def aclose(self) -> None:
        """Stop thinking; nobody listens any more."""
        for task in self._replying:
            task.cancel()
        if self._replying:
            await asyncio.wait(self._replying)

    async def _reply(self, text: str) -> None:
        line, answered = A_MOMENT, False
        self._workshop.talk_begins()
        try:
            answer = await self._talker.talk(text)
            line, answered = one_line(answer.text, MAX_TEXT_CHARS) or A_MOMENT, True
        except NoFreeAnswer as refusal:
            line = str(refusal)
        except (AgentError, StoreUnavailable) as error:
            log.warning("a visitor is not answered", action="visitor_unanswered", error=str(error))
        finally:
            self._workshop.talk_ends()
            self._workshop.tell(Said(agent_id=TIMMY.id, text=line))
            self._workshop.happened("visitor:reply" if answered else "visitor:unanswered")

    def _replied(self, task: "asyncio.Task[None]") -> None:
        self._replying.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a fault of ours in a reply", action="reply_broke", fault=repr(fault))
