"""Servers for the testkit to judge: one that fails at everything, and one that stands before a real Timmy.

The second answers what Timmy has no route for out of a small model, and lets a test change any answer on its way.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from timmy_dvm.http.limits import Limits
from timmy_dvm.http.server import Gate, bind, make_server

Change = Callable[[str, dict], dict]
"""Gets method and path, and the answer's JSON; gives what is answered instead."""
HASHES = {name: f"{number:x}" * 64 for number, name in enumerate(("deposit", "top-up"), 1)}
SOON = "2033-01-01T00:00:00Z"


@contextlib.asynccontextmanager
async def at_loopback(app) -> AsyncIterator[str]:
    """An ASGI application on a port; its address."""
    listening = bind("127.0.0.1", 0)
    server = make_server(app, Gate(read_s=10, connections=50, per_address=50), header_bytes=16_384)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def always_500(scope, receive, send):
    """Answers 500 to everything, with a problem that looks right."""
    body = {"error": "No.", "code": "incident", "trust_tier": "nobody"}
    await JSONResponse(body, 500)(scope, receive, send)


def limited(app):
    """Behind the bounds that the real port has: a large body is refused before it is sent on."""
    return Limits(app, header_bytes=8_192, body_bytes=65_536)


class StandIn:
    """Forwards to a real Timmy; what is not there is answered by the model below."""

    def __init__(self, upstream: str, http: httpx.AsyncClient, change: Change | None = None) -> None:
        self._upstream = upstream
        self._http = http
        self._change = change or (lambda _, body: body)
        self._balance, self._open, self._demos, self._challenges = 0, False, 0, 0

    async def __call__(self, scope, receive, send):
        request = Request(scope, receive)
        answer = await self._answer(request, await request.body())
        await answer(scope, receive, send)

    async def _answer(self, request: Request, body: bytes) -> Response:
        url = f"{self._upstream}{request.url.path}?{request.url.query}"
        passed_on = {
            name: request.headers[name] for name in ("x-nostr-token", "authorization") if name in request.headers
        }
        real = await self._http.request(
            request.method, url, content=body, headers={"content-type": "application/json", **passed_on}
        )
        status, told, headers = real.status_code, real.json(), dict(real.headers)
        if told.get("code") in {"not_found", "unknown_invoice"}:
            status, told, headers = self._of_the_model(request, status, told)
        kept = {name: headers[name] for name in headers if name.lower().startswith("x-")}
        return JSONResponse(self._change(f"{request.method} {request.url.path}", told), status, kept)

    def _of_the_model(self, request: Request, status: int, told: dict) -> tuple[int, dict, dict]:
        tier = {"trust_tier": "anonymous"}
        has_credential = request.headers.get("authorization") == "Bearer macaroon"
        match request.method, request.url.path.split("/")[2:]:
            case "GET", ["demo"]:
                self._demos += 1
                left = max(0, 5 - self._demos)
                rate = {"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": "1"}
                if self._demos > 5:
                    return 429, {"error": "No more.", "code": "rate_limited", **tier}, rate
                return 200, {"result": "Hello.", **tier}, rate
            case "POST", ["identity", "challenge"]:
                self._challenges += 1
                return 200, {"challenge": f"c{self._challenges}", "expiresAt": SOON, **tier}, {}
            case ("GET", ["identity", "me"]) | ("POST", ["sessions", _, _]) if not has_credential:
                return 401, {"error": "Who?", "code": "unauthorized", **tier}, {}
            case "GET", ["world"]:
                names = ("alpha", "beta", "gamma", "delta", "timmy")
                return 200, {"agents": [{"id": name} for name in names], **tier}, {}
            case "POST", ["dev", "stub", "pay", paid]:
                self._balance += 500 if paid == HASHES["deposit"] else 0
                return (200, {"ok": True}, {}) if paid in HASHES.values() else (status, told, {})
            case _, ["sessions", *rest]:
                return self._session(request.method, rest)
        return status, told, {}

    def _session(self, method: str, rest: list[str]) -> tuple[int, dict, dict]:
        match method, rest:
            case "POST", []:
                return 201, {"sessionId": "s", "invoice": {"paymentHash": HASHES["deposit"]}}, {}
            case "GET", ["s"]:
                return 200, {"state": "active", "balanceSats": self._balance, "macaroon": "macaroon"}, {}
            case "POST", ["s", "request"]:
                self._balance -= 9
                return 200, {"result": "Yes.", "debitedSats": 9, "balanceSats": self._balance}, {}
        invoice = {"paymentHash": HASHES["top-up"]}
        if self._open:
            return 409, {"error": "One is open.", "code": "pending_topup", "pendingTopup": invoice}, {}
        self._open = True
        return 201, {"invoice": invoice}, {}


def without(path: str, *names: str) -> Change:
    """A server that forgets these fields, wherever they are in that route's answers."""

    def change(route: str, body: dict) -> dict:
        return _without(body, names) if route.startswith(path) else body

    return change


def _without(value, names):
    if isinstance(value, dict):
        return {name: _without(inner, names) for name, inner in value.items() if name not in names}
    return value


def instead(path: str, **fields: object) -> Change:
    """A server that says something else in these fields of that route's answers."""

    def change(route: str, body: dict) -> dict:
        if not route.startswith(path):
            return body
        changed = json.loads(json.dumps(body))
        for part in (changed, changed.get("costLedger") or {}):
            part.update({name: value for name, value in fields.items() if name in part})
        return changed

    return change
