"""Prices, the free tier, trust and limits: the numbers Timmy decides by. Each class is one table of the file."""

from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import model_validator

from timmy_dvm.config.fields import Dollars, KeyHelp, Providers, Table, WebUrls, key

_MICRO_USD_PER_USD = 1_000_000
_SATS = KeyHelp(unit="sats")
_TOKENS = KeyHelp(unit="tokens")
_CHARS = KeyHelp(unit="characters")
_PERCENT = KeyHelp(unit="percent")
_POINTS = KeyHelp(unit="points")
_BIG = 1_000_000_000


def _rate(usd: int, what: str) -> Any:
    return key(Decimal(usd), f"Price of a million {what} tokens.", KeyHelp(unit="US dollars"), ge=0, le=10_000)


class RateTable(Table):
    """What a family of models costs."""

    input_usd_per_million: Dollars = _rate(15, "input")
    output_usd_per_million: Dollars = _rate(75, "output")

    @property
    def input_micro_usd_per_million(self) -> int:
        """Exact: the file takes at most six decimals."""
        return int(self.input_usd_per_million * _MICRO_USD_PER_USD)

    @property
    def output_micro_usd_per_million(self) -> int:
        """Exact: the file takes at most six decimals."""
        return int(self.output_usd_per_million * _MICRO_USD_PER_USD)


class HaikuRate(RateTable):
    """Models with "haiku" in their name."""

    input_usd_per_million: Dollars = _rate(1, "input")
    output_usd_per_million: Dollars = _rate(5, "output")


class SonnetRate(RateTable):
    """Models with "sonnet" in their name."""

    input_usd_per_million: Dollars = _rate(3, "input")
    output_usd_per_million: Dollars = _rate(15, "output")


class OtherRate(RateTable):
    """All other models. Dear on purpose: a model nobody priced must not be sold below its cost."""


class RatesTable(Table):
    """Token prices by family of models."""

    haiku: HaikuRate = HaikuRate()
    sonnet: SonnetRate = SonnetRate()
    other: OtherRate = OtherRate()

    def for_model(self, model: str) -> RateTable:
        """The rate of a model, chosen by the family word in its name."""
        if "haiku" in model:
            return self.haiku
        return self.sonnet if "sonnet" in model else self.other


class PricingTable(Table):
    """What a job costs: (tokens at their rate + infrastructure) times (1 + margin), rounded up to a sat."""

    eval_fee_sats: int = key(2, "Fee for judging a request.", _SATS, ge=0, le=1_000_000)
    margin_percent: int = key(40, "Margin on top of the cost, applied once.", _PERCENT, ge=0, le=10_000)
    infra_micro_usd: int = key(
        500, "Each request's share of the machine.", KeyHelp(unit="millionths of a US dollar"), ge=0, le=_BIG
    )
    btc_usd_fallback: int = key(
        100_000,
        "Bitcoin price used when no source answers.",
        KeyHelp(unit="US dollars"),
        ge=1_000,
        le=10_000_000,
    )
    price_urls: WebUrls = key(
        (
            "https://api.coingecko.com/api/v3/simple/price?ids=bitcoin&vs_currencies=usd&include_last_updated_at=true",
            "https://mempool.space/api/v1/prices",
            "https://api.kraken.com/0/public/Ticker?pair=XBTUSD",
            "https://api.coinbase.com/v2/prices/BTC-USD/spot",
            "https://www.bitstamp.net/api/v2/ticker/btcusd/",
        ),
        "Where the Bitcoin price is asked: the first alone, the others when it fails. Empty: the fallback always.",
    )
    price_seconds: int = key(
        60, "How long a price is used before it is asked again.", KeyHelp(unit="seconds"), ge=1, le=3_600
    )
    http_invoice_minutes: int = key(
        10, "Life of an invoice made over HTTP.", KeyHelp(unit="minutes"), ge=1, le=1_440
    )
    relay_invoice_minutes: int = key(
        60, "Life of an invoice sent over relays.", KeyHelp(unit="minutes"), ge=1, le=1_440
    )
    short_chars: int = key(80, "Longest request that counts as short.", _CHARS, ge=1, le=1_000_000)
    medium_chars: int = key(240, "Longest request that counts as medium.", _CHARS, ge=1, le=1_000_000)
    short_output_tokens: int = key(400, "Longest answer to a short request.", _TOKENS, ge=1, le=1_000_000)
    medium_output_tokens: int = key(800, "Longest answer to a medium request.", _TOKENS, ge=1, le=1_000_000)
    long_output_tokens: int = key(1_600, "Longest answer to any other request.", _TOKENS, ge=1, le=1_000_000)
    rates: RatesTable = RatesTable()

    @model_validator(mode="after")
    def _tiers_rise(self) -> Self:
        if self.short_chars >= self.medium_chars:
            raise ValueError("short_chars must be below medium_chars")
        if not self.short_output_tokens <= self.medium_output_tokens <= self.long_output_tokens:
            raise ValueError("short_, medium_ and long_output_tokens must not fall")
        return self


class DailyBudgetTable(Table):
    """Free sats for each public key and UTC day, by tier of trust."""

    new: int = key(0, "For keys without history.", _SATS, ge=0, le=_BIG)
    established: int = key(50, "For established keys.", _SATS, ge=0, le=_BIG)
    trusted: int = key(200, "For trusted keys.", _SATS, ge=0, le=_BIG)
    elite: int = key(1_000, "For elite keys.", _SATS, ge=0, le=_BIG)


class FreeTierTable(Table):
    """The generosity pool and who may draw on it."""

    pool_start_sats: int = key(
        10_000, "What the pool holds at the very first start; never added again.", _SATS, ge=0, le=_BIG
    )
    credit_percent: int = key(10, "Share of the work fees kept that goes to the pool.", _PERCENT, ge=0, le=100)
    lifetime_factor: int = key(
        0,
        "Most that the pool ever gives a key, as a multiple of what its paid jobs left Timmy (the pool's share "
        "taken off). A newcomer's one answer is beside it. 0 = no such bound.",
        KeyHelp(unit="times"),
        ge=0,
        le=1_000_000,
    )
    demo_sats_per_day: int = key(
        100, "Free answers outside the pool (/api/demo, chat), for all together.", _SATS, ge=0, le=_BIG
    )
    newcomer_allowance: bool = key(False, "Give each new key one free answer, within the two limits below.")
    newcomer_max_sats: int = key(20, "Dearest answer a newcomer gets free.", _SATS, ge=0, le=_BIG)
    newcomer_sats_per_day: int = key(150, "For all newcomers of a UTC day together.", _SATS, ge=0, le=_BIG)
    history_share_percent: int = key(
        50, "Share of the pool that newcomers never touch, kept for keys with history.", _PERCENT, ge=0, le=100
    )
    daily_budget_sats: DailyBudgetTable = DailyBudgetTable()


def _rank(tier: str, example: int) -> Any:
    meaning = f"Rank (at most 100) from which the pool treats a key as {tier}. Left out: no rank lifts so high."
    return key(None, meaning, KeyHelp(example=example), ge=1, le=100)


class TrustTable(Table):
    """How a public key earns trust, a score from 0 to 100, and loses it."""

    established: int = key(10, "Score from which a key is established.", _POINTS, ge=1, le=100)
    trusted: int = key(50, "Score from which a key is trusted.", _POINTS, ge=1, le=100)
    elite: int = key(80, "Score from which a key is elite.", _POINTS, ge=1, le=100)
    paid_points: int = key(1, "Gained by a paid success.", _POINTS, ge=0, le=100)
    large_paid_points: int = key(2, "Gained by a large paid success.", _POINTS, ge=0, le=100)
    large_paid_sats: int = key(100, "From what price a paid success counts as large.", _SATS, ge=1, le=_BIG)
    rejected_points: int = key(5, "Lost by a rejected request.", _POINTS, ge=0, le=100)
    failed_points: int = key(1, "Lost by a failed job.", _POINTS, ge=0, le=100)
    decay_after_days: int = key(
        30, "Absence after which the score begins to fall.", KeyHelp(unit="days"), ge=1, le=36_500
    )
    decay_points_per_day: int = key(1, "How fast it falls then.", KeyHelp(unit="points a day"), ge=0, le=100)

    follows_tier: Literal["established", "trusted", "elite"] | None = key(
        None,
        "Tier that the pool treats keys as which nostr.owner_pubkey follows (kind 3, asked once a day), where "
        "their own is lower: for its budget of the day, and nothing else. Left out: their own counts.",
        KeyHelp(example="established"),
    )
    rank_providers: Providers = key(
        (),
        "Whose ranks of keys count (NIP-85, kind 30382): for each a public key, a space and the relay it "
        "publishes on, at most 3. A key may be lifted as with follows_tier, once it is looked up: from its second "
        "request on. Of several ranks the lowest counts. Those relays see which keys ask. Empty: none counts.",
        KeyHelp(example=["npub1… wss://relay.example"]),
    )
    rank_established: int | None = _rank("established", 50)
    rank_trusted: int | None = _rank("trusted", 75)
    rank_elite: int | None = _rank("elite", 90)

    @model_validator(mode="after")
    def _tiers_rise(self) -> Self:
        if not self.established < self.trusted < self.elite:
            raise ValueError("established, trusted and elite must rise")
        ranks = [rank for rank, _ in self.rank_tiers]
        if ranks != sorted(set(ranks)):
            raise ValueError("rank_established, rank_trusted and rank_elite must rise")
        return self

    @property
    def rank_tiers(self) -> tuple[tuple[int, str], ...]:
        """The tiers that ranks lift to, the lowest first, with the rank each begins at."""
        named = (
            ("established", self.rank_established),
            ("trusted", self.rank_trusted),
            ("elite", self.rank_elite),
        )
        return tuple((rank, tier) for tier, rank in named if rank is not None)


class LimitsTable(Table):
    """What Timmy refuses, so that nobody can drown it. Paid jobs are never refused for load: they queue."""

    request_chars: int = key(500, "Longest request over HTTP, in sessions and chat.", _CHARS, ge=1, le=1_000_000)
    relay_request_chars: int = key(16_000, "Longest request over relays.", _CHARS, ge=1, le=1_000_000)
    open_jobs_per_key: int = key(3, "Unpaid jobs a public key may have open.", ge=1, le=_BIG)
    jobs_per_key_minute: int = key(20, "Jobs a public key may ask for in a minute.", ge=1, le=_BIG)
    open_jobs_per_address: int = key(20, "Unpaid jobs an IP address may have open.", ge=1, le=_BIG)
    open_invoices: int = key(
        1_000, "Open invoices in all; half are kept for keys that paid before.", ge=2, le=_BIG
    )
    open_donations: int = key(
        100, "Unpaid gifts to the pool in all, beside those invoices; an IP address may have 5.", ge=1, le=_BIG
    )
    in_flight: int = key(
        50,
        "Jobs worked on at the same time; others wait. Half are kept for keys that paid before, and no key takes "
        "more than half.",
        ge=1,
        le=10_000,
    )
    error_answers_per_second: int = key(
        20,
        "Refusals sent over relays each second; beyond that a refused job hears of it later, other errors not.",
        ge=1,
        le=10_000,
    )
    model_usd_per_day: Dollars = key(
        Decimal(5),
        "Spending on the model in a UTC day after which nothing unpaid begins: no free answers, no new prices. "
        "What is paid, or covered by credit, runs. 0 = no such bound; the offline agent costs nothing.",
        KeyHelp(unit="US dollars"),
        ge=0,
        le=1_000_000,
    )
    topup_max_sats: int = key(1_000_000, "Largest top-up of a public key's balance.", _SATS, ge=1, le=_BIG)
    demo_per_address_hour: int = key(5, "Free answers of /api/demo for an IP address and hour.", ge=0, le=_BIG)
    chat_per_minute: int = key(
        3, "Chat replies for a visitor and minute, and replies to a key's mentions.", ge=0, le=_BIG
    )
    session_min_sats: int = key(100, "Smallest deposit of a session.", _SATS, ge=1, le=_BIG)
    session_max_sats: int = key(1_000_000, "Largest deposit of a session.", _SATS, ge=1, le=_BIG)
    session_idle_days: int = key(
        30, "After this a session is closed and its rest owed back.", KeyHelp(unit="days"), ge=1, le=36_500
    )
    refund_fee_sats: int = key(3, "Most that Timmy pays to send one refund.", _SATS, ge=0, le=_BIG)
    refund_fees_per_day_sats: int = key(
        200, "Most that Timmy pays in a UTC day to send refunds.", _SATS, ge=0, le=_BIG
    )
    body_bytes: int = key(65_536, "Largest HTTP body.", KeyHelp(unit="bytes"), ge=1_024, le=16_777_216)
    header_bytes: int = key(
        8_192, "Largest HTTP head, and the longest address.", KeyHelp(unit="bytes"), ge=1_024, le=1_048_576
    )
    read_seconds: int = key(
        10, "How long an HTTP client may take to send a request.", KeyHelp(unit="seconds"), ge=1, le=600
    )
    connections: int = key(
        100,
        "HTTP connections in all; half of them at most watch the Workshop, three tenths follow jobs.",
        ge=1,
        le=65_535,
    )
    connections_per_address: int = key(
        10,
        "HTTP connections from one IP address (IPv6: one /48); of one behind a trusted proxy, requests at once.",
        ge=1,
        le=65_535,
    )

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        if self.session_min_sats > self.session_max_sats:
            raise ValueError("session_min_sats must not be above session_max_sats")
        return self

    @property
    def model_micro_usd_per_day(self) -> int:
        """`model_usd_per_day` in millionths of a dollar, exact."""
        return int(self.model_usd_per_day * _MICRO_USD_PER_USD)
