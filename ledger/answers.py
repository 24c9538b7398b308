"""What was answered under an Idempotency-Key, as rows."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One key that was used, and what came of it.

    Attributes:
        body_hash: of what was asked with it first.
        seed: 64 hex digits that its ids are made from.
        status: of the answer; None while there is none yet.
        answer: its body; it may hold a secret of the customer.
    """

    body_hash: str
    seed: str = field(repr=False)
    status: int | None = None
    answer: str | None = field(default=None, repr=False)
