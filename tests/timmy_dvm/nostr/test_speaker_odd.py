"""Odd answers and long reasons: what is said of them can be published all the same."""

import pytest

from tests.timmy_dvm.nostr.kit import SCHEMES
from tests.timmy_dvm.nostr.test_speaker import LEDGER, REQUEST, bounded, encrypted, rejoined, say
from timmy_dvm.core.actions import Delivered, Ended
from timmy_dvm.nostr.privacy import Scheme


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("text", ["", "half \ud800 a pair", "\x00\x1b[31m"])
def test_odd_answers_can_be_published(scheme, text):
    done = Delivered(text=text, truncated=False, ledger=LEDGER, money_back="")
    _, events = say(done, REQUEST if scheme is Scheme.NONE else encrypted(scheme.value), scheme)
    assert rejoined(events, scheme).strip() == text.replace("\ud800", "?").strip()


def test_a_long_reason_does_not_make_a_long_status():
    _, (event,) = say(Ended(code="rejected", sentence="why\n" * 30_000, money_back=""))
    bounded([event])
    assert len(event.tag("status")[2]) <= 280
    assert "\n" not in event.tag("status")[2]
