"""What the routes of the pool answer, and those of giving to it, as models for the port's description."""

from typing import Literal

from pydantic import BaseModel, Field

from timmy_dvm.http.answers import Answered, DailyBudgets, Hex64, Moment, Said, Sats, TierName


class PoolUse(Said):
    """What a tier drew today."""

    tier: TierName
    granted_sats: Sats
    reserved_sats: Sats
    jobs: int


class PoolGrant(Said):
    """One grant; no key and no job is named."""

    at: Moment
    tier: TierName
    granted_sats: Sats


class PoolEntry(Said):
    """One movement of the pool."""

    at: Moment
    code: str
    amount_msat: int


class PoolDonor(Said):
    """A gift to the pool; its giver asked to be named."""

    at: Moment
    npub: str
    amount_sats: Sats


class PoolBooks(Answered):
    """The pool's public books."""

    balance_sats: Sats
    reserved_sats: Sats
    in_sats: Sats
    out_sats: Sats
    daily_budgets: DailyBudgets
    today: list[PoolUse]
    grants: list[PoolGrant]
    entries: list[PoolEntry]
    donors: list[PoolDonor] = Field(description="The newest gifts of those who agreed to be named.")


class NoGift(BaseModel):
    """Why not, as LNURL spells it; it goes with HTTP's 200."""

    status: Literal["ERROR"]
    reason: str = Field(description="A sentence for people.")


class PayTermsTold(Said):
    """What is taken (LUD-06)."""

    tag: Literal["payRequest"]
    callback: str = Field(description="Where an invoice is asked for.")
    min_sendable: int = Field(description="In msat.")
    max_sendable: int = Field(description="In msat.")
    metadata: str = Field(description="To the byte what an invoice commits to.")
    comment_allowed: int = Field(description="The longest comment (LUD-12).")
    allows_nostr: Literal[True] = Field(description="Zaps are taken (NIP-57).")
    nostr_pubkey: Hex64 = Field(description="Who signs their receipts.")


class InvoiceSent(BaseModel):
    """The invoice (LUD-06)."""

    pr: str = Field(description="BOLT11.")
    routes: list[None] = Field(description="Always empty.")


PayRequest = PayTermsTold | NoGift
PaySent = InvoiceSent | NoGift


class NamedKeys(BaseModel):
    """Keys by name (NIP-05)."""

    names: dict[str, Hex64]
    relays: dict[str, list[str]]
