"""From a configuration to parts: each key reaches what it decides; what is missing is a sentence that names it."""

import dataclasses
import logging
from pathlib import Path

import pytest

from ledger.money import Msats, msats_from_sats
from lightning.lnbits import LnbitsWallet
from lightning.simulated import SimulatedWallet
from relay_client.dial import Outside
from relay_client.keys import Keys
from timmy_dvm.agent.claude import ClaudeAgent
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.building import (
    SIMULATED_BALANCE,
    admin_token_of,
    agent_of,
    card_of,
    dials_customers_relays,
    pay_pages_of,
    policy_of,
    pool_of,
    price_source_of,
    prices_of,
    tokens_of,
    wallet_of,
)
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.config import ConfigError, load
from timmy_dvm.core.free_tier import Newcomers
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import Freshness, PriceList, Usage, token_cost
from timmy_dvm.http.tokens import InvalidToken

CLOCK = ManualClock()
RANDOM = SeededRandomness(1)
LNBITS = {
    "lightning__backend": "lnbits",
    "lightning__lnbits__url": "http://127.0.0.1:1",
    "lightning__lnbits__key": "k" * 32,
    "lightning__lnbits__network": "tb",
}
NOTHING = None  # not used before a price is asked for


def configured(folder, **environ):
    """A configuration from the environment: `limits__in_flight="3"`."""
    return load(None, {f"TIMMY_{name.upper()}": value for name, value in environ.items()}, Path(folder))


def policy(config):
    return policy_of(config, agent_of(config, CLOCK, RANDOM), wallet_of(config, CLOCK, RANDOM))


def test_an_instance_without_a_configuration_decides_by_the_defaults_of_the_core(tmp_path):
    built = policy(configured(tmp_path))
    assert dataclasses.replace(built, prices=PriceList()) == Policy()
    assert dataclasses.replace(built.prices, rates=()) == PriceList(rates=())


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("limits__request_chars", "501", lambda p: p.http_request_chars == 501),
        ("limits__relay_request_chars", "17000", lambda p: p.relay_request_chars == 17_000),
        ("limits__open_jobs_per_key", "7", lambda p: p.open_jobs_per_key == 7),
        ("limits__jobs_per_key_minute", "8", lambda p: p.jobs_per_key_minute == 8),
        ("limits__open_invoices", "9", lambda p: p.open_invoices == 9),
        ("limits__open_donations", "7", lambda p: p.open_donations == 7),
        ("limits__refund_fee_sats", "4", lambda p: p.fee_per_refund == msats_from_sats(4)),
        ("limits__refund_fees_per_day_sats", "5", lambda p: p.fee_per_day == msats_from_sats(5)),
        ("pricing__http_invoice_minutes", "2", lambda p: p.http_invoice_s == 120),
        ("pricing__relay_invoice_minutes", "3", lambda p: p.relay_invoice_s == 180),
        ("pricing__eval_fee_sats", "6", lambda p: p.prices.eval_fee_sats == 6),
        ("pricing__margin_percent", "50", lambda p: p.prices.margin_percent == 50),
        ("pricing__infra_micro_usd", "700", lambda p: p.prices.infra_micro_usd == 700),
        ("pricing__short_chars", "81", lambda p: p.prices.short_chars == 81),
        ("pricing__medium_chars", "241", lambda p: p.prices.medium_chars == 241),
        ("pricing__short_output_tokens", "401", lambda p: p.prices.short_tokens == 401),
        ("pricing__medium_output_tokens", "801", lambda p: p.prices.medium_tokens == 801),
        ("pricing__long_output_tokens", "1601", lambda p: p.prices.long_tokens == 1_601),
        ("free_tier__credit_percent", "11", lambda p: p.pool_credit_percent == 11),
        ("free_tier__lifetime_factor", "3", lambda p: p.lifetime_factor == 3),
        ("nostr__min_pow_bits_new", "20", lambda p: p.min_work_bits == 20),
        ("free_tier__daily_budget_sats__new", "1", lambda p: p.daily_budgets.new == msats_from_sats(1)),
        ("free_tier__daily_budget_sats__established", "2", lambda p: p.daily_budgets.established == 2_000),
        ("free_tier__daily_budget_sats__trusted", "3", lambda p: p.daily_budgets.trusted == 3_000),
        ("free_tier__daily_budget_sats__elite", "4", lambda p: p.daily_budgets.elite == 4_000),
        ("free_tier__newcomer_allowance", "true", lambda p: p.newcomers == Newcomers()),
        ("trust__established", "11", lambda p: p.trust.established == 11),
        ("trust__trusted", "51", lambda p: p.trust.trusted == 51),
        ("trust__elite", "81", lambda p: p.trust.elite == 81),
        ("trust__paid_points", "3", lambda p: p.trust.paid_points == 3),
        ("trust__large_paid_points", "4", lambda p: p.trust.large_paid_points == 4),
        ("trust__large_paid_sats", "101", lambda p: p.trust.large_paid == msats_from_sats(101)),
        ("trust__rejected_points", "6", lambda p: p.trust.rejected_points == 6),
        ("trust__failed_points", "2", lambda p: p.trust.failed_points == 2),
        ("trust__decay_after_days", "31", lambda p: p.trust.decay_after_days == 31),
        ("trust__decay_points_per_day", "2", lambda p: p.trust.decay_points_per_day == 2),
    ],
)
def test_each_number_of_the_owner_reaches_the_policy(tmp_path, key, value, read):
    """ENV-05."""
    assert not read(policy(configured(tmp_path)))
    assert read(policy(configured(tmp_path, **{key: value})))


@pytest.mark.parametrize(
    ("changes", "lud16", "nip05"),
    [
        ({}, None, None),
        ({"http__public_url": "https://t.example"}, "timmy@t.example", "timmy@t.example"),
        ({"http__public_url": "https://t.example:8443"}, "timmy@t.example:8443", "timmy@t.example:8443"),
        ({"http__public_url": "https://t.example/timmy"}, None, None),
        ({"http__public_url": "http://t.example"}, None, None),
        (
            {"http__public_url": "https://t.example", "nostr__name": "Tim the Wizard"},
            "pool@t.example",
            "_@t.example",
        ),
        (
            {
                "http__public_url": "https://t.example",
                "nostr__lud16": "a@b.example",
                "nostr__nip05": "c@d.example",
            },
            "a@b.example",
            "c@d.example",
        ),
    ],
)
def test_with_a_public_address_it_has_names_of_its_own_there(tmp_path, changes, lud16, nip05):
    card = card_of(configured(tmp_path, **LNBITS, **changes), Policy())
    assert (card.lud16, card.nip05) == (lud16, nip05)


def test_nobody_is_asked_to_send_play_money_from_a_real_wallet(tmp_path):
    card = card_of(configured(tmp_path, http__public_url="https://t.example", dev__pay_route="false"), Policy())
    assert (card.lud16, card.nip05) == (None, "timmy@t.example")


def test_the_newcomers_answer_is_bounded_as_its_owner_says(tmp_path):
    table = {"newcomer_allowance": "true", "newcomer_max_sats": "7", "newcomer_sats_per_day": "8"}
    chosen = {f"free_tier__{name}": value for name, value in table.items()}
    built = policy(configured(tmp_path, **chosen, free_tier__history_share_percent="90"))
    assert built.newcomers == Newcomers(dearest=Msats(7_000), per_day=Msats(8_000), kept_percent=90)


def test_a_model_is_priced_by_its_family_and_a_strange_one_by_the_dear_rate(tmp_path):
    config = configured(tmp_path)
    prices = prices_of(config, "claude-haiku-4-5", "Grand-Model-9")
    million = {"input_tokens": 1_000_000, "output_tokens": 0}

    def usd(model):
        return token_cost(Usage(model, **million), prices) // 10**12

    assert [usd(m) for m in ("claude-haiku-4-5", "claude-sonnet-4-6", "offline", "grand-model-9")] == [1, 3, 3, 15]


def test_customers_choose_among_the_owners_models_and_the_first_is_the_agents_own(tmp_path):
    chosen = {"agent__anthropic__customer_models": "claude-haiku-4-5,claude-sonnet-4-6"}
    key = {"agent__backend": "anthropic", "agent__anthropic__api_key": "sk-test"}
    assert policy(configured(tmp_path, **key, **chosen)).work_models == ("claude-sonnet-4-6", "claude-haiku-4-5")
    assert policy(configured(tmp_path, **chosen)).work_models == ("offline",)


def test_a_fixed_price_says_whether_it_is_meant_to_be_fixed(tmp_path):
    simulated = price_source_of(
        configured(tmp_path, pricing__btc_usd_fallback="90000"), CLOCK, NOTHING, NOTHING
    ).current()
    real = price_source_of(configured(tmp_path, **LNBITS), CLOCK, NOTHING, NOTHING).current()
    assert (simulated.micro_usd, simulated.freshness) == (90_000_000_000, Freshness.FIXED)
    assert (real.micro_usd, real.freshness) == (100_000_000_000, Freshness.FALLBACK)


async def test_the_simulated_wallet_lies_beside_the_ledger_and_remembers(tmp_path):
    config = configured(tmp_path, ledger__url=f"sqlite:///{tmp_path}/elsewhere/timmy.db")
    (tmp_path / "elsewhere").mkdir()
    wallet = wallet_of(config, CLOCK, RANDOM)
    assert isinstance(wallet, SimulatedWallet)
    assert await wallet.balance_msat() == SIMULATED_BALANCE
    await wallet.aclose()
    assert (tmp_path / "elsewhere" / "simulated-wallet.jsonl").exists()


async def test_a_configured_lnbits_is_built_with_its_network(tmp_path):
    wallet = wallet_of(configured(tmp_path, **LNBITS), CLOCK, RANDOM)
    assert isinstance(wallet, LnbitsWallet)
    assert wallet.network == "tb"
    await wallet.aclose()


def test_a_wallet_that_is_not_built_yet_is_a_sentence_that_names_those_that_are(tmp_path):
    lnd = {"lightning__lnd__url": "https://127.0.0.1:8080", "lightning__lnd__macaroon": "00"}
    config = configured(tmp_path, lightning__backend="lnd", **lnd)
    with pytest.raises(ConfigError, match=r"lnd is not offered.*; take lnbits or simulated"):
        wallet_of(config, CLOCK, RANDOM)


async def test_the_agent_is_the_configured_one(tmp_path):
    """PHA-10, PHA-12."""
    key = {"agent__backend": "anthropic", "agent__anthropic__api_key": "sk-test"}
    offline = agent_of(configured(tmp_path), CLOCK, RANDOM)
    claude = agent_of(
        configured(tmp_path, **key, agent__anthropic__eval_model="e", agent__anthropic__work_model="w"),
        CLOCK,
        RANDOM,
    )
    assert isinstance(offline, OfflineAgent)
    assert isinstance(claude, ClaudeAgent)
    assert (claude.eval_model, claude.work_model) == ("e", "w")
    await claude.aclose()


@pytest.mark.parametrize(
    ("environ", "dials"),
    [(LNBITS, True), (LNBITS | {"nostr__customer_relays": "false"}, False), ({}, False)],
    ids=["real money", "switched off", "play money"],
)
async def test_relays_that_customers_name_are_dialled_only_with_real_money_and_where_the_owner_wants_it(
    tmp_path, monkeypatch, environ, dials
):
    asked = []

    class Names:
        async def __call__(self, host, port):
            asked.append((host, port))
            return ["10.0.0.1"]

    monkeypatch.setattr("timmy_dvm.building.SystemResolver", Names)
    config = configured(tmp_path, **environ)
    keys = Keys.from_bytes(b"\x01" * 32)
    event = keys.sign(kind=6050, created_at=1, tags=(), aux=b"\x02" * 32)
    async with pool_of(config, [], keys, Outside()) as pool:
        outcomes = await pool.publish(event, ["wss://relay.customer.example"])
    assert [outcome.word for outcome in outcomes.values()] == ["not_connected"]
    assert asked == ([("relay.customer.example", 443)] if dials else [])
    assert dials_customers_relays(config) is dials


# Identity tokens (IDN-14, ENV-02) and the operator's own.

HERE = "https://timmy.example"
ALICE = "a1" * 32
OLD, NEW = "o" * 32, "n" * 32


def tokens(folder, audience=HERE, **environ):
    return tokens_of(configured(folder, **environ), CLOCK, RANDOM, audience)


def issued(made, ago=0):
    return made.issue(ALICE, int(CLOCK.now()) - ago).text


def closed(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_the_signing_secret_is_made_once_closed_to_others_and_said(tmp_path, caplog):
    token = issued(tokens(tmp_path))
    assert [one.action for one in caplog.records if one.levelno >= logging.WARNING] == ["token_secret_made"]
    path = configured(tmp_path).http.token_secret_file
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in caplog.text
    caplog.clear()
    assert tokens(tmp_path).read(token, int(CLOCK.now())) == ALICE
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_token_is_read_at_the_address_it_was_given_out_for(tmp_path):
    with pytest.raises(InvalidToken, match="another address"):
        tokens(tmp_path, "https://other.example").read(issued(tokens(tmp_path)), int(CLOCK.now()))


@pytest.mark.parametrize("how", ["secret", "secret_file"])
def test_a_secret_is_replaced_without_ending_what_the_old_one_signed(tmp_path, how):
    old = OLD if how == "secret" else closed(tmp_path / "old", OLD)
    token = issued(tokens(tmp_path, http__token_secret=OLD))
    both = tokens(tmp_path, http__token_secret=NEW, **{f"http__token_previous_{how}": old})
    assert both.read(token, int(CLOCK.now())) == ALICE
    alone = tokens(tmp_path, http__token_secret=NEW)
    assert alone.read(issued(both), int(CLOCK.now())) == ALICE
    with pytest.raises(InvalidToken, match="not signed here"):
        alone.read(token, int(CLOCK.now()))


def test_all_tokens_of_both_secrets_are_ended_by_one_moment(tmp_path):
    now = int(CLOCK.now())
    secrets = {"http__token_secret": NEW, "http__token_previous_secret": OLD}
    ended = tokens(tmp_path, **secrets, http__token_not_before=str(now))
    for secret in (NEW, OLD):
        with pytest.raises(InvalidToken, match="ended"):
            ended.read(issued(tokens(tmp_path, http__token_secret=secret), ago=1), now)
    assert ended.read(issued(ended), now) == ALICE


def test_a_moment_that_lies_ahead_would_end_every_login_and_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"http\.token_not_before: lies ahead"):
        tokens(tmp_path, http__token_not_before=str(int(CLOCK.now()) + 1))


@pytest.mark.parametrize("name", ["token_secret", "token_previous_secret", "admin_token"])
def test_a_secret_that_could_be_guessed_is_refused_wherever_it_stands(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"http\.{name}: is shorter than"):
        configured(tmp_path, **{f"http__{name}": "x" * 15})
    config = configured(tmp_path, **{f"http__{name}_file": closed(tmp_path / "short", "x" * 15)})
    with pytest.raises(ConfigError, match=rf"http\.{name}_file: is shorter than"):
        (admin_token_of(config), tokens_of(config, CLOCK, RANDOM, HERE))


def test_the_admin_token_comes_from_its_file_or_the_environment_or_there_is_none(tmp_path):
    assert admin_token_of(configured(tmp_path)) is None
    file = closed(tmp_path / "admin", "a" * 16)
    for config in (
        configured(tmp_path, http__admin_token="a" * 16),
        configured(tmp_path, http__admin_token_file=file),
    ):
        token = admin_token_of(config)
        assert token is not None
        assert token.reveal() == "a" * 16


LOCAL, FOREIGN = "ws://127.0.0.1:7447", "wss://relay.example"


@pytest.mark.parametrize(
    ("relays", "address", "told"),
    [
        ([LOCAL], "http://127.0.0.1:5050", "http://127.0.0.1:5050/pay"),
        ([LOCAL, FOREIGN], "https://timmy.example", "https://timmy.example/pay"),
        ([LOCAL, FOREIGN], "http://127.0.0.1:5050", None),
        ([FOREIGN], "http://[::1]:5050", None),
        ([FOREIGN], "http://0.0.0.0:5050", None),
    ],
    ids=["all here", "a public address", "a relay elsewhere", "IPv6", "no address at all"],
)
def test_pay_pages_are_told_where_whoever_reads_of_them_can_open_them(relays, address, told):
    assert pay_pages_of(relays, address) == told
