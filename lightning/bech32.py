"""Bech32 without the length limit, as BOLT 11 and LNURL use it: text to 5-bit words and back. Pure.

A "word" is a byte from 0 to 31. Errors are `ValueError` with a sentence; the callers know what kind of text
it was meant to be. Source: BIP-173; BOLT 11 lifts its limit of 90 characters.
"""

import base64
import re
from collections.abc import Iterable

_CHARSET = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
_PRINTABLE = re.compile(r"[!-~]*", re.ASCII)
_NOT_A_WORD = 0xFF

_WORDS = bytes(range(32))
_TO_CHARACTERS = bytes.maketrans(_WORDS, _CHARSET)
_FROM_CHARACTERS = bytes(
    _CHARSET.index(code) if code in _CHARSET else _NOT_A_WORD for code in range(256)
)  # bytes.translate wants all 256
_FROM_BASE64_ALPHABET = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _WORDS)
_TO_DIGITS = bytes.maketrans(_WORDS, b"0123456789abcdefghijklmnopqrstuv")

# What the five generators come to for each value of the five bits that leave the register: one look-up for five
# conditional XORs. The sum runs over every character of every invoice.
_REMAINDER = tuple(
    sum_of_bits
    for top in range(32)
    for sum_of_bits in [
        (_GENERATOR[0] * (top & 1))
        ^ (_GENERATOR[1] * (top >> 1 & 1))
        ^ (_GENERATOR[2] * (top >> 2 & 1))
        ^ (_GENERATOR[3] * (top >> 3 & 1))
        ^ (_GENERATOR[4] * (top >> 4 & 1))
    ]
)


def _polymod(register: int, words: Iterable[int]) -> int:
    for word in words:
        register = (register & 0x1FFFFFF) << 5 ^ word ^ _REMAINDER[register >> 25]
    return register


def _start(prefix: bytes) -> int:
    """The checksum register after the human-readable part."""
    return _polymod(1, [code >> 5 for code in prefix] + [0] + [code & 31 for code in prefix])


def decode(text: str) -> tuple[str, bytes]:
    """The human-readable part, lower case, and the words without their checksum.

    Raises:
        ValueError: mixed case, a character out of place, no separator, or a wrong checksum.
    """
    if not _PRINTABLE.fullmatch(text):
        raise ValueError("it contains characters that no bech32 text has")
    if text != text.lower() and text != text.upper():
        raise ValueError("it mixes upper and lower case")
    prefix, _, data = text.lower().rpartition("1")
    if not prefix:
        raise ValueError("it has no separator '1'")
    words = data.encode().translate(_FROM_CHARACTERS)
    if _NOT_A_WORD in words or len(words) < _CHECKSUM_LENGTH:
        raise ValueError("it contains characters that no bech32 text has, or too few")
    if _polymod(_start(prefix.encode()), words) != 1:
        raise ValueError("its checksum is wrong, so a character was lost or changed")
    return prefix, words[:-_CHECKSUM_LENGTH]


def encode(prefix: str, words: bytes) -> str:
    """The bech32 text of a lower-case human-readable part and words."""
    remainder = _polymod(_start(prefix.encode()), words + bytes(_CHECKSUM_LENGTH)) ^ 1
    checksum = bytes(remainder >> shift & 31 for shift in range(25, -1, -5))
    return f"{prefix}1{(words + checksum).translate(_TO_CHARACTERS).decode()}"


def words_from_bytes(data: bytes) -> bytes:
    """The words of a byte string, padded at the end with zero bits."""
    # RFC 4648 base32 cuts bits into fives exactly as bech32 does; only its alphabet differs.
    return base64.b32encode(data).rstrip(b"=").translate(_FROM_BASE64_ALPHABET)


def words_from_int(number: int, length: int = 0) -> bytes:
    """A number in big-endian words: as few as hold it, but at least ``length``."""
    count = max(length, -(-number.bit_length() // 5))
    return bytes(number >> 5 * place & 31 for place in reversed(range(count)))


def int_from_words(words: bytes) -> int:
    """The number in big-endian words; none at all are 0."""
    return int(b"0" + words.translate(_TO_DIGITS), 32)


def bytes_from_words(words: bytes, *, pad: bool = False) -> bytes:
    """The bytes in words. What remains below a whole byte is dropped, or with ``pad`` filled up with zero bits."""
    bits = 5 * len(words)
    number = int_from_words(words)
    if pad:
        return (number << -bits % 8).to_bytes(-(-bits // 8), "big")
    return (number >> bits % 8).to_bytes(bits // 8, "big")
