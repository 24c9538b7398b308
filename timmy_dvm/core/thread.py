"""What of a thread goes with a request that follows it: the newest turns that fit. Pure.

A thread is read anew for each run, so what is priced and what is sent are bounded here, by numbers that no
restart changes: the same turns in, the same turns out.
"""

from collections.abc import Sequence
from typing import Final

from ledger.records import Turn

MAX_TURNS: Final = 8
MAX_CHARS: Final = 24_000
"""Requests and answers of all turns together; what is older is left out, whole turns at a time."""
_MAX_ANSWER_CHARS: Final = 12_000
"""Of the newest turn, which always goes with the request; its request is cut to what is left."""
CUT: Final = "\n[… cut …]\n"


def bounded(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The newest of these turns that fit, oldest first. The newest one is cut where it would not fit alone."""
    kept: list[Turn] = []
    room = MAX_CHARS
    for turn in reversed(turns[-MAX_TURNS:]):
        whole = turn if kept else _cut(turn)
        room -= len(whole.request) + len(whole.answer)
        if room < 0:
            break
        kept.append(whole)
    return tuple(reversed(kept))


def _cut(turn: Turn) -> Turn:
    if len(turn.request) + len(turn.answer) <= MAX_CHARS:
        return turn
    answer = _middle_out(turn.answer, max(_MAX_ANSWER_CHARS, MAX_CHARS - len(turn.request)))
    return Turn(_middle_out(turn.request, MAX_CHARS - len(answer)), answer)


def _middle_out(text: str, size: int) -> str:
    """A text of at most `size` characters: its beginning and its end, where it is longer."""
    if len(text) <= size:
        return text
    half = (size - len(CUT)) // 2
    return f"{text[:half]}{CUT}{text[-half:]}"
