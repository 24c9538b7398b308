"""The fact that something was given away, apart from `facts` as those about credit are."""

from dataclasses import dataclass
from enum import StrEnum

from ledger.money import Msats


class Purpose(StrEnum):
    """Why an answer was given away; the reason of its entry."""

    CHAT = "chat"
    DEMO = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeAnswerGiven:
    """The model was asked for something that nobody pays for. ``answer_id`` is random; no words are kept."""

    answer_id: str
    purpose: Purpose
    cost: Msats
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"free:{self.answer_id}"
