"""The routes, as a FastAPI application. A route parses, asks, and shows; it decides nothing."""

import re
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SILENT: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


class PaidHow(Enum):
    """What became of a payment made for a developer."""

    PAID = "paid"
    ALREADY = "already"
    UNKNOWN = "unknown"
    FAILED = "failed"


Pay = Callable[[str], Awaitable[PaidHow]]
"""Pays one of our own invoices, by payment hash."""


class Answer(BaseModel):
    """Every JSON answer of ``/api``: camelCase, but for the names the first Timmy spelt in snake case."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Paid(Answer):
    """A developer's payment was made."""

    ok: bool = True
    payment_hash: str
    already_paid: bool = False


class Fault(Answer):
    """What went wrong, in a sentence for people and a stable word for programs."""

    error: str
    code: str


def _answer(body: Mapping[str, object], status: int = 200) -> JSONResponse:
    # The first Timmy put the tier into every answer; nobody has identified themselves at these routes.
    return JSONResponse({**body, "trust_tier": "anonymous"}, status, headers={"Cache-Control": "no-store"})


def _fault(status: int, code: str, sentence: str) -> JSONResponse:
    return _answer(Fault(error=sentence, code=code).model_dump(by_alias=True), status)


def create_app(health: Callable[[], Awaitable[dict[str, Any]]], pay: Pay | None) -> FastAPI:
    """The application.

    Args:
        health: what ``/api/healthz`` shows; its ``status`` other than ``ok`` makes the answer a 503.
        pay: the developer's way to pay; None leaves the route out.
    """
    app = FastAPI(title="Timmy DVM", docs_url=None, redoc_url=None, openapi_url=None, telemetry=_SILENT)
    app.add_exception_handler(RequestValidationError, _bad_input)
    app.add_exception_handler(HTTPException, _http_fault)

    @app.get("/api/healthz")
    async def healthz() -> JSONResponse:
        state = await health()
        return _answer(state, 200 if state["status"] == "ok" else 503)

    if pay is not None:
        _add_pay_route(app, pay)
    return app


def _add_pay_route(app: FastAPI, pay: Pay) -> None:
    @app.post("/api/dev/stub/pay/{payment_hash}")
    async def dev_pay(payment_hash: Annotated[str, Path(max_length=64)], request: Request) -> JSONResponse:
        if any(name in request.headers for name in _FORWARDED):
            # Behind a proxy "from this machine" says nothing about who asks.
            return _fault(403, "not_local", "Invoices are paid for developers on this machine only.")
        if not _HASH.fullmatch(payment_hash):
            return _fault(404, "unknown_invoice", "A payment hash is 64 lower-case hex digits.")
        how = await pay(payment_hash)
        if how is PaidHow.UNKNOWN:
            return _fault(404, "unknown_invoice", "None of our open invoices has that payment hash.")
        if how is PaidHow.FAILED:
            return _fault(503, "not_paid", "The wallet could not pay this invoice; nothing was taken.")
        body = Paid(payment_hash=payment_hash, already_paid=how is PaidHow.ALREADY)
        return _answer(body.model_dump(by_alias=True))


async def _bad_input(request: Request, _: Exception) -> JSONResponse:
    return _fault(400, "bad_input", f"{request.url.path} was given something it can't read.")


async def _http_fault(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == HTTPStatus.NOT_FOUND:
        return _fault(status, "not_found", f"There is nothing at {request.url.path}; see /api/healthz.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return _fault(status, "wrong_method", f"{request.url.path} does not take {request.method}.")
    return _fault(status, "refused", "The request could not be served.")
