"""How failures of the API are judged; the real ones are raised in `test_claude.py`, over the wire."""

import httpx2
import pytest

from timmy_dvm.agent.claude_errors import failure_of
from timmy_dvm.agent.runner import Unavailable


class OurBugError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        httpx2.RemoteProtocolError("cut"),
        httpx2.ReadTimeout("stalled"),
        ValueError("broken JSON"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no UTF-8"),
        RecursionError("deep nesting"),
        IndexError("text outside a block"),
        AttributeError("usage missing"),
    ],
)
def test_a_broken_stream_may_be_tried_again_and_counts_as_paid(error):
    failure = failure_of(error)
    assert (failure.kind, failure.again, failure.maybe_paid) == (Unavailable, True, True)
    assert failure.detail == type(error).__name__


@pytest.mark.parametrize("error", [OurBugError("ours"), MemoryError()])
def test_what_the_upstream_cannot_have_caused_is_raised_again(error):
    with pytest.raises(type(error)):
        failure_of(error)
