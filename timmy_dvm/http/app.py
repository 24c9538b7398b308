"""The HTTP port as a FastAPI application, out of one router for each resource."""

from collections.abc import Callable, Iterable
from typing import Final

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.telemetry import TelemetryConfig

from timmy_dvm import __version__
from timmy_dvm.http.auth import Callers
from timmy_dvm.http.description import EVERYWHERE, describe
from timmy_dvm.http.faults import Incidents, answer_faults

_SILENT: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}


def create_app(routers: Iterable[APIRouter], new_id: Callable[[], str]) -> FastAPI:
    """The application. A route parses, asks, and shows; it decides nothing.

    Args:
        routers: one for each resource.
        new_id: makes the number under which a mistake of ours is told and logged.
    """
    app = FastAPI(
        title="Timmy DVM",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        responses=dict(EVERYWHERE),
        telemetry=_SILENT,
    )
    answer_faults(app)
    app.add_middleware(Incidents, new_id=new_id)
    for router in routers:
        app.include_router(router)
    describe(app)
    return app


def knowing(callers: Callers, routers: Iterable[APIRouter]) -> APIRouter:
    """These routes; on each a token that is present but bad is 401, also where nothing depends on who asks."""

    async def counts(request: Request) -> None:
        callers.check_tokens(request)

    together = APIRouter(dependencies=[Depends(counts)])
    for router in routers:
        together.include_router(router)
    return together
