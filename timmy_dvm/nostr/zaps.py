"""Zaps of Timmy's own key (NIP-57): what a zap request has to be, and the receipt once it is paid. Pure.

Whoever zaps gives to the generosity pool. A zap request is a stranger's word, checked by every rule that NIP-57
has for the server of a Lightning address (appendix D); its receipt (appendix E) is made of it as it was sent, to
the byte, because the invoice commits to the hash of those bytes. A receipt says what our wallet's record said. No
other's is ever read here: a receipt is no proof of a payment.

A giver is named on the pool's page only where the zap's own words ask for it, by the word `#donor`.
"""

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from ledger.records import EventRole, NewEvent
from relay_client.errors import InvalidEvent
from relay_client.event import Event
from relay_client.keys import Keys
from timmy_dvm.nostr.targets import Configured, ToCustomer, write_targets

KIND_REQUEST: Final = 9734
KIND_RECEIPT: Final = 9735
MAX_CHARS: Final = 8_192
MAX_RELAYS: Final = 20
NAME_ME: Final = "#donor"
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_COORDINATE: Final = re.compile(r"[0-9]{1,5}:[0-9a-f]{64}:.*", re.ASCII | re.DOTALL)
_COPIED: Final = ("e", "a", "k")
"""Tags of a request that its receipt repeats beside `p`, the first of each."""


class InvalidZap(ValueError):
    """The text is no zap request for us; the sentence says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Zap:
    """A zap request that keeps to NIP-57, and its text as it was sent."""

    request: Event
    text: str

    @property
    def zapped_event(self) -> str | None:
        """The id of the event that is zapped; None where it is our profile, or another address."""
        return next(iter(self.request.tag_values("e")), None)

    @property
    def relays(self) -> tuple[str, ...]:
        """Where its receipt is wanted, in a stranger's words."""
        return (self.request.tag("relays") or ("relays",))[1 : MAX_RELAYS + 1]

    @property
    def donor(self) -> str | None:
        """The key that wants to be named as a donor, hex; None where it does not say so, or hides itself."""
        asks = NAME_ME in self.request.content.lower().split()
        return self.request.pubkey if asks and self.request.tag("anon") is None else None


def read_zap(text: str, *, amount: int, public_key: str) -> Zap:
    """A zap request (NIP-57, appendix D).

    Args:
        text: the parameter `nostr` of the question for an invoice, decoded.
        amount: the parameter `amount`, msat.
        public_key: ours, hex: who is zapped, and who signs the receipt.

    Raises:
        InvalidZap: it breaks a rule.
    """
    if len(text) > MAX_CHARS:
        raise InvalidZap(f"The zap request is longer than {MAX_CHARS} characters: name fewer relays.")
    try:
        request = Event.from_wire(text)
    except InvalidEvent as error:
        raise InvalidZap(f"The zap request is no event: {error}") from None
    if request.kind != KIND_REQUEST:
        raise InvalidZap(f"A zap request is of kind {KIND_REQUEST}.")
    zapped, events, senders = (request.tag_values(name) for name in ("p", "e", "P"))
    if len(zapped) != 1 or _count(request, "p") != 1:
        raise InvalidZap("A zap request has exactly one p tag.")
    if zapped[0] != public_key:
        raise InvalidZap("This zap request is for another key: ask at that key's own Lightning address.")
    if _count(request, "e") > 1 or not all(map(_HEX.fullmatch, events)) or len(events) != _count(request, "e"):
        raise InvalidZap("A zap request has at most one e tag, with the id of an event.")
    if not all(map(_COORDINATE.fullmatch, request.tag_values("a"))) or _count(request, "a") > 1:
        raise InvalidZap("A zap request has at most one a tag, kind:pubkey:identifier.")
    if _count(request, "P") > 1 or any(sender != public_key for sender in senders):
        raise InvalidZap("The P tag of a zap request is the key that signs its receipt, or is left out.")
    if _count(request, "amount") and request.tag_values("amount") != [str(amount)]:
        raise InvalidZap("The amount of the zap request is not the amount asked for, in msat.")
    return Zap(request, text)


def _count(request: Event, name: str) -> int:
    return sum(tag[0] == name for tag in request.tags)


def receipt(zap: Zap, bolt11: str, *, keys: Keys, aux: bytes, at: int) -> NewEvent:
    """The receipt of a zap that our wallet's record says is paid (NIP-57, appendix E).

    It goes to our relays, and to those that the request names, as far as they may be dialled.
    """
    request = zap.request
    copied = [tag[:2] for name in _COPIED if (tag := request.tag(name)) is not None and len(tag) > 1]
    tags = [("p", keys.public_key), *copied, ("P", request.pubkey), ("bolt11", bolt11), ("description", zap.text)]
    event = keys.sign(kind=KIND_RECEIPT, created_at=at, tags=tags, content="", aux=aux)
    named = ToCustomer(key=request.pubkey, named=zap.relays, is_owed=True)
    return NewEvent(
        id=event.id,
        job_id=None,
        role=EventRole.FEEDBACK,
        json=event.to_json(),
        targets=write_targets(named if zap.relays else Configured()),
    )


class _Note(msgspec.Struct, frozen=True, kw_only=True, tag_field="door", tag="gift"):
    """What is kept of a gift beside its sum: the zap request as it was sent, the words that came with it."""

    zap: str = ""
    comment: str = ""


_notes: Final = msgspec.json.Decoder(_Note)


def write_note(*, zap: Zap | None = None, comment: str = "") -> str:
    """The note of a gift; empty where there is nothing to keep."""
    note = _Note(zap="" if zap is None else zap.text, comment=comment)
    return "" if note == _Note() else msgspec.json.encode(note).decode()


def read_note(text: str) -> Zap | None:
    """The zap request of a gift that was one. It was proved when it came, and is proved again."""
    try:
        note = _notes.decode(text)
        return Zap(Event.from_wire(note.zap), note.zap) if note.zap else None
    except (msgspec.MsgspecError, InvalidEvent):
        return None


def read_comment(text: str) -> str:
    """The words that came with a gift: its comment (LUD-12), or what its zap says."""
    zap = read_note(text)
    if zap is not None:
        return zap.request.content
    try:
        return _notes.decode(text).comment
    except msgspec.MsgspecError:
        return ""
