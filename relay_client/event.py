"""Events: what everybody on Nostr says, signed (NIP-01).

An event is read in two steps, because proving one costs ten times what reading it costs:

    UnverifiedEvent.from_wire(text)   the right fields with the right types, nothing proved
        .verify()                     the id recomputed, then the BIP-340 signature checked
    Event.from_wire(text)             both at once

A reader that gets the same event from five relays drops four of them between the two steps.
There is no `Event` whose id or signature is false, however it was made: its constructor checks both.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Annotated, Final, Self, TypeVar

import coincurve
import msgspec
from msgspec import Meta

from relay_client.errors import InvalidEvent

MAX_EVENT_BYTES: Final = 131_072
"""Most bytes of an event's text: common relays store no more (strfry 65,536, nostr-rs-relay 131,072)."""
MAX_TAGS: Final = 2_000
"""Most tags of an event (strfry's default)."""
PROOFS_KEPT: Final = 4_096
"""Signatures whose proof is remembered: about 2 MB."""
MAX_CREATED_AT: Final = 2**53
"""Latest time that can be read, in Unix seconds: beyond it JavaScript clients round."""
MAX_KIND: Final = 65_535

# `\Z` and not `$`, which also matches before a final newline.
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Hex64 = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]
Timestamp = Annotated[int, Meta(ge=0, le=MAX_CREATED_AT)]
Kind = Annotated[int, Meta(ge=0, le=MAX_KIND)]
# NIP-01 wants one or more strings in a tag; nostr-sdk and strfry refuse an event with an empty one.
Tag = Annotated[tuple[str, ...], Meta(min_length=1)]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)]

_T = TypeVar("_T")


# gc=False: strings and numbers alone can never be part of a reference cycle.
class EventFields(msgspec.Struct, frozen=True, gc=False):
    """What an event says, with or without a signature.

    `id` and `pubkey` (32 bytes) are lower-case hex, `created_at` is in Unix seconds.
    """

    id: Hex32
    pubkey: Hex32
    created_at: Timestamp
    kind: Kind
    tags: Tags
    content: str

    def to_json(self) -> str:
        """All of it as compact JSON, fields in NIP-01's order: the same bytes every time."""
        return msgspec.json.encode(self).decode()

    def tag(self, name: str) -> tuple[str, ...] | None:
        """The first tag of that name, whole: `("e", id, relay)`; None if there is none."""
        for tag in self.tags:
            if tag[0] == name:
                return tag
        return None

    def tag_values(self, name: str) -> list[str]:
        """The first value of every tag of that name, in order; a tag without a value gives none."""
        return [tag[1] for tag in self.tags if tag[0] == name and len(tag) > 1]


class UnverifiedEvent(EventFields, frozen=True, gc=False):
    """An event's seven fields, well typed; that its author wrote them is not proved yet.

    `sig` (64 bytes) is lower-case hex, the others as in `EventFields`.
    """

    sig: Hex64

    @classmethod
    def from_wire(cls, raw: str | bytes) -> Self:
        """Read an event from its JSON text (a `msgspec.Raw` is bytes too).

        Keys that NIP-01 does not name are ignored.

        Raises:
            InvalidEvent: the text is too long or no JSON object, or a field is missing or mistyped;
                from `Event.from_wire` also: the id or the signature is false.
        """
        return decoded(raw, cls)

    def verify(self) -> "Event":
        """Prove id and signature.

        Raises:
            InvalidEvent: the id is not the hash of the event, or its author did not sign it.
        """
        return Event(self.id, self.pubkey, self.created_at, self.kind, self.tags, self.content, self.sig)


class Event(UnverifiedEvent, frozen=True, gc=False):
    """An event whose id and signature are proved; equal ids are the same event, whatever the signature.

    The constructor raises `InvalidEvent` if either is false. It trusts the types of its arguments:
    text from outside comes in by `from_wire`, which checks those too.
    """

    def __post_init__(self) -> None:
        digest = event_id(self.pubkey, self.created_at, self.kind, self.tags, self.content)
        if digest != self.id:
            raise InvalidEvent("The event's id is not the hash of its fields; it was altered on the way.")
        if not _is_signed(self.pubkey, digest, self.sig):
            raise InvalidEvent("The event's signature is not its author's; ask the author for the event.")

    def verify(self) -> "Event":
        """The event itself: it was proved when it was made."""
        return self


def decoded(raw: str | bytes, form: type[_T]) -> _T:
    """JSON of at most MAX_EVENT_BYTES as this type. Raises `InvalidEvent`, which repeats nothing of the text."""
    try:
        # An ASCII string is its own UTF-8, so its length is exact without a copy.
        text = raw.encode() if isinstance(raw, str) and not raw.isascii() else raw
        if len(text) > MAX_EVENT_BYTES:
            raise InvalidEvent(f"The event has more than {MAX_EVENT_BYTES:,} bytes; send a shorter one.")
        return msgspec.json.decode(text, type=form)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # ValueError covers UnicodeError: lone surrogates in a str, broken UTF-8 in bytes.
        raise InvalidEvent(f"This is not a Nostr event: {_reason(error)}.") from None


def event_id(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> str:
    """The SHA-256 of NIP-01's serialisation, in lower-case hex.

    Control characters that NIP-01 does not name are escaped as every JSON writer does (`u00xx` after a
    backslash, in lower case), because that is what clients hash; all else stands verbatim.

    Raises:
        InvalidEvent: a text holds half of a surrogate pair, which UTF-8 cannot express.
    """
    try:
        serialised = msgspec.json.encode((0, pubkey, created_at, kind, tags, content))
    except UnicodeEncodeError:
        raise InvalidEvent("The event holds half of a surrogate pair; send valid Unicode.") from None
    return hashlib.sha256(serialised).hexdigest()


def is_expired(event: UnverifiedEvent, now: int) -> bool:
    """Whether its time is over (NIP-40); an expiration that is no number says nothing."""
    if not event.tags or (tag := event.tag("expiration")) is None or len(tag) < 2:  # noqa: PLR2004 - name, value
        return False
    value = tag[1]
    return value.isascii() and value.isdigit() and len(value) <= 16 and int(value) <= now  # noqa: PLR2004 - digits


@functools.lru_cache(PROOFS_KEPT)
def _is_signed(pubkey: str, digest: str, sig: str) -> bool:
    """Does BIP-340 accept this signature by this key? All three are hex.

    The answer never changes, so it is worked out once, although an event of ours is proved as it is made, again as
    it leaves the outbox, and by the embedded relay.
    """
    try:
        key = bytes.fromhex(pubkey)
        # libsecp256k1 reads 32 bytes wherever the buffer ends, so the length is ours to check.
        if len(key) != 32:  # noqa: PLR2004 - BIP-340's key length
            return False
        return coincurve.PublicKeyXOnly(key).verify(bytes.fromhex(sig), bytes.fromhex(digest))
    except ValueError:  # the key is not on the curve, or a length is wrong
        return False


def _reason(error: Exception) -> str:
    """What was wrong with a text, in words that repeat nothing of it."""
    match error:
        case msgspec.ValidationError():
            return str(error)
        case msgspec.MsgspecError():
            return "its JSON is malformed"
        case RecursionError():
            return "its JSON is nested too deeply"
        case _:
            return "its text is not valid UTF-8"
