"""Notes of kind 1 and their threads (NIP-10). Pure."""

import re
from typing import Final

from relay_client.event import EventFields

KIND_NOTE: Final = 1
_is_id: Final = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_Tag = tuple[str, ...]
BOT_TAG: Final = "bot"
"""A tag of every note that a Timmy writes. Two of them must never keep each other talking."""
_FROM_A_BOT: Final[_Tag] = (BOT_TAG, "answer")


def replied_to(note: EventFields) -> list[str]:
    """The events that a note stands in a thread with, root first; a mere mention of one is none of them."""
    named = [tag for tag in note.tags if tag[0] == "e" and len(tag) > 1 and _is_id(tag[1])]
    roots = [tag[1] for tag in named if tag[3:4] == ("root",)]
    others = [tag[1] for tag in named if tag[3:4] not in {("root",), ("mention",)}]
    return list(dict.fromkeys((*roots, *others)))


def root_of(note: EventFields) -> str:
    """The id of the note that began the thread: its own, where it began it."""
    return next(iter(replied_to(note)), note.id)


def reply_tags(note: EventFields, relay: str) -> tuple[_Tag, ...]:
    """The tags of an answer to a note; `relay` has it."""
    root = root_of(note)
    person = ("p", note.pubkey)
    if root == note.id:
        return ("e", root, relay, "root"), person, _FROM_A_BOT
    return ("e", root, relay, "root"), ("e", note.id, relay, "reply"), person, _FROM_A_BOT
