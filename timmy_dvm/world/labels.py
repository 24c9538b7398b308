"""What a job is called in the Workshop. Pure.

A name is drawn from the job's id with a salt that lives as long as the process: it says nothing about the id,
which is its owner's secret, and nobody who knows the id can find the name.
"""

import hashlib
from typing import Final

_COLOURS: Final = (
    "amber", "ashen", "azure", "brass", "bright", "bronze", "copper", "coral", "crimson", "dusky", "emerald",
    "frosty", "gentle", "gilded", "golden", "hazel", "indigo", "ivory", "jade", "lilac", "mellow", "misty",
    "ochre", "opal", "pearl", "quiet", "rosy", "ruby", "russet", "silver", "velvet", "violet",
)  # fmt: skip
_THINGS: Final = (
    "acorn", "anvil", "badger", "beacon", "bellows", "bramble", "candle", "comet", "crane", "ember", "falcon",
    "feather", "fern", "finch", "harbor", "heron", "kettle", "lantern", "lark", "maple", "marble", "meadow",
    "otter", "owl", "pebble", "quill", "raven", "river", "sparrow", "thimble", "thistle", "willow",
)  # fmt: skip


def label_of(job_id: str, salt: bytes) -> str:
    """Two words, the same for the same job until the next start: ``amber-lantern``."""
    drawn = hashlib.blake2b(job_id.encode(), key=salt[:64], digest_size=2).digest()
    return f"{_COLOURS[drawn[0] % len(_COLOURS)]}-{_THINGS[drawn[1] % len(_THINGS)]}"
