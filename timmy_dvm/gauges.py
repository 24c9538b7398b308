"""What is counted while Timmy runs, and what is looked up when somebody asks: the numbers behind ``/metrics``.

Labels are words of ours and the configured relays; a customer's key, a job's id or a stranger's word is in none.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ledger.accounts import as_shown, family
from ledger.records import Applied, JobRecord
from ledger.store import Store, StoreUnavailable
from relay_client.pool import RelayPool
from timmy_dvm import __version__
from timmy_dvm.clock import Clock
from timmy_dvm.config.fields import mask_password
from timmy_dvm.core.transitions import AWAITING, ENDED, RUNNING
from timmy_dvm.http.metrics import Family, Sample
from timmy_dvm.payments import Payments
from timmy_dvm.solvency import Watchdog

MOST_JOBS: Final = 10_000
"""Of more open jobs the newest are counted."""
_RECENT: Final = 10_000


class Gauges:
    """Counts from its making on; :meth:`show` adds what stands in the ledger.

    Args:
        store, relays: ours.
        payments, watchdog: how the wallet is.
        clock: for when it began.
    """

    def __init__(
        self, store: Store, relays: RelayPool, payments: Payments, watchdog: Watchdog, clock: Clock
    ) -> None:
        self._store = store
        self._relays = relays
        self._payments = payments
        self._watchdog = watchdog
        self._began = int(clock.now())
        self._commits = 0
        self._incidents = 0
        self._asked: Counter[str] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._recent: set[str] = set()
        self._order: deque[str] = deque()

    def applied(self, applied: Applied) -> None:
        """A listener of the engine."""
        self._commits += 1
        job = applied.job
        if job is None:
            return
        if applied.change.new_job is not None:
            self._asked[str(job.door)] += 1
        if job.state in ENDED and self._ends_now(job):
            self._ended[str(job.door), str(job.state)] += 1

    def numbered(self, new_id: Callable[[], str]) -> Callable[[], str]:
        """``new_id`` as it numbers mistakes of ours, each counted."""

        def number() -> str:
            self._incidents += 1
            return new_id()

        return number

    async def show(self) -> Sequence[Family]:
        """All numbers as they are now; without a ledger those that need none."""
        try:
            in_ledger = await self._in_ledger()
        except StoreUnavailable:
            in_ledger = [_one("timmy_ledger_up", "Whether the ledger can be read.", 0)]
        return [*self._in_memory(), *in_ledger, *self._of_relays()]

    def _ends_now(self, job: JobRecord) -> bool:
        """A job's row is written again after its end, when money comes late or goes back: it ends once."""
        if job.id in self._recent or job.ended_at is None or job.ended_at < self._began:
            return False
        self._recent.add(job.id)
        self._order.append(job.id)
        if len(self._order) > _RECENT:
            self._recent.discard(self._order.popleft())
        return True

    def _in_memory(self) -> list[Family]:
        ended = [Sample(count, (("door", door), ("state", state))) for (door, state), count in self._ended.items()]
        return [
            Family("timmy_build_info", "gauge", "Which version runs.", [Sample(1, (("version", __version__),))]),
            _one("timmy_start_time_seconds", "When it began, Unix time.", self._began),
            _total("timmy_commits_total", "Facts that were written.", self._commits),
            _total("timmy_incidents_total", "Requests that ended in a mistake of ours.", self._incidents),
            Family("timmy_jobs_asked_total", "counter", "Jobs that were made.", _labelled("door", self._asked)),
            Family("timmy_jobs_ended_total", "counter", "Jobs that ended, by how.", ended),
            _one("timmy_wallet_up", "Whether our wallet's record can be read.", not self._payments.trouble),
            _one("timmy_wallet_covers_books", "Whether the wallet holds enough.", not self._watchdog.alarm()),
        ]

    async def _in_ledger(self) -> list[Family]:
        balances = await self._store.balances()
        invoices = await self._store.look(lambda view: view.open_invoices())
        jobs = await self._store.jobs(limit=MOST_JOBS, states=sorted(AWAITING | RUNNING))
        waiting = Counter(action.kind for action in await self._store.pending())
        counted = Counter((str(job.door), str(job.state)) for job in jobs)
        by_state = [Sample(n, (("door", door), ("state", state))) for (door, state), n in counted.items()]
        return [
            _one("timmy_ledger_up", "Whether the ledger can be read.", 1),
            Family("timmy_jobs_open", "gauge", "Jobs that have not ended.", by_state),
            Family("timmy_outbox_actions", "gauge", "What waits to be done.", _labelled("kind", waiting)),
            _one("timmy_invoices_open", "Invoices that can still be paid.", invoices),
            Family("timmy_money_msat", "gauge", "Balances, by kind of account.", _money(balances)),
        ]

    def _of_relays(self) -> list[Family]:
        relays = [(mask_password(relay.url), relay) for relay in self._relays.status()]

        def each(numbers: Iterable[float]) -> list[Sample]:
            return [Sample(number, (("relay", url),)) for (url, _), number in zip(relays, numbers, strict=True)]

        states = (int(relay.state.value == "connected") for _, relay in relays)
        return [
            Family("timmy_relay_connected", "gauge", "Whether it is connected.", each(states)),
            Family(
                "timmy_relay_reconnects_total",
                "counter",
                "How often it was connected again.",
                each(relay.reconnects for _, relay in relays),
            ),
            Family(
                "timmy_relay_accepted_total",
                "counter",
                "Events of ours that it took.",
                each(relay.accepted for _, relay in relays),
            ),
            Family(
                "timmy_relay_refused_total",
                "counter",
                "Events of ours that it refused.",
                each(relay.refused for _, relay in relays),
            ),
        ]


def _money(balances: Mapping[str, int]) -> list[Sample]:
    """Accounts that belong to somebody are shown together, for their names hold keys and ids."""
    sums: Counter[str] = Counter()
    for name, balance in balances.items():
        sums[family(name)] += as_shown(name, balance)
    return _labelled("account", sums)


def _labelled(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [Sample(count, ((label, name),)) for name, count in sorted(counts.items())]


def _one(name: str, meaning: str, value: float) -> Family:
    return Family(name, "gauge", meaning, [Sample(value)])


def _total(name: str, meaning: str, value: int) -> Family:
    return Family(name, "counter", meaning, [Sample(value)])
