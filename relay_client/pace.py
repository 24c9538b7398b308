"""How long a relay is left in peace that says we are too fast.

Each complaint doubles the pause, each success halves the next one. What it says while it is left in peace is
about what was under way already, and counts as one complaint. Times are seconds of a monotonic clock. Pure.
"""

import re
from typing import Final

FIRST_PAUSE_S: Final = 5.0
MAX_PAUSE_S: Final = 300.0
_COMPLAINT: Final = re.compile(r"rate.?limit|too (?:many|fast|often)|slow down", re.IGNORECASE)


class Pace:
    """The pauses of one relay."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._until: float | None = None

    def too_fast(self, now: float, jitter: float) -> None:
        """The relay complained.

        Args:
            now: the time.
            jitter: from 0 up to 1; lengthens the pause by up to a quarter, so that not all come back at once.
        """
        if self.wait_s(now) > 0:
            return
        self._pause_s = min(MAX_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
        self._until = now + self._pause_s * (1 + jitter / 4)

    def went_well(self) -> None:
        """The relay took something."""
        self._pause_s /= 2

    def wait_s(self, now: float) -> float:
        """How long the pause still is; 0 when there is none."""
        return 0.0 if self._until is None else max(0.0, self._until - now)


def is_complaint(notice: str) -> bool:
    """Whether a NOTICE says that we are too fast: relays say it there too, in words of their own."""
    return _COMPLAINT.search(notice) is not None
