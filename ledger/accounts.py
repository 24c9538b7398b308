"""The chart of accounts: every name money can stand under, its kind, and whether it may go below zero.

Pure. A name is a plain string, ``pool`` or ``job:<id>``, so that an entry reads like the sentence it is.
"""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a balance means. Balances are stored credit-positive: a credit adds, a debit takes away."""

    ASSET = "asset"
    EQUITY = "equity"
    OWED = "owed"
    INCOME = "income"
    EXPENSE = "expense"


NODE: Final = "node"
"""What our wallet holds for us. No floor: a fact from outside is never refused."""
OPERATOR: Final = "operator"
"""What the operator put in or took out."""
POOL: Final = "pool"
"""The generosity pool, free to reserve. A promise of our own work, never payable in sats."""
EARNED: Final = "earned"
SHORTFALL: Final = "shortfall"
"""Cost that neither customer nor pool paid, always with a reason."""
ROUTING_FEES: Final = "routing_fees"
"""What refunds cost us to send."""

_SINGLE: Final = {
    NODE: Kind.ASSET,
    OPERATOR: Kind.EQUITY,
    POOL: Kind.OWED,
    EARNED: Kind.INCOME,
    SHORTFALL: Kind.EXPENSE,
    ROUTING_FEES: Kind.EXPENSE,
}
_FAMILIES: Final = frozenset({"reserved", "job", "customer", "session", "refund"})

PAYABLE_FAMILIES: Final = ("job", "customer", "session", "refund")
"""What could be asked back in sats: the solvency watchdog compares their sum with the wallet."""


def reserved(owner: str) -> str:
    """Pool money set aside for one job or session request."""
    return f"reserved:{owner}"


def job(job_id: str) -> str:
    """What has been paid into a job and is not earned yet."""
    return f"job:{job_id}"


def customer(pubkey: str) -> str:
    """A public key's prepaid credit."""
    return f"customer:{pubkey}"


def session(session_id: str) -> str:
    """A session's prepaid credit."""
    return f"session:{session_id}"


def credit(session_id: str | None, pubkey: str | None) -> str | None:
    """The prepaid account that a job draws on: that of its session where it has one, else its key's."""
    if session_id is not None:
        return session(session_id)
    return None if pubkey is None else customer(pubkey)


def refund(refund_id: str) -> str:
    """One amount on its way back to somebody."""
    return f"refund:{refund_id}"


def family(name: str) -> str:
    """``job`` for ``job:<id>``; the name itself where there is only one such account."""
    return name.partition(":")[0]


def owner(name: str) -> str:
    """``<id>`` for ``job:<id>``; empty where there is only one such account."""
    return name.partition(":")[2]


def kind_of(name: str) -> Kind:
    """The kind of an account, from its name alone.

    Raises:
        ValueError: the chart has no such account.
    """
    if name in _SINGLE:
        return _SINGLE[name]
    prefix, _, owner = name.partition(":")
    if prefix in _FAMILIES and owner:
        return Kind.OWED
    raise ValueError(f"the chart of accounts has no {name!r}")


def has_floor(name: str) -> bool:
    """Whether the account may never go below zero: true of everything we owe."""
    return kind_of(name) is Kind.OWED


def as_shown(name: str, balance: int) -> int:
    """A stored balance as a person expects it: assets and expenses are debits, so their sign turns."""
    return -balance if kind_of(name) in (Kind.ASSET, Kind.EXPENSE) else balance
