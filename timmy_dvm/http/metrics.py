"""``/metrics``: counts and levels for Prometheus, for the operator. No key and no id is in any of them."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import APIRouter, Request, Response

from timmy_dvm.http.admins import Admins

MAX_SAMPLES: Final = 100
"""Of one family: what grows beyond any bound is no metric."""
_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One number, and which of its family it is."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """All numbers of one name. A counter's name ends in ``_total``, and it only grows."""

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    samples: Sequence[Sample]


Show = Callable[[], Awaitable[Sequence[Family]]]


def routes(show: Show, admins: Admins) -> APIRouter:
    """The route."""
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """As Prometheus reads it."""
        admins.check(request)
        return Response(written(await show()), headers={"Cache-Control": "no-store"}, media_type=_TYPE)

    return router


def written(families: Sequence[Family]) -> str:
    """The families in Prometheus' text format, version 0.0.4."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.meaning)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples[:MAX_SAMPLES]:
        labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels)
        number = repr(sample.value) if isinstance(sample.value, float) else str(int(sample.value))
        yield f"{family.name}{{{labels}}} {number}" if labels else f"{family.name} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
