"""L402: a macaroon that a paid invoice turns into a key. Challenge, credential, macaroon V2. Pure.

    challenge        the value of WWW-Authenticate, in the one form that all clients read
    credentials      the value of Authorization → what the caller holds
    mint, Macaroon   a macaroon, byte for byte as libmacaroons' version 2 has it
    Identifier       what stands in its identifier: which invoice pays it, which session it opens

A caveat only narrows. Names of others are skipped, as L402 asks; ours must be understood, or the macaroon is
refused. Sources: lightninglabs/L402 (bLIP 26), the macaroons paper, libmacaroons' binary format.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from lightning.errors import LightningError

MAX_HEADER_CHARS: Final = 4_096
MAX_CREDENTIALS: Final = 4
MAX_CAVEATS: Final = 16
MAX_CAVEAT_BYTES: Final = 256
IDENTIFIER_BYTES: Final = 66
HASH_BYTES: Final = 32
VALID_UNTIL: Final = "dvm_valid_until"
"""Our one caveat: Unix seconds after which the macaroon opens nothing."""

_KEY_GENERATOR: Final = b"macaroons-key-generator"
_VERSION: Final = 2
_END, _LOCATION, _IDENTIFIER, _SIGNATURE = 0, 1, 2, 6
_LARGEST_LENGTH: Final = 4_096
_SCHEMES: Final = re.compile(r"(L402|LSAT|Bearer)[ \t]+(.+)", re.ASCII | re.IGNORECASE | re.DOTALL)
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}", re.ASCII)
_PREIMAGE: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class InvalidMacaroon(LightningError, ValueError):
    """The text is no macaroon, or not one of ours; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """The macaroon's identifier, version 0: 2 + 32 + 32 bytes, both ids as lower-case hex."""

    payment_hash: str
    token_id: str

    def to_bytes(self) -> bytes:
        """As it stands in the macaroon."""
        return b"\x00\x00" + bytes.fromhex(self.payment_hash) + bytes.fromhex(self.token_id)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read it.

        Raises:
            InvalidMacaroon: another length or version.
        """
        if len(data) != IDENTIFIER_BYTES or data[:2] != b"\x00\x00":
            raise InvalidMacaroon("That macaroon is not one of ours: ask without it to get a new one.")
        return cls(data[2 : 2 + HASH_BYTES].hex(), data[2 + HASH_BYTES :].hex())


@dataclass(frozen=True, slots=True)
class Macaroon:
    """A macaroon with first-party caveats. The signature is secret: who has it can use it."""

    location: str
    identifier: bytes
    caveats: tuple[bytes, ...]
    signature: bytes

    def __repr__(self) -> str:
        """Without the signature."""
        return f"Macaroon({self.identifier.hex()}, {len(self.caveats)} caveats)"

    def to_bytes(self) -> bytes:
        """Version 2, binary."""
        parts = [bytes([_VERSION])]
        if self.location:
            parts.append(_field(_LOCATION, self.location.encode()))
        parts += [_field(_IDENTIFIER, self.identifier), b"\x00"]
        parts += [_field(_IDENTIFIER, caveat) + b"\x00" for caveat in self.caveats]
        return b"".join((*parts, b"\x00", _field(_SIGNATURE, self.signature)))

    def to_text(self) -> str:
        """Version 2 in standard base64 with padding, as every client reads it."""
        return base64.b64encode(self.to_bytes()).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read one, in either alphabet of base64, padded or not.

        Raises:
            InvalidMacaroon: it is none, or holds what ours never do (another version, third-party caveats).
        """
        if len(text) > MAX_HEADER_CHARS or not _TOKEN.fullmatch(text):
            raise InvalidMacaroon("The macaroon is not base64: send it as it was given.")
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
            return cls._read(_Bytes(data))
        except (ValueError, IndexError):
            raise InvalidMacaroon("That is no macaroon of version 2: send it as it was given.") from None

    @classmethod
    def _read(cls, data: "_Bytes") -> Self:
        if data.byte() != _VERSION:
            raise ValueError("another version")
        kind, location = data.field()
        kind, identifier = data.field() if kind == _LOCATION else (kind, location)
        location = location if identifier is not location else b""
        if kind != _IDENTIFIER or data.byte() != _END:
            raise ValueError("no identifier")
        caveats: list[bytes] = []
        while (first := data.byte()) != _END:
            if first != _IDENTIFIER or len(caveats) >= MAX_CAVEATS:
                raise ValueError("a caveat that is not ours")
            caveats.append(data.text(MAX_CAVEAT_BYTES))
            if data.byte() != _END:
                raise ValueError("a third party's caveat")
        kind, signature = data.field()
        if kind != _SIGNATURE or len(signature) != HASH_BYTES or not data.is_at_end:
            raise ValueError("no signature")
        return cls(location.decode(), identifier, tuple(caveats), signature)

    def narrowed(self, caveat: str) -> Self:
        """The same with one more caveat; anybody who holds it can do this."""
        text = caveat.encode()
        return replace(self, caveats=(*self.caveats, text), signature=_hmac(self.signature, text))

    def is_signed_with(self, root_key: bytes) -> bool:
        """Whether whoever knows this key minted it, in constant time."""
        signature = _hmac(_hmac(_KEY_GENERATOR, root_key), self.identifier)
        for caveat in self.caveats:
            signature = _hmac(signature, caveat)
        return hmac.compare_digest(signature, self.signature)

    def is_valid_at(self, now: int) -> bool:
        """Whether its caveats let it open anything now: all of ours hold, those of others are skipped."""
        for caveat in self.caveats:
            name, _, value = caveat.decode("utf-8", "replace").partition("=")
            if name.strip().startswith("dvm_") and not (
                name == VALID_UNTIL and _SECONDS.fullmatch(value) and now < int(value)
            ):
                return False
        return True


def mint(root_key: bytes, identifier: Identifier, *, location: str = "", caveats: Iterable[str] = ()) -> Macaroon:
    """A new macaroon.

    Args:
        root_key: secret; the same for all macaroons of one token id, so that each of them opens its session.
        identifier: the invoice that pays it and the session it opens.
        location: a hint for people; not signed.
        caveats: ``name=value``, each at most :data:`MAX_CAVEAT_BYTES`.
    """
    raw = identifier.to_bytes()
    macaroon = Macaroon(location, raw, (), _hmac(_hmac(_KEY_GENERATOR, root_key), raw))
    for caveat in caveats:
        macaroon = macaroon.narrowed(caveat)
    return macaroon


def root_key(secret: bytes, token_id: str) -> bytes:
    """The root key of one token id, out of the server's secret: nothing has to be stored to check a macaroon."""
    return _hmac(secret, b"l402 root key:" + bytes.fromhex(token_id))


def challenge(macaroon: Macaroon, invoice: str) -> str:
    """The value of ``WWW-Authenticate`` that asks for payment.

    Old clients read ``macaroon`` and want it first, new ones read ``version`` and ``token``: this order, with a
    space after each comma, is read by all.
    """
    text = macaroon.to_text()
    return f'L402 macaroon="{text}", invoice="{invoice}", version="0", token="{text}"'


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller holds. ``preimage`` is lower-case hex, None with ``Bearer``."""

    macaroon: Macaroon
    preimage: str | None

    def __repr__(self) -> str:
        """Without the preimage."""
        return f"Credential({self.macaroon!r})"

    @property
    def identifier(self) -> Identifier:
        """Which invoice, which session.

        Raises:
            InvalidMacaroon: it is not one of ours.
        """
        return Identifier.from_bytes(self.macaroon.identifier)

    def proves_payment(self) -> bool:
        """Whether the preimage is the one of the macaroon's invoice.

        It proves that somebody knows the preimage, which some wallets tell anybody: money is credited by our own
        wallet's record alone.
        """
        if self.preimage is None:
            return False
        digest = hashlib.sha256(bytes.fromhex(self.preimage)).hexdigest()
        return hmac.compare_digest(digest, self.identifier.payment_hash)


def credentials(header: str) -> Sequence[Credential] | None:
    """What an ``Authorization`` header holds; None where it is of another scheme.

    Raises:
        InvalidMacaroon: it is of our scheme, and broken.
    """
    if len(header) > MAX_HEADER_CHARS * MAX_CREDENTIALS:
        raise InvalidMacaroon("The credential is far too long: send only what was given.")
    match = _SCHEMES.fullmatch(header.strip())
    if match is None:
        return None
    needs_preimage = match[1].lower() != "bearer"
    texts = [text.strip() for text in match[2].split(",")]
    if len(texts) > MAX_CREDENTIALS:
        raise InvalidMacaroon(f"No more than {MAX_CREDENTIALS} credentials are looked at: send the newest.")
    if needs_preimage:
        texts = _with_their_preimages(texts)
    return [_credential(text, needs_preimage=needs_preimage) for text in texts]


def _with_their_preimages(texts: list[str]) -> list[str]:
    """``m1,m2:preimage`` shows several macaroons of one payment (L402): the preimage is of both."""
    preimage, whole = "", list[str]()
    for text in reversed(texts):
        token, colon, own = text.partition(":")
        preimage = own if colon else preimage
        whole.append(f"{token}:{preimage}")
    return whole[::-1]


def _credential(text: str, *, needs_preimage: bool) -> Credential:
    token, colon, preimage = text.partition(":")
    if needs_preimage and not _PREIMAGE.fullmatch(preimage):
        raise InvalidMacaroon("A credential is the macaroon, a colon, and the preimage in 64 hex digits.")
    if not needs_preimage and colon:
        raise InvalidMacaroon("With Bearer the macaroon stands alone; with its preimage the scheme is L402.")
    return Credential(Macaroon.from_text(token), preimage.lower() if needs_preimage else None)


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _field(kind: int, data: bytes) -> bytes:
    length, count = bytearray(), len(data)
    while count > 0x7F:  # noqa: PLR2004 # seven bits a byte, the eighth says that more follow
        length.append(count & 0x7F | 0x80)
        count >>= 7
    return bytes([kind, *length, count]) + data


class _Bytes:
    """A reader that raises ValueError or IndexError where the bytes end too soon."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def text(self, most: int = _LARGEST_LENGTH) -> bytes:
        length = shift = 0
        while True:
            part = self.byte()
            length |= (part & 0x7F) << shift
            shift += 7
            if part <= 0x7F:  # noqa: PLR2004 # as written
                break
            if length > most:
                raise ValueError("too long")
        if length > most or self._at + length > len(self._data):
            raise ValueError("too long")
        self._at += length
        return self._data[self._at - length : self._at]

    def field(self) -> tuple[int, bytes]:
        kind = self.byte()
        if kind == _END:
            raise ValueError("a field is missing")
        return kind, self.text()
