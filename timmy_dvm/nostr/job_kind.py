"""What a kind of request is to us: what goes in, what the model is told, and what bounds it. Pure.

Each kind that is served is one such value in a small file of its own, in `kinds`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from timmy_dvm.agent.prompts import fenced
from timmy_dvm.nostr.bad import Bad

_BETWEEN: Final = "\n\n"
_MAX_WISH_CHARS: Final = 60
Params = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Piece:
    """One input as text. ``is_fetched``: somebody else's words, which the customer only named."""

    text: str
    is_fetched: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """What the model gets: the first ``preface_chars`` of the text are ours, not the customer's."""

    text: str
    preface_chars: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of request.

    Attributes:
        number: NIP-90's kind; the result's is that and 1000.
        trade: what is added to our name in its announcement; empty for what we are known for.
        topic: the announcement's `t`.
        prompt: from the params, what the model is told to do with the input; empty where the input says it itself.
            Raises `Bad` for a param that can't be followed.
        params: those that `prompt` reads, announced beside the ones that every kind has.
        prompt_alone: what it is told where all input was fetched and so nothing says what to do with it.
        talks: a text beside an earlier answer goes on with that thread, and the content is a text like any other
            where no text is among the inputs.
        longest_input: characters of all inputs together; None: the operator's own limit alone.
        longest_output: tokens of the answer; None: what its price allows.
    """

    number: int
    trade: str
    topic: str
    prompt: Callable[[Params], str]
    params: tuple[str, ...] = ()
    prompt_alone: str = ""
    talks: bool = False
    longest_input: int | None = None
    longest_output: int | None = None

    def task(self, pieces: Sequence[Piece], params: Params) -> Task:
        """The inputs in their order behind the prompt; what was fetched stands between marks.

        Blank where no input holds anything.

        Raises:
            Bad: a param can't be followed, or the input is longer than this kind takes.
        """
        told = [Piece(piece.text.strip(), piece.is_fetched) for piece in pieces]
        told = [piece for piece in told if piece.text]
        if not told:
            return Task("")
        self._check_length(sum(len(piece.text) for piece in told))
        prompt = self.prompt(params)
        if not prompt and all(piece.is_fetched for piece in told):
            prompt = self.prompt_alone
        preface = prompt + _BETWEEN if prompt else ""
        text = _BETWEEN.join(fenced(piece.text) if piece.is_fetched else piece.text for piece in told)
        return Task(preface + text, len(preface))

    def max_tokens(self, wished: int | None) -> int | None:
        """The limit of the answer: the customer's, within this kind's."""
        if self.longest_output is None:
            return wished
        return self.longest_output if wished is None else min(wished, self.longest_output)

    def _check_length(self, length: int) -> None:
        if self.longest_input is not None and length > self.longest_input:
            raise Bad(
                "too_long",
                f"The request has {length} characters; for kind {self.number} the limit is {self.longest_input}. "
                "Please shorten it.",
            )


def one_line(params: Params, name: str) -> str | None:
    """A param that becomes a part of the prompt; None where it is not there.

    Raises:
        Bad: it would fill the prompt or break out of its line.
    """
    value = params.get(name)
    if value and (len(value) > _MAX_WISH_CHARS or not value.isprintable()):
        raise Bad("bad_param", f"The param {name} must be one line of at most {_MAX_WISH_CHARS} characters.")
    return value
