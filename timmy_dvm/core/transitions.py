"""The four state tables. Everything about which state may follow which is in this file and nowhere else.

A pair that is not listed is refused and changes nothing. The ledger holds the same tables as constraints, and
the diagram in ARCHITECTURE.md is drawn from them; tests compare all three.
"""

from typing import Final

from ledger.bootstrap import BootstrapState
from ledger.records import JobState, RefundState
from ledger.sessions import SessionState

JOB: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.AWAITING_EVAL_PAYMENT: frozenset({JobState.EVALUATING, JobState.EXPIRED, JobState.CANCELLED}),
    JobState.EVALUATING: frozenset(
        {
            JobState.AWAITING_WORK_PAYMENT,
            JobState.EXECUTING,
            JobState.REJECTED,
            JobState.FAILED,
            JobState.CANCELLED,  # only while its first run has not begun (`asking.cancelled`)
        }
    ),
    JobState.AWAITING_WORK_PAYMENT: frozenset({JobState.EXECUTING, JobState.EXPIRED, JobState.CANCELLED}),
    JobState.EXECUTING: frozenset({JobState.COMPLETE, JobState.FAILED}),
    JobState.COMPLETE: frozenset(),
    JobState.REJECTED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.EXPIRED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

REFUND: Final[dict[RefundState, frozenset[RefundState]]] = {
    RefundState.OWED: frozenset(
        {RefundState.SENDING, RefundState.CREDITED, RefundState.HELD, RefundState.PAID_ELSEWHERE}
    ),
    RefundState.SENDING: frozenset({RefundState.SENT, RefundState.OWED, RefundState.HELD, RefundState.IN_DOUBT}),
    RefundState.IN_DOUBT: frozenset({RefundState.SENT, RefundState.OWED, RefundState.HELD}),
    RefundState.HELD: frozenset({RefundState.SENDING, RefundState.CREDITED, RefundState.PAID_ELSEWHERE}),
    RefundState.SENT: frozenset(),
    RefundState.CREDITED: frozenset(),
    RefundState.PAID_ELSEWHERE: frozenset(),
}

SESSION: Final[dict[SessionState, frozenset[SessionState]]] = {
    SessionState.AWAITING_PAYMENT: frozenset({SessionState.ACTIVE, SessionState.EXPIRED}),
    SessionState.EXPIRED: frozenset({SessionState.ACTIVE}),  # its deposit was paid late
    SessionState.ACTIVE: frozenset({SessionState.CLOSED}),
    SessionState.CLOSED: frozenset(),
}

BOOTSTRAP: Final[dict[BootstrapState, frozenset[BootstrapState]]] = {
    BootstrapState.AWAITING_PAYMENT: frozenset(
        {BootstrapState.PROVISIONING, BootstrapState.FAILED, BootstrapState.EXPIRED}  # failed: too little came
    ),
    BootstrapState.PROVISIONING: frozenset({BootstrapState.READY, BootstrapState.FAILED}),
    BootstrapState.READY: frozenset(),
    BootstrapState.FAILED: frozenset(),
    BootstrapState.EXPIRED: frozenset(),
}

BORN: Final = frozenset({JobState.AWAITING_EVAL_PAYMENT, JobState.EVALUATING})
"""A job that is covered when it is asked for is born in ``evaluating``."""

AWAITING: Final = frozenset({JobState.AWAITING_EVAL_PAYMENT, JobState.AWAITING_WORK_PAYMENT})
RUNNING: Final = frozenset({JobState.EVALUATING, JobState.EXECUTING})
ENDED: Final = frozenset(state for state, onward in JOB.items() if not onward)
UNSERVED: Final = frozenset({JobState.EXPIRED, JobState.CANCELLED})
"""Ended before anything was done: what is paid now is late. After any other end it was paid twice."""


class IllegalTransition(Exception):
    """A state was asked to follow one it may not follow. A mistake of ours: nothing was changed."""


def job_moves(old: JobState, new: JobState) -> JobState:
    """``new``, if it may follow ``old``.

    Raises:
        IllegalTransition: it may not.
    """
    if new not in JOB[old]:
        raise IllegalTransition(f"a job in {old} can't become {new}")
    return new


def refund_moves(old: RefundState, new: RefundState) -> RefundState:
    """``new``, if it may follow ``old``.

    Raises:
        IllegalTransition: it may not.
    """
    if new not in REFUND[old]:
        raise IllegalTransition(f"a refund that is {old} can't become {new}")
    return new


def session_moves(old: SessionState, new: SessionState) -> SessionState:
    """``new``, if it may follow ``old``.

    Raises:
        IllegalTransition: it may not.
    """
    if new not in SESSION[old]:
        raise IllegalTransition(f"a session that is {old} can't become {new}")
    return new


def bootstrap_moves(old: BootstrapState, new: BootstrapState) -> BootstrapState:
    """``new``, if it may follow ``old``.

    Raises:
        IllegalTransition: it may not.
    """
    if new not in BOOTSTRAP[old]:
        raise IllegalTransition(f"an order of a node that is {old} can't become {new}")
    return new


def drawn() -> str:
    """All tables as Mermaid state diagrams, as they stand in ARCHITECTURE.md."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in JobState if state in BORN]
    lines += [f"    {old} --> {new}" for old in JobState for new in JobState if new in JOB[old]]
    lines += [f"    {state} --> [*]" for state in JobState if state in ENDED]
    lines += ["```", "", "```mermaid", "stateDiagram-v2", "    [*] --> owed", "    [*] --> held"]
    lines += ["    [*] --> credited"]
    lines += [f"    {old} --> {new}" for old in RefundState for new in RefundState if new in REFUND[old]]
    lines += ["    sent --> [*]", "    credited --> [*]", "    paid_elsewhere --> [*]", "```"]
    lines += ["", "```mermaid", "stateDiagram-v2", "    [*] --> awaiting_payment"]
    lines += [f"    {old} --> {new}" for old in SessionState for new in SessionState if new in SESSION[old]]
    lines += ["    closed --> [*]", "```"]
    lines += ["", "```mermaid", "stateDiagram-v2", "    [*] --> awaiting_payment"]
    lines += [f"    {old} --> {new}" for old in BootstrapState for new in BootstrapState if new in BOOTSTRAP[old]]
    lines += [f"    {state} --> [*]" for state in BootstrapState if not BOOTSTRAP[state]]
    lines += ["```"]
    return "\n".join(lines)
