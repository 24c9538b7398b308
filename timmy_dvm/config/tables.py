"""The doors, the ledger, the agent and the wallet: what Timmy connects to. Each class is one table of the file."""

from pathlib import Path
from typing import Final, Literal

from timmy_dvm.config.errors import ConfigError
from timmy_dvm.config.fields import (
    Address,
    FilePath,
    KeyHelp,
    Networks,
    Origins,
    PublicKey,
    RelayUrls,
    RequestKinds,
    SecretText,
    Table,
    Text,
    Texts,
    WebUrl,
    key,
)
from timmy_dvm.config.secret import Secret, read_secret

EMBEDDED_RELAY_PORT: Final = 7447
MAX_UNIX_SECONDS: Final = 2**40


class NostrTable(Table):
    """The relay door: where Timmy listens, and who it is there."""

    relays: RelayUrls = key(
        (),
        "Relays to listen and answer on. Empty: Timmy runs its own embedded relay on loopback.",
        KeyHelp(example=["wss://relay.example", "wss://other.example"]),
    )
    relay_port: int = key(
        EMBEDDED_RELAY_PORT,
        "Port of the embedded relay. Left out: 7447, or any free port when that is taken. "
        "Named: exactly this one; 0 = any free port.",
        KeyHelp(unit="TCP port"),
        ge=0,
        le=65_535,
    )
    secret_key_file: FilePath = key(
        Path("nostr.key"),
        "File of mode 600 with Timmy's secret key, hex or nsec. Left out: nostr.key in the data folder, "
        "made at the first start. Named: it must be there, for a misspelt path would give Timmy a new identity.",
    )
    secret_key: SecretText | None = key(None, "The secret key itself, hex or nsec, instead of the file.")
    owner_pubkey: PublicKey | None = key(
        None,
        "The operator's own public key, hex or npub: who may ask for op node-status, and whose follows "
        "trust.follows_tier lifts.",
        KeyHelp(example="npub1…"),
    )
    open_jobs: bool = key(True, "Also take jobs that name no provider (no p tag).")
    kinds: RequestKinds = key(
        (5050, 5001, 5002),
        "Kinds of request to serve: 5050 text, 5001 summary, 5002 translation.",
        KeyHelp(unit="NIP-90 request kinds, 5000 to 5999"),
    )
    customer_relays: bool = key(
        True,
        "Answer also on the relays a request names, else on those its author reads (NIP-65): wss and public "
        "addresses only, at most 3. Whoever runs them sees this machine's address. Not with the simulated wallet.",
    )
    direct_messages: bool = key(
        True,
        "Take requests as private messages too (NIP-17), and list the relays for them (kind 10050). The answers "
        "go to the relays of the writer's own kind 10050 alone; who has none is not answered.",
    )
    fetch_urls: bool = key(
        False,
        "Fetch the web pages that a request names as input: https, public addresses, text, at most 256 KiB in 5 "
        "seconds, no redirects. Off: such a request is told to bring its text along.",
    )
    mention_replies: bool = key(
        False,
        "Answer notes that mention this key with one short note a thread: who this is, what it costs, how to ask. "
        "A key gets limits.chat_per_minute of them.",
    )
    announce: bool = key(
        True,
        "Publish the profile (kind 0, in place of the one this key may have), the relay lists, one announcement "
        "for each kind served (NIP-89) and heartbeats, and answer pings. `timmy retire` withdraws.",
    )
    presence: bool | None = key(
        None,
        "Publish what there is to see in the Workshop: who of the five works (kind 20078, ephemeral) and, once a "
        "minute at most, the whole picture (kind 30078). Left out: on the embedded relay alone.",
        KeyHelp(example=True),
    )
    min_pow_bits_new: int = key(
        0,
        "Proof of work (NIP-13) that a request over relays needs from a key that never paid and has no credit "
        "here. Each bit doubles what it costs, 20 take a machine some seconds. 0 = none.",
        KeyHelp(unit="leading zero bits of the event id"),
        ge=0,
        le=40,
    )
    name: Text = key("Timmy", "Name in the profile and the announcements.")
    about: Text = key(
        "An AI agent that answers text requests for sats: each has its exact price first, and change comes back.",
        "What the profile and the announcements say about this service.",
    )
    picture: WebUrl | None = key(
        None, "Address of the picture shown there.", KeyHelp(example="https://timmy.example/timmy.png")
    )
    lud16: Address | None = key(
        None,
        "Lightning address shown there (LUD-16). Left out: with a real wallet and an https http.public_url, "
        "Timmy's own, whose gifts fill the pool.",
        KeyHelp(example="timmy@timmy.example"),
    )
    nip05: Address | None = key(
        None,
        "Nostr address shown there (NIP-05); its domain must confirm it. Left out: with an https http.public_url, "
        "Timmy's own.",
        KeyHelp(example="timmy@timmy.example"),
    )

    @property
    def relay_ports(self) -> tuple[int, ...]:
        """Ports to try for the embedded relay, in this order; 0 means any free one."""
        return (self.relay_port,) if "relay_port" in self.model_fields_set else (EMBEDDED_RELAY_PORT, 0)


class HttpTable(Table):
    """The HTTP port: pages, the API and health."""

    host: Text = key("127.0.0.1", "Address to listen on. 0.0.0.0 means the whole world; then set public_url.")
    port: int = key(5050, "Port to listen on; 0 = any free one.", KeyHelp(unit="TCP port"), ge=0, le=65_535)
    public_url: WebUrl | None = key(
        None,
        "Address at which others reach this port. Left out: http://host:port. Never taken from a request.",
        KeyHelp(example="https://timmy.example"),
    )
    trusted_proxies: Networks = key(
        (),
        "Proxies whose forwarding headers are believed. Empty: none.",
        KeyHelp(unit="IP addresses or networks", example=["127.0.0.1/32"]),
    )
    cors_origins: Origins = key(
        (), "Web origins whose pages may call the API.", KeyHelp(example=["https://app.example"])
    )
    admin_token_file: FilePath | None = key(
        None,
        "File of mode 600 with the token for /api/admin. Left out: loopback only.",
        KeyHelp(example="admin.token"),
    )
    admin_token: SecretText | None = key(None, "The admin token itself, instead of the file.")
    token_secret_file: FilePath = key(
        Path("token.secret"),
        "File of mode 600 with the secret that signs X-Nostr-Token. Left out: token.secret in the data folder, "
        "made at the first start. Named: it must be there.",
    )
    token_secret: SecretText | None = key(
        None, "The signing secret itself, at least 32 characters, instead of the file."
    )

    token_previous_secret_file: FilePath | None = key(
        None,
        "File of mode 600 with the secret before that one: what it signed counts until it ends, within a day.",
        KeyHelp(example="token.secret.old"),
    )
    token_previous_secret: SecretText | None = key(
        None, "The previous signing secret itself, instead of the file."
    )
    token_not_before: int = key(
        0,
        "Tokens given out before this moment are refused, whichever secret signed them: so all are ended at once. "
        "`date +%s` prints now.",
        KeyHelp(unit="Unix seconds"),
        ge=0,
        le=MAX_UNIX_SECONDS,
    )

    def read_admin_token(self) -> Secret | None:
        """The admin token from the environment or its file; None: loopback only. Raises `ConfigError`."""
        return self.admin_token or _read("http.admin_token_file", self.admin_token_file)

    def read_token_previous_secret(self) -> Secret | None:
        """The signing secret before the present one; None: there is none. Raises `ConfigError`."""
        return self.token_previous_secret or _read(
            "http.token_previous_secret_file", self.token_previous_secret_file
        )


class LedgerTable(Table):
    """Where jobs and money are kept."""

    url: Text = key(
        "sqlite:///timmy.db",
        "SQLite file (three slashes: relative, four: absolute) or postgresql://… "
        "Left out: timmy.db in the data folder.",
    )

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, absolute once loaded; None when the ledger is PostgreSQL."""
        prefix, found, path = self.url.partition("sqlite:///")
        return Path(path) if found and not prefix else None


class AnthropicTable(Table):
    """The Claude API."""

    base_url: WebUrl = key("https://api.anthropic.com", "Address of the API.")
    api_key_file: FilePath | None = key(
        None, "File of mode 600 with the API key.", KeyHelp(example="anthropic.key")
    )
    api_key: SecretText | None = key(None, "The API key itself, instead of the file.")
    eval_model: Text = key("claude-haiku-4-5", "Model that judges whether a request is acceptable.")
    work_model: Text = key("claude-sonnet-4-6", "Model that does the work.")
    customer_models: Texts = key(
        (), "Models a customer may ask for by a `model` parameter. Empty: the parameter is ignored."
    )

    def read_api_key(self) -> Secret | None:
        """The API key from the environment or its file. Raises `ConfigError`."""
        return self.api_key or _read("agent.anthropic.api_key_file", self.api_key_file)


class OfflineTable(Table):
    """The stand-in that needs no key: it answers at once, always the same."""

    delay_ms: int = key(0, "How long it pretends to think.", KeyHelp(unit="milliseconds"), ge=0, le=600_000)


class AgentTable(Table):
    """Who does the work."""

    backend: Literal["offline", "anthropic"] = key(
        "offline",
        'Who answers: "offline" (no key, no cost, canned answers) or "anthropic".',
        KeyHelp(must_name=True),
    )
    anthropic: AnthropicTable = AnthropicTable()
    offline: OfflineTable = OfflineTable()


class LnbitsTable(Table):
    """An LNbits wallet."""

    url: WebUrl | None = key(None, "Address of the LNbits server.", KeyHelp(example="https://lnbits.example"))
    key_file: FilePath | None = key(
        None, "File of mode 600 with the wallet's admin key.", KeyHelp(example="lnbits.key")
    )
    network: Literal["bc", "tb", "tbs", "bcrt"] = key(
        "bc", "Network of the node behind it: bc mainnet, tb testnet, tbs signet, bcrt regtest."
    )
    key: SecretText | None = key(None, "The admin key itself, instead of the file.")

    def read_key(self) -> Secret | None:
        """The wallet's key from the environment or its file. Raises `ConfigError`."""
        return self.key or _read("lightning.lnbits.key_file", self.key_file)


class NwcTable(Table):
    """A wallet over Nostr Wallet Connect (NIP-47)."""

    uri_file: FilePath | None = key(
        None, "File of mode 600 with the nostr+walletconnect:// address.", KeyHelp(example="nwc.uri")
    )
    uri: SecretText | None = key(None, "The address itself, instead of the file.")

    def read_uri(self) -> Secret | None:
        """The connection address from the environment or its file. Raises `ConfigError`."""
        return self.uri or _read("lightning.nwc.uri_file", self.uri_file)


class LndTable(Table):
    """An LND node, by REST."""

    url: WebUrl | None = key(None, "Address of LND's REST port.", KeyHelp(example="https://127.0.0.1:8080"))
    macaroon_file: FilePath | None = key(
        None, "File of mode 600 with the macaroon, as LND writes it or as hex.", KeyHelp(example="admin.macaroon")
    )
    macaroon: SecretText | None = key(None, "The macaroon as hex, instead of the file.")
    cert_file: FilePath | None = key(
        None, "LND's own certificate, when no public authority signed it.", KeyHelp(example="tls.cert")
    )

    def read_macaroon(self) -> Secret | None:
        """The macaroon as hex, from the environment or its file. Raises `ConfigError`."""
        return self.macaroon or _read("lightning.lnd.macaroon_file", self.macaroon_file)


class PhoenixdTable(Table):
    """A phoenixd node."""

    url: WebUrl | None = key(None, "Address of phoenixd.", KeyHelp(example="http://127.0.0.1:9740"))
    password_file: FilePath | None = key(
        None, "File of mode 600 with the full HTTP password.", KeyHelp(example="phoenixd.password")
    )
    password: SecretText | None = key(None, "The password itself, instead of the file.")

    def read_password(self) -> Secret | None:
        """The password from the environment or its file. Raises `ConfigError`."""
        return self.password or _read("lightning.phoenixd.password_file", self.password_file)


class ClnTable(Table):
    """A Core Lightning node, by its REST plugin."""

    url: WebUrl | None = key(None, "Address of clnrest.", KeyHelp(example="https://127.0.0.1:3010"))
    rune_file: FilePath | None = key(None, "File of mode 600 with the rune.", KeyHelp(example="cln.rune"))
    rune: SecretText | None = key(None, "The rune itself, instead of the file.")
    cert_file: FilePath | None = key(
        None, "The node's own certificate, when no public authority signed it.", KeyHelp(example="ca.pem")
    )

    def read_rune(self) -> Secret | None:
        """The rune from the environment or its file. Raises `ConfigError`."""
        return self.rune or _read("lightning.cln.rune_file", self.rune_file)


class LightningTable(Table):
    """Where the sats are."""

    backend: Literal["simulated", "lnbits", "nwc", "lnd", "phoenixd", "cln"] = key(
        "simulated",
        'The wallet: "simulated" (no real sats, relays on loopback only), "lnbits", "nwc", "lnd", "phoenixd", '
        '"cln".',
        KeyHelp(must_name=True),
    )
    lnbits: LnbitsTable = LnbitsTable()
    nwc: NwcTable = NwcTable()
    lnd: LndTable = LndTable()
    phoenixd: PhoenixdTable = PhoenixdTable()
    cln: ClnTable = ClnTable()


class BootstrapTable(Table):
    """A Bitcoin node for a fee (/api/bootstrap). In this version it is a stub: an address that nobody has."""

    fee_sats: int = key(10_000, "What a node costs.", KeyHelp(unit="sats"), ge=1, le=1_000_000_000)
    do_api_token: SecretText | None = key(
        None, "Refused: this version sets up no real machines, and must not take money as if it did."
    )


class DevTable(Table):
    """For developers only."""

    pay_route: bool | None = key(
        None,
        "POST /api/dev/stub/pay/{hash} pays one of our own invoices. Left out: on with the simulated wallet on "
        "loopback, off otherwise. true: also with a real wallet, out of its own sats; refused with a public "
        "address.",
        KeyHelp(example=True),
    )


def _read(name: str, path: Path | None) -> Secret | None:
    if path is None:
        return None
    try:
        return read_secret(path)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
