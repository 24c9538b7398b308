"""From the configuration to who speaks for keys that are new here: whom the operator follows, and whom a provider
of ranks ranks (NIP-85). Used by ``app`` alone, beside ``building``.
"""

from relay_client.dial import Outside
from relay_client.errors import InvalidKey, InvalidRelayUrl
from relay_client.keys import parse_public_key
from relay_client.pool import RelayPool
from relay_client.strangers import as_it_says
from relay_client.wire import parse_relay_url
from timmy_dvm.building import owner_of
from timmy_dvm.clock import Clock
from timmy_dvm.config import Config, ConfigError
from timmy_dvm.core.trust import Tier, highest
from timmy_dvm.engine import Lift
from timmy_dvm.nostr.cursors import Memory
from timmy_dvm.nostr.follows import Follows, Relays
from timmy_dvm.nostr.ranks import Provider, Ranks


def follows_of(config: Config, relays: Relays, memory: Memory, clock: Clock) -> Follows | None:
    """Whom the owner follows, where that lifts anybody."""
    tier, owner = config.trust.follows_tier, owner_of(config)
    if tier is None or owner is None:
        return None
    return Follows(relays, memory, clock, owner=owner, tier=Tier(tier))


def ranks_of(config: Config, clock: Clock, outside: Outside) -> Ranks | None:
    """Whose ranks lift keys, where the operator named anybody.

    Raises:
        ConfigError: a key or a relay of theirs is misspelt.
    """
    named = (text.split(" ") for text in config.trust.rank_providers)
    try:
        providers = [Provider(parse_public_key(pubkey), parse_relay_url(relay)) for pubkey, relay in named]
    except (InvalidKey, InvalidRelayUrl) as error:
        raise ConfigError(f"trust.rank_providers: {error}") from None
    if not providers:
        return None
    # Relays of the operator's choice: dialled for one question, wherever they are, and hung up on.
    relays = RelayPool((), outside=outside, dialler=as_it_says)
    tiers = {rank: Tier(tier) for rank, tier in config.trust.rank_tiers}
    return Ranks(relays, clock, providers=providers, tiers=tiers)


def lift_of(*speakers: Follows | Ranks | None) -> Lift | None:
    """The highest tier that any of those speaks for; None where there are none."""
    lifts = [speaker.lift for speaker in speakers if speaker is not None]
    return (lambda pubkey: highest(lift(pubkey) for lift in lifts)) if lifts else None
