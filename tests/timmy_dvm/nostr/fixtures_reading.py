"""How each client reads an answer, as its source does: what it shows, what it pays, where it finds the answer.

Where a client reads less than we say, or can't be satisfied, its rules say so: `can_pay` and `sees_answer`.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay_client.event import Event
from relay_client.keys import Keys
from tests.timmy_dvm.nostr.kit import opened

Tags = Sequence[Sequence[str]]
Invoice = tuple[int, str]
"""Msat and BOLT11."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A client's.

    Attributes:
        words: what it shows of a feedback event.
        invoice: what it can pay of one, None where it finds nothing to pay.
        answer: what it takes a result for.
        can_pay, sees_answer: whether it gets so far with a provider that is paid first.
    """

    words: Callable[[Event, Keys], str]
    invoice: Callable[[Event, Keys], Invoice | None]
    answer: Callable[[Event, Keys], str]
    can_pay: bool = True
    sees_answer: bool = True


def item(tags: Tags, name: str, at: int = 1) -> str:
    """An item of the first tag of that name, empty where there is none."""
    return next((tag[at] for tag in tags if tag[0] == name and len(tag) > at), "")


def hidden(event: Event, keys: Keys) -> list[list[str]]:
    """The tags inside an encrypted feedback event."""
    return json.loads(opened(event.content, keys, _sender(event)))


def _sender(event: Event) -> Keys:
    """The other side of the conversation: only its public key is known."""
    return _Public(event.pubkey)


@dataclass(frozen=True, slots=True)
class _Public:
    public_key: str


def content(event: Event, _: Keys) -> str:
    return event.content


def decrypted(event: Event, keys: Keys) -> str:
    return opened(event.content, keys, _sender(event))


def either(event: Event, keys: Keys) -> str:
    return event.content if event.tag("encrypted") is None else decrypted(event, keys)


def amount_tag(event: Event, _: Keys) -> Invoice | None:
    """`amount`, in clear: msat, then the invoice."""
    bolt11 = item(event.tags, "amount", 2)
    return (int(item(event.tags, "amount")), bolt11) if bolt11 else None


def if_payment_required(read: Callable[[Event, Keys], Invoice | None]) -> Callable[[Event, Keys], Invoice | None]:
    """For clients that look for an invoice at exactly this status, with a hyphen."""

    def guarded(event: Event, keys: Keys) -> Invoice | None:
        return read(event, keys) if item(event.tags, "status") == "payment-required" else None

    return guarded


def status(event: Event, _: Keys) -> str:
    return item(event.tags, "status")


def _amethyst_words(event: Event, _: Keys) -> str:
    return event.content or item(event.tags, "status", 2)


def _snort_invoice(event: Event, _: Keys) -> Invoice | None:
    """It looks for a tag `bolt11` and then in the words, and never at the amount's third item."""
    found = item(event.tags, "bolt11") or next(iter(re.findall("lnbc[a-zA-Z0-9]+", event.content)), "")
    return (int(item(event.tags, "amount")), found) if found else None


def _coracle_words(event: Event, keys: Keys) -> str:
    first = hidden(event, keys)[0]
    return first[2] if len(first) > 2 else f"Your note is {first[1]}!"


def _nostrdvm_tags(event: Event, keys: Keys) -> Tags:
    """Of an encrypted event it keeps the hidden tags alone."""
    return event.tags if event.tag("encrypted") is None else hidden(event, keys)


def _nostrdvm_words(event: Event, keys: Keys) -> str:
    tags = _nostrdvm_tags(event, keys)
    return item(tags, "content") or item(tags, "status", 2) or event.content


def _nostrdvm_invoice(event: Event, keys: Keys) -> Invoice | None:
    tags = _nostrdvm_tags(event, keys)
    if item(tags, "status") != "payment-required":
        return None
    return int(item(tags, "amount")), item(tags, "amount", 2)


def _ndk_tags(event: Event, keys: Keys) -> Tags:
    """NDKDVMJobFeedback.dvmDecrypt pushes the hidden tags behind the clear ones."""
    return [*event.tags, *(hidden(event, keys) if event.tag("encrypted") is not None else [])]


def _ndk_words(event: Event, keys: Keys) -> str:
    return item(_ndk_tags(event, keys), "content") or event.content


def _commander_words(event: Event, keys: Keys) -> str:
    """It shows the decrypted content as it is, which is the array of tags."""
    return decrypted(event, keys)


def _nothing(_: Event, __: Keys) -> None:
    return None


def _post_paid(event: Event, _: Keys) -> str:
    """Buy-mode takes a result only with an amount and an invoice, which it pays then."""
    return event.content if item(event.tags, "amount", 2) else ""


RULES = {
    # Shows a button with amount / 1000 sats at this status and nothing of the words; the invoice is amount[2].
    "noogle": Rules(words=status, invoice=amount_tag, answer=content),
    # Shows the content and makes a `lightning:` link of amount[2], whatever the status.
    "dvmdash": Rules(words=content, invoice=amount_tag, answer=content),
    # Content, else status[2]; exact status; never decrypts feedback.
    "amethyst": Rules(words=_amethyst_words, invoice=if_payment_required(amount_tag), answer=content),
    "snort": Rules(words=content, invoice=if_payment_required(_snort_invoice), answer=content),
    # It neither decrypts feedback nor looks into the amount for an invoice: its user sees a status and an amount.
    "snort-encrypted": Rules(words=status, invoice=_snort_invoice, answer=decrypted, can_pay=False),
    # Reads element 0 of the hidden array, field 2, and pays nothing: somebody must pay for it elsewhere.
    "coracle": Rules(words=_coracle_words, invoice=amount_tag, answer=decrypted),
    "coracle-clear": Rules(words=content, invoice=amount_tag, answer=content),
    "nostrdvm": Rules(words=_nostrdvm_words, invoice=_nostrdvm_invoice, answer=either),
    "ezdvm": Rules(words=content, invoice=amount_tag, answer=content),
    "rust-nostr": Rules(words=content, invoice=amount_tag, answer=content),
    "ndk": Rules(words=_ndk_words, invoice=amount_tag, answer=either),
    "nostr-tools": Rules(words=_ndk_words, invoice=amount_tag, answer=either),
    # Takes amount[1] for the invoice, which NIP-90 has as msat: it asks its wallet to pay "13000".
    "commander": Rules(words=_commander_words, invoice=_nothing, answer=decrypted, can_pay=False),
    # Pays after the work, an invoice in the result, and only its own bid exactly; Timmy is paid before.
    "buy-mode": Rules(words=content, invoice=_nothing, answer=_post_paid, can_pay=False, sees_answer=False),
}
