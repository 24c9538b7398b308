"""What a customer reads, word by word. Pure. The words come first: many clients show nothing else of an event."""

from collections.abc import Mapping

from ledger.money import MSATS_PER_SAT, Msats, sats_down, sats_up
from timmy_dvm.core.actions import CreditAdded, Delivered, Ended, FreeUse, Introduced, PriceTold, Working
from timmy_dvm.nostr.origin import Origin

MAX_LINE_CHARS = 80
"""Longest `status` line of a request for money."""
MAX_SENTENCE_CHARS = 2_000
_MSATS_PER_BITCOIN = 100_000_000_000
_MICRO_USD_PER_CENT = 10_000


def price(amount: Msats, origin: Origin) -> str:
    """`9 sats (about 1 cent)`; without a bitcoin price the sats alone."""
    sats = _sats(amount)
    if origin.btc_micro_usd is None:
        return sats
    tenths = 10 * amount * origin.btc_micro_usd // (_MSATS_PER_BITCOIN * _MICRO_USD_PER_CENT)
    cents = (tenths + 5) // 10
    about = "less than 1 cent" if not cents else f"about {cents} cent{'s' if cents > 1 else ''}"
    return f"{sats} ({about}{', by a fallback price' if origin.btc_is_fallback else ''})"


def _sats(amount: Msats) -> str:
    return f"{sats_up(amount)} sats" if amount > MSATS_PER_SAT else "1 sat"


def until(expires_at: int) -> str:
    """`14:32 UTC`."""
    return f"{expires_at // 3_600 % 24:02}:{expires_at // 60 % 60:02} UTC"


def money_due(told: PriceTold, origin: Origin, pay_page: str | None) -> str:
    """The request for money, whole."""
    links = f"{pay_page} or lightning:{told.bolt11}" if pay_page else f"lightning:{told.bolt11}"
    if told.tops_up:
        return (
            f"{price(told.amount, origin)} for your balance here: your next requests use it, and what "
            f"is left can be taken out (op refund). Pay: {links}. Valid until {until(told.expires_at)}."
        )
    credit = f", with {_sats(told.credit)} of your credit" if told.credit else ""
    pool = f"; the pool offers another {_sats(told.offered)}" if told.offered else ""
    return (
        f"{price(told.amount, origin)} at most{credit}{pool}; what is not used comes back. "
        f"Pay: {links}. Valid until {until(told.expires_at)}.{not_used(origin)}"
    )


def not_used(origin: Origin) -> str:
    """Which of the customer's params change nothing, as a sentence to add; empty where all count."""
    return f" Not used here: {', '.join(origin.ignored)}." if origin.ignored else ""


def money_due_line(told: PriceTold, origin: Origin) -> str:
    """The request for money in one line without the invoice."""
    if told.tops_up:
        return f"{_sats(told.amount)} for your balance; valid until {until(told.expires_at)}"
    credit = f" + {_sats(told.credit)} of credit" if told.credit else ""
    pool = f" + {_sats(told.offered)} of the pool" if told.offered else ""
    lines = (
        f"{price(told.amount, origin)}{credit}{pool} at most; valid until {until(told.expires_at)}",
        f"{_sats(told.amount)}{credit}{pool} at most",
        f"{_sats(told.amount)} at most",
    )
    return next(line for line in lines if len(line) <= MAX_LINE_CHARS)


def credit_added(message: CreditAdded) -> str:
    """A top-up was paid, and what there is now."""
    return (
        f"{sats_down(message.added)} sats were added to your balance: it is {sats_down(message.credit)} sats now. "
        "Your next requests use it first; what is left can be taken out (op refund)."
    )


def working(message: Working) -> str:
    """Work has begun, and with what money."""
    if message.covered_by == "begun":
        return "Work on this request has begun: it finishes, and only what it really costs is kept."
    if message.covered_by == "pool":
        return f"{_used_today(message.free)}."
    pool = "" if message.free is None else f", the pool adds {_sats(message.free.absorbed)}"
    if message.covered_by == "credit":
        told = f"Covered by your credit: {sats_up(message.credit)} sats{pool}"
    else:
        told = f"Payment received{pool}"
    return f"{told}{f' ({used})' if (used := _used_today(message.free)) else ''}. Working on it."


def _used_today(free: FreeUse | None) -> str:
    """`free: 12 of 50 sats used today`, what is set aside included."""
    return "" if free is None else f"free: {sats_up(free.used)} of {sats_up(free.budget)} sats used today"


def receipt(message: Delivered) -> str:
    """What it cost, what it took, and where the change went."""
    check, work = _count(message.ledger, "evalAmountSats"), _count(message.ledger, "actualAmountSats")
    tokens, pool = _count(message.ledger, "totalTokens"), _count(message.ledger, "absorbed_sats")
    paid = f"Done for {check + work} sats: {check} to check the request, {work} for the answer ({tokens} tokens)"
    is_free = bool(pool) and not check + work
    if is_free:
        paid = f"Done for free: the pool paid {pool} sats ({tokens} tokens)"
    elif pool:
        paid += f"; the pool paid {pool} more"
    words = [
        f"{paid}.",
        "The answer stops at its token limit." if message.truncated else "",
        message.money_back or ("" if is_free else "There is no change."),
    ]
    return " ".join(filter(None, words))


def ended(message: Ended) -> str:
    """Why there is no answer, what comes back, and what to do next."""
    again = "You may change the request and ask again." if message.code == "rejected" else "You may ask again."
    return " ".join(filter(None, (shortened(message.sentence), message.money_back, again)))


def introduction(message: Introduced, origin: Origin, name: str, npub: str) -> str:
    """Who we are, what we cost, and how to ask; for a note that people read in their clients."""
    return (
        f"I am {name}, an AI agent that answers requests for sats. A short question costs "
        f"{price(message.price, origin)} at most; what is not used comes back. To ask, publish a NIP-90 job "
        f"request (kind 5050) that names nostr:{npub} in a p tag: its price comes first."
    )


def shortened(sentence: str) -> str:
    """A sentence that others had a hand in, cut to what an event's status line can bear."""
    text = sentence.strip()
    return text if len(text) <= MAX_SENTENCE_CHARS else f"{text[:MAX_SENTENCE_CHARS]}…"


def _count(ledger: Mapping[str, object], name: str) -> int:
    value = ledger.get(name)
    return value if isinstance(value, int) else 0
