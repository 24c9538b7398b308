"""Prices: from a text to sats, and from tokens used to sats charged. Pure, in integers.

Inside this file dollars are counted in pico-USD (10^-12), because a rate in micro-USD per million
tokens is then an exact integer per token. Nothing is rounded before the last step, which turns dollars
into sats and rounds up. The margin is applied here, once: whoever holds a total must not apply it again.

``estimate_request_cost`` is the one estimator. Relay, HTTP, sessions and ``/api/estimate`` call it, so
the same text has the same price at every door.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NewType, Self

from ledger.money import MicroUsd
from ledger.records import Turn

PicoUsd = NewType("PicoUsd", int)
"""Millionths of a micro-dollar; exact for every price this file makes."""

PICO_PER_MICRO = 1_000_000
PICO_PER_USD = 1_000_000_000_000
MICRO_PER_USD = 1_000_000

BYTES_PER_TOKEN = 3
"""Claude needs 3 to 4 bytes of English a token; 3 keeps most estimates above the true count."""

WORK_PROMPT_TOKENS = 230
"""Room for our own system prompt around the customer's text; a test holds the prompt to it."""

_MESSAGE_TOKENS = 4
"""What a message of a conversation needs beside its text."""
_RATE_STEP = 100
_WORD = re.compile(r"[a-z0-9]+")


class UnknownModelError(ValueError):
    """No rate is configured for a model. The operator must add one before the model can be sold."""


class Freshness(StrEnum):
    """How far a BTC price may be trusted. Shown wherever the price is shown."""

    FRESH = "fresh"
    """Fetched lately."""
    STALE = "stale"
    """The last good one; the sources have been silent for a while."""
    FALLBACK = "fallback"
    """From the configuration, because no source has answered for too long."""
    FIXED = "fixed"
    """From the configuration, on purpose."""


@dataclass(frozen=True, slots=True)
class BtcPrice:
    """The price of one bitcoin, locked into a job when its first price is made.

    Attributes:
        micro_usd: micro-USD for one bitcoin, above 0.
        source: who said so, e.g. ``coingecko``.
        freshness: how far to trust it.
        at: when it was true, in Unix seconds.
    """

    micro_usd: int
    source: str
    freshness: Freshness
    at: int

    def __post_init__(self) -> None:
        if self.micro_usd <= 0:
            raise ValueError("a bitcoin price must be above 0 USD")

    @property
    def told_by(self) -> str:
        """Who said so and how far to trust it, as it is shown: ``coingecko (fresh)``."""
        return f"{self.source} ({self.freshness})"

    @classmethod
    def from_usd(cls, usd: int | Decimal, *, source: str, freshness: Freshness, at: int) -> Self:
        """A price given in dollars; digits below a micro-dollar are dropped.

        Raises:
            ValueError: not finite, or not above 0.
        """
        if not Decimal(usd).is_finite():
            raise ValueError("a bitcoin price must be a finite number of USD")
        return cls(int(usd * MICRO_PER_USD), source, freshness, at)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call, all input kinds added up. ``model`` is the name we asked for."""

    model: str
    input_tokens: int
    output_tokens: int

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ModelRate:
    """What one model family costs, in micro-USD per million tokens (3 USD is 3,000,000).

    ``family`` is a word of the model's name, e.g. ``haiku`` for ``claude-haiku-4-5``, or the whole name.
    """

    family: str
    input_micro_usd_per_mtok: int
    output_micro_usd_per_mtok: int

    def __post_init__(self) -> None:
        for rate in (self.input_micro_usd_per_mtok, self.output_micro_usd_per_mtok):
            # Steps of 100 leave no fraction of a pico-dollar after any whole percentage of margin.
            if rate < 0 or rate % _RATE_STEP:
                raise ValueError(
                    f"the token rates of {self.family!r} must be steps of {_RATE_STEP} micro-USD, 0 or more"
                )


DEFAULT_RATES = (
    ModelRate("haiku", 1_000_000, 5_000_000),
    ModelRate("sonnet", 3_000_000, 15_000_000),
    # The offline agent costs nothing; it is priced like the real one so that a demo shows real prices.
    ModelRate("offline", 3_000_000, 15_000_000),
)


@dataclass(frozen=True, slots=True)
class PriceList:
    """Everything the operator decides about prices.

    Attributes:
        eval_fee_sats: price of judging a request, at least 1.
        margin_percent: ours, on tokens and infrastructure together.
        infra_micro_usd: the machine's share of one request.
        rates: what each model family costs us.
        short_chars, medium_chars: the longest text of the first and second output tier.
        short_tokens, medium_tokens, long_tokens: output tokens of the three tiers, never falling.
    """

    eval_fee_sats: int = 2
    margin_percent: int = 40
    infra_micro_usd: int = 500
    rates: tuple[ModelRate, ...] = DEFAULT_RATES
    short_chars: int = 80
    medium_chars: int = 240
    short_tokens: int = 400
    medium_tokens: int = 800
    long_tokens: int = 1_600

    def __post_init__(self) -> None:
        if self.eval_fee_sats < 1:
            raise ValueError("eval_fee_sats must be at least 1: an invoice cannot ask for less")
        if self.margin_percent < 0 or self.infra_micro_usd < 0:
            raise ValueError("margin_percent and infra_micro_usd must be 0 or more")
        if not 0 < self.short_chars < self.medium_chars:
            raise ValueError("short_chars must be above 0 and below medium_chars")
        if not 0 < self.short_tokens <= self.medium_tokens <= self.long_tokens:
            raise ValueError("short_tokens, medium_tokens and long_tokens must be above 0 and not fall")

    def rate_for(self, model: str) -> ModelRate:
        """The rate of a model: by its whole name, else by a family among the words of its name.

        Raises:
            UnknownModelError: no rate fits.
        """
        name = model.lower()
        words = _WORD.findall(name)
        exact = (rate for rate in self.rates if rate.family == name)
        by_family = (rate for rate in self.rates if rate.family in words)
        rate = next(exact, None) or next(by_family, None)
        if rate is None:
            raise UnknownModelError(f"no token rate is configured for the model {model!r}; add one to [pricing]")
        return rate

    def output_cap(self, text: str) -> int:
        """Output tokens of the text's tier: the most its answer may have."""
        if len(text) <= self.short_chars:
            return self.short_tokens
        return self.medium_tokens if len(text) <= self.medium_chars else self.long_tokens


@dataclass(frozen=True, slots=True)
class PriceBreakdown:
    """One price with everything that made it. ``token_cost + infra + margin == total``, exactly.

    ``output_tokens`` is also ``max_tokens`` of the model call, so the price is that of the longest
    answer the customer can get.
    """

    model: str
    input_tokens: int
    output_tokens: int
    token_cost: PicoUsd
    infra: PicoUsd
    margin_percent: int
    margin: PicoUsd
    total: PicoUsd
    btc: BtcPrice
    work_fee_sats: int
    eval_fee_sats: int

    @property
    def estimated_sats(self) -> int:
        """What the whole job costs at most: both fees."""
        return self.eval_fee_sats + self.work_fee_sats

    @property
    def max_output_tokens(self) -> int:
        """The limit to give the model."""
        return self.output_tokens

    @property
    def total_micro_usd(self) -> MicroUsd:
        """The work's price in micro-USD, rounded up."""
        return micro_usd_up(self.total)


@dataclass(frozen=True, slots=True)
class ActualCost:
    """What a finished work step cost. ``token_cost + infra + margin == total``, exactly.

    Attributes:
        usage: the tokens it used.
        token_cost: what we owe for them.
        charge_sats: ``total`` in sats, before any clamp to what the customer agreed to.
    """

    usage: Usage
    token_cost: PicoUsd
    infra: PicoUsd
    margin: PicoUsd
    total: PicoUsd
    charge_sats: int

    @property
    def total_micro_usd(self) -> MicroUsd:
        """The whole cost with margin in micro-USD, rounded up."""
        return micro_usd_up(self.total)


def estimate_tokens(text: str) -> int:
    """Tokens of a text as we count them before the model does: UTF-8 bytes by three, rounded up."""
    # A lone surrogate can come through JSON; it counts as the three bytes it would need.
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def estimate_input_tokens(text: str, turns: Sequence[Turn] = ()) -> int:
    """Input tokens of a work call: our system prompt, earlier turns, the text. Never 0, monotone in length."""
    before = (estimate_tokens(said) + _MESSAGE_TOKENS for turn in turns for said in (turn.request, turn.answer))
    return WORK_PROMPT_TOKENS + sum(before) + estimate_tokens(text)


def estimate_request_cost(
    text: str,
    model: str,
    prices: PriceList,
    btc: BtcPrice,
    *,
    max_tokens: int | None = None,
    turns: Sequence[Turn] = (),
) -> PriceBreakdown:
    """The price of a request, before anything is paid.

    Args:
        text: what the model will be sent (inputs joined); surrounding white space is not charged.
        model: name of the work model.
        prices: the operator's price list.
        btc: the bitcoin price to lock into the job.
        max_tokens: the customer's own output limit; it can lower the tier's cap, never raise it.
        turns: what was said before and goes with it.

    Raises:
        UnknownModelError: no rate is configured for the model.
        ValueError: ``max_tokens`` is below 1.
    """
    if max_tokens is not None and max_tokens < 1:
        raise ValueError("max_tokens must be at least 1")
    text = text.strip()
    cap = prices.output_cap(text)
    usage = Usage(model, estimate_input_tokens(text, turns), cap if max_tokens is None else min(cap, max_tokens))
    cost = actual_cost(usage, prices, btc)
    return PriceBreakdown(
        model=model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        token_cost=cost.token_cost,
        infra=cost.infra,
        margin_percent=prices.margin_percent,
        margin=cost.margin,
        total=cost.total,
        btc=btc,
        work_fee_sats=cost.charge_sats,
        eval_fee_sats=prices.eval_fee_sats,
    )


def actual_cost(usage: Usage, prices: PriceList, btc: BtcPrice) -> ActualCost:
    """The cost of tokens really used: tokens, infrastructure and margin, as sats at the job's locked price.

    Never above the estimate while neither token count is above the estimated one.

    Raises:
        UnknownModelError: no rate is configured for the model.
        ValueError: a token count is negative.
    """
    tokens = token_cost(usage, prices)
    infra = PicoUsd(prices.infra_micro_usd * PICO_PER_MICRO)
    # Exact: rates come in steps of 100 and infrastructure in micro-dollars.
    margin = PicoUsd((tokens + infra) * prices.margin_percent // 100)
    total = PicoUsd(tokens + infra + margin)
    return ActualCost(usage, tokens, infra, margin, total, usd_to_sats_up(total, btc))


def token_cost(usage: Usage, prices: PriceList) -> PicoUsd:
    """What the model's maker asks for a call, without infrastructure or margin.

    Raises:
        UnknownModelError: no rate is configured for the model.
        ValueError: a token count is negative.
    """
    if usage.input_tokens < 0 or usage.output_tokens < 0:
        raise ValueError("token counts must be 0 or more")
    rate = prices.rate_for(usage.model)
    # micro-USD per million tokens is pico-USD per token.
    return PicoUsd(
        usage.input_tokens * rate.input_micro_usd_per_mtok + usage.output_tokens * rate.output_micro_usd_per_mtok
    )


def usd_to_sats_up(usd: PicoUsd, btc: BtcPrice) -> int:
    """Whole sats that are worth at least ``usd``, and never less than 1.

    Raises:
        ValueError: the amount is negative.
    """
    if usd < 0:
        raise ValueError("an amount in USD must be 0 or more")
    # sats = pico / 10^12 USD * 10^8 sats / (micro / 10^6 USD), brought to one integer division.
    return max(1, -(-usd * 100 // btc.micro_usd))


def micro_usd_up(usd: PicoUsd) -> MicroUsd:
    """Micro-dollars, rounded up."""
    return MicroUsd(-(-usd // PICO_PER_MICRO))


def usd_text(usd: PicoUsd) -> str:
    """The exact amount in dollars as decimal text, e.g. ``0.0106953``; for storage and HTTP."""
    whole, rest = divmod(usd, PICO_PER_USD)
    return f"{whole}.{rest:012d}".rstrip("0").rstrip(".")
