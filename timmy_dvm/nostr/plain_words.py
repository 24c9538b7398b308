"""What a customer reads in a private message, word by word. Pure. Nothing in it is meant for a program."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ledger.money import msats_from_sats
from timmy_dvm.core.actions import Delivered, Ended, OperationDone, PriceTold, Working
from timmy_dvm.core.giving_back import CLAIM_BY
from timmy_dvm.nostr import words
from timmy_dvm.nostr.origin import Origin

_HERE: Final = "(send it here)"
_Body = Mapping[str, object]
_json: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def sentence(text: str) -> str:
    """A sentence of the core, with the way to claim that this door has."""
    return words.shortened(text.replace(CLAIM_BY, _HERE))


def money_due(told: PriceTold, origin: Origin, pay_page: str | None) -> str:
    """The request for money. The invoice stands on a line of its own, where wallets find it."""
    credit = f", with {_sats(told.credit // 1_000)} of your credit" if told.credit else ""
    page = f"\n\n{pay_page}" if pay_page else ""
    return (
        f"{words.price(told.amount, origin)} at most{credit}; what is not used comes back. {_place(origin)}"
        f"Pay this invoice, and the answer comes here. Valid until {words.until(told.expires_at)}.\n\n"
        f"lightning:{told.bolt11}{page}"
    )


def _place(origin: Origin) -> str:
    return (
        "This goes on from what was said before; to begin anew, write new: before your text. "
        if origin.goes_on
        else ""
    )


def working(message: Working) -> str:
    """Work has begun, and with what money."""
    return words.working(message)


def receipt(message: Delivered) -> str:
    """What it cost, what it took, and where the change went."""
    return words.receipt(message).replace(CLAIM_BY, _HERE)


def ended(message: Ended) -> str:
    """Why there is no answer, what comes back, and what to do next."""
    return words.ended(message).replace(CLAIM_BY, _HERE)


def operation(message: OperationDone, origin: Origin) -> str:
    """The answer to a command, which other doors get as JSON."""
    body = message.body
    tell = _TOLD.get(str(body.get("op")))
    return _json.encode(body).decode() if tell is None else tell(body, origin)


def _estimate(body: _Body, origin: Origin) -> str:
    price = words.price(msats_from_sats(_count(body, "estimatedSats")), origin)
    credit = _count(body, "creditSats")
    return (
        f"That would cost {price} at most: {_sats(_count(body, 'evalFeeSats'))} to check it, "
        f"{_sats(_count(body, 'workFeeSats'))} for the answer; what is not used comes back."
        f"{f' Your credit would pay {_sats(credit)} of it.' if credit else ''}"
        f" {_place(origin)}Send the text without the word price, and it is done."
    )


def _me(body: _Body, _: Origin) -> str:
    return f"{body.get('why')} You have {_sats(_count(body, 'creditSats'))} of credit."


def _balance(body: _Body, _: Origin) -> str:
    lines = [f"You have {_sats(_count(body, 'creditSats'))} of credit."]
    refunds = body.get("refunds")
    rows = [row for row in refunds if isinstance(row, Mapping)] if isinstance(refunds, list) else []
    for row in rows:
        sum_ = _sats(_count(row, "amountSats"))
        if row.get("claimable"):
            lines.append(f"Waiting for you: {sum_}. Send an invoice (BOLT11) for exactly that, and it is paid.")
        else:
            lines.append(f"On the way to your invoice: {sum_}.")
    if body.get("moreRefunds"):
        lines.append("There is more; it is shown when some of this is paid.")
    return "\n".join(lines)


def _refund(body: _Body, _: Origin) -> str:
    return f"On the way to your invoice: {_sats(_count(body, 'refundAmountSats'))}."


_TOLD: Final[Mapping[str, Callable[[_Body, Origin], str]]] = {
    "estimate": _estimate,
    "me": _me,
    "balance": _balance,
    "refund": _refund,
}


def _sats(count: int) -> str:
    return "1 sat" if count == 1 else f"{count} sats"


def _count(body: _Body, name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) else 0
