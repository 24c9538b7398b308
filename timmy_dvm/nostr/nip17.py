"""What a private message asks of us (NIP-17). Pure, and never raises.

Whoever writes here writes as to a person: any text is a request for its answer, and may go on from an earlier one
(`conversation`) unless it says that it begins anew. A few words are commands where they are all there is, and an
invoice alone claims money back. Silence is for what wants no answer: a reaction, a
courtesy, a group that we happen to be in, and another bot.
"""

import re
from typing import Final, TypedDict

from relay_client.nip59 import Rumor
from timmy_dvm.core.facts import Op
from timmy_dvm.nostr.conversation import Heard
from timmy_dvm.nostr.inputs import replies_to
from timmy_dvm.nostr.nip90 import (
    KIND_DELETION,
    MAX_AHEAD_S,
    Asked,
    CancelAsked,
    JobAsked,
    NotForUs,
    Unreadable,
    cancelled_ids,
)
from timmy_dvm.nostr.operations import Question, RefundAsked
from timmy_dvm.nostr.origin import Reply
from timmy_dvm.nostr.privacy import Scheme

KIND_MESSAGE: Final = 14
KIND_FILE: Final = 15
BOT_TAG: Final = "bot"
"""A tag of every message that a Timmy writes. Two of them must never thank each other for ever."""

HELP: Final = (
    "This is an AI agent that works for sats. Write a question or a task: you get its price and a Lightning "
    "invoice, and when that is paid the answer. What it did not cost comes back to you.\n\n"
    "As the whole message you may also write:\n"
    "price <your text>: what it would cost\n"
    "new: <your text>: to begin anew; else what you write within an hour of an answer, or as a reply to one, goes "
    "on from it, and what was said before is part of the price\n"
    "balance: your credit, and money that waits for you\n"
    "me: how your key stands here\n"
    "a Lightning invoice (BOLT11): to have money that waits for you paid to it"
)


class _Said(TypedDict):
    text: str
    heard: Heard | None


_REPLY: Final = Reply(Scheme.NIP59)
_HELLOS: Final = frozenset({"hi", "hello", "hey"})
_GREETINGS: Final = _HELLOS | {"help", "start", "info"}
_QUESTIONS: Final = {"balance": Op.BALANCE, "refund": Op.BALANCE, "me": Op.ME}
_COURTESIES: Final = frozenset(
    {"thanks", "thank you", "thanks a lot", "many thanks", "thank you very much", "thx", "ty", "bye", "goodbye"}
    | {"ok", "okay", "great", "good", "nice", "cool", "perfect", "awesome", "yes", "no", "done", "paid", "lol"}
)
_LONGEST_COMMAND: Final = 40
_BOLT11: Final = re.compile(r"(?:lightning:)?ln(?:bcrt|bc|tbs|tb)[a-z0-9]{50,}", re.ASCII | re.IGNORECASE)
_PRICE: Final = re.compile(r"/?price[\s:]+(\S.*)", re.IGNORECASE | re.DOTALL)
_NEW: Final = re.compile(r"(?:/new[\s:]|new\s*:)\s*(\S.*)", re.IGNORECASE | re.DOTALL)
_REFUND: Final = re.compile(r"/?refund[\s:]+(\S+)", re.IGNORECASE)


def read(rumor: Rumor, public_key: str, *, now: int, not_before: int) -> Asked:
    """What a rumor asks of us.

    Args:
        rumor: out of its gift wrap, proved to be its author's.
        public_key: ours, hex.
        now: the time, in Unix seconds.
        not_before: messages older than this are ignored, whenever they were wrapped.
    """
    if rumor.pubkey == public_key:
        return NotForUs("our own message")
    if not not_before <= rumor.created_at <= now + MAX_AHEAD_S:
        return NotForUs("too old, or from the future")
    if not set(rumor.tag_values("p")) <= {public_key, rumor.pubkey}:
        return NotForUs("it is for others too, or not for us at all")
    if rumor.tag(BOT_TAG) is not None:
        return NotForUs("another bot's")
    if rumor.kind == KIND_MESSAGE:
        return _read_text(rumor.content.strip(), Heard(replies_to(rumor.tags), rumor.created_at))
    if rumor.kind == KIND_FILE:
        return _told("file", "Files can't be opened here: write what you want as text.")
    if rumor.kind == KIND_DELETION:
        ids = cancelled_ids(rumor)
        return CancelAsked(ids) if ids else NotForUs("a deletion of no event")
    return NotForUs("no message")


def _read_text(text: str, heard: Heard) -> Asked:
    if _BOLT11.fullmatch(text):
        return RefundAsked(invoice=text, request_id=None, reply=_REPLY)
    if text and not text.strip("?"):
        return _told("help", HELP)
    if not any(map(str.isalnum, text)):
        return NotForUs("a courtesy")
    if len(text) <= _LONGEST_COMMAND and (asked := _command(_plain(text))) is not None:
        return asked
    if (price := _PRICE.fullmatch(text)) is not None:
        return Question(op=Op.ESTIMATE, reply=_REPLY, **_said(price[1], heard))
    if (refund := _REFUND.fullmatch(text)) is not None:
        return RefundAsked(invoice=refund[1], request_id=None, reply=_REPLY)
    return JobAsked(reply=_REPLY, **_said(text, heard))


def _said(text: str, heard: Heard) -> _Said:
    """The request itself, and from where it may go on."""
    begins_anew = _NEW.fullmatch(text)
    return _Said(text=text, heard=heard) if begins_anew is None else _Said(text=begins_anew[1], heard=None)


def _command(plain: str) -> Asked | None:
    """What a few words alone mean; None where they are a request like any other."""
    first, _, rest = plain.partition(" ")
    if plain in _GREETINGS or (first in _HELLOS and " " not in rest):  # `hello there`
        return _told("help", HELP)
    if plain in _COURTESIES:
        return NotForUs("a courtesy")
    if plain in _QUESTIONS:
        return Question(op=_QUESTIONS[plain], reply=_REPLY)
    if plain == "price":
        return _told("bad_param", "Write your text behind the word price, and you hear what it would cost.")
    return None


def _plain(text: str) -> str:
    """A text's letters, digits and single spaces, for comparisons."""
    letters = "".join(each if each.isalnum() or each.isspace() else "" for each in text.casefold())
    return " ".join(letters.split())


def _told(code: str, sentence: str) -> Unreadable:
    return Unreadable(code=code, sentence=sentence, reply=_REPLY)
