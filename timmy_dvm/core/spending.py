"""What the model may cost us in a UTC day, and what follows when that is spent. Pure.

Then nothing begins that nobody has paid for: the pool offers nothing, and a request that would need an invoice is
refused before there is one. What is paid, or covered by credit, runs whatever it costs.
"""

from typing import Final

from ledger.money import MicroUsd
from ledger.spending import ModelUse
from timmy_dvm.core.actions import Refused
from timmy_dvm.core.case import Case
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import PriceList, Usage, micro_usd_up, token_cost

_MSATS_PER_BTC: Final = 100_000_000_000
SPENT: Final = "Our budget for the model is spent for today: ask again after midnight UTC."


def cost(use: ModelUse, prices: PriceList, eval_model: str, btc_micro_usd: int) -> MicroUsd:
    """What it cost us in micro-USD, rounded up.

    Args:
        use: what was asked of the model.
        prices: what tokens cost.
        eval_model: who gives the verdicts.
        btc_micro_usd: a bitcoin, in micro-USD: what was given away is booked in msat.

    Raises:
        UnknownModelError: no rate is configured for the model.
    """
    verdicts = Usage(eval_model, use.eval_input_tokens, use.eval_output_tokens)
    given_away = -(-use.given_away * btc_micro_usd // _MSATS_PER_BTC)
    return MicroUsd(use.work_micro_usd + micro_usd_up(token_cost(verdicts, prices)) + given_away)


def is_spent(case: Case, policy: Policy) -> bool:
    """Whether the day's budget is gone."""
    return 0 < policy.model_micro_usd_per_day <= case.model_cost_today


def refused(case: Case, policy: Policy) -> Refused | None:
    """Why a request that nobody has paid for can't have a price today."""
    return Refused(code="busy", sentence=SPENT) if is_spent(case, policy) else None
