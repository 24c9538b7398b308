"""How many unpaid jobs one address may have. Kept in memory: a restart forgives."""

from ledger.bootstrap import BootstrapState
from ledger.records import Applied
from timmy_dvm.core.transitions import AWAITING
from timmy_dvm.http.faults import Fault


class OpenPlaces:
    """Counts jobs and orders of nodes that wait for payment, and deposits of sessions, by who asked for them.

    Args:
        per_address: how many one address may have at once.
        what: what they are, in the plural, for who is refused.
    """

    def __init__(self, per_address: int, what: str = "requests") -> None:
        self._per_address = per_address
        self._what = what
        self._of_address: dict[str, set[str]] = {}
        self._address_of: dict[str, str] = {}

    def take(self, address: str, job_id: str) -> None:
        """Count a job, before it is asked for, so that many at once don't all find the last place.

        Raises:
            Fault: 429, the address has too many.
        """
        jobs = self._of_address.setdefault(address, set())
        if job_id not in jobs and len(jobs) >= self._per_address:
            many = f"{len(jobs)} unpaid {self._what}"
            sentence = f"{many} wait from your address: pay one, or wait until one expires."
            raise Fault(429, "too_many_open", sentence, {"retryAfterSeconds": 60}, {"Retry-After": "60"})
        jobs.add(job_id)
        self._address_of[job_id] = address

    def leave(self, job_id: str) -> None:
        """The job waits for no payment, or was never made."""
        address = self._address_of.pop(job_id, None)
        if address is None:
            return
        jobs = self._of_address[address]
        jobs.discard(job_id)
        if not jobs:
            del self._of_address[address]

    def applied(self, applied: Applied) -> None:
        """A listener of the engine."""
        if applied.job is not None and applied.job.state not in AWAITING:
            self.leave(applied.job.id)
        order = applied.change.bootstrap
        if order is not None and order.state is not BootstrapState.AWAITING_PAYMENT:
            self.leave(order.id)
        for topup in applied.change.topups:
            if topup.ended_at is not None:
                self.leave(topup.id)
