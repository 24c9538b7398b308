"""Answers told while they are written: feedback `partial`, the text so far, as much of its beginning as fits.

At most ten a job, the first a moment after the first words, the next ones further and further apart, so that they
last for a long answer. They are spare: signed when they are sent, kept in no ledger, offered once and to the
configured relays only, dated to be dropped soon (NIP-40), and never sent after the end of their run. Whatever must
arrive goes first: a partial waits while the relays still have many events of ours to answer, all jobs share
`PARTIALS_A_SECOND`, and a relay that refuses one is spared for a while (`pauses`).

Only the first run of a job's work is told, so that ten are ten, and only to whoever asked with a job request:
who asked by a direct message or by HTTP is told otherwise.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from ledger.records import IdentityRecord, JobRecord, JobState
from ledger.store import StoreUnavailable, View
from relay_client.event import Event
from relay_client.keys import Keys
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.core import trust
from timmy_dvm.core.trust import TrustRules
from timmy_dvm.log import get_logger
from timmy_dvm.nostr.answering import Answer
from timmy_dvm.nostr.bucket import TokenBucket
from timmy_dvm.nostr.nip90 import is_request
from timmy_dvm.nostr.origin import read_origin
from timmy_dvm.partials import Partials, Stream

GAPS_S: Final = (0.5, 1, 1, 2, 4, 7, 12, 21, 36, 60)
"""Before each partial: after the first words, then after the partial before. The last one comes after 144.5 s of
the 180 that a run may last."""
PARTIALS_A_SECOND: Final = 4
"""Of all jobs together."""
PUT_OFF_S: Final = 1
_FIRST_RUN: Final = 1

T = TypeVar("T")
log = get_logger("nostr")


class Outlet(Protocol):
    """Where partials leave (`publishing.NostrPublisher`)."""

    @property
    def has_room(self) -> bool:
        """Whether an event that can be left out would be in nobody's way now."""

    async def publish_spare(self, event: Event) -> None:
        """Offer it once."""


class Books(Protocol):
    """What is read of the ledger (`ledger.store.Store`)."""

    async def look(self, at: Callable[[View], T]) -> T:
        """Have `at` look at one snapshot of the books."""


class PartialFeedback:
    """Tells customers on relays what is being written for them.

    Args:
        partials: what is being written.
        outlet: how partials leave.
        books: whom to tell.
        keys: Timmy's.
        clock, randomness: time, signatures and encryption.
        rules: by which a key's tier is told.
    """

    def __init__(
        self,
        partials: Partials,
        outlet: Outlet,
        books: Books,
        keys: Keys,
        clock: Clock,
        randomness: Randomness,
        rules: TrustRules,
    ) -> None:
        self._partials = partials
        self._outlet = outlet
        self._books = books
        self._keys = keys
        self._clock = clock
        self._randomness = randomness
        self._rules = rules
        self._left = TokenBucket(PARTIALS_A_SECOND, clock)

    async def run(self) -> None:
        """Listen until cancelled. There is a task for each answer being written, and one for each partial sent."""
        async with asyncio.TaskGroup() as group:
            with self._partials.listening(lambda stream: _start(group, self._tell(group, stream))):
                await asyncio.Event().wait()

    async def _tell(self, group: asyncio.TaskGroup, stream: Stream) -> None:
        if await stream.newer(0) is None:
            return
        told = 0
        for gap in GAPS_S:
            await self._clock.sleep(gap)
            version = await self._turn(stream, told)
            # Asked anew each time: the job may have ended otherwise, its texts may be forgotten.
            answer = None if version is None else await self._answer(stream.job_id)
            if version is None or answer is None or stream.has_ended:
                return
            text, told = stream.text, version
            beginning = answer.beginning(text)
            partial = answer.partial(beginning)
            _start(group, self._outlet.publish_spare(Event.from_wire(partial.json)))
            if len(beginning) < len(text):
                return  # no more fits

    async def _turn(self, stream: Stream, told: int) -> int | None:
        """Wait until there is more to tell and nothing against it; None when the run has ended."""
        while (version := await stream.newer(told)) is not None:
            if not stream.text.strip():
                told = version
            elif self._outlet.has_room and self._left.take():
                return version
            else:
                await self._clock.sleep(PUT_OFF_S)
        return None

    async def _answer(self, job_id: str) -> Answer | None:
        """Whom to answer and how; None for a job that is not told while it is written."""

        def look(view: View) -> tuple[JobRecord, str, IdentityRecord | None] | None:
            job = view.job(job_id)
            if job is None:
                return None
            return job, view.texts(job_id).origin, None if job.pubkey is None else view.identity(job.pubkey)

        seen = await self._books.look(look)
        if seen is None:
            return None
        job, origin, identity = seen
        if job.state is not JobState.EXECUTING or job.work_runs != _FIRST_RUN:
            return None
        came = read_origin(origin)
        if came is None or not is_request(came[1].kind):
            return None
        at = int(self._clock.now())
        return Answer(
            keys=self._keys,
            entropy=self._randomness.token,
            origin=came[0],
            request=came[1],
            job_id=job_id,
            tier=trust.Tier.NEW if identity is None else trust.tier(identity, at, self._rules),
            at=at,
        )


def _start(group: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
    group.create_task(_done(work))


async def _done(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except StoreUnavailable:
        pass
    except Exception:  # a partial can be left out; a fault in one must not end the bot
        log.exception("an answer could not be told while it is written", action="partial_broke")
