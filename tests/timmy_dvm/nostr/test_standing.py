"""A key's tier is told as it stands now, and never stands in the way of what is said with it."""

import types

import pytest

from ledger.records import IdentityRecord
from ledger.store import StoreUnavailable
from tests.timmy_dvm.nostr.kit import ALICE, NOW
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.trust import Tier, TrustRules
from timmy_dvm.nostr.standing import Standing

DAY = 86_400


class Books:
    """Knows one identity, or none; or can't be read."""

    def __init__(self, identity=None, error=None):
        self._identity, self._error = identity, error

    async def look(self, at):
        if self._error is not None:
            raise self._error
        return at(types.SimpleNamespace(identity=lambda key: self._identity if key == ALICE.public_key else None))


def of_score(score, absent_days=0):
    seen = NOW - absent_days * DAY
    return IdentityRecord(pubkey=ALICE.public_key, trust_score=score, first_seen=0, last_seen=seen)


@pytest.mark.parametrize(
    ("books", "tier"),
    [
        (Books(of_score(80)), Tier.ELITE),
        (Books(of_score(80, absent_days=40)), Tier.TRUSTED),
        (Books(), Tier.NEW),
        (Books(error=StoreUnavailable("away")), Tier.NEW),
    ],
    ids=["known", "long absent", "unknown", "unreadable"],
)
async def test_a_tier_is_the_keys_own_of_this_moment_and_the_lowest_where_none_is_known(books, tier):
    standing = Standing(books, TrustRules(), ManualClock(NOW))
    assert await standing.tier(ALICE.public_key) is tier
