"""The steps of dispatch that talk to the model: eval and work, each a run with a number and a deadline.

Whatever happens in a run, it ends in a fact: a verdict, an answer or a failure that gives the customer's money
back. Only a process that dies leaves none; the next start finds the run begun and counts it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from ledger.records import JobRecord, JobState, JobTexts, Turn
from ledger.store import Store, View
from timmy_dvm.agent.runner import Agent, AgentError, Task
from timmy_dvm.clock import Clock
from timmy_dvm.core import thread
from timmy_dvm.core.actions import RunAgent
from timmy_dvm.core.facts import EvalDone, RunFailed, RunInterrupted, Step, WorkDone
from timmy_dvm.core.pricing import BtcPrice, Freshness, PriceList, actual_cost
from timmy_dvm.engine import SHORT_ID, Engine, insist
from timmy_dvm.log import get_logger
from timmy_dvm.partials import Partials
from timmy_dvm.places import Bidder, Places

EVAL_DEADLINE_S = 60
WORK_DEADLINE_S = 180
log = get_logger("runs")


class _Note(msgspec.Struct):
    """What a door's note (`JobTexts.origin`) may say to the model; all else in it is the door's own."""

    temperature: str | None = None


_note: Final = msgspec.json.Decoder(_Note)


class Runs:
    """Runs of the model, at most ``in_flight`` at once; paid jobs beyond that queue (:mod:`timmy_dvm.places`).

    ``partials`` hears what is written while a work run goes on.
    """

    def __init__(
        self,
        agent: Agent,
        store: Store,
        engine: Engine,
        clock: Clock,
        prices: PriceList,
        in_flight: int,
        partials: Partials | None = None,
    ) -> None:
        self._agent = agent
        self._store = store
        self._engine = engine
        self._clock = clock
        self._prices = prices
        self._partials = partials or Partials()
        self._places = Places(in_flight)
        self._begun: set[int] = set()

    async def run(self, action_id: int, wanted: RunAgent, *, interrupted: bool) -> None:
        """One run to its fact. ``interrupted``: a process that died had begun it."""
        if interrupted or action_id in self._begun:
            fact = RunInterrupted(
                job_id=wanted.job_id, step=wanted.step, run=wanted.run, at=int(self._clock.now())
            )
            await self._engine.handle(fact, done=action_id)
            return
        bidder = await self._store.look(lambda view: _bidder(view, wanted))
        async with self._places.one(bidder):
            # The mark is on disk before the job is read, and the job is read before the model is called: a
            # cancellation that was written first is seen here, and one that comes later sees the mark.
            await self._store.mark_started(action_id)
            job = await self._store.job(wanted.job_id)
            texts = await self._store.texts(wanted.job_id)
            said = await self._store.look(lambda view: view.thread(wanted.job_id, thread.MAX_TURNS))
            if job is None or texts is None or not _waits_for(job, wanted):
                # It ended, or was cancelled, while it waited for a place: the model is not paid for nothing.
                await self._store.finish(action_id)
                return
            self._begun.add(action_id)
            outcome = await self._outcome(job, _task(job, texts, said), wanted)
        await insist(self._engine, self._clock.sleep, outcome, action_id)
        self._begun.discard(action_id)

    async def _outcome(self, job: JobRecord, task: Task, wanted: RunAgent) -> EvalDone | WorkDone | RunFailed:
        try:
            if wanted.step is Step.EVAL:
                return await self._evaluated(task, wanted)
            return await self._worked(job, task, wanted)
        except AgentError as error:
            log.warning(
                "a run failed", action="run_failed", job=job.id[:SHORT_ID], step=wanted.step, detail=error.detail
            )
            sentence = str(error)
        except Exception:  # a fault of ours in a run must end in a refund, not in silence
            log.exception("a run broke", action="run_broke", job=job.id[:SHORT_ID], step=wanted.step)
            sentence = "The request could not be done because of a fault on our side."
        at = int(self._clock.now())
        return RunFailed(job_id=job.id, step=wanted.step, run=wanted.run, sentence=sentence, at=at)

    async def _evaluated(self, task: Task, wanted: RunAgent) -> EvalDone:
        verdict = await self._agent.evaluate(task, deadline_s=EVAL_DEADLINE_S)
        return EvalDone(
            job_id=wanted.job_id,
            run=wanted.run,
            accepted=verdict.accepted,
            reason=verdict.reason,
            input_tokens=verdict.usage.input_tokens,
            output_tokens=verdict.usage.output_tokens,
            at=int(self._clock.now()),
        )

    async def _worked(self, job: JobRecord, task: Task, wanted: RunAgent) -> WorkDone:
        with self._partials.stream(job.id) as on_text:
            answer = await self._agent.work(task, deadline_s=WORK_DEADLINE_S, on_text=on_text)
        locked = BtcPrice(
            job.quote.btc_price_micro_usd, job.quote.btc_price_source, Freshness.FIXED, job.created_at
        )
        cost = actual_cost(answer.usage, self._prices, locked)
        return WorkDone(
            job_id=wanted.job_id,
            run=wanted.run,
            text=answer.text,
            truncated=answer.truncated,
            input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens,
            cost_micro_usd=cost.total_micro_usd,
            charge_sats=cost.charge_sats,
            at=int(self._clock.now()),
        )


def _temperature(origin: str) -> str | None:
    """The customer's, as their door noted it; no note is worth a failed run."""
    try:
        return _note.decode(origin).temperature
    except msgspec.MsgspecError:
        return None


def _task(job: JobRecord, texts: JobTexts, said: Sequence[Turn]) -> Task:
    """What the model is given: the very turns that were priced."""
    return Task(
        text=texts.request,
        max_output_tokens=job.quote.max_output_tokens,
        model=job.quote.work_model,
        temperature=_temperature(texts.origin),
        turns=thread.bounded(said),
    )


def _bidder(view: View, wanted: RunAgent) -> Bidder:
    """Who wants the place. A job that nobody's key asked for is a customer of its own."""
    job = view.job(wanted.job_id)
    identity = None if job is None or job.pubkey is None else view.identity(job.pubkey)
    return Bidder(
        key=wanted.job_id if identity is None else identity.pubkey,
        has_paid=identity is not None and identity.paid_jobs > 0,
        is_half_done=wanted.step is Step.WORK,
    )


def _waits_for(job: JobRecord, wanted: RunAgent) -> bool:
    """Whether this very run is the one the job is in."""
    if wanted.step is Step.EVAL:
        return job.state is JobState.EVALUATING and job.eval_runs == wanted.run
    return job.state is JobState.EXECUTING and job.work_runs == wanted.run
