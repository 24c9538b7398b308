"""Who works in the Workshop, and at which bench a job lies. Pure."""

from dataclasses import dataclass
from typing import Final

from ledger.records import JobState
from timmy_dvm.core.transitions import AWAITING, RUNNING


@dataclass(frozen=True, slots=True)
class Person:
    """One of the five. ``id`` is what the first Timmy called them; ``trade`` is what they do, for people."""

    id: str
    name: str
    trade: str


ALPHA: Final = Person("alpha", "Alpha", "keeps the door: takes requests in from the relays and the web")
BETA: Final = Person("beta", "Beta", "keeps the till: writes invoices and hears the coins fall")
GAMMA: Final = Person("gamma", "Gamma", "thinks: judges every request and works on it")
DELTA: Final = Person("delta", "Delta", "keeps the books: settles to the last sat and gives back the change")
TIMMY: Final = Person("timmy", "Timmy", "the wizard whose workshop this is: hands over the answers")
PEOPLE: Final = (ALPHA, BETA, GAMMA, DELTA, TIMMY)


def bench_of(state: JobState) -> str | None:
    """The id of who has a job of this state; None once it has ended."""
    if state in AWAITING:
        return BETA.id
    return GAMMA.id if state in RUNNING else None
