"""Rules that join several keys: what a backend needs, what must never be public, which files must be closed."""

from collections.abc import Iterator, Mapping
from typing import Final

from timmy_dvm.config.errors import ConfigError
from timmy_dvm.config.fields import host_of, is_loopback, mask_password
from timmy_dvm.config.model import Config
from timmy_dvm.config.schema import all_keys
from timmy_dvm.config.secret import check_secret_file
from timmy_dvm.config.sources import Values

MIN_TOKEN_SECRET_CHARS: Final = 32
"""A shorter one can be guessed; `openssl rand -hex 32` gives 64 characters, 256 bits."""

MIN_ADMIN_TOKEN_CHARS: Final = 16

SECRET_FILES: Final = (
    "nostr.secret_key_file",
    "http.admin_token_file",
    "http.token_secret_file",
    "http.token_previous_secret_file",
    "agent.anthropic.api_key_file",
    "lightning.lnbits.key_file",
    "lightning.nwc.uri_file",
    "lightning.lnd.macaroon_file",
    "lightning.phoenixd.password_file",
    "lightning.cln.rune_file",
)

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "lnbits": ("url", "key"),
    "nwc": ("uri",),
    "lnd": ("url", "macaroon"),
    "phoenixd": ("url", "password"),
    "cln": ("url", "rune"),
}
"""What each wallet's table has to hold. All but `url` are secrets: themselves, or the file with `_file`."""


def choose_lnbits(values: Values, environ: Mapping[str, str]) -> None:
    """LNBITS_URL and LNBITS_API_KEY together choose the LNbits wallet, unless another one is named (LNB-01)."""
    url, key = (environ.get(name, "").strip() for name in ("LNBITS_URL", "LNBITS_API_KEY"))
    if not url and not key:
        return
    named = values.values.get("lightning.backend")
    if named not in {None, "lnbits"}:
        values.notes.append(f'LNBITS_URL and LNBITS_API_KEY are ignored: lightning.backend is "{named}"')
        return
    table = "lightning.lnbits."
    if f"{table}url" not in values.values:
        values.problems.append("lightning.lnbits.url: LNBITS_API_KEY is set, LNBITS_URL is not; set both or none")
    elif not {f"{table}key", f"{table}key_file"} & values.values.keys():
        values.problems.append("lightning.lnbits.key: LNBITS_URL is set, LNBITS_API_KEY is not; set both or none")
    elif named is None:
        values.set("lightning.backend", "lnbits", "LNBITS_URL")


def check_named(values: Values, origin: str) -> None:
    """A configuration file names both backends, so that nobody serves canned answers by oversight (D17)."""
    for name in ("agent.backend", "lightning.backend"):
        if name not in values.values:
            choices = " or ".join(f'"{choice}"' for choice in _choices(name))
            values.problems.append(f"{name}: has to be named in a configuration file: {choices} (from {origin})")


def problems_of(config: Config) -> Iterator[str]:
    """Everything that forbids to start with this configuration, one line each."""
    yield from _missing(config)
    yield from _nobody_to_ask(config)
    yield from _too_public(config)
    yield from _bad_secrets(config)
    if config.bootstrap.do_api_token is not None:
        yield (
            "bootstrap.do_api_token: real machines are not offered in this version; take the token out, and nodes "
            f"are stubs {_at(config, 'bootstrap.do_api_token')}"
        )


def notes_of(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """What the owner should know though it forbids nothing."""
    if config.file is None and config.agent.backend == "offline" and environ.get("ANTHROPIC_API_KEY", "").strip():
        yield (
            "ANTHROPIC_API_KEY is set, but without a configuration the agent stays offline and costs nothing; "
            "TIMMY_AGENT__BACKEND=anthropic or `timmy init` changes that"
        )
    if config.is_public and config.http.public_url is None:
        yield "http.public_url is not set, so links and pay pages will name an address others may not reach"


def _missing(config: Config) -> Iterator[str]:
    backend = config.lightning.backend
    if backend in NEEDS:
        table = getattr(config.lightning, backend)
        for need in NEEDS[backend]:
            yield from _missing_in(config, f"lightning.{backend}.{need}", table, "lightning.backend")
    if config.agent.backend == "anthropic":
        yield from _missing_in(config, "agent.anthropic.api_key", config.agent.anthropic, "agent.backend")


def _nobody_to_ask(config: Config) -> Iterator[str]:
    if config.trust.follows_tier and config.nostr.owner_pubkey is None:
        yield (
            "nostr.owner_pubkey: is needed, for trust.follows_tier lifts whom that key follows "
            f"{_at(config, 'trust.follows_tier')}"
        )

    if config.trust.rank_providers and not config.trust.rank_tiers:
        yield (
            "trust.rank_established: is needed, or rank_trusted or rank_elite: without one the ranks of "
            f"trust.rank_providers lift nobody {_at(config, 'trust.rank_providers')}"
        )


def _missing_in(config: Config, name: str, table: object, because: str) -> Iterator[str]:
    need = name.rpartition(".")[2]
    if getattr(table, need) is not None or getattr(table, f"{need}_file", None) is not None:
        return
    key = all_keys()[name]
    shown, hint = (f"{name}_file", f", or give {key.env_name}") if key.secret else (name, "")
    yield f"{shown}: is needed{hint}, for {because} is {_backend(config, because)!r} {_at(config, because)}"


def _too_public(config: Config) -> Iterator[str]:
    if config.lightning.backend == "simulated":
        for url in config.nostr.relays:
            if not is_loopback(host_of(url)):
                yield (
                    f"nostr.relays: {mask_password(url)} is not on this machine, and nobody can pay the simulated "
                    f"wallet's invoices; name a real lightning.backend {_at(config, 'nostr.relays')}"
                )
    if config.dev.pay_route and config.is_public:
        yield (
            "dev.pay_route: would let anybody pay from Timmy's wallet, for http.host or http.public_url is not "
            f"loopback; take one of them out {_at(config, 'dev.pay_route')}"
        )


def _bad_secrets(config: Config) -> Iterator[str]:
    for name in SECRET_FILES:
        table = config
        *path, last = name.split(".")
        for part in path:
            table = getattr(table, part)
        file = getattr(table, last)
        if file is None or (name not in config.origins and not file.exists()):
            continue  # a default file that is not there yet will be made
        try:
            check_secret_file(file)
        except ConfigError as error:
            yield f"{name}: {error} {_at(config, name)}"
    for name, least in (
        ("token_secret", MIN_TOKEN_SECRET_CHARS),
        ("token_previous_secret", MIN_TOKEN_SECRET_CHARS),
        ("admin_token", MIN_ADMIN_TOKEN_CHARS),
    ):
        secret = getattr(config.http, name)
        if secret is not None and len(secret.reveal()) < least:
            yield f"http.{name}: {too_short(least)} {_at(config, f'http.{name}')}"
    if config.nostr.secret_key is not None:
        # Imported here: it loads libsecp256k1, and most instances keep their key in a file.
        from relay_client.errors import InvalidKey
        from relay_client.keys import Keys

        try:
            Keys.from_text(config.nostr.secret_key.reveal())
        except InvalidKey as error:
            yield f"nostr.secret_key: {error} {_at(config, 'nostr.secret_key')}"


def too_short(least: int) -> str:
    """What to do about a secret that has fewer characters."""
    return f"is shorter than {least} characters and could be guessed; `openssl rand -hex 32` makes one"


def _backend(config: Config, name: str) -> str:
    return config.agent.backend if name == "agent.backend" else config.lightning.backend


def _at(config: Config, name: str) -> str:
    origin = config.origins.get(name)
    return f"(from {origin})" if origin else "(default)"


def _choices(name: str) -> tuple[str, ...]:
    choices: tuple[str, ...] = all_keys()[name].field.annotation.__args__  # type: ignore[union-attr] # a Literal
    return choices
