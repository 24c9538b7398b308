"""The state of the Workshop: who does what, which jobs lie where. Pure; the time comes with what happened.

It is made from what the engine committed and forgets with the process. What it returns is what there is to tell.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from ledger.records import Applied, Door, InvoiceState, JobRecord, JobState, NewJob, RefundState
from timmy_dvm.core.transitions import ENDED
from timmy_dvm.world.frames import (
    IDLE,
    WORKING,
    AgentState,
    AgentView,
    Counts,
    Frame,
    ParcelMoved,
    ParcelView,
    Said,
    Seen,
    WorldEvent,
    WorldState,
    when,
)
from timmy_dvm.world.labels import label_of
from timmy_dvm.world.people import ALPHA, BETA, DELTA, GAMMA, PEOPLE, TIMMY, bench_of

MAX_JOBS: Final = 1_000
"""Jobs that are followed; the oldest is forgotten first."""
MAX_ON_BENCHES: Final = 12
MAX_EVENTS: Final = 30
_THANKS: Final = "A payment came in. Thank you!"
_CHANGE: Final = "Some change is on its way back to its owner."
_FAREWELLS: Final = {
    JobState.COMPLETE: "One more answer is done. Off it goes!",
    JobState.REJECTED: "That one we could not take on.",
    JobState.FAILED: "That one broke in our hands. What was paid for it goes back.",
}


class _Note(msgspec.Struct):
    """What a door's note (`NewJob.origin`) says of encryption; all else in it is the door's own."""

    scheme: str | None = None


_note: Final = msgspec.json.Decoder(_Note)


@dataclass(slots=True)
class _Parcel:
    """A job that has not ended, and at whose bench it is."""

    label: str
    at: str
    sealed: bool


class Scene:
    """What there is to see.

    Args:
        salt: random bytes that names of jobs are drawn with; never told.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._jobs: OrderedDict[str, _Parcel] = OrderedDict()
        self._shown: dict[str, _Parcel] = {}
        self._open_at: Counter[str] = Counter()
        self._sealed = 0
        self._talks = 0
        self._events: deque[Seen] = deque(maxlen=MAX_EVENTS)
        self.visitors = 0

    def snapshot(self, at: float) -> WorldState:
        """All of it."""
        agents = tuple(
            AgentView(
                id=one.id, name=one.name, trade=one.trade, state=self._state(one.id), doing=self._doing(one.id)
            )
            for one in PEOPLE
        )
        parcels = tuple(ParcelView(label=job.label, at=job.at) for job in self._shown.values())
        counts = self.counts()
        return WorldState(
            agents=agents,
            parcels=parcels,
            sealed=counts.sealed,
            more=counts.more,
            visitors=counts.visitors,
            events=tuple(self._events),
            at=when(at),
        )

    def counts(self) -> Counts:
        """What is not on a bench, and who looks on."""
        more = len(self._jobs) - self._sealed - len(self._shown)
        return Counts(sealed=self._sealed, more=more, visitors=self.visitors)

    def happened(self, event: str, at: float) -> WorldEvent:
        """Note something that could be seen."""
        seen = Seen(event=event, at=when(at))
        self._events.append(seen)
        return WorldEvent(event=seen.event, at=seen.at)

    def talk_begins(self) -> AgentState:
        """A visitor is to be answered; gamma thinks."""
        self._talks += 1
        return self._agent(GAMMA.id)

    def talk_ends(self) -> AgentState:
        """The visitor was answered, or not."""
        self._talks -= 1
        return self._agent(GAMMA.id)

    def committed(self, applied: Applied, at: float) -> list[Frame]:
        """What is to be told of one commit of the engine."""
        frames: list[Frame] = []
        change, job = applied.change, applied.job
        if change.new_job is not None:
            frames += self._arrived(change.new_job, at)
        known = None if job is None else self._jobs.get(job.id)
        if job is None or known is None:
            return frames
        if known.sealed:
            return [*frames, *self._sealed_moved(job)]
        if any(invoice.state is InvoiceState.SETTLED for invoice in change.invoices):
            frames += [self.happened("payment:received", at), Said(agent_id=BETA.id, text=_THANKS)]
        frames += self._moved(job, known, at)
        if any(refund.state in (RefundState.SENT, RefundState.CREDITED) for refund in change.refunds):
            frames += [self.happened("refund:sent", at), Said(agent_id=DELTA.id, text=_CHANGE)]
        return frames

    def _arrived(self, new: NewJob, at: float) -> Iterator[Frame]:
        if len(self._jobs) >= MAX_JOBS:
            yield from self._leaves(next(iter(self._jobs)), "shelved")
        parcel = _Parcel(label_of(new.id, self._salt), ALPHA.id, _is_sealed(new))
        self._jobs[new.id] = parcel
        if parcel.sealed:
            # Of an encrypted job nothing is told but that there is one.
            self._sealed += 1
            yield from (self.happened("job:sealed", at), self.counts())
            return
        yield from self._make_room()
        self._open_at[ALPHA.id] += 1
        yield self.happened("job:arrived", at)
        yield AgentState(agent_id=ALPHA.id, state=WORKING, doing="takes a request in")
        yield self._show(parcel, "arrived")
        yield from self._goes_to(parcel, bench_of(new.state) or ALPHA.id, new.state)

    def _moved(self, job: JobRecord, parcel: _Parcel, at: float) -> Iterator[Frame]:
        if job.state in ENDED:
            yield from self._ended(job, parcel, at)
            return
        bench = bench_of(job.state) or parcel.at
        if bench != parcel.at:
            yield from self._goes_to(parcel, bench, job.state)

    def _ended(self, job: JobRecord, parcel: _Parcel, at: float) -> Iterator[Frame]:
        farewell = _FAREWELLS.get(job.state)
        if farewell is not None:
            yield AgentState(agent_id=DELTA.id, state=WORKING, doing="settles a job to the last sat")
            yield from self._goes_to(parcel, DELTA.id, "settled")
        yield from self._leaves(job.id, job.state)
        yield self._agent(parcel.at)
        yield self.happened(f"job:{job.state}", at)
        if farewell is not None:
            yield Said(agent_id=TIMMY.id, text=farewell)

    def _sealed_moved(self, job: JobRecord) -> Iterator[Frame]:
        if job.state in ENDED:
            yield from self._leaves(job.id, job.state)

    def _goes_to(self, parcel: _Parcel, bench: str, how: str) -> Iterator[Frame]:
        before, parcel.at = parcel.at, bench
        self._open_at.subtract((before,))
        self._open_at.update((bench,))
        yield self._agent(before)
        yield self._show(parcel, how)
        if bench != DELTA.id:
            yield self._agent(bench)

    def _leaves(self, job_id: str, how: str) -> Iterator[Frame]:
        parcel = self._jobs.pop(job_id)
        if parcel.sealed:
            self._sealed -= 1
            yield self.counts()
            return
        self._open_at.subtract((parcel.at,))
        if self._shown.get(parcel.label) is parcel:
            del self._shown[parcel.label]
            yield ParcelMoved(label=parcel.label, at=None, how=how)
        else:
            yield self.counts()

    def _show(self, parcel: _Parcel, how: str) -> Frame:
        """Put it on its bench, where there is room; else it is counted."""
        there = self._shown.get(parcel.label)
        if there is None and len(self._shown) < MAX_ON_BENCHES:
            there = self._shown[parcel.label] = parcel
        return ParcelMoved(label=parcel.label, at=parcel.at, how=how) if there is parcel else self.counts()

    def _make_room(self) -> Iterator[Frame]:
        """A job that waits for its money makes room for a new one: unpaid requests must not fill the benches."""
        if len(self._shown) < MAX_ON_BENCHES:
            return
        waiting = next((parcel for parcel in self._shown.values() if parcel.at == BETA.id), None)
        if waiting is not None:
            del self._shown[waiting.label]
            yield from (ParcelMoved(label=waiting.label, at=None, how="shelved"), self.counts())

    def _state(self, agent_id: str) -> str:
        thinks = agent_id == GAMMA.id and (self._talks or self._open_at[GAMMA.id])
        return WORKING if thinks else IDLE

    def _doing(self, agent_id: str) -> str:
        count = self._open_at[agent_id]
        if agent_id == GAMMA.id and self._talks:
            return "thinks of a reply"
        if agent_id == GAMMA.id and count:
            return "works on a request" if count == 1 else f"works on {count} requests"
        if agent_id == BETA.id and count:
            return "waits for a payment" if count == 1 else f"waits for {count} payments"
        return "rests"

    def _agent(self, agent_id: str) -> AgentState:
        return AgentState(agent_id=agent_id, state=self._state(agent_id), doing=self._doing(agent_id))


def _is_sealed(job: NewJob) -> bool:
    """Whether it came encrypted. What can't be told is taken for sealed; over HTTP nothing comes so."""
    if job.door is Door.HTTP:
        return False
    try:
        return _note.decode(job.origin).scheme != "none"
    except msgspec.MsgspecError:
        return True
