"""How to answer a request, and what the relay door keeps of it to do so after any number of restarts. Pure.

It travels through the core and the ledger as a text that only this door reads; but for the temperature, which
`runs` takes out of any door's note.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from relay_client.errors import InvalidEvent
from relay_client.event import EventFields, UnverifiedEvent
from relay_client.nip59 import Rumor
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.nostr.privacy import Scheme

VERSION: Final = 1


class Origin(msgspec.Struct, frozen=True, kw_only=True, tag_field="door", tag="nostr"):
    """One request as it came.

    Attributes:
        request: the event's JSON, or the rumor's where it came in a gift wrap.
        relay: where it came from first, as the hint in our `e` tags.
        relays: where the customer would like the answer; kept, not dialled yet.
        scheme: how it was encrypted.
        btc_micro_usd: the bitcoin price of its quote, to say the price in cents; None where there is none.
        btc_is_fallback: that price is the configured one, because no source answered.
        temperature: the customer's, for the model.
        ignored: params that change nothing, of which the customer is told.
        goes_on: it is a private message that goes on from an earlier answer, of which its writer is told.
        version: of this form.
    """

    request: str
    relay: str
    relays: tuple[str, ...] = ()
    scheme: Scheme = Scheme.NONE
    btc_micro_usd: int | None = None
    btc_is_fallback: bool = False
    temperature: str | None = None
    ignored: tuple[str, ...] = ()
    goes_on: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Reply:
    """How to answer: in which encryption, and where the customer would like it besides."""

    scheme: Scheme = Scheme.NONE
    relays: tuple[str, ...] = ()


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Origin)


def write_origin(
    event: EventFields,
    *,
    relay: str,
    relays: Sequence[str],
    scheme: Scheme,
    btc: BtcPrice | None = None,
    temperature: str | None = None,
    ignored: tuple[str, ...] = (),
    goes_on: bool = False,
) -> str:
    """The note for one request."""
    origin = Origin(
        request=event.to_json(),
        relay=relay,
        relays=tuple(relays),
        scheme=scheme,
        btc_micro_usd=None if btc is None else btc.micro_usd,
        btc_is_fallback=btc is not None and btc.freshness is Freshness.FALLBACK,
        temperature=temperature,
        ignored=ignored,
        goes_on=goes_on,
    )
    return _encode(origin).decode()


def read_origin(text: str) -> tuple[Origin, EventFields] | None:
    """The note and the request in it; None for another door's note, or one whose texts were forgotten.

    Raises:
        ValueError: it is ours, and broken or of a later version.
    """
    if not text or not _is_ours(text):
        return None
    try:
        origin = _decoder.decode(text)
        # Proved when it came in; the ledger is ours, so it is not proved again.
        form = Rumor if origin.scheme is Scheme.NIP59 else UnverifiedEvent
        request = form.from_wire(origin.request)
    except (msgspec.MsgspecError, InvalidEvent) as error:
        raise ValueError(f"a note of ours that can't be read: {error}") from None
    if origin.version != VERSION:
        raise ValueError(f"a note of version {origin.version}; this program reads version {VERSION}")
    return origin, request


class _Door(msgspec.Struct):
    door: str = ""


_door: Final = msgspec.json.Decoder(_Door)


def _is_ours(text: str) -> bool:
    try:
        return _door.decode(text).door == "nostr"
    except msgspec.MsgspecError:
        return False
