"""Identity tokens and the challenges that lead to them: signed texts, so nothing has to be stored. Pure.

    token       v1.<key id>.<payload>.<mac>         who, for which address, from when until when
    challenge   v1.<expiry>.<random>.<mac>          for which purpose and address, until when

Whoever holds the secret can check both; a restart forgets none. A challenge is used once: whoever takes
one keeps that in mind until it expires (`logins`). Two keys live side by side, so that a secret can be replaced.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

TOKEN_LIFE_S: Final = 86_400
CHALLENGE_LIFE_S: Final = 120
MAX_TEXT_CHARS: Final = 512
_MIN_SECRET_BYTES: Final = 32
_VERSION: Final = "v1"
_RANDOM_BYTES: Final = 32
_PART: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_PARTS: Final = 3


class InvalidToken(Exception):
    """The text is no token of ours, or one that has ended; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One secret that signs tokens.

    Attributes:
        secret: at least 32 bytes.
        not_before: tokens issued earlier than this Unix second are refused: how all that were given out are ended.
    """

    secret: bytes = field(repr=False)
    not_before: int = 0

    def __post_init__(self) -> None:
        if len(self.secret) < _MIN_SECRET_BYTES:
            raise ValueError(f"a token secret has at least {_MIN_SECRET_BYTES} bytes")

    @property
    def id(self) -> str:
        """Names the key without telling anything of it."""
        return hashlib.sha256(b"token key id:" + self.secret).hexdigest()[:8]

    def mac(self, purpose: str, text: str) -> str:
        """Binds a text to its purpose: a challenge can never pass for a token."""
        return _base64(hmac.digest(self.secret, f"{purpose}\n{text}".encode(), "sha256"))


class _Payload(msgspec.Struct, frozen=True):
    pubkey: str
    audience: str
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh token and when it ends, in Unix seconds."""

    text: str = field(repr=False)
    expires_at: int


_decode: Final = msgspec.json.Decoder(_Payload).decode


class Tokens:
    """Issues and reads tokens for one address.

    Args:
        keys: the first signs; all are believed.
        audience: our public address.
    """

    def __init__(self, keys: Sequence[SigningKey], audience: str) -> None:
        if not keys:
            raise ValueError("tokens need a key")
        self._keys = tuple(keys)
        self._audience = audience

    def issue(self, pubkey: str, now: int) -> Issued:
        """A token for this public key (hex), good for a day."""
        payload = _Payload(pubkey, self._audience, now, now + TOKEN_LIFE_S)
        key = self._keys[0]
        signed = f"{_VERSION}.{key.id}.{_base64(msgspec.json.encode(payload))}"
        return Issued(f"{signed}.{key.mac('token', signed)}", payload.expires_at)

    def read(self, text: str, now: int) -> str:
        """The public key that a token stands for.

        Raises:
            InvalidToken: it is none, was signed by another key, for another address, or has ended.
        """
        signed, _, mac = text.rpartition(".") if len(text) <= MAX_TEXT_CHARS else ("", "", "")
        parts = signed.split(".")
        if len(parts) != _PARTS or parts[0] != _VERSION or not all(map(_PART.fullmatch, (*parts, mac))):
            raise InvalidToken("That is no token of ours: get one with POST /api/identity/challenge and verify.")
        key = next((key for key in self._keys if hmac.compare_digest(key.id, parts[1])), None)
        if key is None or not hmac.compare_digest(key.mac("token", signed), mac):
            raise InvalidToken("That token was not signed here: get a new one.")
        try:
            payload = _decode(_from_base64(parts[2]))
        except (msgspec.MsgspecError, ValueError):
            raise InvalidToken("That token can't be read: get a new one.") from None
        if payload.audience != self._audience:
            raise InvalidToken("That token is for another address: get one here.")
        if payload.issued_at < key.not_before or not payload.issued_at <= now < payload.expires_at:
            raise InvalidToken("That token has ended: get a new one.")
        return payload.pubkey

    def challenge(self, purpose: str, random: bytes, now: int) -> Issued:
        """A text to be signed by whoever says who they are, good for two minutes.

        Args:
            purpose: it opens nothing else.
            random: 32 fresh bytes.
            now: Unix seconds.
        """
        expires_at = now + CHALLENGE_LIFE_S
        text = f"{_VERSION}.{expires_at}.{_base64(random[:_RANDOM_BYTES])}"
        return Issued(f"{text}.{self._keys[0].mac(self._for(purpose), text)}", expires_at)

    def check_challenge(self, purpose: str, text: str, now: int) -> int:
        """When a challenge of ours for this purpose ends.

        Raises:
            InvalidToken: it is none, or has ended.
        """
        signed, _, mac = text.rpartition(".") if len(text) <= MAX_TEXT_CHARS else ("", "", "")
        parts = signed.split(".")
        if (
            len(parts) != _PARTS
            or not _SECONDS.fullmatch(parts[1])
            or not all(map(_PART.fullmatch, (*parts, mac)))
        ):
            raise InvalidToken("That is no challenge of ours: get one with POST /api/identity/challenge.")
        if not any(hmac.compare_digest(key.mac(self._for(purpose), signed), mac) for key in self._keys):
            raise InvalidToken("That is no challenge of ours: get one with POST /api/identity/challenge.")
        expires_at = int(parts[1])
        if now >= expires_at:
            raise InvalidToken("That challenge has ended: get a new one.")
        return expires_at

    def _for(self, purpose: str) -> str:
        return f"challenge:{purpose}:{self._audience}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("no base64") from error
