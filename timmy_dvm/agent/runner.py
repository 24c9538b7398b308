"""What an agent is to the rest of Timmy: two calls, their values, and how they fail.

Errors, sorted by who must act. The text of each may be shown to the customer; ``detail`` is for the
operator's log and holds neither a secret nor a word of the request.

    AgentError
    ├── Unavailable      nobody: the model was down, overloaded, too slow or incoherent; later may work
    ├── Misconfigured    the operator: the key, the model's name or the address is wrong
    ├── BudgetExceeded   the operator: a spending limit of the account is reached
    ├── TooLong          the customer: the request does not fit the model
    └── Refused          the customer: the model will not do this
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ledger.records import Turn
from timmy_dvm.core.pricing import Usage

OnText = Callable[[str | None], None]
"""Takes an answer as it is written; see `Agent.work`."""

__all__ = [
    "Agent",
    "AgentError",
    "Answer",
    "BudgetExceeded",
    "Misconfigured",
    "OnText",
    "Refused",
    "Task",
    "TooLong",
    "Turn",
    "Unavailable",
    "Usage",
    "Verdict",
]


@dataclass(frozen=True, slots=True)
class Task:
    """What a customer asked for. Every field came from a stranger.

    Attributes:
        text: the request.
        max_output_tokens: the limit that was priced.
        system: the customer's own standing instructions; they rank below ours.
        temperature: a decimal from 0 to 1 as the customer wrote it; anything else is ignored.
        model: the work model, one of the operator's list; None for the agent's own.
        turns: what was asked and answered before, oldest first; neither half of one is blank.
    """

    text: str = field(repr=False)  # an encrypted request must not reach a log through a repr
    max_output_tokens: int
    system: str | None = field(default=None, repr=False)
    temperature: str | None = field(default=None, repr=False)
    model: str | None = None
    turns: tuple[Turn, ...] = field(default=(), repr=False)

    @property
    def priced_text(self) -> str:
        """All of the customer's words that reach the model: the text to give to the estimator."""
        return "\n\n".join(part for part in (self.system, self.text) if part).strip()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is taken on. ``reason`` is empty when it is, else a sentence for the customer.

    ``wasted`` is what lost tries before it cost us; it is never the customer's.
    """

    accepted: bool
    reason: str
    usage: Usage
    wasted: Usage | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished work step. ``truncated`` says that it stopped at the output limit.

    ``wasted`` is what lost tries before it cost us; it is never the customer's.
    """

    text: str = field(repr=False)
    usage: Usage
    truncated: bool
    wasted: Usage | None = None


class AgentError(Exception):
    """A step that ended without a verdict or an answer.

    Attributes:
        detail: for the operator, e.g. ``HTTP 401 authentication_error``.
        usage: tokens we must pay for all the same, as far as known; None when there were none.
    """

    sentence = "The request could not be done. Please ask again."

    def __init__(self, detail: str = "", *, usage: Usage | None = None) -> None:
        super().__init__(self.sentence)
        self.detail = detail
        self.usage = usage


class Unavailable(AgentError):
    """The model was down, overloaded, too slow or incoherent, and tries or time ran out."""

    sentence = "The model cannot be reached or is overloaded just now. Please ask again in a few minutes."


class Misconfigured(AgentError):
    """The model's maker refused our call as such: the operator must look at key, model and address."""

    sentence = "The model does not take our calls just now; the operator has to mend that. Please ask later."


class BudgetExceeded(AgentError):
    """A spending limit of the operator's account is reached. Trying again cannot help before it is raised."""

    sentence = "Our spending limit for the model is reached. Please ask again tomorrow."


class TooLong(AgentError):
    """The request is larger than the model takes."""

    sentence = "The request is too long for the model. Please ask for less at a time."


class Refused(AgentError):
    """The model declined in the work step. ``reason`` is the sentence shown to the customer."""

    sentence = "The model declined this request. Please ask for something else."

    def __init__(self, reason: str = "", detail: str = "", *, usage: Usage | None = None) -> None:
        super().__init__(detail, usage=usage)
        self.reason = reason or self.sentence
        self.args = (self.reason,)


class Agent(Protocol):
    """Judges requests and does them.

    What every implementation owes:

    - **One accounting.** ``usage`` counts all input and output tokens of the call that gave the result,
      under the model name that was asked for, so that ``core.pricing.actual_cost`` prices it. What lost
      tries cost is in ``wasted`` or, after an error, in ``AgentError.usage``, and is never charged.
    - **A deadline that holds.** Each call ends within ``deadline_s``, its own tries and waits included,
      in a value or in an ``AgentError``; nothing else is raised but cancellation.
    - **At most two paid executions.** A call that the model never began may be tried again within the
      deadline. One that it began is repeated once at most; whoever was handed text is told that it is void.
    - **Cancellation leaves nothing.** The connection is closed and no task stays behind. Tokens the model
      has used by then are spent and unknown. Calling again is safe and is a new execution.
    - **Only the request.** Nothing reaches the model but the task's text, its parameters and our system
      prompt: no secret, balance, identity or other customer's words, and no tool. What comes back
      is text from a stranger too.

    Calls may run at the same time in any number; the caller bounds them.
    """

    @property
    def eval_model(self) -> str:
        """Name of the model that judges."""
        ...

    @property
    def work_model(self) -> str:
        """Name of the model that works when the task names none."""
        ...

    async def evaluate(self, task: Task, *, deadline_s: float) -> Verdict:
        """Judge whether the request is acceptable. A model's refusal is a verdict here, not an error.

        Raises:
            AgentError: there is no verdict.
        """
        ...

    async def work(self, task: Task, *, deadline_s: float, on_text: OnText | None = None) -> Answer:
        """Do the request.

        Args:
            task: what to do.
            deadline_s: seconds until the call must have ended.
            on_text: called with each piece of text as it comes; the pieces add up to the answer. None in place
                of a piece says that all before it is void, for the answer is begun anew. It must return at
                once and not raise. After an error its pieces are void.

        Raises:
            Refused: the model declined.
            AgentError: any other end without an answer.
        """
        ...

    async def small_talk(self, said: str, *, deadline_s: float) -> Answer:
        """A word or two in reply to a visitor, by the model that judges; `prompts.TALK_MAX_OUTPUT_TOKENS` at most.

        Raises:
            Refused: the model declined.
            AgentError: any other end without an answer.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Calls still running end in ``Unavailable``. Safe to repeat."""
        ...
