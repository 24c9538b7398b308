"""The configuration file: defaults, refusals that name the key and its source, places of files, secrets."""

import copy
import json
import logging
import pickle
from decimal import Decimal
from pathlib import Path

import pytest

from timmy_dvm.config import Config, ConfigError, Secret, find_config, home_folder, is_loopback, load, read_secret

CANARY = "canary-0123456789abcdef0123456789abcdef"
BOTH = '[agent]\nbackend = "offline"\n[lightning]\nbackend = "simulated"\n'


@pytest.fixture
def instance(tmp_path):
    """Write a file and load it: the two backends are named unless the text does."""

    def make(text="", environ=None, *, named=True, data_dir=None):
        path = tmp_path / "timmy.toml"
        path.write_text((BOTH if named else "") + text)
        return load(path, environ or {}, data_dir)

    return make


def problem(instance, text, **more):
    with pytest.raises(ConfigError) as caught:
        instance(text, **more)
    return str(caught.value)


def secret_file(path, text=CANARY, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_without_a_file_everything_is_embedded_and_offline(tmp_path):
    """PHA-12, ENV-11."""
    config = load(None, {"HOME": str(tmp_path)})
    assert (config.agent.backend, config.lightning.backend) == ("offline", "simulated")
    assert (config.http.host, config.http.port) == ("127.0.0.1", 5050)
    assert config.nostr.relays == ()
    assert config.data_dir == tmp_path / ".timmy"
    assert config.ledger.sqlite_path == tmp_path / ".timmy" / "timmy.db"
    assert config.nostr.secret_key_file == tmp_path / ".timmy" / "nostr.key"
    assert config.notes == ()
    assert config.origins == {}
    assert not (tmp_path / ".timmy").exists(), "loading writes nothing"


def test_the_defaults_are_those_of_the_design(tmp_path):
    """PHA-11, ENV-06."""
    config = load(None, {"HOME": str(tmp_path)})
    assert config.pricing.eval_fee_sats == 2
    assert config.pricing.margin_percent == 40
    assert config.pricing.infra_micro_usd == 500
    assert config.pricing.btc_usd_fallback == 100_000
    rates = config.pricing.rates
    assert rates.for_model(config.agent.anthropic.eval_model).input_micro_usd_per_million == 1_000_000
    assert rates.for_model(config.agent.anthropic.eval_model).output_micro_usd_per_million == 5_000_000
    assert rates.for_model(config.agent.anthropic.work_model).input_micro_usd_per_million == 3_000_000
    assert rates.for_model(config.agent.anthropic.work_model).output_micro_usd_per_million == 15_000_000
    assert rates.for_model("something-new").output_micro_usd_per_million >= 15_000_000
    assert config.free_tier.daily_budget_sats.model_dump() == {
        "new": 0, "established": 50, "trusted": 200, "elite": 1_000,
    }  # fmt: skip
    assert (config.free_tier.pool_start_sats, config.free_tier.credit_percent) == (10_000, 10)
    assert (config.trust.established, config.trust.trusted, config.trust.elite) == (10, 50, 80)
    assert (config.trust.rejected_points, config.trust.failed_points) == (5, 1)
    assert (config.limits.request_chars, config.limits.relay_request_chars) == (500, 16_000)
    assert (config.limits.body_bytes, config.limits.header_bytes) == (65_536, 8_192)
    assert config.limits.model_micro_usd_per_day == 5_000_000


REFUSED = [
    # text, what the message says
    ("[http]\nport = 70000", "http.port: 70000 is too large: at most 65535 (from timmy.toml)"),
    ("[http]\nport = -1", "http.port: -1 is too small: at least 0 (from timmy.toml)"),
    ('[http]\nport = "5050"', "http.port: '5050' is not a whole number (from timmy.toml)"),
    ("[http]\nport = 5050.5", "http.port: is not a whole number (from timmy.toml)"),
    ("[http]\nport = true", "http.port: True is not a whole number (from timmy.toml)"),
    ("[http]\nprot = 1", "http.prot: is not a key of Timmy; did you mean http.port? (from timmy.toml)"),
    ("[htpp]\nport = 1", "htpp: is not a key of Timmy; did you mean http? (from timmy.toml)"),
    ("[nostr]\nopen_jobs = 1", "nostr.open_jobs: 1 is neither true nor false (from timmy.toml)"),
    ("[nostr]\nkinds = [5050, 1]", "nostr.kinds: 1 is too small: at least 5000 (from timmy.toml)"),
    ("[nostr]\nkinds = []", "nostr.kinds: has too few entries: at least 1 (from timmy.toml)"),
    ('[nostr]\nrelays = "ws://127.0.0.1"', "nostr.relays: is not a list (from timmy.toml)"),
    ('[nostr]\nrelays = ["http://127.0.0.1"]', "nostr.relays: is not an address that starts with wss:// or ws://"),
    ('[nostr]\nowner_pubkey = "me"', "nostr.owner_pubkey: 'me' is not a public key"),
    (
        '[trust]\nfollows_tier = "trusted"',
        "nostr.owner_pubkey: is needed, for trust.follows_tier lifts whom that key follows (from timmy.toml)",
    ),
    ('[trust]\nfollows_tier = "new"', "trust.follows_tier: "),
    (
        f'[trust]\nrank_providers = ["{"a" * 64} wss://a.example"]',
        "trust.rank_established: is needed, or rank_trusted or rank_elite",
    ),
    (
        "[trust]\nrank_established = 70\nrank_trusted = 70",
        "trust: rank_established, rank_trusted and rank_elite must rise",
    ),
    ("[trust]\nrank_elite = 101", "trust.rank_elite: 101 is too large: at most 100"),
    ('[trust]\nrank_providers = ["wss://a.example"]', "trust.rank_providers: "),
    (f'[trust]\nrank_providers = ["{"a" * 64} https://a.example"]', "trust.rank_providers: "),
    (f'[trust]\nrank_providers = ["{"a" * 64}  wss://a.example"]', "trust.rank_providers: "),
    (
        f"[trust]\nrank_providers = [{', '.join(4 * [repr('a' * 64 + ' wss://a.example')])}]",
        "trust.rank_providers: ",
    ),
    (
        '[nostr]\nlud16 = "timmy"',
        "nostr.lud16: 'timmy' is not an address like timmy@domain.example, in lower case",
    ),
    ('[nostr]\nnip05 = "a@b@c"', "nostr.nip05: 'a@b@c' is not an address like timmy@domain.example"),
    ('[nostr]\nname = ""', "nostr.name: '' is empty"),
    ('[http]\npublic_url = "timmy.example"', "http.public_url: 'timmy.example' is not an address"),
    ('[http]\ncors_origins = ["*"]', "http.cors_origins: '*' is refused: name each origin"),
    ('[http]\ncors_origins = ["https://a.example/x"]', "http.cors_origins: is an origin"),
    ('[http]\ntrusted_proxies = ["proxy"]', "http.trusted_proxies: 'proxy' is not an IP address"),
    ("[limits]\nmodel_usd_per_day = nan", "limits.model_usd_per_day: is not a number (from timmy.toml)"),
    ("[limits]\nmodel_usd_per_day = 0.0000001", "limits.model_usd_per_day: has too many decimals"),
    ("[trust]\ntrusted = 90", "trust: established, trusted and elite must rise (from timmy.toml)"),
    ("[pricing]\nshort_chars = 300", "pricing: short_chars must be below medium_chars (from timmy.toml)"),
    ("[limits]\nsession_min_sats = 2_000_000", "limits: session_min_sats must not be above session_max_sats"),
    ('[ledger]\nurl = "sqlite:///:memory:"', "ledger.url: names no file"),
    ('[ledger]\nurl = "mysql://x"', "ledger.url: starts with sqlite:/// or postgresql:// (from timmy.toml)"),
    ("[ledger]\nurl = 5", "ledger.url: 5 is not a text (from timmy.toml)"),
    ("http = 5", "http: is a table, write [http] (from timmy.toml)"),
    ("= 5", "timmy.toml: Invalid statement (at line"),
    ("[http]\nport = 1\nport = 2", "timmy.toml: Cannot overwrite a value"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_mistake_in_the_file_is_refused_by_name(instance, text, message):
    said = problem(instance, text + "\n" + BOTH, named=False)
    assert message in said
    assert len(said.splitlines()) == 1


def test_all_mistakes_are_told_at_once(instance):
    said = problem(instance, "[http]\nport = -1\nprot = 2\n[dev]\npay_route = 3")
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize("backend", ["agent", "lightning"])
def test_a_file_names_both_backends(instance, backend):
    tables = {"agent": '[agent]\nbackend = "offline"\n', "lightning": '[lightning]\nbackend = "simulated"\n'}
    del tables[backend]
    said = problem(instance, "".join(tables.values()), named=False)
    assert said.startswith(f"{backend}.backend: has to be named in a configuration file: ")
    assert said.endswith("(from timmy.toml)")


def test_the_simulated_wallet_stays_on_this_machine(instance):
    said = problem(instance, '[nostr]\nrelays = ["ws://127.0.0.1:1", "wss://relay.example"]')
    assert said.startswith("nostr.relays: wss://relay.example is not on this machine")
    config = instance('[nostr]\nrelays = ["ws://127.0.0.1:1", "ws://localhost:2", "ws://[::1]:3"]')
    assert len(config.nostr.relays) == 3


@pytest.mark.parametrize("address", ['host = "0.0.0.0"', 'public_url = "https://timmy.example"', 'host = "box"'])
def test_the_dev_pay_route_and_a_public_address_exclude_each_other(instance, address):
    """LNB-05."""
    said = problem(instance, f"[http]\n{address}\n[dev]\npay_route = true")
    assert said.startswith("dev.pay_route: would let anybody pay")
    assert not instance(f"[http]\n{address}").pay_route, "left out, it is simply off"


def test_the_dev_pay_route_is_on_by_itself_only_with_the_simulated_wallet_on_loopback(instance, tmp_path):
    assert instance().pay_route
    assert not instance("[dev]\npay_route = false").pay_route
    secret_file(tmp_path / "k")
    lnbits = '[agent]\nbackend="offline"\n[lightning]\nbackend="lnbits"\nlnbits={url="http://127.0.0.1:1",key_file="k"}\n'
    assert not instance(lnbits, named=False).pay_route
    assert instance(lnbits + "[dev]\npay_route = true", named=False).pay_route


@pytest.mark.parametrize(
    ("backend", "missing"),
    [
        ("lnbits", ["lightning.lnbits.url", "lightning.lnbits.key_file"]),
        ("nwc", ["lightning.nwc.uri_file"]),
        ("lnd", ["lightning.lnd.url", "lightning.lnd.macaroon_file"]),
        ("phoenixd", ["lightning.phoenixd.url", "lightning.phoenixd.password_file"]),
        ("cln", ["lightning.cln.url", "lightning.cln.rune_file"]),
    ],
)
def test_a_wallet_without_its_keys_is_refused(instance, backend, missing):
    said = problem(instance, f'[agent]\nbackend="offline"\n[lightning]\nbackend = "{backend}"', named=False)
    assert [line.partition(":")[0] for line in said.splitlines()] == missing


def test_claude_without_an_api_key_is_refused(instance):
    text = '[agent]\nbackend="anthropic"\n[lightning]\nbackend="simulated"'
    assert problem(instance, text, named=False).startswith("agent.anthropic.api_key_file: is needed")
    config = instance(text, {"ANTHROPIC_API_KEY": CANARY}, named=False)
    assert config.agent.anthropic.read_api_key() == Secret(CANARY)


def test_relative_paths_count_from_the_file_and_data_lie_beside_it(instance, tmp_path):
    secret_file(tmp_path / "admin.token")
    config = instance('[http]\nadmin_token_file = "admin.token"\n[ledger]\nurl = "sqlite:///deep/er.db"')
    assert config.http.admin_token_file == tmp_path / "admin.token"
    assert config.ledger.sqlite_path == tmp_path / "deep" / "er.db"
    assert config.data_dir == tmp_path
    other = tmp_path / "elsewhere"
    moved = instance(data_dir=other)
    assert moved.ledger.sqlite_path == other / "timmy.db"
    assert moved.http.token_secret_file == other / "token.secret"
    absolute = instance('[ledger]\nurl = "sqlite:////srv/timmy.db"')
    assert absolute.ledger.sqlite_path == Path("/srv/timmy.db")
    assert instance('[ledger]\nurl = "postgresql://db/timmy"').ledger.sqlite_path is None


def test_the_embedded_relay_takes_any_port_unless_one_is_named(instance):
    assert instance().nostr.relay_ports == (7447, 0)
    assert instance("[nostr]\nrelay_port = 7447").nostr.relay_ports == (7447,)
    assert instance("[nostr]\nrelay_port = 0").nostr.relay_ports == (0,)


def test_an_instance_is_found_in_the_documented_order(tmp_path):
    cwd, home = tmp_path / "cwd", tmp_path / "home"
    (home / ".timmy").mkdir(parents=True)
    cwd.mkdir()
    environ = {"HOME": str(home)}
    assert find_config(None, environ, cwd) is None
    assert home_folder(environ) == home / ".timmy"
    (home / ".timmy" / "timmy.toml").touch()
    assert find_config(None, environ, cwd) == home / ".timmy" / "timmy.toml"
    (cwd / "timmy.toml").touch()
    assert find_config(None, environ, cwd) == cwd / "timmy.toml"
    assert find_config(None, environ | {"TIMMY_CONFIG": "/x/y.toml"}, cwd) == Path("/x/y.toml")
    assert find_config(Path("/a.toml"), environ | {"TIMMY_CONFIG": "/x/y.toml"}, cwd) == Path("/a.toml")


def test_a_named_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no configuration file .*; `timmy init` writes one"):
        load(tmp_path / "none.toml", {})


# --- secrets


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_secret_file_open_to_others_is_refused(instance, tmp_path, mode):
    secret_file(tmp_path / "admin.token", mode=mode)
    said = problem(instance, '[http]\nadmin_token_file = "admin.token"')
    assert said.startswith("http.admin_token_file: ")
    assert "run: chmod 600" in said
    assert CANARY not in said


def test_the_default_key_file_is_checked_once_it_exists(instance, tmp_path):
    secret_file(tmp_path / "nostr.key", mode=0o644)
    assert problem(instance, "").startswith("nostr.secret_key_file: ")


def test_a_named_secret_file_has_to_be_there(instance):
    said = problem(instance, '[nostr]\nsecret_key_file = "mispelt.key"')
    assert said.startswith("nostr.secret_key_file: there is no file")


def test_a_secret_does_not_belong_in_the_configuration_file(instance):
    said = problem(instance, f'[lightning.lnbits]\nkey = "{CANARY}"')
    assert said.startswith("lightning.lnbits.key: a secret does not belong in this file")
    assert CANARY not in said


def test_reading_a_secret(tmp_path):
    assert read_secret(secret_file(tmp_path / "a", f"  {CANARY}\n")).reveal() == CANARY
    binary = tmp_path / "macaroon"
    binary.write_bytes(b"\x02\x01\x03lnd\xff\x00")
    binary.chmod(0o400)
    assert read_secret(binary).reveal() == "0201036c6e64ff00"
    for bad in (secret_file(tmp_path / "empty", " \n"), secret_file(tmp_path / "big", "x" * 20_000), tmp_path):
        with pytest.raises(ConfigError, match=str(bad)):
            read_secret(bad)


def test_a_secret_shows_itself_to_nobody(caplog):
    secret = Secret(CANARY)
    logging.getLogger("x").warning("%s %r", secret, secret)
    shown = f"{secret} {secret!r} {[secret]} {caplog.text}"
    assert CANARY not in shown
    assert secret == Secret(CANARY)
    assert secret != Secret("other")
    assert secret != CANARY
    with pytest.raises(TypeError):
        json.dumps(secret)
    for travel in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            travel(secret)


def test_no_dump_of_a_configuration_shows_a_secret(instance, tmp_path):
    environ = {
        "TIMMY_NOSTR__SECRET_KEY": "ca" * 32,
        "TIMMY_HTTP__ADMIN_TOKEN": CANARY,
        "TIMMY_HTTP__TOKEN_SECRET": CANARY,
        "TIMMY_AGENT__ANTHROPIC__API_KEY": CANARY,
        "TIMMY_LIGHTNING__LNBITS__KEY": CANARY,
        "TIMMY_LIGHTNING__NWC__URI": CANARY,
        "TIMMY_LIGHTNING__LND__MACAROON": CANARY,
        "TIMMY_LIGHTNING__PHOENIXD__PASSWORD": CANARY,
        "TIMMY_LIGHTNING__CLN__RUNE": CANARY,
        "TIMMY_LEDGER__URL": f"postgresql://timmy:{CANARY}@db.example/timmy?sslpassword={CANARY}",
        "TIMMY_LIGHTNING__LNBITS__URL": f"https://u:{CANARY}@lnbits.example",
        "TIMMY_PRICING__PRICE_URLS": f"https://u:{CANARY}@price.example/?apikey={CANARY}",
    }
    config = instance("", environ)
    tables = [getattr(config, name) for name in Config.model_fields]
    shown = f"{config!r} {config} {config!s} {tables} {json.dumps(config.as_public_dict())}"
    assert CANARY not in shown
    assert "ca" * 32 not in shown
    assert len(list(config.loaded_secrets())) == 9
    assert config.as_public_dict()["ledger"]["url"] == "postgresql://***@db.example/timmy?***"


def test_no_refusal_repeats_a_secret(instance):
    bad = {"TIMMY_NOSTR__SECRET_KEY": CANARY, "TIMMY_HTTP__TOKEN_SECRET": CANARY[:20], "TIMMY_HTTP__PORT": "x"}
    said = problem(instance, "", environ=bad)
    assert CANARY[:20] not in said
    said = problem(instance, "", environ=bad | {"TIMMY_HTTP__PORT": "0"})
    assert CANARY[:20] not in said
    assert len(said.splitlines()) == 2


def test_a_configuration_is_immutable(instance):
    config = instance()
    with pytest.raises(ValueError, match="frozen"):
        config.http.port = 1
    with pytest.raises(ValueError, match="frozen"):
        config.data_dir = Path("/")


def test_the_public_form_has_every_key_but_the_secrets(instance):
    shown = instance("[limits]\nmodel_usd_per_day = 2.5").as_public_dict()
    assert shown["http"]["port"] == 5050
    assert shown["limits"]["model_usd_per_day"] == 2.5
    assert shown["pricing"]["rates"]["haiku"]["input_usd_per_million"] == 1
    assert "key" not in shown["lightning"]["lnbits"]
    assert shown["origins"]["limits.model_usd_per_day"] == "timmy.toml"
    assert json.loads(json.dumps(shown)) == shown


def test_money_in_dollars_is_exact(instance):
    config = instance("[limits]\nmodel_usd_per_day = 0.1\n[pricing.rates.haiku]\ninput_usd_per_million = 0.3")
    assert config.limits.model_usd_per_day == Decimal("0.1")
    assert config.limits.model_micro_usd_per_day == 100_000
    assert config.pricing.rates.haiku.input_micro_usd_per_million == 300_000


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "LOCALHOST")],
        *[(host, False) for host in ("::", "localhost.example", "10.0.0.1", "", "127.1", "0" + ".0.0.0")],
    ],
)
def test_only_what_surely_is_this_machine_counts_as_loopback(host, expected):
    assert is_loopback(host) is expected
