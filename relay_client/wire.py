"""The messages between a client and a relay, as text and as types (NIP-01, NIP-42).

A client says `ClientEvent | ClientReq | ClientClose | ClientAuth`, a relay says
`RelayEvent | RelayOk | RelayEose | RelayClosed | RelayNotice | RelayAuth`. Both directions are here, for
Timmy is a client and ships a small relay. Each message is one JSON array whose first element names it.

The event inside a message stays raw text: whoever gets it first looks whether it was asked for, and only
then decodes it, once (`UnverifiedEvent.from_wire` and `Event.from_wire` take it as it is).

What a stranger says in words (`OK`, `CLOSED`, `NOTICE`) is cut to one printable line of
`MAX_REASON_CHARS`, so it can stand in a log or an error as it is.
"""

import enum
from collections.abc import Sequence
from typing import Final, assert_never
from urllib.parse import urlsplit

import msgspec

from relay_client.errors import InvalidFilter, InvalidFrame, InvalidRelayUrl
from relay_client.event import Event
from relay_client.filter import Filter

MAX_REASON_CHARS: Final = 200
MAX_SUBSCRIPTION_ID_CHARS: Final = 64  # NIP-01: "max length 64 chars"
MAX_URL_CHARS: Final = 255

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


class Prefix(enum.Enum):
    """The machine-readable word before the colon of an `OK` or `CLOSED` text (NIP-01, NIP-42).

    The last three are not in the NIPs; common relays send them.
    """

    NONE = ""
    """No prefix, or one nobody has agreed on."""
    DUPLICATE = "duplicate"
    POW = "pow"
    BLOCKED = "blocked"
    RATE_LIMITED = "rate-limited"
    INVALID = "invalid"
    RESTRICTED = "restricted"
    MUTE = "mute"
    ERROR = "error"
    AUTH_REQUIRED = "auth-required"
    UNSUPPORTED = "unsupported"
    REPLACED = "replaced"
    DELETED = "deleted"


_PREFIXES: Final = {prefix.value: prefix for prefix in Prefix if prefix is not Prefix.NONE}


class ClientEvent(msgspec.Struct, frozen=True):
    """`["EVENT", event]`: please store and pass on. `event` is JSON text, not yet read."""

    event: msgspec.Raw


class ClientReq(msgspec.Struct, frozen=True):
    """`["REQ", id, filter, …]`: send what matches any of the filters, old and new. They are not yet read."""

    subscription: str
    filters: tuple[msgspec.Raw, ...]

    def read_filters(self) -> tuple[Filter, ...]:
        """The filters, checked. Raises `InvalidFilter` if one cannot be read."""
        try:
            return tuple(Filter.from_obj(msgspec.json.decode(raw)) for raw in self.filters)
        except (ValueError, RecursionError):
            raise InvalidFilter("This filter is not JSON in UTF-8; send a JSON object.") from None


class ClientClose(msgspec.Struct, frozen=True):
    """`["CLOSE", id]`: send no more."""

    subscription: str


class ClientAuth(msgspec.Struct, frozen=True):
    """`["AUTH", event]`: here is who I am (NIP-42). `event` is JSON text, not yet read."""

    event: msgspec.Raw


ClientMessage = ClientEvent | ClientReq | ClientClose | ClientAuth


class RelayEvent(msgspec.Struct, frozen=True):
    """`["EVENT", id, event]`. `event` is JSON text, not yet read."""

    subscription: str
    event: msgspec.Raw


class RelayOk(msgspec.Struct, frozen=True):
    """`["OK", event id, accepted, text]`. Some relays leave the event id empty."""

    event_id: str
    accepted: bool
    prefix: Prefix
    text: str


class RelayEose(msgspec.Struct, frozen=True):
    """`["EOSE", id]`: everything stored has been sent; from now on it is live."""

    subscription: str


class RelayClosed(msgspec.Struct, frozen=True):
    """`["CLOSED", id, text]`: the relay ended, or never began, the subscription."""

    subscription: str
    prefix: Prefix
    text: str


class RelayNotice(msgspec.Struct, frozen=True):
    """`["NOTICE", text]`: words for a human, about nothing in particular."""

    text: str


class RelayAuth(msgspec.Struct, frozen=True):
    """`["AUTH", challenge]`: the relay would like to know who we are (NIP-42)."""

    challenge: str


RelayMessage = RelayEvent | RelayOk | RelayEose | RelayClosed | RelayNotice | RelayAuth


# What stands on the wire. Relays add elements and leave the last text out, so both are let pass.
class _Event(msgspec.Struct, array_like=True, tag="EVENT"):
    subscription: str
    event: msgspec.Raw


class _Ok(msgspec.Struct, array_like=True, tag="OK"):
    event_id: str | None
    accepted: bool
    text: str = ""


class _Eose(msgspec.Struct, array_like=True, tag="EOSE"):
    subscription: str


class _Closed(msgspec.Struct, array_like=True, tag="CLOSED"):
    subscription: str
    text: str = ""


class _Notice(msgspec.Struct, array_like=True, tag="NOTICE"):
    text: str


class _Auth(msgspec.Struct, array_like=True, tag="AUTH"):
    challenge: str


_AnyOfThem = _Event | _Ok | _Eose | _Closed | _Notice | _Auth
_RELAY_MESSAGE: Final[msgspec.json.Decoder[_AnyOfThem]] = msgspec.json.Decoder(_AnyOfThem)
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_quote: Final = msgspec.json.encode


def decode_relay_message(frame: str | bytes) -> RelayMessage:
    """Read what a relay said; an event inside is left unread.

    Raises:
        InvalidFrame: not JSON, nested too deeply, not UTF-8, or none of the six messages.
    """
    try:
        message = _RELAY_MESSAGE.decode(frame)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error) from None
    match message:
        case _Event(subscription, event):
            return RelayEvent(subscription, event)
        case _Ok(event_id, accepted, text):
            prefix, text = split_reason(text)
            return RelayOk(event_id or "", accepted, prefix, text)
        case _Eose(subscription):
            return RelayEose(subscription)
        case _Closed(subscription, text):
            prefix, text = split_reason(text)
            return RelayClosed(subscription, prefix, text)
        case _Notice(text):
            return RelayNotice(one_line(text))
        case _Auth(challenge):
            return RelayAuth(challenge)
    assert_never(message)


def decode_client_message(frame: str | bytes) -> ClientMessage:
    """Read what a client said; an event or filters inside are left unread.

    Raises:
        InvalidFrame: not JSON, nested too deeply, not UTF-8, or none of the four messages.
    """
    try:
        elements = _ELEMENTS.decode(frame)
        name = _TEXT.decode(elements[0]) if elements else ""
        match name, elements:
            case "EVENT", [_, event]:
                return ClientEvent(event)
            case "REQ", [_, subscription, *filters] if filters:
                return ClientReq(_TEXT.decode(subscription), tuple(filters))
            case "CLOSE", [_, subscription]:
                return ClientClose(_TEXT.decode(subscription))
            case "AUTH", [_, event]:
                return ClientAuth(event)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error) from None
    raise InvalidFrame("The message is none of EVENT, REQ, CLOSE and AUTH; see NIP-01.")


def event_message(event: Event) -> str:
    """`["EVENT", event]`, ready to send to a relay."""
    return f'["EVENT",{event.to_json()}]'


def auth_message(event: Event) -> str:
    """`["AUTH", event]`, ready to send to a relay (NIP-42)."""
    return f'["AUTH",{event.to_json()}]'


def req_message(subscription: str, filters: Sequence[Filter]) -> str:
    """`["REQ", id, filter, …]`, ready to send to a relay."""
    return f'["REQ",{_text(subscription)},{",".join(filter_.to_json() for filter_ in filters)}]'


def close_message(subscription: str) -> str:
    """`["CLOSE", id]`, ready to send to a relay."""
    return f'["CLOSE",{_text(subscription)}]'


def relay_event_message(subscription: str, event_json: str) -> str:
    """`["EVENT", id, event]`, ready to send to a client."""
    return f'["EVENT",{_text(subscription)},{event_json}]'


def relay_ok_message(event_id: str, accepted: bool, reason: str) -> str:
    """`["OK", event id, accepted, reason]`, ready to send to a client."""
    return _text(("OK", event_id, accepted, reason))


def relay_message(name: str, *texts: str) -> str:
    """EOSE, CLOSED, NOTICE or AUTH with its texts, ready to send to a client."""
    return _text((name, *texts))


def split_reason(text: str) -> tuple[Prefix, str]:
    """The prefix and the words of an `OK` or `CLOSED` text: `"pow: 28 bits"` gives `(Prefix.POW, "28 bits")`.

    A text without a known prefix comes back whole, with `Prefix.NONE`.
    """
    word, colon, rest = text.partition(":")
    prefix = _PREFIXES.get(word.strip().lower(), Prefix.NONE) if colon else Prefix.NONE
    return prefix, one_line(text if prefix is Prefix.NONE else rest)


def one_line(text: str) -> str:
    """A stranger's words as one printable line of at most `MAX_REASON_CHARS`."""
    cut = text.strip()[:MAX_REASON_CHARS]
    return cut if cut.isprintable() else "".join(char if char.isprintable() else " " for char in cut)


def parse_relay_url(text: str) -> str:
    """A relay's address in the one spelling used as its name: `WSS://Relay.Example:443/` gives `wss://relay.example`.

    Scheme and host are lower case, a default port and a lone slash are dropped, path and query are kept.

    Raises:
        InvalidRelayUrl: not `ws://` or `wss://`, no host, a user name, a fragment, or over 255 characters.
    """
    hint = "write a relay as wss://host or ws://host:port"
    if len(text) > MAX_URL_CHARS or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidRelayUrl(f"A relay's address is at most {MAX_URL_CHARS} printable ASCII characters; {hint}.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidRelayUrl(f"This relay's address cannot be read; {hint}.") from None
    if parts.scheme not in _DEFAULT_PORTS or not host or port == 0:
        raise InvalidRelayUrl(f"A relay's address starts with wss:// or ws:// and names a host; {hint}.")
    if "@" in parts.netloc or "#" in text:
        raise InvalidRelayUrl(f"A relay's address holds no user name and no fragment; {hint}.")
    netloc = f"[{host}]" if ":" in host else host
    if port not in (None, _DEFAULT_PORTS[parts.scheme]):
        netloc += f":{port}"
    path = "" if parts.path == "/" else parts.path
    return f"{parts.scheme}://{netloc}{path}" + (f"?{parts.query}" if parts.query else "")


def _text(value: object) -> str:
    return _quote(value).decode()


def _unreadable(error: Exception) -> InvalidFrame:
    """Why a frame could not be read, repeating nothing of it."""
    match error:
        case msgspec.ValidationError():
            return InvalidFrame("The message is not one of NIP-01's; its elements are of the wrong types.")
        case RecursionError():
            return InvalidFrame("The message is nested too deeply to be one of NIP-01's.")
        case _:
            return InvalidFrame("The message is not JSON in UTF-8.")
