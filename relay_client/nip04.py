"""NIP-04: the old encryption between two keys (AES-256-CBC), read because many customers still send it.

It proves nothing about the sender and shows the length; NIP-44 is better wherever one may choose.
pynostr's own NIP-04 is not used: it draws the IV itself, wants the secret key as hex, and fails on damaged
text with whatever its parts raise. The AES here is `cryptography`'s, as there.
"""

import base64
import re
from typing import Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from relay_client.errors import DecryptionFailed
from relay_client.keys import Keys
from relay_client.nip44 import MAX_PAYLOAD_CHARS, encodable

_SENTENCE: Final = "The text could not be decrypted; encrypt it again, for this key."
_IV_BYTES: Final = 16
# One shape only: padded base64 of whole blocks, then the IV's 16 bytes.
_PAYLOAD: Final = re.compile(r"([A-Za-z0-9+/]+={0,2})\?iv=([A-Za-z0-9+/]{22}==)")


def is_nip04(content: str) -> bool:
    """Is an encrypted text NIP-04's rather than NIP-44's? Only the former holds `?iv=`."""
    return "?iv=" in content


def encrypt(plaintext: str, keys: Keys, public_key: str, iv: bytes) -> str:
    """Encrypt for one reader: `base64(ciphertext)?iv=base64(iv)`.

    Args:
        plaintext: as `nip44.encodable` allows, so that an answer fits either scheme; here it may be empty.
        keys: the sender's.
        public_key: the reader's, hex.
        iv: 16 random bytes, never used twice.

    Raises:
        InvalidPlaintext: the text is too long, or no valid Unicode.
        InvalidKey: `public_key` is none.
        ValueError: `iv` is not 16 bytes.
    """
    if len(iv) != _IV_BYTES:
        raise ValueError("iv must be 16 random bytes")
    data = encodable(plaintext)
    padder = padding.PKCS7(algorithms.AES.block_size).padder()
    encryptor = _cipher(keys, public_key, iv).encryptor()
    ciphertext = encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()
    return f"{base64.b64encode(ciphertext).decode()}?iv={base64.b64encode(iv).decode()}"


def decrypt(payload: str, keys: Keys, public_key: str) -> str:
    """Decrypt what the other side wrote to us, or we to them.

    Args:
        payload: `base64(ciphertext)?iv=base64(iv)`, at most MAX_PAYLOAD_CHARS.
        keys: ours.
        public_key: the other side's, hex.

    Raises:
        DecryptionFailed: damaged, forged, not for us, or too long; all look the same, because a reader who
            tells wrong padding from wrong text decrypts for strangers.
        InvalidKey: `public_key` is none.
    """
    found = _PAYLOAD.fullmatch(payload) if len(payload) <= MAX_PAYLOAD_CHARS else None
    if found is None:
        raise DecryptionFailed(_SENTENCE)
    unpadder = padding.PKCS7(algorithms.AES.block_size).unpadder()
    try:
        ciphertext, iv = (base64.b64decode(part, validate=True) for part in found.groups())
        decryptor = _cipher(keys, public_key, iv).decryptor()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return (unpadder.update(padded) + unpadder.finalize()).decode()
    except ValueError:  # base64, whole blocks, padding, UTF-8: whichever it was stays unsaid
        raise DecryptionFailed(_SENTENCE) from None


def _cipher(keys: Keys, public_key: str, iv: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(keys.shared_x(public_key)), modes.CBC(iv))
