"""What the tables of the configuration are made of: `key()`, and types that check themselves.

Everything is strict: a port written as text in the file is refused, not guessed. The environment has only
text, so `sources` turns it into the right type first.
"""

import ipaddress
import re
import typing
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from timmy_dvm.config.secret import Secret

MAX_ITEMS: Final = 64
MAX_PROVIDERS: Final = 3
"""Each is asked about every new key."""
MAX_TEXT: Final = 2_048
_SECRET_WORD = re.compile(r"pass|key|token|secret|auth", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z0-9._+-]{1,64}@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,7}(:[0-9]{1,5})?", re.ASCII)
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}|npub1[02-9ac-hj-np-z]{58}", re.ASCII)


class KeyHelp(NamedTuple):
    """What `config.example.toml` says of a key beside its meaning."""

    unit: str = ""
    example: str | bool | int | list[str] | None = None
    must_name: bool = False
    """Written in full in a new file: it has to be named there."""


class Table(BaseModel):
    """One table of the configuration: immutable, strict, and silent about its secrets."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    def __repr_args__(self) -> Any:
        """The fields as `public` shows them, so that a log line with a table in it shows no secret."""
        return [(name, public(getattr(self, name))) for name in type(self).model_fields]


def key(
    default: Any, meaning: str, help_: KeyHelp | None = None, *, ge: int | None = None, le: int | None = None
) -> Any:
    """One key: its default, its meaning in words, what the example file adds to them, and its bounds."""
    extra: dict[str, Any] = {"help": help_ or KeyHelp()}
    return Field(default=default, description=meaning, json_schema_extra=extra, ge=ge, le=le)


def public(value: Any) -> Any:
    """`value` with what is secret in it hidden: `Secret` itself, and the password in an address."""
    if isinstance(value, tuple):
        return tuple(public(item) for item in value)
    return mask_password(value) if isinstance(value, str) and "://" in value else value


def mask_password(url: str) -> str:
    """The address with what may be a password in it, user or query, shown as `***`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    if "@" in parts.netloc:
        parts = parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2])
    if _SECRET_WORD.search(parts.query):
        parts = parts._replace(query="***")
    return urlunsplit(parts)


def mentions(annotation: Any, kind: type) -> bool:
    """Whether a type is `kind`, or is made of it: `X | None`, `Annotated[X, …]`, `tuple[X, …]`."""
    inside = any(mentions(part, kind) for part in typing.get_args(annotation))
    return inside or annotation is kind or typing.get_origin(annotation) is kind


def is_loopback(host: str) -> bool:
    """Whether a host as written (`localhost`, `127.0.0.1`, `[::1]`) means this machine only. Looks nothing up."""
    host = host.strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host in an address that passed the checks below."""
    return urlsplit(url).hostname or ""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _as_decimal(value: Any) -> Any:
    return Decimal(value) if type(value) is int else value


def _as_secret(value: Any) -> Any:
    if value == "":
        raise ValueError("is empty: give the secret, or unset the variable")
    return Secret(value) if isinstance(value, str) else value


def _as_path(value: Any, info: ValidationInfo) -> Any:
    """Relative paths count from the folder that the loader gives in the context."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise ValueError("is empty: name a file, or leave the key out")
    if "\0" in value:
        raise ValueError("holds a zero byte, so it is no path")
    base = (info.context or {}).get("base", Path())
    return Path(base) / Path(value).expanduser()


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("holds characters that cannot be shown")
    return value


def _url(value: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    if parts.scheme not in schemes or not host or value != value.strip():
        raise ValueError(f"is not an address that starts with {' or '.join(f'{s}://' for s in schemes)}")
    return value


def _web_url(value: str) -> str:
    return _url(value, ("http", "https")).rstrip("/")


def _relay_url(value: str) -> str:
    return _url(value, ("wss", "ws"))


def _origin(value: str) -> str:
    if value == "*":
        raise ValueError("is refused: name each origin, for * would let every web page act for its visitors")
    parts = urlsplit(_web_url(value))
    if parts.path or parts.query or parts.fragment:
        raise ValueError("is an origin: scheme, host and port, with no path after them")
    return _web_url(value)


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError("is not an IP address or a network like 10.0.0.0/8") from None


def _public_key(value: str) -> str:
    if not _PUBLIC_KEY.fullmatch(value):
        raise ValueError("is not a public key: 64 lower-case hex digits or npub1…")
    return value


def _provider(value: str) -> str:
    pubkey, _, relay = value.partition(" ")
    try:
        return f"{_public_key(pubkey)} {_relay_url(relay)}"
    except ValueError as error:
        raise ValueError(
            f"is a public key, one space and a relay; the {'relay' if relay else 'text'} {error}"
        ) from None


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError("is not an address like timmy@domain.example, in lower case")
    return value


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_printable)]
WebUrl = Annotated[Text, AfterValidator(_web_url)]
RelayUrl = Annotated[Text, AfterValidator(_relay_url)]
Origin = Annotated[Text, AfterValidator(_origin)]
Network = Annotated[Text, AfterValidator(_network)]
PublicKey = Annotated[Text, AfterValidator(_public_key)]
Provider = Annotated[Text, AfterValidator(_provider)]
Address = Annotated[Text, AfterValidator(_address)]
RequestKind = Annotated[int, Field(ge=5000, le=5999)]

Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_tuple), Field(max_length=MAX_ITEMS)]
WebUrls = Annotated[tuple[WebUrl, ...], BeforeValidator(_as_tuple), Field(max_length=MAX_ITEMS)]
RelayUrls = Annotated[tuple[RelayUrl, ...], BeforeValidator(_as_tuple), Field(max_length=MAX_ITEMS)]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(_as_tuple), Field(max_length=MAX_ITEMS)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_as_tuple), Field(max_length=MAX_ITEMS)]
Providers = Annotated[tuple[Provider, ...], BeforeValidator(_as_tuple), Field(max_length=MAX_PROVIDERS)]
RequestKinds = Annotated[
    tuple[RequestKind, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=MAX_ITEMS)
]

Dollars = Annotated[Decimal, BeforeValidator(_as_decimal), Field(allow_inf_nan=False, decimal_places=6)]
FilePath = Annotated[Path, BeforeValidator(_as_path)]
SecretText = Annotated[Secret, BeforeValidator(_as_secret)]
