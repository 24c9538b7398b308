"""Keys and the names people give them: hex and NIP-19's npub, nsec, note, nprofile, nevent.

`Keys` holds one secret and shows it only where its name says so (`to_nsec`). The functions below it turn
what a person pasted into the hex that events carry, and back. Every prefix is checked: a secret given
where a public key is asked for is refused, and no error repeats what was given.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NoReturn, Self

import coincurve
import msgspec
from pynostr import bech32 as pynostr_bech32

from relay_client.errors import InvalidKey
from relay_client.event import MAX_KIND, Event, event_id

MAX_NIP19_CHARS: Final = 5_000
"""Longest NIP-19 text that is read (NIP-19: "limited to 5000 characters")."""

_bech32: Any = pynostr_bech32  # the module has no types of its own

_KEY_BYTES: Final = 32
# NIP-19, "Shareable identifiers with extra metadata": the types of a TLV list.
_TLV_SPECIAL, _TLV_RELAY, _TLV_AUTHOR, _TLV_KIND = range(4)


class Keys:
    """One identity: its secret signs and decrypts, its public key is its name.

    Deliberately without `==` (a comparison of secrets leaks by its timing) and with a `repr` that shows
    the public key alone.
    """

    __slots__ = ("_public_key", "_secret")

    def __init__(self, secret: coincurve.PrivateKey) -> None:
        self._secret = secret
        self._public_key = secret.public_key_xonly.format().hex()

    @classmethod
    def from_bytes(cls, secret: bytes) -> Self:
        """Take 32 bytes as the secret, for instance fresh random ones.

        Raises:
            InvalidKey: not 32 bytes, zero, or not below the order of the curve.
        """
        if len(secret) != _KEY_BYTES:
            raise InvalidKey("A secret key has 32 bytes; check that it was copied whole.")
        try:
            return cls(coincurve.PrivateKey(secret))
        except ValueError:
            raise InvalidKey("These 32 bytes are no secret key (zero or too large); make a new one.") from None

    @classmethod
    def from_hex(cls, secret_hex: str) -> Self:
        """Read the secret from 64 hex digits. Raises `InvalidKey`."""
        return cls.from_bytes(_hex_bytes(secret_hex, "A secret key"))

    @classmethod
    def from_nsec(cls, nsec: str) -> Self:
        """Read the secret from NIP-19's `nsec1…`. Raises `InvalidKey`."""
        return cls.from_bytes(_decode("nsec", nsec))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the secret as a key file or a person gives it: hex or `nsec1…`, spaces around it ignored.

        Raises:
            InvalidKey: neither of the two.
        """
        text = text.strip()
        return cls.from_hex(text) if _looks_like_hex(text) else cls.from_nsec(text)

    @property
    def public_key(self) -> str:
        """The public key as events carry it: 64 lower-case hex digits."""
        return self._public_key

    @property
    def npub(self) -> str:
        """The public key as people read it (NIP-19)."""
        return npub(self._public_key)

    def to_nsec(self) -> str:
        """The SECRET as NIP-19 writes it, to be stored in a file only its owner can read."""
        return _encode("nsec", self._secret.secret)

    def sign(
        self, *, kind: int, created_at: int, tags: Iterable[Sequence[str]], content: str = "", aux: bytes
    ) -> Event:
        """Make and sign an event (NIP-01, BIP-340).

        The new event passes the same gate as one from outside, so we never send what we would not read.

        Args:
            kind: 0 to 65,535.
            created_at: Unix seconds.
            tags: each with at least one string.
            content: any text, within MAX_EVENT_BYTES for the whole event.
            aux: 32 bytes of fresh randomness; they harden the signature, and change nothing else.

        Raises:
            InvalidEvent: a field is out of its range, or the event would be too long.
            ValueError: `aux` is not 32 bytes.
        """
        if len(aux) != _KEY_BYTES:
            raise ValueError("aux must be 32 random bytes")
        listed = tuple(tuple(tag) for tag in tags)
        digest = event_id(self._public_key, created_at, kind, listed, content)
        signature = self._secret.sign_schnorr(bytes.fromhex(digest), aux)
        return Event.from_wire(
            msgspec.json.encode(
                {
                    "id": digest,
                    "pubkey": self._public_key,
                    "created_at": created_at,
                    "kind": kind,
                    "tags": listed,
                    "content": content,
                    "sig": signature.hex(),
                }
            )
        )

    def shared_x(self, public_key: str) -> bytes:
        """The 32-byte x coordinate both sides can compute (ECDH): the secret NIP-04 and NIP-44 start from.

        Raises:
            InvalidKey: `public_key` is not 64 lower-case hex digits of a point on the curve.
        """
        # Nostr keys are x alone. Either y gives the same shared x; BIP-340 picks the even one, 0x02.
        compressed = b"\x02" + _hex_bytes(public_key, "A public key")
        try:
            point = coincurve.PublicKey(compressed).multiply(self._secret.secret)
        except ValueError:
            raise InvalidKey("This public key is not a point of the curve; check how it was copied.") from None
        return point.format()[1:]

    def __repr__(self) -> str:
        return f"Keys(public_key={self._public_key!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Keys are not copied or pickled: their secret must not travel by accident")


def npub(public_key: str) -> str:
    """A public key (hex) as `npub1…`. Raises `InvalidKey`."""
    return _encode("npub", _hex_bytes(public_key, "A public key"))


def nsec(secret: str) -> str:
    """A SECRET key (hex) as `nsec1…`. Raises `InvalidKey`."""
    return Keys.from_hex(secret).to_nsec()


def note(event_id: str) -> str:
    """An event id (hex) as `note1…`. Raises `InvalidKey`."""
    return _encode("note", _hex_bytes(event_id, "An event id"))


def nprofile(public_key: str, relays: Sequence[str] = ()) -> str:
    """A public key (hex) and where its owner reads, as `nprofile1…`.

    Raises:
        InvalidKey: the key is not hex, a relay's URL is not ASCII of at most 255 characters, or there are
            too many of them for one text.
    """
    special = (_TLV_SPECIAL, _hex_bytes(public_key, "A public key"))
    return _encode("nprofile", _tlv([special, *_relay_entries(relays)]))


def nevent(event_id: str, relays: Sequence[str] = (), author: str | None = None, kind: int | None = None) -> str:
    """An event id (hex), where the event lies, who wrote it and of what kind, as `nevent1…`.

    Raises:
        InvalidKey: as for `nprofile`, or the kind is not one of NIP-01.
    """
    entries = [(_TLV_SPECIAL, _hex_bytes(event_id, "An event id")), *_relay_entries(relays)]
    if author is not None:
        entries.append((_TLV_AUTHOR, _hex_bytes(author, "A public key")))
    if kind is not None:
        if not 0 <= kind <= MAX_KIND:
            raise InvalidKey(f"An event's kind is a number from 0 to {MAX_KIND:,}; correct it.")
        entries.append((_TLV_KIND, kind.to_bytes(4, "big")))
    return _encode("nevent", _tlv(entries))


def parse_public_key(text: str) -> str:
    """Who is meant: hex, `npub1…` or `nprofile1…`, with or without `nostr:` in front (NIP-21).

    Returns:
        64 lower-case hex digits of a key that lies on the curve.

    Raises:
        InvalidKey: the text is none of these; a secret (`nsec1…`) is refused too.
    """
    return decode_nprofile(text)[0]


def decode_nprofile(text: str) -> tuple[str, list[str]]:
    """Who is meant and on which relays, from all that `parse_public_key` reads; hints may be none.

    Raises:
        InvalidKey: as `parse_public_key`.
    """
    text = _without_scheme(text)
    relays: list[str] = []
    if _looks_like_hex(text):
        key = _hex_bytes(text, "A public key")
    elif _prefix(text) == "nprofile":
        key, relays = _decode_tlv("nprofile", text)
    else:
        key = _sized(_decode("npub", text))
    try:
        coincurve.PublicKeyXOnly(key)
    except ValueError:
        raise InvalidKey("This public key is not a point of the curve; check how it was copied.") from None
    return key.hex(), relays


def parse_event_id(text: str) -> str:
    """Which event is meant: hex, `note1…` or `nevent1…`, with or without `nostr:` in front (NIP-21).

    Returns:
        64 lower-case hex digits.

    Raises:
        InvalidKey: the text is none of these.
    """
    return parse_event_pointer(text)[0]


def parse_event_pointer(text: str) -> tuple[str, list[str]]:
    """As `parse_event_id`, with the relays that a `nevent1…` names; whether they can be dialled is not judged."""
    text = _without_scheme(text)
    if _looks_like_hex(text):
        return _hex_bytes(text, "An event id").hex(), []
    if _prefix(text) == "nevent":
        key, relays = _decode_tlv("nevent", text)
        return key.hex(), relays
    return _sized(_decode("note", text)).hex(), []


def _without_scheme(text: str) -> str:
    return text.strip().removeprefix("nostr:")


def _prefix(text: str) -> str:
    return text.lower().partition("1")[0]


def _looks_like_hex(text: str) -> bool:
    """Hex can hold `1` too, but no bech32 text of ours is 64 characters of hex."""
    return len(text) == 2 * _KEY_BYTES and all(digit in "0123456789abcdefABCDEF" for digit in text)


def _hex_bytes(text: str, what: str) -> bytes:
    if not _looks_like_hex(text):
        raise InvalidKey(f"{what} is written as 64 hex digits; check that it was copied whole.")
    return bytes.fromhex(text)


def _sized(data: bytes) -> bytes:
    if len(data) != _KEY_BYTES:
        raise InvalidKey("This identifier does not hold 32 bytes; check that it was copied whole.")
    return data


def _encode(prefix: str, data: bytes) -> str:
    text: str = _bech32.bech32_encode(prefix, _bech32.convertbits(data, 8, 5), _bech32.Encoding.BECH32)
    if len(text) > MAX_NIP19_CHARS:
        raise InvalidKey(f"The {prefix} is longer than {MAX_NIP19_CHARS:,} characters; name fewer relays.")
    return text


def _decode(prefix: str, text: str) -> bytes:
    """The bytes behind a NIP-19 text of exactly this prefix; the checksum is BIP-173's, not bech32m."""
    if len(text) > MAX_NIP19_CHARS:
        raise InvalidKey(f"A NIP-19 text has at most {MAX_NIP19_CHARS:,} characters; shorten it.")
    found, words, checksum = _bech32.bech32_decode(text)
    if checksum is not _bech32.Encoding.BECH32:
        raise InvalidKey(f"This is not a valid {prefix}: its checksum is wrong; copy it again.")
    if found != prefix:
        raise InvalidKey(f"What is wanted here begins with {prefix}1; this is something else.")
    data = _bech32.convertbits(words, 5, 8, pad=False)
    if data is None:
        raise InvalidKey(f"This is not a valid {prefix}: its last character does not fit; copy it again.")
    return bytes(data)


def _relay_entries(relays: Iterable[str]) -> Iterator[tuple[int, bytes]]:
    for relay in relays:
        if not relay.isascii() or len(relay) > 255:  # noqa: PLR2004 - one byte holds a TLV length
            raise InvalidKey("A relay's address in NIP-19 is ASCII of at most 255 characters; correct it.")
        yield _TLV_RELAY, relay.encode("ascii")


def _tlv(entries: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes((kind, len(value))) + value for kind, value in entries)


def _decode_tlv(prefix: str, text: str) -> tuple[bytes, list[str]]:
    """The 32 special bytes and the relays; other types are ignored, as NIP-19 asks."""
    special: bytes | None = None
    relays: list[str] = []
    for kind, value in _entries(_decode(prefix, text)):
        if kind == _TLV_SPECIAL and special is None:
            special = _sized(value)
        elif kind == _TLV_RELAY and value.isascii():
            relays.append(value.decode("ascii"))
    if special is None:
        raise InvalidKey(f"This {prefix} names nobody and nothing; copy it again.")
    return special, relays


def _entries(data: bytes) -> Iterator[tuple[int, bytes]]:
    """A TLV list: one byte of type, one of length, then as many bytes as that says."""
    at = 0
    while at < len(data):
        kind, length = data[at], int.from_bytes(data[at + 1 : at + 2], "big")
        value = data[at + 2 : at + 2 + length]
        at += 2 + length
        if at > len(data):
            raise InvalidKey("This identifier ends in the middle of an entry; copy it again.")
        yield kind, value
