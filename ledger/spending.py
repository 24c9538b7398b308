"""What the model was asked for: the sums of a day that its cost is told from. Pure values."""

from dataclasses import dataclass

from ledger.money import ZERO, Msats


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """What was asked of the model since some moment.

    Attributes:
        work_micro_usd: what the answers cost, margin taken off; of a job that runs, or failed over its answer,
            what that was estimated to cost.
        eval_input_tokens, eval_output_tokens: of all verdicts.
        given_away: what free answers outside the pool cost.
    """

    work_micro_usd: int = 0
    eval_input_tokens: int = 0
    eval_output_tokens: int = 0
    given_away: Msats = ZERO
