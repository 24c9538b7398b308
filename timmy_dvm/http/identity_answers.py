"""What ``/api/identity`` answers, as models for the port's description; see `answers`."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from timmy_dvm.http.answers import Answered, Hex64, Moment, Sats

Npub = Annotated[str, Field(pattern="^npub1[02-9ac-hj-np-z]{58}$")]
_Tier = Literal["new", "established", "trusted", "elite"]


class Challenge(Answered):
    """To be signed with the key that logs in."""

    challenge: str = Field(description="Goes into the event's `challenge` tag, or is its content.")
    expires_at: Moment


class LoggedIn(Answered):
    """A token for the key that signed."""

    nostr_token: str = Field(alias="nostr_token", description="Goes into X-Nostr-Token. A secret, for a day.")
    pubkey: Hex64
    npub: Npub
    expires_at: Moment


class Me(Answered):
    """How a key stands."""

    pubkey: Hex64
    npub: Npub
    trust_score: int = Field(alias="trust_score", ge=0, le=100)
    tier: _Tier
    interaction_count: int = Field(alias="interaction_count", ge=0)
    sats_absorbed_today: Sats = Field(alias="sats_absorbed_today", description="What the pool gave today.")
    daily_budget_sats: Sats = Field(alias="daily_budget_sats", description="What the pool may give in a day.")
    why: str = Field(description="What made the tier, and what the next one needs.")
    credit_sats: Sats


class Names(BaseModel):
    """Who has which name here (NIP-05)."""

    names: dict[str, str] = Field(description="By name, the public key in hex.")
    relays: dict[str, list[str]] = Field(description="By public key, where it is heard.")
