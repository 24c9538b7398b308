"""`param op`: what a customer may ask for beside jobs, as it is read. Pure.

estimate   the price of a request, which stands where a job's would
me         how the key stands: score, tier, and what the next tier needs
balance    its credit, what of it is on its way in or out, and the refunds it may claim
topup      an invoice that fills its credit (`param amount_sats`), which later requests use
refund     pay what is held for a job (`param job`), or without one the key's credit, to a BOLT11 (`param
           invoice`); or make what is held for a job credit (`param to`, `credit`)
forget     erase the texts of its requests and answers
node-status  for the operator's own key alone: wallet, relays and what is wrong
"""

import re
from dataclasses import dataclass
from typing import Final

from ledger.money import Msats, msats_from_sats
from relay_client.errors import InvalidKey
from relay_client.keys import parse_event_id
from timmy_dvm.core.facts import Op
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.conversation import Heard
from timmy_dvm.nostr.inputs import Wanted
from timmy_dvm.nostr.origin import Reply

_QUESTIONS: Final = {str(op): op for op in Op}
_OLD_NAMES: Final = {"identity.me": str(Op.ME)}
"""What the first Timmy called it."""
_OFFERED: Final = (
    "Offered are: estimate, me, balance, topup (with param amount_sats), forget, and refund (with param "
    "invoice, and with param job for the money of one request)."
)
_SATS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An operation that changes nothing. An estimate's ``text`` and the rest are those of the job it is about."""

    op: Op
    reply: Reply
    text: str = ""
    max_tokens: int | None = None
    model: str | None = None
    preface_chars: int = 0
    wanted: Wanted | None = None
    heard: Heard | None = None
    follows: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAsked:
    """``op refund``: pay what is held for a job, or the key's credit, to this BOLT11, which is not decoded yet.

    In a private message without a ``request_id`` it is the refund of this key's that has the invoice's sum.
    """

    invoice: str
    request_id: str | None
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditWanted:
    """``op refund`` to credit: what is held for a job becomes the key's credit."""

    request_id: str
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpWanted:
    """``op topup``: an invoice that fills the key's credit."""

    amount: Msats
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetWanted:
    """``op forget``: erase the key's texts."""

    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusWanted:
    """``op node-status``: the operator wants to know how things stand. Whether it is them is not judged yet."""

    reply: Reply


Operation = Question | RefundAsked | CreditWanted | TopUpWanted | ForgetWanted | StatusWanted


def read_operation(params: dict[str, str], reply: Reply) -> Operation | None:
    """The operation a request's params name, None where they name none. An estimate still lacks its text.

    Raises:
        Bad: it is not known, not offered, or lacks something.
    """
    if "op" not in params:
        return None
    name = _OLD_NAMES.get(given := params["op"].lower(), given)
    if name in _QUESTIONS:
        return Question(op=_QUESTIONS[name], reply=reply)
    match name:
        case "topup":
            return _topup(params, reply)
        case "refund":
            return _refund(params, reply)
        case "forget":
            return ForgetWanted(reply=reply)
        case "node-status":
            return StatusWanted(reply=reply)
    raise Bad("unknown_op", f"That operation is not known here. {_OFFERED}")


def _topup(params: dict[str, str], reply: Reply) -> TopUpWanted:
    if not _SATS.fullmatch(params.get("amount_sats", "")):
        raise Bad(
            "bad_param",
            "A top-up needs its sats as a whole number, in digits alone: add them as param amount_sats.",
        )
    return TopUpWanted(amount=msats_from_sats(int(params["amount_sats"])), reply=reply)


def _refund(params: dict[str, str], reply: Reply) -> RefundAsked | CreditWanted:
    if "to" in params:
        if params["to"].lower() != "credit" or not params.get("job"):
            raise Bad(
                "bad_param", "Only credit is known as param to, and a request's event id goes with it as job."
            )
        return CreditWanted(request_id=_job(params["job"]), reply=reply)
    if not params.get("invoice"):
        raise Bad(
            "bad_param", "A refund needs a BOLT11 invoice of yours with its amount: add it as param invoice."
        )
    if not params.get("job"):
        return RefundAsked(invoice=params["invoice"], request_id=None, reply=reply)
    return RefundAsked(invoice=params["invoice"], request_id=_job(params["job"]), reply=reply)


def _job(text: str) -> str:
    try:
        return parse_event_id(text)
    except InvalidKey:
        raise Bad("bad_param", "The param job must be a request's event id: hex, note1 or nevent1.") from None
