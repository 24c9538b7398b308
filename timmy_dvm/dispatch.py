"""The one way out: performs what the outbox holds, one function per action. Its outcome is a new fact.

An action is there until its outcome is committed, so a restart is: read the outbox, go on. What a dead process may
have begun is not blindly done again: a run is counted and run anew, a payment is looked up by its hash.
"""

import asyncio
import contextlib
import dataclasses
import heapq
from collections.abc import Awaitable, Mapping
from typing import Protocol, assert_never

import msgspec

from ledger.records import PUBLISH, Applied, EventRole, NewEvent, PendingAction
from ledger.store import Store, StoreUnavailable
from lightning.errors import LightningError
from timmy_dvm.clock import Clock
from timmy_dvm.core.actions import (
    Action,
    CheckInvoice,
    CreateInvoice,
    FindPayment,
    PayRefund,
    RetryRefund,
    RunAgent,
)
from timmy_dvm.core.facts import RefundDue
from timmy_dvm.engine import SHORT_ID, Contended, Engine
from timmy_dvm.log import get_logger
from timmy_dvm.runs import Runs
from timmy_dvm.wallet import Wallet

ACCEPTED = "accepted"
_RESULT_TRIES = 180
_FEEDBACK_TRIES = 10
"""With the pauses below: a result is offered for 7 days, feedback for an hour."""
_LONGEST_PAUSE_S = 3_600
_LONGEST_WAIT_FOR_PRICE_S = 4
"""A customer waits for an invoice; the wallet is asked again soon."""
_AT_ONCE = 256
_decode = msgspec.json.Decoder(Action).decode
log = get_logger("dispatch")


class Publisher(Protocol):
    """A door that can publish a signed event."""

    async def publish(self, event_json: str, targets: str) -> Mapping[str, str]:
        """Offer these very bytes to relays; an outcome for each: ``accepted`` or the relay's machine word.

        Never raises for a relay; an empty mapping means that none could be reached.
        """
        ...


class Dispatch:
    """Performs actions, many at once. Each is one task; delayed ones wait in a heap.

    Args:
        store: for the outbox and the texts an action needs.
        engine: where outcomes go.
        wallet: the steps that talk to our Lightning wallet.
        runs: the steps that talk to the model.
        publisher: how events leave.
        clock: what time it is.
    """

    def __init__(
        self, store: Store, engine: Engine, wallet: Wallet, runs: Runs, publisher: Publisher, clock: Clock
    ) -> None:
        self._store = store
        self._engine = engine
        self._wallet = wallet
        self._runs = runs
        self._publisher = publisher
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._fresh: dict[str, NewEvent] = {}
        self._later: list[tuple[int, int, PendingAction]] = []
        self._sooner = asyncio.Event()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        engine.listen(self._applied)

    async def run(self) -> None:
        """Go on with the outbox, then perform what each commit adds, until cancelled.

        Cancelling is safe at any moment: what was not committed as done is found again at the next start.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            for action in await self._store.pending():
                self._submit(action, recovered=True)
            while True:
                await self._wake_due()

    async def idle(self) -> None:
        """Wait until nothing is being performed; what is delayed does not count."""
        await self._idle.wait()

    def _applied(self, applied: Applied) -> None:
        for event in applied.change.events:
            self._fresh[event.id] = event
        for action in applied.actions:
            self._submit(action, recovered=False)

    def _submit(self, action: PendingAction, *, recovered: bool) -> None:
        if self._group is None:
            return  # not started yet: the outbox keeps it
        if action.due_at is not None and action.due_at > self._clock.now():
            heapq.heappush(self._later, (action.due_at, action.id, action))
            self._sooner.set()
            return
        self._group.create_task(self._perform(action, recovered=recovered))

    async def _wake_due(self) -> None:
        self._sooner.clear()
        pause = self._later[0][0] - self._clock.now() if self._later else float(_LONGEST_PAUSE_S)
        if pause > 0:
            sleeping = asyncio.ensure_future(self._clock.sleep(min(pause, _LONGEST_PAUSE_S)))
            waking = asyncio.ensure_future(self._sooner.wait())
            try:
                await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                waking.cancel()
        while self._later and self._later[0][0] <= self._clock.now():
            _, _, action = heapq.heappop(self._later)
            self._submit(action, recovered=False)

    async def _perform(self, action: PendingAction, *, recovered: bool) -> None:
        """One action to its outcome. The wallet, the relays or the disk being away only postpones it."""
        self._busy += 1
        self._idle.clear()
        try:
            async with self._places_for(action):
                await self._do(action, recovered=recovered)
        except (LightningError, Contended, StoreUnavailable) as error:
            log.warning("an action has to wait", action="postponed", what=action.kind, error=str(error))
            await self._again_later(action)
        except Exception:  # a fault of ours in one action must not stop all others; it stays in the outbox
            log.exception(
                "an action broke", action="action_broke", what=action.kind, job=(action.job_id or "")[:SHORT_ID]
            )
            await self._again_later(action)
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    def _places_for(self, action: PendingAction) -> contextlib.AbstractAsyncContextManager[None]:
        """Runs have places of their own; they would otherwise keep invoices and results waiting."""
        return contextlib.nullcontext() if action.kind == RunAgent.__name__ else self._places

    async def _do(self, action: PendingAction, *, recovered: bool) -> None:
        if action.kind == PUBLISH:
            await self._publish(action)
            return
        body = _decode(action.body)
        # Whatever a dead process, or a try of ours that broke, may have begun is never begun again blindly.
        interrupted = (recovered and action.started) or action.attempts > 0
        match body:
            case RunAgent():
                await self._runs.run(action.id, body, interrupted=interrupted)
            case CreateInvoice():
                await self._or_again(action, self._wallet.create_invoice(action.id, body))
            case CheckInvoice():
                await self._or_again(action, self._wallet.check_invoice(action.id, body))
            case PayRefund():
                await self._wallet.pay_refund(action.id, body, interrupted=interrupted)
            case FindPayment():
                await self._or_again(action, self._wallet.find_payment(action.id, body))
            case RetryRefund():
                now = int(self._clock.now())
                fact = RefundDue(refund_id=body.refund_id, attempts=body.attempts, at=now)
                await self._engine.handle(fact, done=action.id)
            case _:
                assert_never(body)

    async def _or_again(self, action: PendingAction, told: Awaitable[bool]) -> None:
        """Wait for an outcome; where there is none yet, try again later."""
        if not await told:
            await self._again_later(action)

    async def _again_later(self, action: PendingAction) -> None:
        pause = pause_s(action.attempts)
        if action.kind == CreateInvoice.__name__:
            pause = min(pause, _LONGEST_WAIT_FOR_PRICE_S)
        due_at = int(self._clock.now()) + pause
        try:
            await self._store.postpone(action.id, due_at)
        except StoreUnavailable as error:
            # The outbox row is there all the same; only its count of tries is behind.
            log.warning("could not note a postponed action", action="postpone_unsaved", error=str(error))
        self._submit(_tried(action, due_at), recovered=False)

    async def _publish(self, action: PendingAction) -> None:
        event = self._fresh.pop(action.body, None) or await self._store.event(action.body)
        if event is None:
            await self._store.finish(action.id)
            return
        outcomes = await self._publisher.publish(event.json, event.targets)
        now = int(self._clock.now())
        tries = _RESULT_TRIES if event.role is EventRole.RESULT else _FEEDBACK_TRIES
        if ACCEPTED in outcomes.values() or action.attempts + 1 >= tries:
            await self._store.delivered(action.id, event.id, outcomes, now, None)
            return
        due_at = now + pause_s(action.attempts)
        log.warning("no relay took an event", action="unpublished", event_id=event.id, outcomes=dict(outcomes))
        await self._store.delivered(action.id, event.id, outcomes, now, due_at)
        self._submit(_tried(action, due_at), recovered=False)


def pause_s(attempts: int) -> int:
    """Seconds before an action is tried again: 1, 2, 4 … up to an hour."""
    return int(min(_LONGEST_PAUSE_S, 2 ** min(attempts, 12)))


def _tried(action: PendingAction, due_at: int) -> PendingAction:
    return dataclasses.replace(action, attempts=action.attempts + 1, due_at=due_at, started=False)
