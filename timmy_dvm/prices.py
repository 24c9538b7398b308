"""BTC/USD: where a quote gets its bitcoin price from."""

from typing import Protocol

from timmy_dvm.core.pricing import BtcPrice


class PriceSource(Protocol):
    """Answers at once with the best bitcoin price known, and never fails.

    Fetching happens elsewhere, in the background. A customer's quote must not wait for a price feed or
    die with it, so an implementation holds a price at all times: fetched, last good, or the configured
    fallback; ``BtcPrice.freshness`` says which, and whoever shows the price shows that too.
    Each call may answer differently; a job keeps the price it was first quoted with.
    """

    def current(self) -> BtcPrice:
        """The price to use now."""
        ...


class FixedPrice:
    """The same price for ever: for the simulated wallet, for tests, and while no feed is configured."""

    def __init__(self, price: BtcPrice) -> None:
        self._price = price

    def current(self) -> BtcPrice:
        """The price given at construction."""
        return self._price
