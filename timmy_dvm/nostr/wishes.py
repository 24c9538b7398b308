"""What a customer may wish for in params and tags, each checked: NIP-90's and what clients made of it. Pure."""

import contextlib
import re
from collections.abc import Collection, Sequence
from typing import Final

from ledger.money import Msats, parse_msats
from timmy_dvm.core.giving_back import NO_TARGET
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.kinds import KINDS, kind_of
from timmy_dvm.payees import why_not_address

_OUTPUTS: Final = frozenset({"text/plain", "text/markdown", "text/*", "*/*", "text", "markdown", "plain"})
_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
MAX_MODEL_CHARS: Final = 100
_TEMPERATURE: Final = re.compile(r"0?\.[0-9]{1,20}|[01](?:\.0{1,20})?", re.ASCII)
_TEMPERATURE_CHARS: Final = 6
_NAME: Final = re.compile(r"[a-z0-9_.]{1,30}", re.ASCII)
MAX_IGNORED: Final = 8
"""Params that are not honoured are named to the customer, but no more of them than these."""
_MAX_ADDRESS_CHARS: Final = 1_024


_OF_EVERY_KIND: Final = frozenset(
    {"prompt", "max_tokens", "model", "temperature", "refund", "op", "invoice", "job", "amount_sats", "to"}
)
HONOURED: Final = _OF_EVERY_KIND.union(*(kind.params for kind in KINDS.values()))
"""All params that mean something here, for some request or other."""


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
    """The `bid` in msat; None without one.

    NIP-90's first drafts had two amounts in it, the offer and the most its customer would pay, and clients still
    send both. What is asked for is held against the higher.
    """
    for tag in tags:
        if tag[0] == "bid" and len(tag) > 1:
            try:
                offer = parse_msats(tag[1])
            except ValueError:
                raise Bad(
                    "bad_bid",
                    "A bid is an amount in msat, in digits alone, like 21000: mend it, or leave the bid out.",
                ) from None
            with contextlib.suppress(ValueError):
                return max(offer, parse_msats(tag[2] if len(tag) > 2 else ""))  # noqa: PLR2004 - the tag's third item
            return offer
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


def temperature(params: dict[str, str]) -> str | None:
    """A decimal from 0 to 1 as the model takes it; None without one, and for anything else, which is ignored.

    Four decimals of it count: a slider in JavaScript sends 0.30000000000000004.
    """
    value = params.get("temperature", "")
    return value[:_TEMPERATURE_CHARS] if _TEMPERATURE.fullmatch(value) else None


def ignored(kind: int, params: dict[str, str], offered: Collection[str]) -> tuple[str, ...]:
    """The params of a job that change nothing, by name, so that its customer can be told.

    Names that no client would send are left out, for they may be anything.
    """
    honoured = {*_OF_EVERY_KIND, *kind_of(kind).params}
    if params.get("model") and params["model"] not in offered:
        honoured.discard("model")
    if params.get("temperature") and temperature(params) is None:
        honoured.discard("temperature")
    return tuple(name for name in params if name not in honoured and _NAME.fullmatch(name))[:MAX_IGNORED]


def refund_to(params: dict[str, str]) -> str | None:
    """Where change should go: an address or `none`, as the customer wrote it.

    Read at once, for a slip of the pen would be found only when there is change, and nobody there to mend it.
    """
    value = params.get("refund")
    if not value:
        return None
    if len(value) > _MAX_ADDRESS_CHARS or (value.lower() != NO_TARGET and why_not_address(value) is not None):
        raise Bad("bad_param", "The param refund must be a Lightning address, an LNURL (lnurl1...), or none.")
    return value
