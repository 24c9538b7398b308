"""The one way in: load, decide, commit. Everything that happens to a job comes through :meth:`Engine.handle`.

The ledger calls back inside its writing transaction: the books around the fact are loaded there, the pure core
decides on them, and what follows is written with the fact. Messages are turned into signed events by the job's
door at that very commit, so what is said is on disk before it is said, and a repeat says the same bytes.
"""

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from ledger.records import (
    Applied,
    Change,
    FactRecord,
    IdentityRecord,
    NewAction,
    NewEvent,
    Outcome,
    Replayed,
    Short,
    Stale,
)
from ledger.store import Store, StoreUnavailable, View
from timmy_dvm import bound_books, case_books
from timmy_dvm.core import trust
from timmy_dvm.core.actions import Message
from timmy_dvm.core.case import Case, Decision, Do, Tell
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import (
    Fact,
    RefundClaimed,
)
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import CreditWished
from timmy_dvm.log import get_logger

_TRIES = 20
_LONGEST_PAUSE_S = 15
SHORT_ID = 8
"""Of a job's id a log shows this much: whole, it is its owner's secret. `timmy job` takes it."""
_LONG_HEX = re.compile(r"[0-9a-f]{16,}")
_NOT_IN_RECEIPT = frozenset(
    {"text", "body", "origin", "btc", "at", "reason", "sentence", "refund_to", "refusal_at", "ssh_private_key"}
)
"""Receipts are kept for ever: a customer may have their texts forgotten, and a key is handed out and gone."""
_encode = msgspec.json.Encoder().encode
log = get_logger("engine")


Lift = Callable[[str], trust.Tier | None]
"""The tier that others lift a key to (hex); None where nobody does."""
_Answered = tuple[Applied | Replayed, tuple[Message, ...]]


class Contended(Exception):
    """The same rows moved under us again and again. Nothing was changed; the fact may be handed in again."""


class Speaker(Protocol):
    """A door's voice: turns a message into events, signed and ready to be published."""

    def speak(
        self,
        message: Message,
        *,
        origin: str,
        job_id: str | None,
        tier: trust.Tier,
        at: int,
        absorbed_sats: int | None = None,
    ) -> Sequence[NewEvent]:
        """The events that say it, in the order in which to publish them. Pure but for the signing key.

        ``absorbed_sats`` is what the pool pays of the job, None where it is not of the free tier.
        """
        ...


def short(text: str) -> str:
    """A fact's id, or any text with ids in it, as a log may show it: of each long hex the first 8 digits."""
    return _LONG_HEX.sub(lambda found: found[0][:SHORT_ID], text)


def _nobody(_: str) -> None:
    """Nobody is lifted."""


async def insist(
    engine: "Engine", sleep: Callable[[float], Awaitable[None]], fact: Fact, done: int | None = None
) -> None:
    """Hand in an outcome that must not be lost, as often as it takes: the ledger may be away for a while.

    What was done outside can't be done again, so its fact waits here until it is written; a process that dies
    meanwhile finds the action in the outbox, begun.
    """
    pause = 0.5
    while True:
        try:
            await engine.handle(fact, done=done)
        except (StoreUnavailable, Contended) as error:
            log.warning(
                "an outcome waits for the ledger", action="outcome_waits", fact=short(fact.id), error=str(error)
            )
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        else:
            return


class Engine:
    """Hands facts to the core and the core's decisions to the ledger.

    Args:
        store: the ledger.
        policy: what the operator decided.
        speaker: how decisions are told; a job of a door without events is told by its state alone.
        lift: the tier that the pool treats a key as at least, where others speak for it. It is called in the
            ledger's threads, and waits for nothing.
    """

    def __init__(self, store: Store, policy: Policy, speaker: Speaker, lift: Lift = _nobody) -> None:
        self._store = store
        self._policy = policy
        self._speaker = speaker
        self._lift = lift
        self._listeners: list[Callable[[Applied], None]] = []
        self._applying: set[asyncio.Future[_Answered]] = set()

    def listen(self, listener: Callable[[Applied], None]) -> None:
        """Call ``listener`` with what was written, after each commit: so dispatch and the timers learn of work."""
        self._listeners.append(listener)

    async def handle(self, fact: Fact, *, done: int | None = None) -> Applied | Replayed:
        """Apply one fact. Safe to repeat: a fact is applied once for ever.

        Args:
            fact: what happened.
            done: the outbox row whose outcome this fact is; it is finished with the commit.

        Raises:
            StoreUnavailable: nothing was written.
            Contended: nothing was written, after many tries.
        """
        outcome, _ = await self._shielded(fact, done)
        return outcome

    async def ask(self, fact: Fact) -> tuple[Applied | Replayed, tuple[Message, ...]]:
        """As :meth:`handle`, for a door that is waited at: also what was said to it, none where it is replayed."""
        return await self._shielded(fact, None)

    async def peek(self, fact: Fact) -> Message | None:
        """What would be said first to this fact now. Nothing is written, not even that it was asked.

        Raises:
            StoreUnavailable: the ledger can't be read.
        """
        decision = await self._store.look(lambda view: self._decision(view, fact)[1])
        return decision.tells[0].message if decision.tells else None

    async def _shielded(self, fact: Fact, done: int | None) -> _Answered:
        # In a task of its own: a caller that is cancelled while its commit is being written must not keep the
        # dispatcher and the timers from hearing of it.
        applying = asyncio.ensure_future(self._apply(fact, done))
        self._applying.add(applying)
        applying.add_done_callback(self._applying.discard)
        return await asyncio.shield(applying)

    async def _apply(self, fact: Fact, done: int | None) -> _Answered:
        receipt = FactRecord(
            id=fact.id,
            kind=type(fact).__name__,
            job_id=fact.job_id,
            at=fact.at,
            body=_receipt(fact),
            done=done,
        )
        said: tuple[Message, ...] = ()

        def change(view: View) -> Change:
            nonlocal said
            decision, written = self._change(view, fact)
            said = tuple(tell.message for tell in decision.tells)
            return written

        for _ in range(_TRIES):
            outcome: Outcome = await self._store.commit(receipt, change)
            match outcome:
                case Applied():
                    _log(fact, outcome)
                    for listener in self._listeners:
                        listener(outcome)
                    return outcome, said
                case Replayed():
                    return outcome, ()
                case Stale() | Short():
                    log.info("decided on old rows, deciding again", action="decide_again", fact=short(fact.id))
        raise Contended(f"the rows around {short(fact.id)} moved {_TRIES} times; hand the fact in again")

    def _decision(self, view: View, fact: Fact) -> tuple[Case, Decision]:
        case = case_books.load(view, fact, self._policy)
        if (key := bound_books.key_of(case, fact)) is not None:
            case = dataclasses.replace(case, lifted=self._lift(key))
        return case, decide(case, fact, self._policy)

    def _change(self, view: View, fact: Fact) -> tuple[Decision, Change]:
        case, decision = self._decision(view, fact)
        return decision, Change(
            new_job=decision.new_job,
            job=decision.job,
            result=decision.result,
            identity=decision.identity,
            session=decision.session,
            bootstrap=decision.bootstrap,
            reservation=decision.reservation,
            entries=decision.entries,
            reservation_end=decision.reservation_end,
            invoices=decision.invoices,
            topups=decision.topups,
            refunds=decision.refunds,
            actions=tuple(_outbox_row(do, _job_id(case, decision)) for do in decision.actions),
            events=tuple(self._events(view, case, decision, fact)),
            forget=decision.forget,
        )

    def _events(self, view: View, case: Case, decision: Decision, fact: Fact) -> Sequence[NewEvent]:
        if not decision.tells:
            return ()
        job_id = _job_id(case, decision)
        tier = _tier(decision.identity or case.identity, case, fact, self._policy.trust)
        events: list[NewEvent] = []
        for tell in decision.tells:
            said = self._speaker.speak(
                tell.message,
                origin=_origin(view, decision, tell, job_id),
                job_id=job_id,
                tier=tier,
                at=fact.at,
                absorbed_sats=_absorbed(case, decision, tell),
            )
            events += (dataclasses.replace(event, due_at=tell.due_at) for event in said)
        return events


def _log(fact: Fact, applied: Applied) -> None:
    """One line for each step of a job, a top-up or a node; what was said and who said it stays in the ledger."""
    if applied.job is not None:
        kind = type(fact).__name__
        log.info(kind, action="job_moved", job=applied.job.id[:SHORT_ID], state=str(applied.job.state))
    for topup in applied.change.topups:
        waits = topup.ended_at is None
        log.info(type(fact).__name__, action="topup_moved", topup=topup.id[:SHORT_ID], waits=waits)
    if (order := applied.change.bootstrap) is not None:
        log.info(type(fact).__name__, action="node_moved", node=order.id[:SHORT_ID], state=str(order.state))


def _job_id(case: Case, decision: Decision) -> str | None:
    if decision.new_job is not None:
        return decision.new_job.id
    return None if case.job is None else case.job.id


def _tier(identity: IdentityRecord | None, case: Case, fact: Fact, rules: trust.TrustRules) -> trust.Tier:
    """The tier shown to whoever asks. Events have a key, so the lowest is ``new``; a stranger learns nothing."""
    stranger = (
        isinstance(fact, RefundClaimed | CreditWished) and case.job is not None and case.job.pubkey != fact.pubkey
    )
    return trust.Tier.NEW if identity is None or stranger else trust.tier(identity, fact.at, rules)


def _origin(view: View, decision: Decision, tell: Tell, job_id: str | None) -> str:
    """Whom a message answers: the asking event where it says so, else the job's own request."""
    if tell.origin is not None:
        return tell.origin
    if decision.new_job is not None:
        return decision.new_job.origin
    return "" if job_id is None else view.texts(job_id).origin


def _absorbed(case: Case, decision: Decision, tell: Tell) -> int | None:
    """What the pool pays of the job a message answers; None where it pays nothing, or no job is answered."""
    job = decision.new_job or decision.job or case.job
    return job.absorbed_sats if tell.origin is None and job is not None and job.free_tier else None


def _outbox_row(do: Do, job_id: str | None) -> NewAction:
    kind = type(do.action).__name__
    return NewAction(kind=kind, job_id=job_id, body=_encode(do.action).decode(), due_at=do.due_at)


def _receipt(fact: Fact) -> str:
    """The fact as JSON without its long or foreign texts, and its time, which have their own place."""
    fields = {name: getattr(fact, name) for name in type(fact).__dataclass_fields__ if name not in _NOT_IN_RECEIPT}
    return _encode(fields).decode()
