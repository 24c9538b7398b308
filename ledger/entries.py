"""How money moves: balanced entries with a code and an id, never changed, corrected by adding. Pure.

``debit → credit`` reads "out of the first, into the second". An entry's id says what it books
(``settled:<payment hash>``), and the ledger takes each id once, so a repeat is harmless by construction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ledger import accounts
from ledger.money import Msats


class Code(StrEnum):
    """Why money moved. One word each, the same in the database, the audit and ARCHITECTURE.md."""

    OPENING = "opening"
    """``node → operator``: what the wallet held when the ledger was first opened."""
    POOL_SEED = "pool_seed"
    """``operator → pool``, once."""
    DEPOSIT = "deposit"
    """``node → operator``: the operator put own sats in."""
    WITHDRAW = "withdraw"
    """``operator → node``: the operator took own sats out."""
    SETTLED = "settled"
    """``node → job`` (or a prepaid account, or the pool): all that was received for an invoice, once per payment
    hash.
    """
    CREDIT_USED = "credit_used"
    """``customer → job`` or ``session → job``, when a step is asked for."""
    RESERVED = "reserved"
    """``pool → reserved``."""
    RELEASED = "released"
    """``reserved → pool``: the part of a reservation that was not granted."""
    SETTLEMENT = "settlement"
    """``job + reserved + shortfall → earned``: a job ends in one entry, conservation is its balance;
    ``job → earned`` of a node."""
    POOL_CREDIT = "pool_credit"
    """``earned → pool``: the pool's share of the work charge we kept."""
    CREDIT_BACK = "credit_back"
    """``job → session``: what a request did not use."""
    OWED = "owed"
    """``job → refund``: an amount starts on its way back."""
    CREDITED = "credited"
    """``refund → customer`` or ``refund → session``: it went back as credit."""
    SENT = "sent"
    """``refund → node``: it left our wallet."""
    ELSEWHERE = "elsewhere"
    """``refund → operator``: the operator paid it with another wallet, so these sats are now the operator's."""
    ROUTING = "routing"
    """``routing_fees → node``: what sending cost us."""
    DUST = "dust"
    """``job → customer`` or ``job → pool``: a rest below one sat."""
    FREE_ANSWER = "free_answer"
    """``shortfall → earned``: an answer outside any job that nobody paid, with its reason (chat, demo)."""
    REVERSAL = "reversal"
    """The mirror of an entry that should not have been made."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One account's part of an entry, in msat: a credit is positive, a debit negative, never zero."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Balanced postings under one id.

    Raises:
        ValueError: the postings do not sum to zero, name an account twice, or move nothing.
    """

    id: str
    code: Code
    postings: tuple[Posting, ...]
    reason: str = ""

    def __post_init__(self) -> None:
        if len(self.postings) < 2 or any(p.amount == 0 for p in self.postings):  # noqa: PLR2004 - debit and credit
            raise ValueError(f"entry {self.id} moves nothing")
        if sum(p.amount for p in self.postings) != 0:
            raise ValueError(f"entry {self.id} does not balance")
        if len({p.account for p in self.postings}) != len(self.postings):
            raise ValueError(f"entry {self.id} names an account twice")
        for posting in self.postings:
            accounts.kind_of(posting.account)


def transfer(entry_id: str, code: Code, debit: str, credit: str, amount: Msats, reason: str = "") -> Entry:
    """``debit → credit`` of ``amount`` msat.

    Raises:
        ValueError: the amount is not above 0; money that goes the other way has the accounts the other way.
    """
    if amount <= 0:
        raise ValueError(f"entry {entry_id} must move more than nothing from {debit} to {credit}")
    return Entry(entry_id, code, (Posting(debit, -amount), Posting(credit, amount)), reason)


def gather(entry_id: str, code: Code, debits: Iterable[tuple[str, Msats]], credit: str, reason: str = "") -> Entry:
    """Several accounts into one; debits of nothing are left out.

    Raises:
        ValueError: a debit is below 0, or there is none.
    """
    debits = tuple(debits)
    if any(amount < 0 for _, amount in debits):
        raise ValueError(f"entry {entry_id} takes less than nothing")
    taken = [Posting(account, -amount) for account, amount in debits if amount]
    return Entry(entry_id, code, (*taken, Posting(credit, -sum(p.amount for p in taken))), reason)


def reverse(entry: Entry, entry_id: str, reason: str) -> Entry:
    """The entry that undoes ``entry``: the books are corrected by adding, never by changing."""
    mirrored = tuple(Posting(p.account, -p.amount) for p in entry.postings)
    return Entry(entry_id, Code.REVERSAL, mirrored, reason)
