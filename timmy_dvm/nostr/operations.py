"""`param op`: what a customer may ask for beside jobs, as it is read. Pure.

estimate   the price of a request, which stands where a job's would
me         how the key stands: score, tier, and what the next tier needs
balance    its credit, and the refunds it may claim
refund     pay what is held for a job (`param job`) to a BOLT11 (`param invoice`)
"""

from dataclasses import dataclass
from typing import Final

from relay_client.errors import InvalidKey
from relay_client.keys import parse_event_id
from timmy_dvm.core.facts import Op
from timmy_dvm.nostr.origin import Reply
from timmy_dvm.nostr.wishes import Bad

_QUESTIONS: Final = {str(op): op for op in Op}
_TO_COME: Final = frozenset({"topup", "forget"})
_OFFERED: Final = "Offered are: estimate, me, balance, and refund (with param invoice and param job)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An operation that changes nothing. An estimate's ``text`` and wishes are those of the job it is about."""

    op: Op
    reply: Reply
    text: str = ""
    max_tokens: int | None = None
    model: str | None = None
    preface_chars: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAsked:
    """``op refund``: pay what is held for a job to this BOLT11, which is not decoded yet.

    Without a ``request_id`` it is the refund of this key's that has the invoice's sum.
    """

    invoice: str
    request_id: str | None
    reply: Reply


Operation = Question | RefundAsked


def read_operation(params: dict[str, str], reply: Reply) -> Operation | None:
    """The operation a request's params name, None where they name none. An estimate still lacks its text.

    Raises:
        Bad: it is not known, not offered, or lacks something.
    """
    if "op" not in params:
        return None
    name = params["op"].lower()
    if name == "refund":
        return _refund(params, reply)
    if name in _QUESTIONS:
        return Question(op=_QUESTIONS[name], reply=reply)
    if name in _TO_COME:
        raise Bad("op_not_offered", f"The operation {name} is not offered yet. {_OFFERED}")
    raise Bad("unknown_op", f"That operation is not known here. {_OFFERED}")


def _refund(params: dict[str, str], reply: Reply) -> RefundAsked:
    if not params.get("invoice"):
        raise Bad("bad_param", "A refund needs a BOLT11 invoice for exactly the sum: add it as param invoice.")
    if not params.get("job"):
        raise Bad("bad_param", "Name the job whose money you claim: add its request's event id as param job.")
    try:
        request_id = parse_event_id(params["job"])
    except InvalidKey:
        raise Bad("bad_param", "The param job must be a request's event id: hex, note1 or nevent1.") from None
    return RefundAsked(invoice=params["invoice"], request_id=request_id, reply=reply)
