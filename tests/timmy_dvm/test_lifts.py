"""Who speaks for new keys is who the operator named."""

import pytest

from relay_client.dial import Outside
from relay_client.keys import Keys
from tests.timmy_dvm.test_building import CLOCK, NOTHING, configured
from timmy_dvm.building import owner_of
from timmy_dvm.config import ConfigError
from timmy_dvm.core.trust import Tier
from timmy_dvm.lifts import follows_of, lift_of, ranks_of


def test_whom_the_owner_follows_is_lifted_only_where_the_owner_says_so(tmp_path):
    owner = Keys.from_bytes(b"\x05" * 32)
    for named in (owner.npub, owner.public_key):
        config = configured(tmp_path, nostr__owner_pubkey=named)
        assert owner_of(config) == owner.public_key
        assert follows_of(config, NOTHING, NOTHING, CLOCK) is None
        lifting = configured(tmp_path, nostr__owner_pubkey=named, trust__follows_tier="trusted")
        assert follows_of(lifting, NOTHING, NOTHING, CLOCK) is not None
    assert owner_of(configured(tmp_path)) is None
    misspelt = owner.npub[:-1] + ("q" if owner.npub[-1] != "q" else "p")
    with pytest.raises(ConfigError, match=r"nostr\.owner_pubkey: "):
        owner_of(configured(tmp_path, nostr__owner_pubkey=misspelt))


def test_whose_ranks_count_is_said_by_the_owner(tmp_path):
    provider = Keys.from_bytes(b"\x05" * 32)
    assert ranks_of(configured(tmp_path, trust__rank_elite="90"), CLOCK, Outside()) is None
    for named in (provider.npub, provider.public_key):
        lifting = {"trust__rank_providers": f"{named} wss://a.example", "trust__rank_elite": "90"}
        assert ranks_of(configured(tmp_path, **lifting), CLOCK, Outside()) is not None
    lifting["trust__rank_providers"] = f"{'f' * 64} wss://a.example"
    with pytest.raises(ConfigError, match=r"trust\.rank_providers: "):
        ranks_of(configured(tmp_path, **lifting), CLOCK, Outside())


def test_who_lifts_a_key_highest_is_heard():
    class Speaks:
        def __init__(self, tier):
            self.lift = {"a": tier}.get

    assert lift_of(None, None) is None
    for tiers in (
        (Tier.ESTABLISHED, Tier.ELITE),
        (Tier.ELITE, Tier.ESTABLISHED),
        (None, Tier.ELITE),
        (Tier.ELITE,),
    ):
        lift = lift_of(None, *map(Speaks, tiers))
        assert (lift("a"), lift("b")) == (Tier.ELITE, None)
