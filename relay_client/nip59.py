"""Gift wraps: an event that only its reader can see, and even whose author only its reader can know (NIP-59).

    rumor       what is said: an event without a signature, so whoever leaks it can prove nothing
    seal        kind 13, signed by the author: the rumor, encrypted for the reader; no tags
    gift wrap   kind 1059 (or 21059, which relays do not store), signed by a key used once: the seal, encrypted
                for the reader, who is named in `p`

Relays see who is written to, how much, and a date that is up to two days wrong. Time and randomness come in from
outside; opening one costs two ECDH and one signature check, so bound how often you do it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final, Self

from msgspec import UNSET, Meta, Struct, UnsetType, json

from relay_client import nip44
from relay_client.errors import InvalidEvent, InvalidGiftWrap, InvalidPlaintext
from relay_client.event import (
    Event,
    EventFields,
    Hex32,
    Kind,
    Tags,
    Timestamp,
    UnverifiedEvent,
    decoded,
    event_id,
)
from relay_client.keys import Keys

KIND_SEAL: Final = 13
KIND_GIFT_WRAP: Final = 1059
KIND_EPHEMERAL_GIFT_WRAP: Final = 21_059
WRAP_KINDS: Final = frozenset({KIND_GIFT_WRAP, KIND_EPHEMERAL_GIFT_WRAP})
MAX_BACKDATE_S: Final = 172_800
"""Seals and wraps are dated up to two days into the past (NIP-17), so that is how far back a reader must ask."""
MAX_RUMOR_BYTES: Final = 28_672
"""Longest rumor that is wrapped, as JSON: its wrap has 55 kB. One byte more is padded twice to 88 kB, which common
relays refuse (strfry: 65,536)."""


class Rumor(EventFields, frozen=True, gc=False):
    """An event that nobody signed. Its id is the hash of its fields, however it was made.

    So two authors never have rumors of one id, and `id` is as good a name as a signed event's. Who says that they
    wrote it is proved by the seal around it, which :func:`unwrap` looks at.

    The constructor raises `InvalidEvent` if the id is false. It trusts the types of its arguments.
    """

    def __post_init__(self) -> None:
        if event_id(self.pubkey, self.created_at, self.kind, self.tags, self.content) != self.id:
            raise InvalidEvent("The rumor's id is not the hash of its fields; it was altered on the way.")

    @classmethod
    def make(
        cls, pubkey: str, *, kind: int, created_at: int, tags: Iterable[Sequence[str]] = (), content: str = ""
    ) -> Self:
        """A rumor of `pubkey`'s (hex), read as one from outside is, so we never send what we would not read.

        Raises:
            InvalidEvent: a field is out of its range, or the whole is too long.
        """
        listed = tuple(tuple(tag) for tag in tags)
        fields = {"pubkey": pubkey, "created_at": created_at, "kind": kind, "tags": listed, "content": content}
        try:
            return cls.from_wire(json.encode(fields))
        except UnicodeEncodeError:
            raise InvalidEvent("The rumor holds half of a surrogate pair; write valid Unicode.") from None

    @classmethod
    def from_wire(cls, raw: str | bytes) -> Self:
        """Read a rumor from its JSON text. Its id may be left out; one that is given must be true.

        Raises:
            InvalidEvent: too long, no JSON object, a field missing or mistyped, a false id, or it is signed:
                what is signed can be shown around, and NIP-59 promises its author the contrary.
        """
        read = decoded(raw, _Unsigned)
        if read.sig:
            raise InvalidEvent("A rumor bears no signature; leave it out.")
        digest = event_id(read.pubkey, read.created_at, read.kind, read.tags, read.content)
        given = digest if read.id is UNSET or read.id is None else read.id
        return cls(given, read.pubkey, read.created_at, read.kind, read.tags, read.content)


class _Unsigned(Struct, frozen=True, gc=False):
    """A rumor as clients write it: some have a place for a signature, with nothing in it."""

    pubkey: Hex32
    created_at: Timestamp
    kind: Kind
    tags: Tags
    content: str
    id: Hex32 | UnsetType | None = UNSET
    sig: Annotated[str, Meta(max_length=128)] | UnsetType | None = UNSET


def wrap(
    rumor: Rumor,
    author: Keys,
    recipient: str,
    *,
    sealed_at: int,
    wrapped_at: int,
    entropy: Callable[[int], bytes],
    kind: int = KIND_GIFT_WRAP,
) -> Event:
    """Seal a rumor and wrap it up for one reader.

    Args:
        rumor: what to say; the author's own.
        author: signs the seal.
        recipient: the reader's public key, hex.
        sealed_at: Unix seconds, drawn from the last `MAX_BACKDATE_S`.
        wrapped_at: as `sealed_at`, and drawn apart from it.
        entropy: gives so many fresh random bytes; five times 32 are taken, one of them as the wrap's key.
        kind: of the wrap, one of `WRAP_KINDS`.

    Returns:
        The gift wrap, at most 56,000 bytes of JSON.

    Raises:
        InvalidPlaintext: the rumor has more than `MAX_RUMOR_BYTES`.
        InvalidKey: `recipient` is no key.
        InvalidEvent: a date or the kind is out of its range.
        ValueError: the rumor is another's, or `kind` is no gift wrap's.
    """
    if rumor.pubkey != author.public_key:
        raise ValueError("a rumor is sealed by its own author")
    if kind not in WRAP_KINDS:
        raise ValueError(f"a gift wrap is of kind {KIND_GIFT_WRAP} or {KIND_EPHEMERAL_GIFT_WRAP}")
    text = rumor.to_json()
    if len(text.encode()) > MAX_RUMOR_BYTES:
        raise InvalidPlaintext(f"A message has at most {MAX_RUMOR_BYTES:,} bytes as JSON; split the text.")
    sealed = nip44.encrypt(text, nip44.conversation_key(author, recipient), entropy(32))
    seal = author.sign(kind=KIND_SEAL, created_at=sealed_at, tags=(), content=sealed, aux=entropy(32))
    once = Keys.from_bytes(entropy(32))
    wrapped = nip44.encrypt(seal.to_json(), nip44.conversation_key(once, recipient), entropy(32))
    return once.sign(kind=kind, created_at=wrapped_at, tags=[("p", recipient)], content=wrapped, aux=entropy(32))


def unwrap(event: Event, keys: Keys) -> Rumor:
    """Open a gift wrap, and prove that whom the rumor names as its author has sealed it.

    Args:
        event: the wrap, proved; of either kind.
        keys: the reader's.

    Raises:
        DecryptionFailed: the wrap or its seal is damaged, or not for us.
        InvalidGiftWrap: it is none; or it holds no seal (kind 13, true id and signature, no tags but an
            expiration's), or the seal no rumor (no signature, true id), or the rumor is not of who sealed it.
    """
    if event.kind not in WRAP_KINDS:
        raise InvalidGiftWrap("This is no gift wrap; look at its kind first.")
    outer = nip44.decrypt(event.content, nip44.conversation_key(keys, event.pubkey))
    try:
        seal = _proved_seal(UnverifiedEvent.from_wire(outer))
        rumor = Rumor.from_wire(nip44.decrypt(seal.content, nip44.conversation_key(keys, seal.pubkey)))
    except InvalidGiftWrap:
        raise
    except InvalidEvent as error:
        raise InvalidGiftWrap(f"A gift wrap holds what is no message. {error}") from None
    if rumor.pubkey != seal.pubkey:
        raise InvalidGiftWrap("A rumor names another author than who sealed it; who wrote it is unknown.")
    return rumor


def _proved_seal(seal: UnverifiedEvent) -> Event:
    """The seal, once its shape is right; its signature is looked at last, for it costs most."""
    if seal.kind != KIND_SEAL:
        raise InvalidGiftWrap(f"A gift wrap holds a seal, of kind {KIND_SEAL}; this one holds something else.")
    # NIP-17 has disappearing messages say when they end on the seal too; all other tags would tell something.
    if any(tag[0] != "expiration" for tag in seal.tags):
        raise InvalidGiftWrap("A seal has no tags; this one has.")
    return seal.verify()
