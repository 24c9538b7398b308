"""A request event that somebody hands in, where others publish it to a relay: the same job, by the same rules.

Whoever hands it in waits for the outcome, so a refusal is told at once, and to them alone is an open request
addressed. Everything else goes over the desk, like what relays bring.
"""

import dataclasses
from dataclasses import dataclass
from typing import Final

from ledger.records import Applied
from ledger.store import Store
from relay_client.errors import InvalidEvent
from relay_client.event import Event
from relay_client.keys import Keys
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.core.actions import Refused
from timmy_dvm.engine import Engine
from timmy_dvm.nostr import as_facts, nip90
from timmy_dvm.nostr.cursors import LONGEST_LATE_S
from timmy_dvm.nostr.desk import Desk
from timmy_dvm.nostr.nip90 import Terms
from timmy_dvm.prices import PriceSource

_ELSEWHERE: Final = ""
"""The relay that an event came from, where none did."""


class NotTaken(Exception):
    """An event is none, proves nothing, asks nothing of us, or is refused.

    Attributes:
        refusal: the stable word, and the sentence that says what to do.
    """

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class _Came:
    """Handed in, proved."""

    event: Event
    url: str = _ELSEWHERE


class HandIn:
    """Takes events.

    Args:
        desk: deals with all that is no plain job.
        engine, store: the way in, and the ledger.
        keys: ours.
        clock, randomness: time, and fresh job ids.
        prices: the bitcoin price that goes with a request.
        terms: what the operator serves.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        engine: Engine,
        store: Store,
        keys: Keys,
        clock: Clock,
        randomness: Randomness,
        prices: PriceSource,
        terms: Terms,
    ) -> None:
        self._desk = desk
        self._engine = engine
        self._store = store
        self._keys = keys
        self._clock = clock
        self._randomness = randomness
        self._prices = prices
        self._terms = terms

    async def take(self, raw: bytes) -> str:
        """Deal with one event as a client would send it to a relay; returns its id. Safe to repeat.

        Raises:
            NotTaken: nothing came of it; the refusal says why.
            StoreUnavailable, Contended: nothing was written; it may be handed in again.
        """
        try:
            event = Event.from_wire(raw)
        except InvalidEvent as error:
            raise _not_taken("bad_event", f"{error} Send the event as its author signed it.") from None
        now = int(self._clock.now())
        asked = nip90.read(event, self._keys, now=now, not_before=now - LONGEST_LATE_S, terms=self._terms)
        came = _Came(event)
        match asked:
            case nip90.NotForUs():
                if await self._store.look(lambda view: view.job_of_event(event.id)) is None:
                    sentence = f"That event asks nothing of this service: {asked.why}. Hand in a request for it."
                    raise _not_taken("not_for_us", sentence)
            case nip90.Unreadable():
                raise _not_taken(asked.code, asked.sentence)
            case nip90.JobAsked() if asked.wanted is None:
                await self._ask(came, asked)
            case _:
                await self._desk.take(came, asked)
        return event.id

    async def _ask(self, came: _Came, asked: nip90.JobAsked) -> None:
        fact = as_facts.request(
            came,
            dataclasses.replace(asked, addressed=True),
            job_id=self._randomness.new_id(),
            btc=self._prices.current(),
            at=int(self._clock.now()),
        )
        outcome, messages = await self._engine.ask(fact)
        if not isinstance(outcome, Applied) or outcome.change.new_job is not None:
            return
        for message in messages:
            if isinstance(message, Refused):
                raise NotTaken(message)


def _not_taken(code: str, sentence: str) -> NotTaken:
    return NotTaken(Refused(code=code, sentence=sentence))
