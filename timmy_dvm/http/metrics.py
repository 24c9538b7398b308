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


def written(families: Sequence[Family]) -> bytes:
    """The families in Prometheus' text format, version 0.0.4."""
    # Late: who never asks for metrics does not pay for the library.
    from prometheus_client import CollectorRegistry, Metric, generate_latest
    from prometheus_client.registry import Collector

    class Now(Collector):
        """What was counted, as it is at this moment."""

        def collect(self) -> Iterator[Metric]:
            for family in families:
                metric = Metric(family.name.removesuffix("_total"), family.meaning, family.kind)
                for sample in family.samples[:MAX_SAMPLES]:
                    metric.add_sample(family.name, dict(sample.labels), sample.value)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Now())
    return generate_latest(registry)
