"""The one way out: performs what the outbox holds, one function per action. Its outcome is a new fact.

An action is there until its outcome is committed, so a restart is: read the outbox, go on. What a dead process may
have begun is not blindly done again: a run is counted and run anew, a payment is looked up by its hash.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Mapping
from typing import Protocol, assert_never

import msgspec

from ledger.records import PUBLISH, Applied, NewEvent, PendingAction
from ledger.store import ACCEPTED, Store, StoreUnavailable
from lightning.errors import LightningError
from timmy_dvm.clock import Clock
from timmy_dvm.core.actions import (
    Action,
    AskForInvoice,
    CheckInvoice,
    CloseIdleSession,
    CreateInvoice,
    FindPayment,
    PayRefund,
    ProvisionNode,
    RetryRefund,
    RunAgent,
)
from timmy_dvm.core.facts import RefundDue
from timmy_dvm.core.session_facts import SessionIdle
from timmy_dvm.engine import SHORT_ID, Contended, Engine
from timmy_dvm.log import get_logger
from timmy_dvm.nodes import Nodes
from timmy_dvm.outbox import Outbox
from timmy_dvm.payees import Payees
from timmy_dvm.runs import Runs
from timmy_dvm.wallet import WalletSteps

_OFFERS = 180
"""With the pauses below: an event is offered for 7 days until a relay takes it."""
_LONGEST_PAUSE_S = 3_600
_FURTHER_S = 30
"""Longer than the customer's own relays are waited for."""
_LONGEST_WAIT_FOR_PRICE_S = 4
"""A customer waits for an invoice; the wallet is asked again soon."""
_AT_ONCE = 256
LOOK_EVERY_S = 30
_WITH_PLACES_OF_THEIR_OWN = frozenset(
    {RunAgent.__name__, PayRefund.__name__, AskForInvoice.__name__, ProvisionNode.__name__, PUBLISH}
)
_decode = msgspec.json.Decoder(Action).decode
log = get_logger("dispatch")


class Publisher(Protocol):
    """A door that can publish a signed event."""

    async def publish(self, event_json: str, targets: str) -> Mapping[str, str]:
        """Offer these very bytes to our relays; an outcome for each: ``accepted`` or the relay's machine word.

        Never raises for a relay; an empty mapping means that none could be reached.
        """
        ...

    def publish_further(self, event_json: str, targets: str) -> "asyncio.Task[Mapping[str, str]] | None":
        """Begin to offer them to relays of the customer's own, which may be slow; None: there is none of these.

        It has an outcome for each, raises nothing, and ends by itself; cancelling it is safe.
        """
        ...


class Dispatch:
    """Performs actions, many at once: one function for each kind.

    Args:
        store: for the outbox and the events that are published.
        engine: where outcomes go.
        wallet: the steps that talk to our Lightning wallet.
        runs: the steps that talk to the model.
        publisher: how events leave.
        clock: what time it is.
        payees: the step that asks where a refund goes for its invoice.
        nodes: the step that sets a node up.
        look_every_s: how soon what another process wrote down is found (`timmy refunds retry`).
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        wallet: WalletSteps,
        runs: Runs,
        publisher: Publisher,
        clock: Clock,
        payees: Payees,
        nodes: Nodes,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._store = store
        self._look_every_s = look_every_s
        self._engine = engine
        self._wallet = wallet
        self._runs = runs
        self._publisher = publisher
        self._clock = clock
        self._payees = payees
        self._nodes = nodes
        self._outbox = Outbox(store, clock, self._perform, slow={RunAgent.__name__})
        self._fresh: dict[str, NewEvent] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        engine.listen(self._applied)

    async def run(self) -> None:
        """Go on with the outbox, then perform what each commit adds, until cancelled; see :class:`Outbox`."""
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look_for_others())
            await self._outbox.run()
            looking.cancel()

    async def _look_for_others(self) -> None:
        """What another process wrote down (`timmy refunds retry`) is found here, for nobody tells us of it."""
        while True:
            await self._clock.sleep(self._look_every_s)
            self._outbox.look_again()

    async def idle(self) -> None:
        """Wait until nothing is being performed; what is delayed does not count."""
        await self._outbox.idle()

    def _applied(self, applied: Applied) -> None:
        for event in applied.change.events:
            if self._outbox.has_room and event.due_at is None:
                self._fresh[event.id] = event
        for action in applied.actions:
            self._outbox.add(action)

    async def _perform(self, action: PendingAction, recovered: bool) -> None:
        """One action to its outcome. The wallet, the relays or the disk being away only postpones it."""
        try:
            async with self._places_for(action):
                await self._do(action, recovered=recovered)
        except (LightningError, Contended, StoreUnavailable) as error:
            log.warning("an action has to wait", action="postponed", what=action.kind, error=str(error))
            await self._again_later(action)
        except Exception:  # a fault of ours in one action must not stop all others; it stays in the outbox
            job = (action.job_id or "")[:SHORT_ID]
            log.exception("an action broke", action="action_broke", what=action.kind, job=job)
            await self._again_later(action)

    def _places_for(self, action: PendingAction) -> contextlib.AbstractAsyncContextManager[None]:
        """Runs, payouts, nodes and what strangers are asked have their own places: others need not wait for them.

        An event takes one only while it is offered to our relays (`_publish`).
        """
        return contextlib.nullcontext() if action.kind in _WITH_PLACES_OF_THEIR_OWN else self._places

    async def _do(self, action: PendingAction, *, recovered: bool) -> None:
        if action.kind == PUBLISH:
            await self._publish(action)
            return
        body = _decode(action.body)
        interrupted = recovered and action.started
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
            case AskForInvoice():
                await self._payees.ask(action.id, body)
            case RetryRefund() | CloseIdleSession():
                await self._engine.handle(_time_is_over(body, int(self._clock.now())), done=action.id)
            case ProvisionNode():
                await self._nodes.provision(action.id, body, interrupted=interrupted)
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
        try:
            await self._store.postpone(action.id, int(self._clock.now()) + pause)
        except StoreUnavailable as error:
            # The outbox row is there all the same; only its count of tries is behind.
            log.warning("could not note a postponed action", action="postpone_unsaved", error=str(error))
        self._outbox.later(_tried(action), pause)

    async def _publish(self, action: PendingAction) -> None:
        event = self._fresh.pop(action.body, None) or await self._store.event(action.body)
        if event is None:
            await self._store.finish(action.id)
            return
        further = self._publisher.publish_further(event.json, event.targets)
        try:
            async with self._places:
                outcomes = await self._publisher.publish(event.json, event.targets)
            if further is not None:
                if ACCEPTED in outcomes.values():
                    # Said at once; the row stays a while, so that who dies now tries the customer's relays again.
                    now = int(self._clock.now())
                    await self._store.delivered(action.id, event.id, outcomes, now, now + _FURTHER_S)
                outcomes = {**outcomes, **await further}
        finally:
            if further is not None:
                further.cancel()
        await self._offered(action, event, outcomes)

    async def _offered(self, action: PendingAction, event: NewEvent, outcomes: Mapping[str, str]) -> None:
        """Note what became of an event at all its relays; one that took it is enough, whosever it is."""
        now = int(self._clock.now())
        if ACCEPTED in outcomes.values() or action.attempts + 1 >= _OFFERS:
            await self._store.delivered(action.id, event.id, outcomes, now, None)
            return
        pause = pause_s(action.attempts)
        log.warning("no relay took an event", action="unpublished", event_id=event.id, outcomes=dict(outcomes))
        await self._store.delivered(action.id, event.id, outcomes, now, now + pause)
        self._outbox.later(_tried(action), pause)


def _time_is_over(body: RetryRefund | CloseIdleSession, at: int) -> RefundDue | SessionIdle:
    """The fact that an action is which only waits for its moment."""
    if isinstance(body, RetryRefund):
        return RefundDue(refund_id=body.refund_id, attempts=body.attempts, at=at)
    return SessionIdle(session_id=body.session_id, due_at=body.due_at, at=at)


def pause_s(attempts: int) -> int:
    """Seconds before an action is tried again: 1, 2, 4 … up to an hour."""
    return int(min(_LONGEST_PAUSE_S, 2 ** min(attempts, 12)))


def _tried(action: PendingAction) -> PendingAction:
    return dataclasses.replace(action, attempts=action.attempts + 1, started=False)
