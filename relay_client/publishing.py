"""Events on their way to one configured relay: what waits for its OK, and what waits for it to be ready.

What a relay says it would refuse is not sent (`nip11`). What it refuses for our pace comes back as refused at
once, so that nobody waits for it, and is also kept here, the newest `MAX_KEPT`, to be offered again when the
pause is over, one at a time (`pace`). That is kindness to who reads at this relay alone; whoever needs the event
delivered somewhere goes by the outcome and offers it again, which is safe.
"""

import asyncio
from typing import Final

from relay_client.conversation import Conversation
from relay_client.dial import Outside, PublishOutcome, PublishState, outcome_of
from relay_client.errors import NotConnected
from relay_client.event import Event, is_expired
from relay_client.happenings import Misbehaviour, PublishAnswered, Score
from relay_client.information import Information
from relay_client.pace import Pace
from relay_client.session import Session
from relay_client.wire import Prefix

MAX_PUBLISHES_IN_FLIGHT: Final = 512
"""Events sent to one relay and not answered yet; a publish beyond waits its turn."""
MAX_KEPT: Final = 64
"""Events kept for a relay that finds us too fast; the oldest is left out first."""
KEPT_TIMEOUT_S: Final = 10.0


class Publishing:
    """Sends events over whatever conversation there is.

    Args:
        session: what is said there.
        information: the relay's limits.
        score: what the relay has done wrong.
        outside: clock, sleep and randomness.

    Attributes:
        accepted, refused: how many events the relay took, and did not or would not take.
        last_refusal: its words for the last of these.
    """

    def __init__(self, session: Session, information: Information, score: Score, outside: Outside) -> None:
        self.accepted = 0
        self.refused = 0
        self.last_refusal: str | None = None
        self._session = session
        self._information = information
        self._score = score
        self._outside = outside
        self._conversation: Conversation | None = None
        self._pace = Pace()
        self._answers: dict[str, set[asyncio.Future[PublishOutcome]]] = {}
        self._slots = asyncio.Semaphore(MAX_PUBLISHES_IN_FLIGHT)
        self._kept: dict[str, Event] = {}
        self._spare: set[str] = set()
        self._has_kept = asyncio.Event()

    @property
    def pause_s(self) -> float:
        """How long nothing is sent, because the relay found us too fast."""
        return self._pace.wait_s(self._outside.monotonic())

    def opened(self, conversation: Conversation) -> None:
        """There is a connection to send over."""
        self._conversation = conversation

    async def publish(self, event: Event, timeout_s: float, *, is_spare: bool = False) -> PublishOutcome:
        """Send an event and wait for the relay's answer, at most `timeout_s`.

        Cancelling is safe: the event may or may not reach the relay, and its answer is ignored. A spare event is
        not kept, and its refusal begins no pause.
        """
        refusal = self._information.limitation.refusal(event, self._outside.unix_time())
        if refusal is not None:
            return self._counted(PublishOutcome(PublishState.REFUSED, refusal[0], f"not sent: {refusal[1]}"))
        if pause_s := self.pause_s:
            if not is_spare:
                self._keep(event)
            text = f"not sent: the relay found us too fast and is left in peace for {pause_s:.0f} s"
            return PublishOutcome(PublishState.REFUSED, Prefix.RATE_LIMITED, text)
        if is_spare:
            self._spare.add(event.id)
        try:
            outcome = self._counted(await self._offer(event, timeout_s))
        finally:
            self._spare.discard(event.id)
        if is_spare:
            return outcome
        if _is_for_our_pace(outcome):
            self._keep(event)
        else:
            self._kept.pop(event.id, None)
        return outcome

    def answered(self, answer: PublishAnswered) -> None:
        """The relay said OK, or that it is not."""
        outcome = outcome_of(answer)
        if outcome.is_accepted:
            self._pace.went_well()
        elif _is_for_our_pace(outcome) and answer.event_id not in self._spare:
            self.slow_down()
        self._answer(answer.event_id, outcome)

    def slow_down(self) -> None:
        """The relay says that we are too fast."""
        self._pace.too_fast(self._outside.monotonic(), self._outside.jitter())

    def lost(self) -> None:
        """The connection is gone, and with it all answers that were waited for."""
        self._conversation = None
        lost = PublishOutcome(PublishState.NO_ANSWER, text="the connection was lost before an answer")
        for event_id in list(self._answers):
            self._answer(event_id, lost)

    async def offer_kept(self) -> None:
        """Offer what was kept, whenever there is something and no pause, until cancelled."""
        while True:
            await self._has_kept.wait()
            while pause_s := self.pause_s:
                await self._outside.sleep(pause_s)
            event = next(iter(self._kept.values()), None)
            if event is None:
                self._has_kept.clear()
                continue
            if is_expired(event, int(self._outside.unix_time())):
                self._kept.pop(event.id)
                continue
            outcome = self._counted(await self._offer(event, KEPT_TIMEOUT_S))
            if not _is_for_our_pace(outcome):
                self._kept.pop(event.id, None)

    async def _offer(self, event: Event, timeout_s: float) -> PublishOutcome:
        if self._conversation is not None and self._conversation.is_congested:
            return PublishOutcome(PublishState.NOT_CONNECTED, text="the relay takes no more messages just now")
        answer: asyncio.Future[PublishOutcome] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s), self._slots:
                self._session.publish(event)
                self._answers.setdefault(event.id, set()).add(answer)
                # Not the connection there was before the wait for a place: it may be another by now.
                if self._conversation is not None:
                    self._conversation.flush()
                return await answer
        except NotConnected as error:
            return PublishOutcome(PublishState.NOT_CONNECTED, text=str(error))
        except TimeoutError:
            self._score.add(Misbehaviour.UNANSWERED, self._outside.monotonic())
            return PublishOutcome(PublishState.NO_ANSWER, text=f"no answer within {timeout_s:g} s")
        finally:
            self._wait_no_more(event.id, answer)

    def _keep(self, event: Event) -> None:
        self._kept[event.id] = event
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._has_kept.set()

    def _counted(self, outcome: PublishOutcome) -> PublishOutcome:
        match outcome.state:
            case PublishState.ACCEPTED:
                self.accepted += 1
            case PublishState.REFUSED:
                self.refused += 1
                self.last_refusal = f"{outcome.prefix.value}: {outcome.text}".removeprefix(": ")
            case PublishState.NO_ANSWER | PublishState.NOT_CONNECTED:
                pass
        return outcome

    def _answer(self, event_id: str, outcome: PublishOutcome) -> None:
        for waiting in self._answers.pop(event_id, ()):
            if not waiting.done():
                waiting.set_result(outcome)

    def _wait_no_more(self, event_id: str, answer: asyncio.Future[PublishOutcome]) -> None:
        waiting = self._answers.get(event_id)
        if waiting is not None:
            waiting.discard(answer)
            if not waiting:
                del self._answers[event_id]
                self._session.forget(event_id)


def _is_for_our_pace(outcome: PublishOutcome) -> bool:
    return outcome.state is PublishState.REFUSED and outcome.prefix is Prefix.RATE_LIMITED
