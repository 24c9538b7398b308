"""NIP-44 version 2: encryption between two keys, with authentication and a hidden length.

    conversation key   HKDF-extract of the shared x coordinate; the same for both sides, worth keeping
    message keys       HKDF-expand of it with a nonce of 32 random bytes, new for every message
    payload            base64( 2 || nonce || ChaCha20(padded text) || HMAC-SHA256(nonce || ciphertext) )

The edit of 2026-06-28 allows texts above 65,535 bytes, with a longer length prefix. Both forms are read;
written is only what older libraries read too.
"""

import base64
import hmac
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from relay_client.errors import DecryptionFailed, InvalidPlaintext
from relay_client.keys import Keys

MAX_PLAINTEXT_BYTES: Final = 65_408
"""Longest text that is encrypted, in UTF-8: nostr-sdk 0.45 encrypts no more, and reads this."""
MAX_PAYLOAD_CHARS: Final = 131_072
"""Longest payload that is decrypted, judged before base64: no event that is read holds a longer one."""

_SENTENCE: Final = "The text could not be decrypted; encrypt it again, for this key."
_VERSION: Final = b"\x02"
_NONCE_BYTES: Final = 32
_MAC_BYTES: Final = 32
_KEY_BYTES: Final = 32
# The shortest text in base64: a version, a nonce, a length of 2 bytes, 32 of padded text, a MAC.
_MIN_PAYLOAD_CHARS: Final = 132
_SHORT_PREFIX_LIMIT: Final = 65_536
_MIN_PADDED: Final = 32


class MessageKeys(NamedTuple):
    """What one message is encrypted and authenticated with."""

    chacha_key: bytes
    chacha_nonce: bytes
    hmac_key: bytes


def conversation_key(keys: Keys, public_key: str) -> bytes:
    """The 32 secret bytes two keys share; costs an ECDH, so keep them for a conversation.

    Args:
        keys: ours.
        public_key: the other side's, hex.

    Raises:
        InvalidKey: `public_key` is not a point of the curve.
    """
    return hmac.digest(b"nip44-v2", keys.shared_x(public_key), "sha256")


def encrypt(plaintext: str, conversation_key: bytes, nonce: bytes) -> str:
    """Encrypt a text of 1 to MAX_PLAINTEXT_BYTES bytes.

    Args:
        plaintext: what the other side shall read.
        conversation_key: of the two sides.
        nonce: 32 random bytes, never used twice.

    Returns:
        The payload in base64.

    Raises:
        InvalidPlaintext: empty, too long, or no valid Unicode.
        ValueError: `nonce` is not 32 bytes.
    """
    data = encodable(plaintext)
    if not data:
        raise InvalidPlaintext("An empty text cannot be encrypted; write at least one character.")
    return _seal(data, conversation_key, nonce)


def decrypt(payload: str, conversation_key: bytes) -> str:
    """Decrypt a payload of at most MAX_PAYLOAD_CHARS.

    Raises:
        DecryptionFailed: damaged, forged, not for us, too long, or of another version.
    """
    if not _MIN_PAYLOAD_CHARS <= len(payload) <= MAX_PAYLOAD_CHARS:
        raise DecryptionFailed(_SENTENCE)
    try:
        data = base64.b64decode(payload, validate=True)
    except ValueError:
        raise DecryptionFailed(_SENTENCE) from None
    if not data.startswith(_VERSION):
        raise DecryptionFailed(_SENTENCE)
    nonce, ciphertext, mac = data[1 : 1 + _NONCE_BYTES], data[1 + _NONCE_BYTES : -_MAC_BYTES], data[-_MAC_BYTES:]
    keys = message_keys(conversation_key, nonce)
    if not hmac.compare_digest(_mac(keys, nonce, ciphertext), mac):
        raise DecryptionFailed(_SENTENCE)
    try:
        return _unpad(_chacha20(keys, ciphertext)).decode()
    except UnicodeDecodeError:
        raise DecryptionFailed(_SENTENCE) from None


def encodable(plaintext: str) -> bytes:
    """A text's UTF-8, if it may be encrypted.

    Raises:
        InvalidPlaintext: more than MAX_PLAINTEXT_BYTES, or no valid Unicode.
    """
    try:
        data = plaintext.encode()
    except UnicodeEncodeError:
        raise InvalidPlaintext("The text holds half of a surrogate pair; write valid Unicode.") from None
    if len(data) > MAX_PLAINTEXT_BYTES:
        raise InvalidPlaintext(f"At most {MAX_PLAINTEXT_BYTES:,} bytes can be encrypted; split the text.")
    return data


def message_keys(conversation_key: bytes, nonce: bytes) -> MessageKeys:
    """The keys of one message: 76 bytes of HKDF-expand (RFC 5869) with the nonce as its info.

    Raises:
        ValueError: `conversation_key` or `nonce` is not 32 bytes.
    """
    if len(conversation_key) != _KEY_BYTES or len(nonce) != _NONCE_BYTES:
        raise ValueError("conversation key and nonce have 32 bytes each")
    first = hmac.digest(conversation_key, nonce + b"\x01", "sha256")
    second = hmac.digest(conversation_key, first + nonce + b"\x02", "sha256")
    third = hmac.digest(conversation_key, second + nonce + b"\x03", "sha256")
    okm = first + second + third
    return MessageKeys(okm[:32], okm[32:44], okm[44:76])


def padded_length(length: int) -> int:
    """How many bytes a text of `length` bytes is padded to: 32, then steps of an eighth of a power of two."""
    if length <= _MIN_PADDED:
        return _MIN_PADDED
    next_power = 1 << (length - 1).bit_length()
    step = max(_MIN_PADDED, next_power // 8)
    return step * ((length - 1) // step + 1)


def _seal(data: bytes, conversation_key: bytes, nonce: bytes) -> str:
    """The payload for any length; `encrypt` holds it to what others read."""
    keys = message_keys(conversation_key, nonce)
    ciphertext = _chacha20(keys, _prefix(len(data)) + data.ljust(padded_length(len(data)), b"\0"))
    return base64.b64encode(_VERSION + nonce + ciphertext + _mac(keys, nonce, ciphertext)).decode()


def _prefix(length: int) -> bytes:
    """Two bytes of length; from 65,536 on two zeros and four bytes of length."""
    return length.to_bytes(2, "big") if length < _SHORT_PREFIX_LIMIT else bytes(2) + length.to_bytes(4, "big")


def _unpad(padded: bytes) -> bytes:
    length, start = int.from_bytes(padded[:2], "big"), 2
    if length == 0:
        length, start = int.from_bytes(padded[2:6], "big"), 6
        if length < _SHORT_PREFIX_LIMIT:  # one text, one form; so an empty one is refused too
            raise DecryptionFailed(_SENTENCE)
    if len(padded) != start + padded_length(length):
        raise DecryptionFailed(_SENTENCE)
    return padded[start : start + length]


def _mac(keys: MessageKeys, nonce: bytes, ciphertext: bytes) -> bytes:
    return hmac.digest(keys.hmac_key, nonce + ciphertext, "sha256")


def _chacha20(keys: MessageKeys, data: bytes) -> bytes:
    # `cryptography` wants RFC 7539's block counter, which starts at zero, before the nonce of 12 bytes.
    encryptor = Cipher(algorithms.ChaCha20(keys.chacha_key, bytes(4) + keys.chacha_nonce), mode=None).encryptor()
    return encryptor.update(data) + encryptor.finalize()
