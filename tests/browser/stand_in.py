"""A Timmy that says what a test tells it to: the real pages in front of an API by script.

States that a real job reaches seldom (failed, in doubt), texts that no honest model writes, and faults are all one
line here; what the pages make of the real thing is in `test_whole_job.py`.
"""

import asyncio
import contextlib
import copy
import json
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from timmy_dvm.http.pages import Bill, Visitors, pages_router

NPUB = "npub1" + "q" * 58
JOB = "a" * 32
CLAIM = "claim-secret-of-the-test"
INVOICE = {
    "paymentRequest": "lnbcrt230n1" + "qpzry9x8gf2tvdw0s3jn54khce6mua7l" * 8,
    "paymentHash": "ab" * 32,
    "amountSats": 23,
    "expiresAt": "2999-01-01T00:10:00Z",
}
ESTIMATE = {
    "estimatedSats": 23,
    "evalFeeSats": 10,
    "workFeeSats": 13,
    "btcPriceUsd": 100000,
    "btcPriceSource": "test",
    "tokenEstimate": 400,
    "identity": {"free_tier": {"serve": "no", "absorbSats": 0, "chargeSats": 23}},
}
COST = {
    "actualInputTokens": 120,
    "actualOutputTokens": 80,
    "totalTokens": 200,
    "actualCostUsd": 0.0012,
    "actualAmountSats": 6,
    "workAmountSats": 13,
    "refundAmountSats": 7,
    "refundState": "pending",
    "costSats": 16,
    "absorbed_sats": 0,
    "evalAmountSats": 10,
}
POOL = {
    "balanceSats": 10250,
    "reservedSats": 120,
    "inSats": 11400,
    "outSats": 1030,
    "dailyBudgets": {"new": 0, "established": 50, "trusted": 200, "elite": 1000},
    "today": [{"tier": "trusted", "grantedSats": 130, "reservedSats": 20, "jobs": 4}],
    "grants": [
        {"at": f"2026-11-2{day}T1{day}:00:00Z", "tier": "trusted", "grantedSats": 20 + day} for day in range(6)
    ],
    "entries": [
        {"at": f"2026-11-0{1 + n // 4}T0{n % 4}:00:00Z", "code": "pool", "amountMsat": amount * 1000}
        for n, amount in enumerate([400, 250, -90, 120, -300, 500, 80, -150, 260, -60, 310, -200, 45, 390])
    ],
}


def job(state="awaiting_eval_payment", **more):
    """A job as the API shows it."""
    view = {
        "jobId": JOB,
        "state": state,
        "createdAt": "2026-11-22T12:00:00Z",
        "completedAt": "2026-11-22T12:01:00Z" if state == "complete" else None,
        "trust_tier": "anonymous",
        "evalInvoice": INVOICE,
        "pricingBreakdown": {"estimatedSats": 23, "evalFeeSats": 10, "workFeeSats": 13},
    }
    return view | more


def refund(state="held", amount=7, reason="change"):
    """What goes back, as the API shows it."""
    row = {
        "refundId": "b" * 32,
        "amountSats": amount,
        "amountMsat": amount * 1000,
        "reason": reason,
        "state": state,
    }
    return {"refundState": "pending", "refundAmountSats": amount, "claimableSats": [amount], "refunds": [row]}


@dataclass
class StandIn:
    """What the API says, and what it was asked."""

    view: dict = field(default_factory=job)
    asked: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    streams: bool = True
    _listeners: list = field(default_factory=list)
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def becomes(self, state, **more):
        """The job changes, and whoever follows it hears so."""
        self.view = job(state, **more)
        self._tell("job", self.view)

    def writes(self, text):
        self._tell("partial", {"text": text})

    def hangs_up(self):
        """Every open stream ends."""
        self._tell(None, None)

    def _tell(self, name, data):
        for listener in self._listeners:
            listener.put_nowait((name, copy.deepcopy(data)))

    def asked_for(self, method, path):
        """The bodies of requests to a path."""
        return [body for m, p, body in self.asked if (m, p) == (method, path)]

    async def listening(self):
        """Until somebody follows the job."""
        async with asyncio.timeout(20):
            await self._heard.wait()

    def app(self, *, play_money=True, relays=("wss://relay.example", "wss://nostr.example")):
        app = FastAPI()
        visitors = Visitors(NPUB, relays, 500, play_money=play_money, workshop=True, described=True)
        app.include_router(pages_router(visitors, self._bill))
        app.add_api_route("/api/jobs/{job_id}/events", self._events, methods=["GET"])
        app.add_api_route("/{path:path}", self._any, methods=["GET", "POST"])
        return app

    async def _bill(self, job_id):
        if job_id != JOB:
            return None
        is_open = self.view["state"] == "awaiting_eval_payment"
        return Bill(INVOICE["paymentRequest"] if is_open else None, INVOICE["amountSats"])

    async def _any(self, path: str, request: Request):
        raw = await request.body()
        body = json.loads(raw) if raw else None
        self.asked.append((request.method, f"/{path}", body))
        status, answer = self._answer(request.method, f"/{path}")
        return JSONResponse(answer, status)

    def _answer(self, method, path):
        if path in self.answers:
            answer = self.answers[path]
            return answer(self) if callable(answer) else answer
        match method, path:
            case "POST", "/api/jobs":
                return 201, {**self.view, "claimSecret": CLAIM}
            case "GET", "/api/estimate":
                return 200, ESTIMATE
            case "GET", "/api/demo":
                return 200, {"result": "A channel is a tab at a bar: you settle it once, at the end."}
            case "GET", "/api/pool":
                return 200, POOL
            case _ if path == f"/api/jobs/{JOB}":
                return 200, self.view
            case "POST", _ if path == f"/api/dev/stub/pay/{INVOICE['paymentHash']}":
                self.becomes("evaluating")
                return 200, {"ok": True}
            case "POST", _ if path == f"/api/jobs/{JOB}/refund":
                return 200, {"refundState": "paid", "refundAmountSats": 7}
        return 404, {"error": f"There is nothing at {path}.", "code": "not_found"}

    async def _events(self, job_id: str, request: Request):
        if not self.streams:
            return JSONResponse({"error": "No streams here.", "code": "not_now"}, 503)
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self):
        queue = asyncio.Queue()
        self._listeners.append(queue)
        self._heard.set()
        try:
            yield _event("job", self.view)
            while True:
                name, data = await queue.get()
                if name is None:
                    return
                yield _event(name, data)
        finally:
            self._listeners.remove(queue)
            if not self._listeners:
                self._heard.clear()


def _event(name, data):
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


@contextlib.asynccontextmanager
async def served(app):
    """An application on a free port of this machine; its address."""
    from timmy_dvm.http.server import Gate, bind, make_server

    listening = bind("127.0.0.1", 0)
    server = make_server(app, Gate(read_s=600, connections=100, per_address=50), header_bytes=16_384)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listening.close()
