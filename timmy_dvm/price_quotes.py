"""What price sources answer, and which price follows from it. Pure.

One answer is read by its shape, whoever gave it, so any address can be configured: CoinGecko, mempool.space,
Kraken, Coinbase and Bitstamp are understood, and whatever answers like one of them.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

LOWEST_USD: Final = Decimal(1_000)
HIGHEST_USD: Final = Decimal(10_000_000)
OLDEST_S: Final = 600
"""A source whose own clock says that its price is older is not believed."""
AHEAD_S: Final = 600
APART: Final = Decimal("0.02")
"""Where three or more answer, one that is further from their median is left out."""
JUMP: Final = Decimal("0.20")
"""A price that is further from the last good one needs a second source that agrees."""

_decoder: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class NoPrice(Exception):
    """A source's answer holds no price that can be believed; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one source says a bitcoin costs, in US dollars."""

    source: str
    usd: Decimal


def read(url: str, body: bytes, now: int) -> Told:
    """The price in one source's answer.

    Args:
        url: who was asked; its host names the source.
        body: the answer.
        now: Unix seconds, to judge the source's own timestamp by, where it gives one.

    Raises:
        NoPrice: no price, an absurd one, or an old one.
    """
    try:
        answer = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        raise NoPrice("the answer is no JSON object") from None
    for shape in _SHAPES:
        try:
            value, at = shape(answer)
            usd = _dollars(value)
            when = None if at is None else int(at)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError, InvalidOperation, OverflowError):
            continue
        if not LOWEST_USD <= usd <= HIGHEST_USD:
            raise NoPrice(f"a bitcoin does not cost {usd:.8g} dollars")
        if when is not None and not now - OLDEST_S <= when <= now + AHEAD_S:
            raise NoPrice("the price is old by the source's own clock")
        return Told(urlsplit(url).hostname or url, usd)
    raise NoPrice("the answer holds no price")


def agree(told: Sequence[Told], last_good: Decimal | None) -> Told | None:
    """The price that follows from what the sources said; None where it takes another source to believe it.

    Their median; of three or more, without those that are too far from it. A jump away from ``last_good`` is
    believed when two sources tell of it.
    """
    if not told:
        return None
    if len(told) >= 3:  # noqa: PLR2004 # of two, nobody could say which is off
        middle = statistics.median(one.usd for one in told)
        told = [one for one in told if abs(one.usd - middle) <= APART * middle]
        if not told:
            return None
    usd = statistics.median(one.usd for one in told)
    name = told[0].source if len(told) == 1 else f"median of {', '.join(sorted(one.source for one in told))}"
    if last_good is not None and abs(usd - last_good) > JUMP * last_good and not _second_opinion(told, usd):
        return None
    return Told(name, usd)


def _second_opinion(told: Sequence[Told], usd: Decimal) -> bool:
    return sum(abs(one.usd - usd) <= APART * usd for one in told) > 1


def _dollars(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise TypeError("no number")
    usd = Decimal(value)
    if not usd.is_finite():
        raise ValueError("no finite number")
    return usd


def _first(named: Mapping[str, Any]) -> Any:
    return next(iter(named.values()), None)


_Found = tuple[object, Any]
_SHAPES: Final[tuple[Callable[[Mapping[str, Any]], _Found], ...]] = (
    lambda a: (a["bitcoin"]["usd"], a["bitcoin"].get("last_updated_at")),  # CoinGecko
    lambda a: (a["USD"], a.get("time")),  # mempool.space
    lambda a: (_first(a["result"])["c"][0], None),  # Kraken; its errors come with an empty result
    lambda a: (a["data"]["amount"], None),  # Coinbase
    lambda a: (a["last"], a.get("timestamp")),  # Bitstamp
)
