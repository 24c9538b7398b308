"""What a customer may wish for in params and tags, each checked: NIP-90's and what clients made of it. Pure."""

import re
from collections.abc import Collection, Sequence
from typing import Final

from ledger.money import Msats, parse_msats

_OUTPUTS: Final = frozenset({"text/plain", "text/markdown", "text/*", "*/*", "text", "markdown", "plain"})
_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
MAX_MODEL_CHARS: Final = 100
_MAX_WISH_CHARS: Final = 60
_MAX_ADDRESS_CHARS: Final = 320
KIND_SUMMARY: Final = 5001
KIND_TRANSLATION: Final = 5002


class Bad(Exception):
    """A request addressed to us that cannot be served as it stands."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def params(tags: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """The first value of each param."""
    params: dict[str, str] = {}
    for tag in tags:
        match tag:
            case ("param", name, value, *_):
                params.setdefault(name.strip().lower().replace("-", "_"), value.strip())
            case _:
                pass
    return params


def check_output(tags: Sequence[tuple[str, ...]]) -> None:
    """Raise `Bad` where every `output` asked for is something we do not make."""
    wanted = [tag[1].partition(";")[0].strip().lower() for tag in tags if tag[0] == "output" and len(tag) > 1]
    wanted = [mime for mime in wanted if mime]
    if wanted and _OUTPUTS.isdisjoint(wanted):
        raise Bad("output", "Only text/plain and text/markdown are made here: ask for one, or leave output out.")


def bid(tags: Sequence[tuple[str, ...]]) -> Msats | None:
    """The `bid` in msat; None without one."""
    for tag in tags:
        if tag[0] == "bid" and len(tag) > 1:
            try:
                return parse_msats(tag[1])
            except ValueError:
                raise Bad(
                    "bad_bid",
                    "A bid is an amount in msat, in digits alone, like 21000: mend it, or leave the bid out.",
                ) from None
    return None


def max_tokens(params: dict[str, str]) -> int | None:
    """The customer's own limit of the answer."""
    value = params.get("max_tokens")
    if value is None:
        return None
    if not _COUNT.fullmatch(value):
        raise Bad("bad_param", "max_tokens must be a whole number above 0, or be left out.")
    return int(value)


def model(params: dict[str, str], offered: Collection[str]) -> str | None:
    """The core says which models there are; without a choice the wish is ignored."""
    value = params.get("model")
    return value[:MAX_MODEL_CHARS] if value and offered else None


def refund_to(params: dict[str, str]) -> str | None:
    """Where change should go: an address or `none`, as the customer wrote it."""
    value = params.get("refund")
    if not value:
        return None
    if len(value) > _MAX_ADDRESS_CHARS or not value.isprintable() or " " in value:
        raise Bad("bad_param", "The param refund must be a Lightning address, or none.")
    return value


def task(kind: int, text: str, params: dict[str, str]) -> str:
    """The text as the model gets it: the kind itself says what to do with a text to be summed up or translated."""
    if not text:
        return ""
    if kind == KIND_SUMMARY:
        length = _wish(params, "length")
        return f"Summarize the following text{f' in {length}' if length else ''}.\n\n{text}"
    if kind == KIND_TRANSLATION:
        return f"Translate the following text into {_wish(params, 'language') or 'English'}.\n\n{text}"
    return text


def _wish(params: dict[str, str], name: str) -> str | None:
    value = params.get(name)
    if value and (len(value) > _MAX_WISH_CHARS or not value.isprintable()):
        raise Bad("bad_param", f"The param {name} must be one line of at most {_MAX_WISH_CHARS} characters.")
    return value
