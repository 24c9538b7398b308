"""Which encryption a request uses, and the same one for its answer (NIP-04, NIP-44, NIP-59). Pure but for the key.

The answer takes the scheme of the question (D10): a customer who wrote NIP-04 may have nothing else.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final, assert_never

from relay_client import nip04, nip44
from relay_client.event import UnverifiedEvent
from relay_client.keys import Keys

MAX_SEALED_BYTES: Final = 40_960
"""Longest text we encrypt into one event, in UTF-8: NIP-44 pads the next one up beyond what relays take."""

_NIP04: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}\?iv=[A-Za-z0-9+/]{22}==")
# Base64 that begins with version 2 and is long enough for NIP-44's shortest text.
_NIP44: Final = re.compile(r"A[g-v][A-Za-z0-9+/]{128,}={0,2}")


class Scheme(StrEnum):
    """How a request is encrypted, and so its answers."""

    NONE = "none"
    NIP04 = "nip04"
    NIP44 = "nip44"
    NIP59 = "nip59"
    """A private message: sealed and wrapped whole, by `letters`, and not part by part here."""


def scheme_of(event: UnverifiedEvent, *, has_clear_input: bool) -> Scheme:
    """What the sender used. The tag `encrypted` decides; without it content that can be nothing else does.

    An event that has its input in clear is not taken for encrypted because its content looks odd.
    """
    if event.tag("encrypted") is not None:
        return Scheme.NIP04 if nip04.is_nip04(event.content) else Scheme.NIP44
    if has_clear_input:
        return Scheme.NONE
    if _NIP04.fullmatch(event.content):
        return Scheme.NIP04
    return Scheme.NIP44 if _NIP44.fullmatch(event.content) else Scheme.NONE


def decrypt(content: str, scheme: Scheme, keys: Keys, public_key: str) -> str:
    """What `public_key` wrote to us.

    Raises:
        DecryptionFailed: damaged, forged, or not for us.
        InvalidKey: `public_key` is none.
    """
    match scheme:
        case Scheme.NONE:
            return content
        case Scheme.NIP04:
            return nip04.decrypt(content, keys, public_key)
        case Scheme.NIP44:
            return nip44.decrypt(content, nip44.conversation_key(keys, public_key))
        case Scheme.NIP59:
            raise ValueError("a private message is unwrapped whole, before its content is looked at")
    assert_never(scheme)


def encrypt(text: str, scheme: Scheme, keys: Keys, public_key: str, entropy: Callable[[int], bytes]) -> str:
    """Write to `public_key`; `entropy` gives fresh random bytes. At most :data:`MAX_SEALED_BYTES`.

    Raises:
        InvalidPlaintext: the text is far too long, or no valid Unicode.
        InvalidKey: `public_key` is none.
    """
    match scheme:
        case Scheme.NONE:
            return text
        case Scheme.NIP04:
            return nip04.encrypt(text, keys, public_key, entropy(16))
        case Scheme.NIP44:
            # NIP-44 has no form for an empty text.
            return nip44.encrypt(text or " ", nip44.conversation_key(keys, public_key), entropy(32))
        case Scheme.NIP59:
            raise ValueError("a private message is wrapped whole, with its tags")
    assert_never(scheme)
