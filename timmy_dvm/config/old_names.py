"""The environment names the first Timmy used, and what each of them sets today.

They override the file and are overridden by the `TIMMY_SECTION__KEY` names. A number that does not parse is
skipped with a note (the first Timmy fell back too); any other bad value is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class OldName:
    """One old variable."""

    key: str | None
    """The key it sets; None: it belongs to a part that is not built, and is accepted without effect."""
    note: str = ""
    """Why it has no effect."""


_NO_NODES = "this version sets up no real nodes"

OLD_NAMES: Final[Mapping[str, OldName]] = {
    "LNBITS_URL": OldName("lightning.lnbits.url"),
    "LNBITS_API_KEY": OldName("lightning.lnbits.key"),
    "ANTHROPIC_API_KEY": OldName("agent.anthropic.api_key"),
    "EVAL_MODEL": OldName("agent.anthropic.eval_model"),
    "WORK_MODEL": OldName("agent.anthropic.work_model"),
    "BTC_PRICE_USD_FALLBACK": OldName("pricing.btc_usd_fallback"),
    "POOL_CREDIT_PCT": OldName("free_tier.credit_percent"),
    "FREE_TIER_BUDGET_NEW": OldName("free_tier.daily_budget_sats.new"),
    "FREE_TIER_BUDGET_ESTABLISHED": OldName("free_tier.daily_budget_sats.established"),
    "FREE_TIER_BUDGET_TRUSTED": OldName("free_tier.daily_budget_sats.trusted"),
    "FREE_TIER_BUDGET_ELITE": OldName("free_tier.daily_budget_sats.elite"),
    "TIMMY_NSEC": OldName("nostr.secret_key"),
    "TIMMY_RELAYS": OldName("nostr.relays"),
    "TIMMY_JOB_KIND": OldName("nostr.kinds"),
    "TIMMY_OWNER_PUBKEY": OldName("nostr.owner_pubkey"),
    "TIMMY_HTTP_HOST": OldName("http.host"),
    "TIMMY_HTTP_PORT": OldName("http.port"),
    "TIMMY_PUBLIC_URL": OldName("http.public_url"),
    "TIMMY_TOKEN_SECRET": OldName("http.token_secret"),
    "TIMMY_DB": OldName("ledger.url"),
    "TIMMY_DEV": OldName("dev.pay_route"),
    "BOOTSTRAP_FEE_SATS": OldName("bootstrap.fee_sats"),
    "DO_API_TOKEN": OldName("bootstrap.do_api_token"),
    "DO_REGION": OldName(None, _NO_NODES),
    "DO_SIZE": OldName(None, _NO_NODES),
    "DO_VOLUME_SIZE_GB": OldName(None, _NO_NODES),
    "TAILSCALE_API_KEY": OldName(None, _NO_NODES),
    "TAILSCALE_AUTH_KEY": OldName(None, _NO_NODES),
    "TAILSCALE_TAILNET": OldName(None, _NO_NODES),
}

# Not read at all, by design: NOSTR_SECRET_KEY and NWC_URL are the user's own, for `timmy ask`.
