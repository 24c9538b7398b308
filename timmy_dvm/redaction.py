"""Secrets out of texts: those this process knows, in every form they are written in, and what looks like one."""

import base64
import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "(redacted)"
MIN_SECRET: Final = 8
"""Shorter secrets are not struck out: their letters would turn up everywhere."""

SECRET_FIELDS: Final = frozenset(
    {
        "adminkey", "api_key", "authorization", "claim_secret", "inkey", "macaroon", "nostr_token", "nsec",
        "nwc_uri", "password", "preimage", "private_key", "rune", "secret", "secret_key", "ssh_private_key",
        "token", "x_api_key",
    }
)  # fmt: skip
"""Fields of these names are never shown, whatever they hold."""

_KEY_BYTES: Final = 32
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_HEX_32: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)

# No shape below can match where none of these stands: asking for them first is 10 times faster.
_MARKS: Final = (
    "@", "-----begin", "nsec1", "ncryptsec1", "bearer", "authorization", "nostr ey", "l402", "lsat", "macaroon",
    "preimage", "secret", "passw", "token", "nsec", "rune", "sk-", "nostr+", "api_key", "api-key", "apikey",
    "adminkey", "admin_key", "admin-key", "inkey", "in_key", "in-key", "0201",
)  # fmt: skip
_EXACT_MARKS: Final = ("AgE", "MDAx", "MDAy", "MDAz")
_SHAPES: Final = re.compile(
    r"""
      -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | n(?:crypt)?sec1[02-9ac-hj-np-z]{20,}
    | nostr\+walletconnect:\S+
    | (?:bearer|l402|lsat)\s+[\w+/=.:~-]{16,}
    | nostr\s+ey[\w+/=-]{16,}
    | authorization["']?\s*[:=]\s*["']?(?:[\w-]+\s+)?[^\s"',}]+
    | (?:preimage|secret|password|passwd|token|macaroon|rune|nsec|(?:api|admin|in)[-_]?key)
      \\?["']?\s*[:=]\s*\\?["']?[^\s"'&,;}\\]{8,}
    | sk-[\w-]{16,}
    | (?<=://)[^/\s@]+(?=@)
    | \b(?-i:AgE|MDA[xyz])[\w+/-]{40,}={0,2}
    | \b0201[0-9a-f]{100,}
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL | re.ASCII,
)


class Redactor:
    """The secrets of one process, and striking them out of a text in every form they are written in."""

    def __init__(self) -> None:
        self._exact: tuple[str, ...] = ()
        self._any_case: tuple[str, ...] = ()

    def add(self, secret: str | bytes) -> None:
        """Register a secret: it is found as text, hex, base64 and bech32. Shorter than 8 characters: ignored."""
        if len(secret) < MIN_SECRET:
            return
        exact, any_case = set(self._exact), set(self._any_case)
        if isinstance(secret, str):
            exact.add(secret)
        raw_secret = secret if isinstance(secret, bytes) else secret.encode(errors="surrogatepass")
        keys = list(_key_bytes(secret))
        for raw in (raw_secret, *keys, *(key.hex().encode() for key in keys)):
            any_case.add(raw.hex())
            exact.add(base64.b64encode(raw).decode().rstrip("="))
            exact.add(base64.urlsafe_b64encode(raw).decode().rstrip("="))
            exact.add(repr(raw)[2:-1])
        any_case.update(_bech32_data(key) for key in keys)
        self._exact = tuple(sorted(exact, key=len, reverse=True))  # the longest first: one may hold another
        self._any_case = tuple(any_case)

    def suspects(self, text: str) -> bool:
        """Whether `text` may hold a secret: the quick question, wrong only on the safe side."""
        low = text.lower()
        return (
            any(mark in low for mark in _MARKS)
            or any(mark in text for mark in _EXACT_MARKS)
            or any(form in text for form in self._exact)
            or any(form in low for form in self._any_case)
        )

    def clean(self, text: str) -> str:
        """`text` without its secrets."""
        for form in self._exact:
            text = text.replace(form, HIDDEN)
        for form in self._any_case:
            if form in text.lower():
                text = re.sub(re.escape(form), HIDDEN, text, flags=re.IGNORECASE)
        return _SHAPES.sub(HIDDEN, text)


def _key_bytes(secret: str | bytes) -> Iterable[bytes]:
    """The 32 bytes of a key given as such, as hex or as nsec; nothing for any other secret."""
    if isinstance(secret, bytes):
        return (secret,) if len(secret) == _KEY_BYTES else ()
    text = secret.strip().lower()
    if _HEX_32.fullmatch(text):
        return (bytes.fromhex(text),)
    data = text.removeprefix("nsec1")
    if data == text or not set(data) <= set(_BECH32):
        return ()
    bits = "".join(f"{_BECH32.index(symbol):05b}" for symbol in data[:-6])  # the last six are the checksum
    return (bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8)),)


def _bech32_data(key: bytes) -> str:
    """The key as it stands inside any bech32 text (nsec, npub …), without the last, padded symbol."""
    bits = "".join(f"{byte:08b}" for byte in key)
    return "".join(_BECH32[int(bits[i : i + 5], 2)] for i in range(0, len(bits) - 4, 5))
