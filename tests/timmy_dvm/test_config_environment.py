"""The environment: today's names, the first Timmy's names, misspelt ones, and the two that are never read."""

from decimal import Decimal

import pytest

from relay_client.keys import Keys
from timmy_dvm.config import ConfigError, Secret, load
from timmy_dvm.config.old_names import OLD_NAMES
from timmy_dvm.config.schema import all_keys
from timmy_dvm.log import redact

BOTH = '[agent]\nbackend = "offline"\n[lightning]\nbackend = "simulated"\n'


class Environment(dict):
    """A mapping that remembers what it was asked for."""

    def __init__(self, **variables):
        super().__init__(**variables)
        self.asked = set()

    def __getitem__(self, name):
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)


@pytest.fixture
def with_environment(tmp_path):
    def make(text=None, /, **environ):
        path = None
        if text is not None:
            path = tmp_path / "timmy.toml"
            path.write_text(text)
        return load(path, {"HOME": str(tmp_path)} | environ)

    return make


def refusal(with_environment, /, **environ):
    with pytest.raises(ConfigError) as caught:
        with_environment(**environ)
    return str(caught.value)


def test_a_variable_overrides_the_file(with_environment):
    text = BOTH + "[http]\nport = 6000\n"
    config = with_environment(text, TIMMY_HTTP__PORT="7000")
    assert config.http.port == 7000
    assert config.origins["http.port"] == "TIMMY_HTTP__PORT"
    assert with_environment(text).origins["http.port"] == "timmy.toml"


def test_every_kind_of_value_can_be_given(with_environment):
    config = with_environment(
        TIMMY_NOSTR__RELAYS="ws://127.0.0.1:7777 , ws://localhost:1,",
        TIMMY_NOSTR__KINDS="5050, 5100",
        TIMMY_NOSTR__OPEN_JOBS="no",
        TIMMY_FREE_TIER__DAILY_BUDGET_SATS__NEW="7",
        TIMMY_LIMITS__MODEL_USD_PER_DAY="2.5",
        TIMMY_PRICING__RATES__SONNET__INPUT_USD_PER_MILLION="6",
        TIMMY_HTTP__PUBLIC_URL="http://127.0.0.1:5050/",
        TIMMY_HTTP__TRUSTED_PROXIES="10.0.0.1",
    )
    assert config.nostr.relays == ("ws://127.0.0.1:7777", "ws://localhost:1")
    assert config.nostr.kinds == (5050, 5100)
    assert config.nostr.open_jobs is False
    assert config.free_tier.daily_budget_sats.new == 7
    assert config.limits.model_usd_per_day == Decimal("2.5")
    assert config.pricing.rates.sonnet.input_micro_usd_per_million == 6_000_000
    assert config.http.public_url == "http://127.0.0.1:5050"
    assert config.http.trusted_proxies == ("10.0.0.1/32",)


def test_every_key_has_a_variable_that_is_read(with_environment):
    """ENV-05: a value of the wrong shape is refused for exactly the key it was given for: none is ignored."""
    for key in all_keys().values():
        said = refusal(with_environment, **{key.env_name: "" if key.shape == "text" else "\x01x"})
        assert key.env_name in said
        assert said.startswith(f"{key.name}: ")


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("TIMMY_HTPP__PORT", "TIMMY_HTTP__PORT"),
        ("TIMMY_HTTP__PROT", "TIMMY_HTTP__PORT"),
        ("TIMMY_HTTP_PROT", "TIMMY_HTTP_PORT"),
        ("TIMMY_RELAY", "TIMMY_RELAYS"),
        ("TIMMY_CONFG", "TIMMY_CONFIG"),
        ("TIMMY_http__port", None),
        ("TIMMY_", None),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(with_environment, variable, hint):
    said = refusal(with_environment, **{variable: "1"})
    assert said.startswith(f"{variable}: is not a variable of Timmy")
    assert said.endswith("(from the environment)")
    if hint:
        assert f"did you mean {hint}?" in said


@pytest.mark.parametrize(
    "number", ["", "abc", "-5", "NaN", "1e3", "5_050", "\uff15\uff10\uff15\uff10", "0x10", "99999999999", " "]
)
def test_a_bad_number_in_todays_name_is_refused(with_environment, number):
    said = refusal(with_environment, TIMMY_HTTP__PORT=number)
    assert said.startswith("http.port: ")
    assert said.endswith("(from TIMMY_HTTP__PORT)")


def numeric_old_names():
    return [name for name, old in OLD_NAMES.items() if old.key and all_keys()[old.key].shape in {"int", "ints"}]


@pytest.mark.parametrize("number", ["", "abc", "-5", "NaN", "Infinity", "99999999999999999999"])
@pytest.mark.parametrize("variable", numeric_old_names())
def test_env_numbers_of_the_first_timmy_fall_back_with_a_warning(with_environment, variable, number):
    """PRI-16, ENV-10."""
    config = with_environment(**{variable: number})
    (note,) = config.notes
    assert note.startswith(f"{variable} is ignored: ")
    key = all_keys()[OLD_NAMES[variable].key]
    table, _, last = key.name.rpartition(".")
    value = config
    for part in [*table.split("."), last]:
        value = getattr(value, part)
    assert value == key.field.default
    assert config.origins == {}


def test_the_numeric_old_names_are_all_there():
    assert set(numeric_old_names()) >= {
        "BTC_PRICE_USD_FALLBACK",
        "BOOTSTRAP_FEE_SATS",
        "POOL_CREDIT_PCT",
        "TIMMY_HTTP_PORT",
        "TIMMY_JOB_KIND",
    }


@pytest.mark.parametrize("variable", ["DO_API_TOKEN", "TIMMY_BOOTSTRAP__DO_API_TOKEN"])
def test_a_token_for_real_machines_is_refused_and_not_shown(with_environment, variable):
    """ENV-07."""
    with pytest.raises(ConfigError, match=r"bootstrap\.do_api_token: real machines are not offered") as refused:
        with_environment(**{variable: "dop_v1_secret"})
    assert "dop_v1_secret" not in str(refused.value)


@pytest.mark.parametrize(("text", "sats"), [("500", 500), ("0", 10_000), ("-5", 10_000), ("NaN", 10_000)])
def test_pri_16_the_fee_of_a_node_falls_back_to_ten_thousand(with_environment, text, sats):
    """PRI-17, ENV-07."""
    assert with_environment(BOOTSTRAP_FEE_SATS=text).bootstrap.fee_sats == sats


def test_the_first_timmys_names_still_work(with_environment, tmp_path):
    """ENV-03, ENV-04, ENV-06, ENV-11."""
    secret = "01" * 32
    config = with_environment(
        BTC_PRICE_USD_FALLBACK="50000",
        EVAL_MODEL="claude-haiku-x",
        WORK_MODEL="claude-sonnet-x",
        TIMMY_TOKEN_SECRET="t" * 32,
        POOL_CREDIT_PCT="25",
        FREE_TIER_BUDGET_ELITE="2000",
        TIMMY_NSEC=Keys.from_hex(secret).to_nsec(),
        TIMMY_RELAYS="ws://127.0.0.1:1,ws://127.0.0.1:2",
        TIMMY_JOB_KIND="5100",
        TIMMY_HTTP_HOST="127.0.0.2",
        TIMMY_HTTP_PORT="6000",
        TIMMY_DB="old.db",
        TIMMY_OWNER_PUBKEY="ab" * 32,
        TIMMY_PUBLIC_URL="http://localhost:6000",
        TIMMY_DEV="1",
    )
    assert config.pricing.btc_usd_fallback == 50_000
    assert (config.agent.anthropic.eval_model, config.agent.anthropic.work_model) == (
        "claude-haiku-x",
        "claude-sonnet-x",
    )
    assert config.http.token_secret == Secret("t" * 32)
    assert (config.free_tier.credit_percent, config.free_tier.daily_budget_sats.elite) == (25, 2_000)
    assert Keys.from_text(config.nostr.secret_key.reveal()).public_key == Keys.from_hex(secret).public_key
    assert (config.nostr.relays, config.nostr.kinds) == (("ws://127.0.0.1:1", "ws://127.0.0.1:2"), (5100,))
    assert (config.http.host, config.http.port) == ("127.0.0.2", 6000)
    assert config.ledger.sqlite_path == tmp_path / ".timmy" / "old.db"
    assert config.nostr.owner_pubkey == "ab" * 32
    assert config.http.public_url == "http://localhost:6000"
    assert config.pay_route
    assert all(note.endswith("has no effect in this version yet") for note in config.notes)


def test_todays_name_wins_over_the_old_one_and_that_over_the_file(with_environment):
    text = BOTH + "[http]\nport = 1\n"
    assert with_environment(text, TIMMY_HTTP_PORT="2").http.port == 2
    assert with_environment(text, TIMMY_HTTP_PORT="2", TIMMY_HTTP__PORT="3").http.port == 3
    assert with_environment(text, TIMMY_HTTP_PORT="x").http.port == 1, "a bad old number leaves the file's"


def test_an_old_text_that_is_wrong_is_refused(with_environment):
    assert refusal(with_environment, TIMMY_RELAYS="nonsense").endswith("(from TIMMY_RELAYS)")
    assert refusal(with_environment, TIMMY_NSEC="nonsense").endswith("(from TIMMY_NSEC)")


@pytest.mark.parametrize("variable", [name for name, old in OLD_NAMES.items() if old.key is None])
def test_what_belongs_to_parts_not_built_is_accepted_and_said(with_environment, variable):
    """ENV-07, ENV-08."""
    (note,) = with_environment(**{variable: "abc"}).notes
    assert note.startswith(f"{variable} is ignored: ")
    assert OLD_NAMES[variable].note


# --- LNbits (LNB-01)


def test_both_lnbits_variables_choose_lnbits(with_environment):
    """LNB-01, ENV-01."""
    config = with_environment(LNBITS_URL="http://127.0.0.1:5000", LNBITS_API_KEY="k" * 32)
    assert config.lightning.backend == "lnbits"
    assert config.lightning.lnbits.url == "http://127.0.0.1:5000"
    assert config.lightning.lnbits.read_key() == Secret("k" * 32)


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"LNBITS_URL": "http://127.0.0.1:5000"}, "LNBITS_API_KEY"),
        ({"LNBITS_URL": "http://127.0.0.1:5000", "LNBITS_API_KEY": " "}, "LNBITS_API_KEY"),
        ({"LNBITS_API_KEY": "k" * 32}, "LNBITS_URL"),
        ({"LNBITS_URL": "x"}, "LNBITS_API_KEY"),
    ],
)
def test_half_set_lnbits_is_refused(with_environment, environ, missing):
    """LNB-01, ENV-01."""
    said = refusal(with_environment, **environ)
    assert f"{missing} is not; set both or none" in said
    assert "k" * 32 not in said


def test_the_variable_and_the_file_may_complete_each_other(with_environment, tmp_path):
    (tmp_path / "k").touch(mode=0o600)
    (tmp_path / "k").write_text("k" * 32)
    text = '[agent]\nbackend="offline"\n[lightning]\nbackend="lnbits"\n[lightning.lnbits]\nkey_file="k"\n'
    assert with_environment(text, LNBITS_URL="http://127.0.0.1:5000").lightning.lnbits.read_key() == Secret(
        "k" * 32
    )


def test_a_wallet_that_the_file_names_is_not_changed_behind_its_back(with_environment):
    config = with_environment(BOTH, LNBITS_URL="http://127.0.0.1:5000", LNBITS_API_KEY="k" * 32)
    assert config.lightning.backend == "simulated"
    assert config.notes == ('LNBITS_URL and LNBITS_API_KEY are ignored: lightning.backend is "simulated"',)


# --- keys that are the user's own, and keys that cost money


def test_the_users_own_nostr_key_and_wallet_are_never_looked_at():
    environ = Environment(HOME="/nowhere", NOSTR_SECRET_KEY="01" * 32, NWC_URL="nostr+walletconnect://x")
    config = load(None, environ)
    assert not environ.asked & {"NOSTR_SECRET_KEY", "NWC_URL"}
    assert list(config.loaded_secrets()) == []
    assert config.lightning.backend == "simulated"


def test_an_api_key_alone_leaves_the_agent_offline_and_says_how_to_change_that(with_environment):
    config = with_environment(ANTHROPIC_API_KEY="sk-ant-x")
    assert config.agent.backend == "offline"
    (note,) = config.notes
    assert "stays offline" in note
    assert "TIMMY_AGENT__BACKEND=anthropic" in note
    assert (
        with_environment(ANTHROPIC_API_KEY="sk-ant-x", TIMMY_AGENT__BACKEND="anthropic").agent.backend
        == "anthropic"
    )
    assert with_environment(BOTH, ANTHROPIC_API_KEY="sk-ant-x").notes == (), "the file chose offline itself"


def test_every_loaded_secret_can_be_registered_with_the_log(with_environment):
    config = with_environment(ANTHROPIC_API_KEY="sk-ant-xyz-0", TIMMY_NSEC="01" * 32)
    assert len([redact(secret.reveal()) for secret in config.loaded_secrets()]) == 2
