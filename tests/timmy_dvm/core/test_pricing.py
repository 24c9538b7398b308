"""Prices in integers: worked examples from the specification, then properties over everything."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timmy_dvm.core.pricing import (
    DEFAULT_RATES,
    PICO_PER_USD,
    WORK_PROMPT_TOKENS,
    BtcPrice,
    Freshness,
    ModelRate,
    PicoUsd,
    PriceList,
    UnknownModelError,
    Usage,
    actual_cost,
    estimate_input_tokens,
    estimate_request_cost,
    estimate_tokens,
    micro_usd_up,
    token_cost,
    usd_text,
    usd_to_sats_up,
)

SONNET, HAIKU = "claude-sonnet-4-6", "claude-haiku-4-5"
PRICES = PriceList()


def price(usd: int | Decimal) -> BtcPrice:
    return BtcPrice.from_usd(usd, source="test", freshness=Freshness.FRESH, at=1_700_000_000)


def pico(usd: str) -> PicoUsd:
    exact = Decimal(usd) * PICO_PER_USD
    assert exact == int(exact)
    return PicoUsd(int(exact))


BTC = price(100_000)

texts = st.text(max_size=2_000)
rates = st.integers(0, 1_000_000).map(lambda n: n * 100)
btc_prices = st.integers(1, 10**13).map(
    lambda micro: BtcPrice(micro, source="test", freshness=Freshness.STALE, at=0)
)
price_lists = st.builds(
    lambda margin, infra, i, o, fee: PriceList(
        eval_fee_sats=fee, margin_percent=margin, infra_micro_usd=infra, rates=(ModelRate("sonnet", i, o),)
    ),
    st.integers(0, 1_000),
    st.integers(0, 1_000_000),
    rates,
    rates,
    st.integers(1, 100),
)
counts = st.integers(0, 200_000)


class TestDollarsToSats:
    @pytest.mark.parametrize(
        ("usd", "sats"),
        [
            ("0.07", 70),
            ("0.1000001", 101),
            ("0.000000001", 1),
            ("0", 1),
            ("0.001", 1),
            ("0.001000000001", 2),
            ("100000", 100_000_000),
        ],
    )
    def test_usd_to_sats_rounds_up_and_asks_at_least_one(self, usd, sats):
        """PRI-05."""
        assert usd_to_sats_up(pico(usd), BTC) == sats

    def test_usd_to_sats_is_exact_for_every_cent_below_ten_dollars(self):
        """PRI-05: In binary floats 133 of these 999 come out one sat too high."""
        assert [usd_to_sats_up(pico(f"{cents / 100:.2f}"), BTC) for cents in range(1, 1_000)] == [
            cents * 10 for cents in range(1, 1_000)
        ]

    def test_a_negative_amount_is_refused(self):
        with pytest.raises(ValueError, match="0 or more"):
            usd_to_sats_up(PicoUsd(-1), BTC)

    @given(st.integers(0, 10**18), btc_prices)
    def test_the_sats_are_worth_the_dollars_and_one_less_is_not(self, amount, btc):
        sats = usd_to_sats_up(PicoUsd(amount), btc)
        worth = Decimal(amount) / PICO_PER_USD
        sat = Decimal(btc.micro_usd) / 10**14
        assert sats * sat >= worth
        assert sats == 1 or (sats - 1) * sat < worth

    @pytest.mark.parametrize(
        ("amount", "text", "micro"),
        [("0", "0", 0), ("2", "2", 2_000_000), ("0.0102214", "0.0102214", 10_222), ("100", "100", 10**8)],
    )
    def test_usd_exact_as_text_and_rounded_up_as_micro_dollars(self, amount, text, micro):
        """JOB-18."""
        assert usd_text(pico(amount)) == text
        assert micro_usd_up(pico(amount)) == micro

    @given(st.integers(0, 10**18))
    def test_the_text_says_the_amount_exactly(self, amount):
        assert Decimal(usd_text(PicoUsd(amount))) * PICO_PER_USD == amount


class TestBitcoinPrice:
    def test_it_is_kept_to_the_micro_dollar(self):
        assert price(Decimal("67123.4567891")).micro_usd == 67_123_456_789

    @pytest.mark.parametrize("usd", [0, -1, Decimal("0.0000001"), Decimal("NaN"), Decimal("Infinity")])
    def test_what_is_no_price_is_refused(self, usd):
        with pytest.raises(ValueError, match="bitcoin price"):
            price(usd)


class TestEstimate:
    def test_the_worked_example(self):
        """20 letters: (230 + 7) x 3 + 400 x 15 = 6,711 µUSD, + 500 machine = 7,211, + 40 % = 10,095.4 µUSD."""
        quote = estimate_request_cost("x" * 20, SONNET, PRICES, BTC)
        assert (quote.input_tokens, quote.output_tokens) == (237, 400)
        assert quote.token_cost == pico("0.006711")
        assert quote.infra == pico("0.0005")
        assert quote.margin == pico("0.0028844")
        assert quote.total == pico("0.0100954")
        assert quote.total_micro_usd == 10_096
        assert (quote.work_fee_sats, quote.eval_fee_sats, quote.estimated_sats) == (11, 2, 13)
        assert quote.max_output_tokens == 400
        assert quote.btc is BTC
        assert (quote.model, quote.margin_percent) == (SONNET, 40)

    @pytest.mark.parametrize(
        ("chars", "tokens"), [(0, 400), (80, 400), (81, 800), (240, 800), (241, 1_600), (16_000, 1_600)]
    )
    def test_estimate_tokens_of_the_output_by_three_tiers(self, chars, tokens):
        """PRI-10."""
        assert estimate_request_cost("x" * chars, SONNET, PRICES, BTC).output_tokens == tokens

    def test_tiers_count_characters_not_bytes(self):
        assert estimate_request_cost("é" * 80, SONNET, PRICES, BTC).output_tokens == 400

    @pytest.mark.parametrize(
        ("text", "tokens"), [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("é", 1), ("日本", 2), ("\ud800", 1)]
    )
    def test_estimate_tokens_counts_bytes_by_three_rounded_up(self, text, tokens):
        """PRI-09."""
        assert estimate_tokens(text) == tokens
        assert estimate_input_tokens(text) == WORK_PROMPT_TOKENS + tokens

    def test_surrounding_white_space_is_not_charged(self):
        assert estimate_request_cost("  hi\n\n", SONNET, PRICES, BTC) == estimate_request_cost(
            "hi", SONNET, PRICES, BTC
        )

    @pytest.mark.parametrize(("asked", "cap"), [(None, 400), (1, 1), (399, 399), (400, 400), (9_999, 400)])
    def test_the_customer_can_lower_the_cap_and_never_raise_it(self, asked, cap):
        quote = estimate_request_cost("hi", SONNET, PRICES, BTC, max_tokens=asked)
        assert quote.max_output_tokens == cap

    @pytest.mark.parametrize("asked", [0, -1])
    def test_no_output_at_all_is_not_for_sale(self, asked):
        with pytest.raises(ValueError, match="max_tokens"):
            estimate_request_cost("hi", SONNET, PRICES, BTC, max_tokens=asked)

    def test_the_same_text_is_quoted_the_same_again(self):
        assert estimate_request_cost("hi", SONNET, PRICES, BTC) == estimate_request_cost("hi", SONNET, PRICES, BTC)

    @given(texts, texts)
    def test_a_longer_text_is_never_cheaper(self, text, more):
        short = estimate_request_cost(text, SONNET, PRICES, BTC)
        long = estimate_request_cost(f"a{text}{more}b", SONNET, PRICES, BTC)
        assert short.input_tokens <= long.input_tokens
        assert short.output_tokens <= long.output_tokens
        assert short.work_fee_sats <= long.work_fee_sats

    @given(texts, price_lists, btc_prices)
    def test_breakdown_adds_up_and_no_double_margin(self, text, prices, btc):
        """PRI-07, PRI-08, PRI-11, PRI-14."""
        quote = estimate_request_cost(text, SONNET, prices, btc)
        assert quote.token_cost + quote.infra + quote.margin == quote.total
        assert (quote.token_cost + quote.infra) * (100 + prices.margin_percent) == quote.total * 100
        assert quote.work_fee_sats == usd_to_sats_up(quote.total, btc)
        assert quote.estimated_sats == quote.work_fee_sats + prices.eval_fee_sats

    @given(texts, st.integers(1, 10**12), st.integers(0, 10**12))
    def test_a_dearer_bitcoin_never_makes_it_more_sats(self, text, micro, more):
        cheap = BtcPrice(micro, "test", Freshness.FRESH, 0)
        dear = BtcPrice(micro + more, "test", Freshness.FRESH, 0)
        assert (
            estimate_request_cost(text, SONNET, PRICES, dear).work_fee_sats
            <= estimate_request_cost(text, SONNET, PRICES, cheap).work_fee_sats
        )

    def test_rates_env_doubling_one_rate_doubles_that_part_only(self):
        """PRI-06."""
        usage = Usage(SONNET, 1_000, 100)
        doubled = replace(PRICES, rates=(ModelRate("sonnet", 6_000_000, 15_000_000),))
        assert token_cost(usage, PRICES) == pico("0.003") + pico("0.0015")
        assert token_cost(usage, doubled) == pico("0.006") + pico("0.0015")

    def test_changing_the_machines_share_moves_only_that_part(self):
        """PRI-07."""
        before = estimate_request_cost("hi", SONNET, PRICES, BTC)
        after = estimate_request_cost("hi", SONNET, replace(PRICES, infra_micro_usd=700), BTC)
        assert after.infra - before.infra == pico("0.0002")
        assert after.token_cost == before.token_cost


class TestActualCost:
    def test_actual_charge_by_hand(self):
        """PRI-12, PRI-15.

        182 in, 300 out at 3 / 15: 5,046 µUSD, + 500 = 5,546, + 40 % = 7,764.4 µUSD, so 8 sats at 100,000.
        """
        cost = actual_cost(Usage(SONNET, 182, 300), PRICES, BTC)
        assert cost.token_cost == pico("0.005046")
        assert cost.total == pico("0.0077644")
        assert cost.total_micro_usd == 7_765
        assert cost.charge_sats == 8

    def test_haiku_at_1_and_5(self):
        assert token_cost(Usage(HAIKU, 1_000_000, 1_000_000), PRICES) == pico("6")

    @given(texts, price_lists, btc_prices, counts, counts)
    @example("hi", PRICES, BTC, 232, 400)
    def test_it_is_within_the_estimate_while_the_tokens_are(self, text, prices, btc, less_in, less_out):
        quote = estimate_request_cost(text, SONNET, prices, btc)
        used = Usage(SONNET, max(0, quote.input_tokens - less_in), max(0, quote.output_tokens - less_out))
        cost = actual_cost(used, prices, btc)
        assert cost.total <= quote.total
        assert cost.charge_sats <= quote.work_fee_sats

    @given(texts, price_lists, btc_prices)
    def test_using_exactly_what_was_estimated_costs_exactly_the_estimate(self, text, prices, btc):
        quote = estimate_request_cost(text, SONNET, prices, btc)
        cost = actual_cost(Usage(SONNET, quote.input_tokens, quote.output_tokens), prices, btc)
        assert (cost.total, cost.charge_sats) == (quote.total, quote.work_fee_sats)

    @given(price_lists, btc_prices, counts, counts, counts, counts)
    def test_more_tokens_never_cost_less(self, prices, btc, tokens_in, tokens_out, more_in, more_out):
        less = actual_cost(Usage(SONNET, tokens_in, tokens_out), prices, btc)
        more = actual_cost(Usage(SONNET, tokens_in + more_in, tokens_out + more_out), prices, btc)
        assert less.total <= more.total
        assert less.charge_sats <= more.charge_sats

    @pytest.mark.parametrize("usage", [Usage(SONNET, -1, 0), Usage(SONNET, 0, -1)])
    def test_negative_counts_are_refused(self, usage):
        with pytest.raises(ValueError, match="token counts"):
            actual_cost(usage, PRICES, BTC)

    def test_the_total_of_tokens(self):
        assert Usage(SONNET, 123, 456).total_tokens == 579


class TestPriceList:
    @pytest.mark.parametrize(
        ("model", "family"),
        [
            ("claude-haiku-4-5", "haiku"),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", "haiku"),
            ("Claude-Sonnet-4-6", "sonnet"),
            ("offline", "offline"),
        ],
    )
    def test_a_model_is_priced_by_its_family(self, model, family):
        assert PRICES.rate_for(model).family == family

    def test_a_whole_name_goes_before_a_family(self):
        special = ModelRate("claude-haiku-9", 100, 100)
        prices = replace(PRICES, rates=(*DEFAULT_RATES, special))
        assert prices.rate_for("claude-haiku-9") is special
        assert prices.rate_for("claude-haiku-8").family == "haiku"

    @pytest.mark.parametrize("model", ["", "gpt-4", "claude-sonnetish-1", "haikus"])
    def test_a_model_without_a_rate_cannot_be_sold(self, model):
        with pytest.raises(UnknownModelError, match="no token rate"):
            estimate_request_cost("hi", model, PRICES, BTC)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"eval_fee_sats": 0},
            {"margin_percent": -1},
            {"infra_micro_usd": -1},
            {"short_chars": 0},
            {"short_chars": 240},
            {"short_tokens": 0},
            {"short_tokens": 801},
            {"long_tokens": 799},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            replace(PRICES, **wrong)

    @pytest.mark.parametrize("rate", [-100, 150, 1])
    def test_a_rate_that_would_need_rounding_is_refused(self, rate):
        with pytest.raises(ValueError, match="steps of 100"):
            ModelRate("sonnet", rate, 100)
