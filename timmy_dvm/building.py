"""From the configuration to the parts it names: policy, prices, wallet, agent. Used by ``app`` alone.

Only here is a concrete backend named. Everything heavy is imported where it is built, so a bot with the offline
agent never loads the SDK of another.
"""

import ipaddress
from collections.abc import Iterable

from ledger.accounts import POOL
from ledger.money import Msats, msats_from_sats
from lightning import lnurl
from lightning.backend import Lightning
from relay_client.dial import Outside
from relay_client.errors import InvalidKey
from relay_client.http_fetch import fetch_document
from relay_client.keys import Keys, parse_public_key
from relay_client.pool import RelayPool
from relay_client.strangers import refuse_to_dial
from timmy_dvm.agent.runner import Agent
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.config import Config, ConfigError, Secret, host_of, is_loopback
from timmy_dvm.config.checks import MIN_ADMIN_TOKEN_CHARS, MIN_TOKEN_SECRET_CHARS, too_short
from timmy_dvm.config.money_tables import DailyBudgetTable, FreeTierTable, PricingTable, TrustTable
from timmy_dvm.core.free_tier import DailyBudgets, Newcomers
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import BtcPrice, Freshness, ModelRate, PriceList
from timmy_dvm.core.trust import TrustRules
from timmy_dvm.http.tokens import SigningKey, Tokens
from timmy_dvm.identity import load_or_create_key, load_or_create_token
from timmy_dvm.log import get_logger, redact
from timmy_dvm.nostr.announce import Card
from timmy_dvm.nostr.dialling import dialler_of
from timmy_dvm.prices import Fetch, FixedPrice, LivePrice, Memory, PriceSource
from timmy_dvm.resolver import SystemResolver

_WALLETS = ("lnbits", "simulated")
SIMULATED_BALANCE = msats_from_sats(100_000)
"""What a new simulated wallet holds, so that refunds can be shown from the first job on."""


def check(config: Config) -> None:
    """What the configuration asks of this version, before anything is opened.

    Raises:
        ConfigError: something that is not offered yet.
    """
    if config.ledger.sqlite_path is None:
        raise ConfigError("ledger.url: this version keeps its ledger in SQLite; take sqlite:///timmy.db")
    if config.lightning.backend not in _WALLETS:
        offered = " or ".join(_WALLETS)
        raise ConfigError(f"lightning.backend: {config.lightning.backend} is not offered yet; take {offered}")


def prices_of(config: Config, *models: str) -> PriceList:
    """The price list, with a rate for each model that may be used."""
    table = config.pricing
    known = [_rate(table, "haiku", "haiku"), _rate(table, "sonnet", "sonnet"), _rate(table, "offline", "sonnet")]
    known += [_rate(table, name.lower(), name) for name in models if not _has_family(name)]
    return PriceList(
        eval_fee_sats=table.eval_fee_sats,
        margin_percent=table.margin_percent,
        infra_micro_usd=table.infra_micro_usd,
        rates=tuple(known),
        short_chars=table.short_chars,
        medium_chars=table.medium_chars,
        short_tokens=table.short_output_tokens,
        medium_tokens=table.medium_output_tokens,
        long_tokens=table.long_output_tokens,
    )


def _has_family(model: str) -> bool:
    return any(family in model.lower() for family in ("haiku", "sonnet", "offline"))


def _rate(table: PricingTable, family: str, priced_as: str) -> ModelRate:
    rate = table.rates.for_model(priced_as)
    return ModelRate(family, rate.input_micro_usd_per_million, rate.output_micro_usd_per_million)


def policy_of(config: Config, agent: Agent, wallet: Lightning) -> Policy:
    """What the operator decided, as the core wants it."""
    limits = config.limits
    asked_for = config.agent.anthropic.customer_models if config.agent.backend == "anthropic" else ()
    models = tuple(dict.fromkeys((agent.work_model, *asked_for)))
    return Policy(
        prices=prices_of(config, agent.eval_model, *models),
        work_models=models,
        http_request_chars=limits.request_chars,
        relay_request_chars=limits.relay_request_chars,
        open_jobs_per_key=limits.open_jobs_per_key,
        jobs_per_key_minute=limits.jobs_per_key_minute,
        open_invoices=limits.open_invoices,
        open_donations=limits.open_donations,
        http_invoice_s=config.pricing.http_invoice_minutes * 60,
        relay_invoice_s=config.pricing.relay_invoice_minutes * 60,
        topup_max=msats_from_sats(limits.topup_max_sats),
        session_min=msats_from_sats(limits.session_min_sats),
        session_max=msats_from_sats(limits.session_max_sats),
        bootstrap_fee=msats_from_sats(config.bootstrap.fee_sats),
        session_idle_s=limits.session_idle_days * 86_400,
        trust=trust_of(config.trust),
        daily_budgets=budgets_of(config.free_tier.daily_budget_sats),
        newcomers=newcomers_of(config.free_tier),
        eval_model=agent.eval_model,
        # The offline agent has a price, so that a demo shows real ones, and costs nothing.
        model_micro_usd_per_day=0 if config.agent.backend == "offline" else limits.model_micro_usd_per_day,
        min_work_bits=config.nostr.min_pow_bits_new,
        lifetime_factor=config.free_tier.lifetime_factor,
        pool_credit_percent=config.free_tier.credit_percent,
        fee_per_refund=msats_from_sats(limits.refund_fee_sats),
        fee_per_day=msats_from_sats(limits.refund_fees_per_day_sats),
        asks_profiles=config.lightning.backend != "simulated",
        wallet_limits_fees=wallet.caps.fee_limit,
    )


def trust_of(table: TrustTable) -> TrustRules:
    """How trust is earned and lost."""
    return TrustRules(
        established=table.established,
        trusted=table.trusted,
        elite=table.elite,
        paid_points=table.paid_points,
        large_paid_points=table.large_paid_points,
        large_paid=msats_from_sats(table.large_paid_sats),
        rejected_points=table.rejected_points,
        failed_points=table.failed_points,
        decay_after_days=table.decay_after_days,
        decay_points_per_day=table.decay_points_per_day,
    )


def budgets_of(table: DailyBudgetTable) -> DailyBudgets:
    """What each tier may draw on the pool in a day."""
    return DailyBudgets(
        new=msats_from_sats(table.new),
        established=msats_from_sats(table.established),
        trusted=msats_from_sats(table.trusted),
        elite=msats_from_sats(table.elite),
    )


def newcomers_of(table: FreeTierTable) -> Newcomers | None:
    """The free answer of a new key, where the owner gives one."""
    if not table.newcomer_allowance:
        return None
    return Newcomers(
        dearest=msats_from_sats(table.newcomer_max_sats),
        per_day=msats_from_sats(table.newcomer_sats_per_day),
        kept_percent=table.history_share_percent,
    )


def owner_of(config: Config) -> str | None:
    """The operator's own public key, hex.

    Raises:
        ConfigError: it is misspelt.
    """
    named = config.nostr.owner_pubkey
    try:
        return None if named is None else parse_public_key(named)
    except InvalidKey as error:
        raise ConfigError(f"nostr.owner_pubkey: {error}") from None


def card_of(config: Config, policy: Policy) -> Card:
    """What is announced of this instance; with one model there is nothing to choose.

    Where it has a public address it has names of its own there, and real sats can be given at them.
    """
    table, public_url = config.nostr, config.http.public_url or ""
    name = lnurl.name_at_home(table.name)
    gifts = lnurl.address_at(name or POOL, public_url) if config.lightning.backend != "simulated" else None
    return Card(
        name=table.name,
        about=table.about,
        kinds=tuple(dict.fromkeys(table.kinds)),
        models=policy.work_models if len(policy.work_models) > 1 else (),
        direct_messages=table.direct_messages,
        picture=table.picture,
        lud16=table.lud16 or gifts,
        nip05=table.nip05 or lnurl.address_at(name or "_", public_url),
    )


def keys_of(config: Config, randomness: Randomness) -> Keys:
    """Timmy's key: the configured one, or its file's, which is made at the first start. No log shows it."""
    given = config.nostr.secret_key
    keys = (
        load_or_create_key(config.nostr.secret_key_file, randomness)
        if given is None
        else Keys.from_text(given.reveal())
    )
    redact(keys.to_nsec())
    return keys


def dials_customers_relays(config: Config) -> bool:
    """Whether relays that customers name are dialled: never with the simulated wallet, for its invoices are play
    money and must not be seen on anybody's relay.
    """
    return config.nostr.customer_relays and config.lightning.backend != "simulated"


def pay_pages_of(relays: Iterable[str], public_url: str) -> str | None:
    """The address under which customers on these relays find each job's pay page; None where it would be our own
    machine's, and they may be on another. Nothing ends in a slash.
    """
    host = host_of(public_url)
    is_anybodys = not is_loopback(host) and not _is_unspecified(host)
    if is_anybodys or all(is_loopback(host_of(url)) for url in relays):
        return f"{public_url}/pay"
    return None


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def token_secret_of(config: Config, randomness: Randomness) -> bytes:
    """What we sign with; made at the first start, and kept in the data folder.

    Raises:
        ConfigError: it can't be read, or could be guessed.
    """
    table = config.http
    if table.token_secret is None and not table.token_secret_file.exists():
        get_logger("http").warning(
            "a secret that signs identity tokens was made; keep the file, or all tokens end with it",
            action="token_secret_made",
            file=str(table.token_secret_file),
        )
    secret = table.token_secret or load_or_create_token(table.token_secret_file, randomness)
    return _strong("http.token_secret_file", secret, MIN_TOKEN_SECRET_CHARS)


def previous_token_secret_of(config: Config) -> bytes | None:
    """What we signed with before, while both count; None: nothing.

    Raises:
        ConfigError: it can't be read, or could be guessed.
    """
    previous = config.http.read_token_previous_secret()
    if previous is None:
        return None
    return _strong("http.token_previous_secret_file", previous, MIN_TOKEN_SECRET_CHARS)


def tokens_of(config: Config, clock: Clock, randomness: Randomness, audience: str) -> Tokens:
    """What signs and reads identity tokens.

    Raises:
        ConfigError: a secret can't be read or could be guessed, or tokens given out now would count for nobody.
    """
    table = config.http
    if table.token_not_before > clock.now():
        raise ConfigError("http.token_not_before: lies ahead, so no token would count; take the time it is now")
    signing = [token_secret_of(config, randomness)]
    previous = previous_token_secret_of(config)
    if previous is not None:
        signing.append(previous)
    return Tokens([SigningKey(secret, table.token_not_before) for secret in signing], audience)


def admin_token_of(config: Config) -> Secret | None:
    """What opens the operator's side from elsewhere; None: only this machine does.

    Raises:
        ConfigError: it can't be read, or could be guessed.
    """
    token = config.http.read_admin_token()
    if token is not None:
        _strong("http.admin_token_file", token, MIN_ADMIN_TOKEN_CHARS)
    return token


def _strong(name: str, secret: Secret, least: int) -> bytes:
    redact(secret.reveal())
    if len(secret.reveal()) < least:
        raise ConfigError(f"{name}: {too_short(least)}")
    return secret.reveal().encode()


def pool_of(config: Config, relays: Iterable[str], keys: Keys, outside: Outside) -> RelayPool:
    """The configured relays; others are dialled at public addresses only."""
    dialler = dialler_of(SystemResolver()) if dials_customers_relays(config) else refuse_to_dial
    return RelayPool(relays, keys=keys, outside=outside, dialler=dialler, fetch=fetch_document)


def price_source_of(config: Config, clock: Clock, memory: Memory, fetch: Fetch) -> PriceSource:
    """Where the bitcoin price comes from. With the simulated wallet it is fixed, on purpose."""
    simulated = config.lightning.backend == "simulated"
    configured = BtcPrice.from_usd(
        config.pricing.btc_usd_fallback,
        source="configuration",
        freshness=Freshness.FIXED if simulated else Freshness.FALLBACK,
        at=int(clock.now()),
    )
    if simulated or not config.pricing.price_urls:
        return FixedPrice(configured)
    return LivePrice(
        config.pricing.price_urls,
        configured,
        fetch=fetch,
        memory=memory,
        clock=clock,
        every_s=config.pricing.price_seconds,
    )


def agent_of(config: Config, clock: Clock, randomness: Randomness) -> Agent:
    """The configured agent.

    Raises:
        ConfigError: it needs a key and there is none.
    """
    table = config.agent
    match table.backend:
        case "offline":
            from timmy_dvm.agent.offline import OfflineAgent

            return OfflineAgent(table.offline.delay_ms / 1_000, sleep=clock.sleep)
        case "anthropic":
            from timmy_dvm.agent.claude import ClaudeAgent

            key = table.anthropic.read_api_key()
            if key is None:
                raise ConfigError("agent.anthropic.api_key_file: the Claude agent needs an API key; name its file")
            redact(key.reveal())
            return ClaudeAgent(
                key.reveal(),
                base_url=table.anthropic.base_url,
                eval_model=table.anthropic.eval_model,
                work_model=table.anthropic.work_model,
                sleep=clock.sleep,
                jitter=randomness.uniform,
            )


def wallet_of(config: Config, clock: Clock, randomness: Randomness) -> Lightning:
    """The configured wallet.

    Raises:
        ConfigError: it lacks an address or a key, or is not built yet.
    """
    table = config.lightning
    match table.backend:
        case "simulated":
            from lightning.simulated import SimulatedWallet

            ledger = config.ledger.sqlite_path
            beside = config.data_dir if ledger is None else ledger.parent
            return SimulatedWallet(
                seed=b"timmy",
                now=clock.now,
                random_bytes=randomness.token,
                path=beside / "simulated-wallet.jsonl",
                balance_msat=Msats(SIMULATED_BALANCE),
            )
        case "lnbits":
            from lightning.lnbits import LnbitsWallet

            key = table.lnbits.read_key()
            if table.lnbits.url is None or key is None:
                raise ConfigError("lightning.lnbits: url and key_file must both be set")
            redact(key.reveal())
            get_logger("lnbits").info("LNbits real mode active", action="wallet", url=table.lnbits.url, stub=False)
            return LnbitsWallet(table.lnbits.url, key.reveal(), network=table.lnbits.network, clock=clock.now)
        case _:
            check(config)
            raise AssertionError("a wallet that is offered is not built")
