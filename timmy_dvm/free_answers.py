"""Gives answers away, within what the operator loses on that in a UTC day: the demo's and the Workshop's.

What an answer may cost at most is promised before the model is asked, and what it did cost is booked afterwards,
also where it failed. The promise is kept in memory: one process gives answers, and one that dies has asked the
model for a few that nobody will get, which no book counts.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

from ledger.money import ZERO, Msats
from ledger.spending import ModelUse
from ledger.store import Store, View
from timmy_dvm.agent.prompts import TALK_MAX_OUTPUT_TOKENS, TALK_SYSTEM
from timmy_dvm.agent.runner import Agent, AgentError, Answer, OnText, Task
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.core import free_answers, spending
from timmy_dvm.core.free_facts import FreeAnswerGiven, Purpose
from timmy_dvm.core.pricing import PriceList, Usage, estimate_input_tokens, estimate_tokens
from timmy_dvm.engine import Engine, insist
from timmy_dvm.log import get_logger
from timmy_dvm.prices import PriceSource

AT_ONCE = 4
"""Paid work comes first at the model."""
DEMO_MAX_OUTPUT_TOKENS = 300
TALK_DEADLINE_S = 20
DEMO_DEADLINE_S = 45
_EXECUTIONS = 2
"""So many times a call may have to be paid (`Agent`)."""
log = get_logger("free_answers")


class NoFreeAnswer(Exception):
    """Nothing is given away just now. The text is for whoever asked; ``retry_after_s`` is in seconds."""

    def __init__(self, sentence: str, retry_after_s: int) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class FreeAnswers:
    """Asks the model for answers that nobody pays for.

    Args:
        agent: who answers.
        store, engine: where what they cost is counted and booked.
        price_list, btc: what tokens cost, and a bitcoin.
        clock, randomness: the day, and ids.
        limit: what they may cost in a UTC day.
        model_limit: what the model may cost in a UTC day in all, in micro-USD; 0: no bound.
    """

    def __init__(
        self,
        agent: Agent,
        store: Store,
        engine: Engine,
        *,
        price_list: PriceList,
        btc: PriceSource,
        clock: Clock,
        randomness: Randomness,
        limit: Msats,
        model_limit: int = 0,
    ) -> None:
        self._agent = agent
        self._store = store
        self._engine = engine
        self._price_list = price_list
        self._btc = btc
        self._clock = clock
        self._randomness = randomness
        self._limit = limit
        self._model_limit = model_limit
        self._promised = ZERO
        self._asked = 0
        self._booking: set[asyncio.Task[None]] = set()

    async def talk(self, said: str) -> Answer:
        """A short reply to a visitor.

        Raises:
            NoFreeAnswer: the day's sats are given away, or too many ask at once.
            AgentError: the model gave none.
            StoreUnavailable: the books can't be read.
        """
        asked = estimate_tokens(TALK_SYSTEM) + estimate_tokens(said)
        most = Usage(self._agent.eval_model, asked, TALK_MAX_OUTPUT_TOKENS)
        return await self._give(
            Purpose.CHAT, most, lambda: self._agent.small_talk(said, deadline_s=TALK_DEADLINE_S)
        )

    async def demo(self, request: str, on_text: OnText | None = None) -> Answer:
        """A short answer to somebody who wants to try, by the cheaper model. Raises as :meth:`talk`.

        Args:
            request: what they ask.
            on_text: hears it while it is written; see `agent.runner.Agent.work`.
        """
        model = self._agent.eval_model
        most = Usage(model, estimate_input_tokens(request), DEMO_MAX_OUTPUT_TOKENS)
        task = Task(request, DEMO_MAX_OUTPUT_TOKENS, model=model)
        return await self._give(
            Purpose.DEMO, most, lambda: self._agent.work(task, deadline_s=DEMO_DEADLINE_S, on_text=on_text)
        )

    async def settled(self) -> None:
        """Return once all that was given is booked."""
        while self._booking:
            await asyncio.wait(self._booking)

    async def _give(self, purpose: Purpose, most: Usage, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        with self._place():
            promised = Msats(_EXECUTIONS * self._cost(most))
            await self._promise(promised)
            try:
                answer = await ask()
            except AgentError as error:
                log.warning("no free answer", action="no_free_answer", purpose=purpose, detail=error.detail)
                self._book(purpose, promised, error.usage)
                raise
            except BaseException:
                self._promised = Msats(self._promised - promised)
                raise
            self._book(purpose, promised, answer.usage, answer.wasted)
            return answer

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._asked >= AT_ONCE:
            raise NoFreeAnswer("Too many ask for a free answer just now. Please try again in a moment.", 5)
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1

    async def _promise(self, most: Msats) -> None:
        """Promised before the books are read: of two that come at once the second sees the first."""
        before = self._promised
        self._promised = Msats(before + most)
        now = int(self._clock.now())
        since = free_answers.midnight(now)
        try:
            use = await self._store.look(lambda view: self._used(view, since))
            given, left_s = use.given_away, since + free_answers.DAY_S - now
            is_spent = 0 < self._model_limit <= self._spent(use)
            fits = free_answers.fits(most, given_today=given, promised=before, limit=self._limit)
        except BaseException:
            self._promised = Msats(self._promised - most)
            raise
        if is_spent or not fits:
            self._promised = Msats(self._promised - most)
            gone = "All free answers of today are given away. More come at midnight UTC."
            raise NoFreeAnswer(spending.SPENT if is_spent else gone, left_s)

    def _used(self, view: View, since: int) -> ModelUse:
        """All that was asked of the model, where that is bounded, else only what was given away."""
        if self._model_limit:
            return view.model_use_since(since)
        return ModelUse(given_away=view.free_answers_since(since))

    def _spent(self, use: ModelUse) -> int:
        btc = self._btc.current().micro_usd
        return spending.cost(use, self._price_list, self._agent.eval_model, btc)

    def _book(self, purpose: Purpose, promised: Msats, *used: Usage | None) -> None:
        cost = Msats(sum(self._cost(usage) for usage in used if usage is not None))
        fact = FreeAnswerGiven(
            answer_id=self._randomness.new_id(), purpose=purpose, cost=cost, at=int(self._clock.now())
        )
        # Beside the answer, which need not wait for the ledger; the promise stands until it is written.
        task = asyncio.ensure_future(insist(self._engine, self._clock.sleep, fact))
        self._booking.add(task)
        task.add_done_callback(lambda done: self._booked(done, promised))

    def _booked(self, task: "asyncio.Task[None]", promised: Msats) -> None:
        self._booking.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a free answer is not in the books", action="free_unbooked", fault=repr(fault))
        self._promised = Msats(self._promised - promised)

    def _cost(self, usage: Usage) -> Msats:
        return free_answers.cost(usage, self._price_list, self._btc.current())
