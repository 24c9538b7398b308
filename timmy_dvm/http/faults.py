"""What goes wrong at the HTTP port, as one shape: a sentence for people, a stable word for programs.

A route raises :class:`Fault`; everything else that is raised becomes one here. Nobody outside learns more of a
mistake of ours than the number under which the log has it.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.store import StoreUnavailable
from timmy_dvm.core.actions import Refused
from timmy_dvm.engine import Contended
from timmy_dvm.log import get_logger

_TOO_MANY: Final = frozenset({"rate_limited", "too_many_open", "too_many_cancelled"})
_NOT_NOW: Final = frozenset({"busy", "wallet_away", "fee_reserve"})
_CONFLICT: Final = frozenset({"already_sending", "not_ended", "nothing_owed", "pending_topup", "session_closed"})
_STATUS: Final[Mapping[str, int]] = {
    **dict.fromkeys(_TOO_MANY, 429),
    **dict.fromkeys(_NOT_NOW, 503),
    **dict.fromkeys(_CONFLICT, 409),
    "insufficient_credit": 402,
    "session_unpaid": 402,
    "unknown_session": 404,
    "not_yours": 403,
    "unknown_job": 404,
}
"""By the code of a refusal; every other is something wrong with what was sent: 400."""
_RETRY_S: Final = 60
_NO_OBJECT: Final = frozenset({"missing", "model_attributes_type", "model_type"})
_WORDS: Final[Mapping[str, str]] = {
    "missing": "it is missing",
    "int_type": "send a whole number, without quotes",
    "string_type": "send a text, in quotes",
}
"""What people read of a value that is not as described, by the validator's own name for it."""
log = get_logger("http")


class Fault(Exception):
    """An answer that is no success.

    Args:
        status: of HTTP.
        code: a stable word for programs.
        sentence: for people; it ends in what to do next.
        fields: more of the body, in HTTP's names.
        headers: that go with it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})

    def answer(self) -> JSONResponse:
        """As it is sent. Nobody has identified themselves to a fault, unless its fields say so."""
        body = {"error": self.sentence, "code": self.code, "trust_tier": "anonymous", **self.fields}
        return JSONResponse(body, self.status, {"Cache-Control": "no-store", **self.headers})


def refused(refusal: Refused, **fields: object) -> Fault:
    """What the core would not do, as this port says it."""
    status = _STATUS.get(refusal.code, HTTPStatus.BAD_REQUEST)
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers = {"Retry-After": str(_RETRY_S)}
        return Fault(status, refusal.code, refusal.sentence, {"retryAfterSeconds": _RETRY_S, **fields}, headers)
    return Fault(status, refusal.code, refusal.sentence, fields)


def answer_faults(app: FastAPI) -> None:
    """Have an application answer everything that is raised in its routes."""
    app.add_exception_handler(Fault, _answered(_as_it_is))
    app.add_exception_handler(RequestValidationError, _answered(_bad_input))
    app.add_exception_handler(HTTPException, _answered(_of_the_framework))
    app.add_exception_handler(StoreUnavailable, _answered(_ledger_away))
    app.add_exception_handler(Contended, _answered(_ledger_away))


def _answered(
    fault_of: Callable[[Request, Exception], Fault],
) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        return fault_of(request, error).answer()

    return answer


def _as_it_is(_: Request, error: Exception) -> Fault:
    if not isinstance(error, Fault):
        raise TypeError("only a fault is answered as it is")
    return error


def _bad_input(request: Request, error: Exception) -> Fault:
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    if any(each["loc"][:1] == ("path",) for each in found):
        return _nothing_at(request)  # an id that can't be one is of nothing, like any other that is unknown
    if any(each["type"] == "json_invalid" for each in found):
        return Fault(400, "bad_json", "The body can't be read: send one JSON object.")
    if any(each["loc"] == ("body",) and each["type"] in _NO_OBJECT for each in found):
        # A form or a text, as curl sends it without the header, is the commonest first mistake.
        sentence = "Send one JSON object as the body, with the header Content-Type: application/json."
        return Fault(400, "bad_input", sentence)
    # What was sent is not repeated: it may be a secret, and it is not ours to spread.
    where = ", ".join(dict.fromkeys(_place(each["loc"]) for each in found)) or "the request"
    why = _why(found[0]) if found else "it can't be read"
    return Fault(400, "bad_input", f"{where}: {why[:200]}.")


def _why(found: Mapping[str, str]) -> str:
    return _WORDS.get(found["type"]) or found["msg"].partition(", ")[2] or found["msg"]


def _place(loc: tuple[object, ...]) -> str:
    return ".".join(str(part)[:40] for part in loc[1:]) or "the body"


def _of_the_framework(request: Request, error: Exception) -> Fault:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    path = request.url.path[:200]
    if status == HTTPStatus.NOT_FOUND:
        return _nothing_at(request)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return Fault(status, "wrong_method", f"{path} does not take {request.method[:20]}.", headers=headers)
    if status == HTTPStatus.BAD_REQUEST:
        return Fault(status, "bad_input", "The request can't be read: send one JSON object.")
    return Fault(status, "refused", "The request could not be served.")


def _nothing_at(request: Request) -> Fault:
    path = request.url.path[:200]
    return Fault(404, "not_found", f"There is nothing at {path}; /openapi.json lists what there is.")


def _ledger_away(_: Request, error: Exception) -> Fault:
    log.warning("a request could not be served", action="ledger_away", error=str(error))
    sentence = "The books can't be written just now: nothing was changed, try again in a moment."
    return Fault(503, "ledger_away", sentence, {"retryAfterSeconds": 5}, {"Retry-After": "5"})


class Incidents:
    """Around all routes: what nobody foresaw gets a number, in the answer and the log.

    Args:
        app: what is behind it.
        new_id: makes the number.
    """

    def __init__(self, app: ASGIApp, new_id: Callable[[], str]) -> None:
        self._app = app
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; an answer that has begun can't be taken back, and is broken off."""
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:  # whatever it is, the next request must be served, and this one answered
            incident = self._new_id()[:16]
            log.exception("a request ended in a mistake of ours", action="incident", incident=incident)
            if scope["type"] != "http" or has_begun:
                raise
            sentence = f"Something went wrong here; the operator finds it under {incident}. Try again later."
            fault = Fault(500, "incident", sentence, {"incident": incident})
            await fault.answer()(scope, receive, send)
