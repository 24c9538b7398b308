"""Answers that nobody pays for, and the pool neither: the demo's, and what is said in the Workshop. Pure.

They are our own loss (``shortfall → earned``), so their sum is bounded by the UTC day. An answer has its most put
aside before the model is asked, and what it really cost is booked after it: many at once can't go beyond the day.
"""

from ledger import accounts
from ledger.entries import Code, transfer
from ledger.money import ZERO, Msats
from timmy_dvm.core.case import Decision
from timmy_dvm.core.free_facts import FreeAnswerGiven
from timmy_dvm.core.pricing import BtcPrice, PicoUsd, PriceList, Usage, token_cost

DAY_S = 86_400


def given(fact: FreeAnswerGiven) -> Decision:
    """What it cost is booked, whatever the day's limit says: it has been spent."""
    if fact.cost <= ZERO:
        return Decision()
    entry = transfer(
        fact.id, Code.FREE_ANSWER, accounts.SHORTFALL, accounts.EARNED, fact.cost, reason=fact.purpose.value
    )
    return Decision(entries=(entry,))


def fits(most: Msats, *, given_today: Msats, promised: Msats, limit: Msats) -> bool:
    """Whether one more answer that may cost ``most`` fits into the day beside what was given and promised."""
    return given_today + promised + most <= limit


def cost(usage: Usage, prices: PriceList, btc: BtcPrice) -> Msats:
    """What the model's maker asks for it, in msat, rounded up; no margin, for nobody buys it.

    Raises:
        UnknownModelError: no rate is configured for the model.
    """
    return msats_up(token_cost(usage, prices), btc)


def msats_up(usd: PicoUsd, btc: BtcPrice) -> Msats:
    """Whole msat that are worth at least ``usd``."""
    # msat = pico / 10^12 USD * 10^11 msat / (micro / 10^6 USD), brought to one integer division.
    return Msats(-(-usd * 100_000 // btc.micro_usd))


def midnight(at: int) -> int:
    """When the UTC day of a unix second began."""
    return at - at % DAY_S
