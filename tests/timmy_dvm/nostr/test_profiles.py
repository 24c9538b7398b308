"""Where a key says that it takes sats: its profile, on relays that are there, asked for once (NIP-01, NIP-57)."""

import json
import types

import pytest

from relay_client.connection import RelayState
from tests.timmy_dvm.nostr.kit import ALICE, NOW, signed
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.profiles import RelayProfiles, address_in
from timmy_dvm.payees import ProfilesUnknown

KEY = ALICE.public_key


class Relays:
    """What configured relays have; ``there`` is whether any is connected."""

    def __init__(self, *events, there=True):
        self.events, self.there, self.asked = list(events), there, []

    async def query(self, filters):
        self.asked.append(filters)
        return self.events

    def status(self):
        state = RelayState.CONNECTED if self.there else RelayState.WAITING
        return [types.SimpleNamespace(state=state)]


def profile(content, at=NOW):
    return signed(kind=0, content=content if isinstance(content, str) else json.dumps(content), at=at)


async def test_the_address_is_the_newest_profiles_and_is_asked_of_our_relays_by_key_and_kind():
    relays = Relays(profile({"lud16": "new@pay.example"}), profile({"lud16": "old@pay.example"}, at=NOW - 9))
    assert await RelayProfiles(relays, ManualClock()).lightning_address(KEY) == "new@pay.example"
    ((asked,),) = relays.asked
    assert (asked.authors, asked.kinds) == (frozenset({KEY}), frozenset({0}))


async def test_what_was_found_is_remembered_for_ten_minutes_and_so_is_that_there_is_nothing():
    for events, found in (((profile({"lud16": "a@pay.example"}),), "a@pay.example"), ((), None)):
        relays, clock = Relays(*events), ManualClock()
        profiles = RelayProfiles(relays, clock)
        assert [await profiles.lightning_address(KEY) for _ in range(3)] == [found] * 3
        assert len(relays.asked) == 1
        await clock.advance(601)
        await profiles.lightning_address(KEY)
        assert len(relays.asked) == 2


async def test_while_no_relay_is_there_nobody_knows_and_nothing_is_remembered():
    relays = Relays(profile({"lud16": "a@pay.example"}), there=False)
    profiles = RelayProfiles(relays, ManualClock())
    with pytest.raises(ProfilesUnknown):
        await profiles.lightning_address(KEY)
    assert relays.asked == []
    relays.there = True
    assert await profiles.lightning_address(KEY) == "a@pay.example"


async def test_a_flood_of_keys_is_not_remembered_without_bound():
    relays = Relays()
    profiles = RelayProfiles(relays, ManualClock())
    for number in range(1_500):
        await profiles.lightning_address(f"{number:064x}")
    assert len(profiles._known) == 1_000


@pytest.mark.parametrize(
    ("content", "address"),
    [
        ('{"lud16": " a@pay.example "}', "a@pay.example"),
        ('{"lud06": "LNURL1DP68"}', "LNURL1DP68"),
        ('{"lud16": "", "lud06": "LNURL1DP68"}', "LNURL1DP68"),
        ('{"lud16": 5, "lud06": null}', None),
        ('{"lud16": {"a": "b"}}', None),
        ('{"lud16": "' + "a" * 321 + '"}', None),
        ("{}", None),
        ("[]", None),
        ("", None),
        ("not json", None),
        ('{"lud16": "\\ud800"}', None),
        ("[" * 60_000, None),
        ('{"lud16": "a@pay.example", "about": "' + "x" * 65_536 + '"}', None),
    ],
    ids=range(13),
)
def test_whatever_a_profile_holds_it_names_an_address_or_none(content, address):
    assert address_in(content) == address
