"""Proof of work on an event (NIP-13): how many hashes its author must have tried, told by the event alone. Pure.

What counts is what was committed to: the third item of the ``nonce`` tag is part of what is hashed, so whoever
mines for less and is lucky has shown no more than that.
"""

import re
from typing import Final

from relay_client.event import EventFields

ID_BITS: Final = 256
_TARGET: Final = re.compile(r"[0-9]{1,3}", re.ASCII)


def bits(event: EventFields) -> int:
    """The work behind an event in bits: 0 where it commits to none, else what its id shows, up to that."""
    tag = event.tag("nonce") or ()
    target = tag[2] if len(tag) > 2 else ""  # noqa: PLR2004 # ["nonce", <counter>, <target>]
    if not _TARGET.fullmatch(target):
        return 0
    return min(leading_zero_bits(event.id), int(target))


def leading_zero_bits(event_id: str) -> int:
    """How many bits of an id (64 hex digits) are zero before the first that is not."""
    return ID_BITS - int(event_id, 16).bit_length()
