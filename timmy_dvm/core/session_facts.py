"""What can happen to a session, prepaid credit over HTTP, as frozen values; see ``core.facts``.

A request inside one is a ``RequestReceived`` that names it, and its payments are those of any invoice. Ids in here
are fresh and random, so that nobody can guess them; they are used only if something comes of the fact. Amounts are
what the customer wrote, not judged yet.
"""

from dataclasses import dataclass

from ledger.money import Msats


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAsked:
    """Somebody wants to open a session and asks for the invoice of its deposit. ``session_id`` is fresh."""

    session_id: str
    topup_id: str
    pubkey: str | None
    amount: Msats
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"session:{self.session_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTopUpAsked:
    """Whoever holds a session wants an invoice that fills it. An older one counts while it has ``life_s`` left."""

    session_id: str
    topup_id: str
    amount: Msats
    at: int
    life_s: int = 1
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"session_topup:{self.topup_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCloseAsked:
    """Whoever holds a session wants it closed and the rest sent, or what is held of one that is closed.

    With a BOLT11 (decoded by the door, not judged yet: ``amount`` is None for one without an amount, ``rail_ok``
    whether it is for our wallet's network), or an address in ``refund_to``, or with neither: then it is held.
    """

    session_id: str
    refund_id: str
    at: int
    bolt11: str | None = None
    payment_hash: str = ""
    amount: Msats | None = None
    rail_ok: bool = True
    expires_at: int = 0
    refund_to: str | None = None
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"session_close:{self.refund_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIdle:
    """The time is over after which an unused session is closed. ``due_at`` tells this look from a later one."""

    session_id: str
    due_at: int
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"session_idle:{self.session_id}:{self.due_at}"


SessionFact = SessionAsked | SessionTopUpAsked | SessionCloseAsked | SessionIdle
