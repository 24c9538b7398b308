"""The fixed price: always there, always the same, and honest about what it is."""

from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.prices import FixedPrice, PriceSource


def test_it_answers_at_once_with_the_price_it_was_given():
    price = BtcPrice.from_usd(100_000, source="configuration", freshness=Freshness.FIXED, at=0)
    source: PriceSource = FixedPrice(price)
    assert source.current() is source.current() is price
    assert source.current().freshness == "fixed"
