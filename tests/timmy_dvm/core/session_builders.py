"""Facts about a session, as `builders` has them for jobs."""

from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked, SessionIdle, SessionTopUpAsked

SESSION = "5e" * 16
FACTS = (
    SessionAsked(session_id=SESSION, topup_id="7d" * 16, pubkey=None, amount=b.sats(500), at=b.NOW),
    SessionTopUpAsked(session_id=SESSION, topup_id="7d" * 16, amount=b.sats(500), at=b.NOW),
    SessionTopUpAsked(session_id=SESSION, topup_id="7e" * 16, amount=b.sats(500), at=b.NOW),
    SessionCloseAsked(session_id=SESSION, refund_id="2e" * 16, at=b.NOW),
    SessionIdle(session_id=SESSION, due_at=b.NOW, at=b.NOW),
    SessionIdle(session_id=SESSION, due_at=b.NOW + 1, at=b.NOW),
)
