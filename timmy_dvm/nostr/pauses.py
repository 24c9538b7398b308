"""Which configured relays want less of us just now: those that said `rate-limited` (NIP-01), of any event.

It holds back only what can be left out (partial answers). What must arrive is offered again by the outbox.
"""

from dataclasses import dataclass
from typing import Final

from relay_client.dial import PublishOutcome, PublishState
from relay_client.wire import Prefix
from timmy_dvm.clock import Clock

FIRST_PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 600.0
"""Each refusal doubles the pause; an hour without one forgives."""
_FORGIVEN_AFTER_S: Final = 3_600.0


@dataclass(slots=True)
class _Pause:
    length_s: float
    began_at: float


class Pauses:
    """How long each relay is to be spared.

    Args:
        clock: its monotonic time ends a pause.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pauses: dict[str, _Pause] = {}

    def hear(self, url: str, outcome: PublishOutcome, *, is_spare: bool = False) -> None:
        """Note what a configured relay said of an event.

        Args:
            url: the relay.
            outcome: what it said.
            is_spare: the event was one that can be left out: any refusal of it begins a pause.
        """
        limited = outcome.prefix is Prefix.RATE_LIMITED and not outcome.is_accepted
        refused = is_spare and outcome.state in (PublishState.REFUSED, PublishState.NO_ANSWER)
        if limited or refused:
            self._begin(url)

    def is_over(self, url: str) -> bool:
        """Whether the relay may have what can be left out."""
        pause = self._pauses.get(url)
        return pause is None or self._clock.monotonic() >= pause.began_at + pause.length_s

    def _begin(self, url: str) -> None:
        now = self._clock.monotonic()
        last = self._pauses.get(url)
        if last is not None and not self.is_over(url):
            return  # what was under way when the pause began says nothing new
        length = FIRST_PAUSE_S
        if last is not None and now < last.began_at + last.length_s + _FORGIVEN_AFTER_S:
            length = min(LONGEST_PAUSE_S, 2 * last.length_s)
        self._pauses[url] = _Pause(length, now)
