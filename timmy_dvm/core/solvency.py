"""The books against the wallet: what must be in it, and what the operator may take out. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.money import ZERO, Msats, sats_up


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A refund in flight: what may have left the wallet for it, and what certainly has."""

    least: Msats
    most: Msats


@dataclass(frozen=True, slots=True)
class Expected:
    """What a wallet may hold if nobody else reached into it, in msat."""

    least: Msats
    most: Msats


def expected(node: Msats, payable: Msats, sends: Iterable[OnItsWay]) -> Expected:
    """What must be in the wallet.

    Args:
        node: what the books say is in it.
        payable: all that could be asked back in sats.
        sends: refunds whose payment is not booked yet.
    """
    sends = tuple(sends)
    least = max(node, payable) - sum(send.most for send in sends)
    return Expected(Msats(max(0, least)), Msats(node - sum(send.least for send in sends)))


def shortage(expect: Expected, wallet: Msats) -> Msats:
    """What is missing in the wallet; 0 where nothing is."""
    return Msats(max(0, expect.least - wallet))


def surplus(expect: Expected, wallet: Msats) -> Msats:
    """What is in the wallet beyond the books: overpayment that a wallet hides, or the operator's own money."""
    return Msats(max(0, wallet - expect.most))


def may_take_out(node: Msats, payable: Msats, fee_caps: Msats) -> Msats:
    """What the operator may withdraw: neither what is owed nor what a payment in flight may still cost."""
    return Msats(max(0, node - payable - fee_caps))


def alarm(missing: Msats) -> str:
    """The words for it; empty where nothing is missing."""
    if missing == ZERO:
        return ""
    return (
        f"The wallet holds {sats_up(missing)} sats less than the books say. Payouts and new invoices stop until "
        "it is put back, or booked with `timmy books withdraw` if you took it out."
    )
