"""A job as ``GET /api/jobs/{id}`` shows it to whoever knows its id, and this door's own note on it. Pure.

Of a job that came as an event only state, invoice and price are shown: who knows a job's id has not shown that the
answer is theirs, and an encrypted request must not be readable here (D16).
"""

import hmac
from hashlib import sha256
from typing import Final

import msgspec

from ledger.records import RefundState
from ledger.store import Story
from timmy_dvm import views
from timmy_dvm.core.transitions import ENDED
from timmy_dvm.core.trust import Tier

_MOVING: Final = frozenset({RefundState.OWED, RefundState.SENDING, RefundState.IN_DOUBT})
_EVERYBODYS: Final = frozenset(
    {"jobId", "state", "createdAt", "completedAt", "trust_tier", "evalInvoice", "workInvoice", "pricingBreakdown"}
)


class HttpOrigin(msgspec.Struct, frozen=True, kw_only=True, tag_field="door", tag="http"):
    """This door's own note on a job.

    Attributes:
        claim: SHA-256 (hex) of the claim secret, with which its refund may be claimed without a key.
    """

    claim: str


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(HttpOrigin)


def write_origin(claim_secret: str) -> str:
    """The note for a new job."""
    return _encode(HttpOrigin(claim=sha256(claim_secret.encode()).hexdigest())).decode()


def is_claim_secret(origin: str, told: str) -> bool:
    """Whether somebody has shown the claim secret of the job with this note."""
    try:
        claim = _decoder.decode(origin).claim
    except msgspec.MsgspecError:
        return False
    return hmac.compare_digest(claim, sha256(told.encode()).hexdigest())


def job_view(story: Story, tier: Tier) -> dict[str, object]:
    """The job, for whoever knows its id."""
    view = views.job_view(story, tier)
    if story.job.event_id is None:
        return view
    return {name: value for name, value in view.items() if name in _EVERYBODYS}


def is_settled(story: Story) -> bool:
    """Whether nothing more will happen to a job by itself."""
    return story.job.state in ENDED and not any(row.state in _MOVING for row in story.refunds)
