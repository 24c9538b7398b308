"""Keys that are read and checked, but have no effect in this version. Whoever sets one is told."""

from collections.abc import Iterable
from typing import Final

NOT_YET: Final = (
    "free_tier.daily_budget_sats.",
    "free_tier.demo_sats_per_day",
    "free_tier.history_share_percent",
    "free_tier.newcomer_",
    "http.admin_token",
    "http.cors_origins",
    "http.token_secret",
    "http.trusted_proxies",
    "lightning.cln.",
    "lightning.lnd.",
    "lightning.nwc.",
    "lightning.phoenixd.",
    "limits.chat_per_minute",
    "limits.demo_per_address_hour",
    "limits.model_usd_per_day",
    "limits.open_jobs_per_address",
    "limits.session_",
    "nostr.owner_pubkey",
    "pricing.price_",
    "trust.",
)
"""Keys, or how their names begin."""


def has_no_effect(name: str) -> bool:
    """Whether a key, ``limits.model_usd_per_day``, is one of them."""
    return name.startswith(NOT_YET)


def notes(origins: Iterable[str]) -> tuple[str, ...]:
    """A note for each such key that was set."""
    return tuple(f"{name} has no effect in this version yet" for name in sorted(origins) if has_no_effect(name))
