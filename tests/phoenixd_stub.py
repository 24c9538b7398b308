"""A Lightning node that does as it is told: as much of phoenixd's HTTP API as LNbits' PhoenixdWallet calls.

No real phoenixd was at hand; this is written from its documented API. It runs in a thread, so a test may block
while LNbits talks to it.
"""

import asyncio
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import uvicorn
from coincurve import PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ledger.money import Msats
from lightning import bolt11
from tests.lnbits_server import free_port

NODE_KEY = PrivateKey(b"\x07" * 32)
FAR_KEY = PrivateKey(b"\x09" * 32)
START_S = 10.0


@dataclass
class Payment:
    """What the node has about one payment it was asked to make."""

    is_paid: bool
    preimage: str = ""
    fees_msat: int = 0


@dataclass
class PhoenixdStub:
    """One node. Say beforehand what paying shall do; `None` for ``pay_answer`` is silence until `release`."""

    port: int = field(default_factory=free_port)
    pay_answer: str | None = "sent"
    """sent: paid at once. no route: phoenixd's definite failure, told with 200. None: no answer yet."""
    knows_payment: bool = True
    """Whether a payment asked for is in the node's own list."""
    fee_sats: int = 1
    payments: dict[str, Payment] = field(default_factory=dict)
    incoming: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._preimages: dict[str, str] = {}
        self._released = asyncio.Event()
        self._sockets: set[WebSocket] = set()
        routes = [
            Route("/getinfo", self._getinfo),
            Route("/createinvoice", self._createinvoice, methods=["POST"]),
            Route("/payinvoice", self._payinvoice, methods=["POST"]),
            Route("/payments/incoming/{hash}", self._incoming),
            Route("/payments/outgoingbyhash/{hash}", self._outgoing),
            WebSocketRoute("/websocket", self._websocket),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            lifespan="off",
            ws_ping_interval=None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        end = time.monotonic() + START_S
        while not self._server.started:
            assert time.monotonic() < end, "the stub node did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self.release()
        self._server.should_exit = True
        self._thread.join(START_S)

    def behave(self) -> None:
        """Back to a node that pays."""
        self.release()
        self.pay_answer, self.knows_payment, self.fee_sats = "sent", True, 1

    def release(self) -> None:
        """Let the payments go on that got no answer."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._released.set)

    def outside_invoice(self, amount_msat: int, *, expiry: int = 600) -> str:
        """An invoice of some node beyond this one, which it can pay."""
        preimage = secrets.token_bytes(32)
        payment_hash = hashlib.sha256(preimage).digest()
        self._preimages[payment_hash.hex()] = preimage.hex()
        return bolt11.encode(
            FAR_KEY, network="bc", payment_hash=payment_hash, payment_secret=secrets.token_bytes(32),
            timestamp=int(time.time()), amount_msat=Msats(amount_msat), description="", expiry=expiry,
        )  # fmt: skip

    def receive(self, payment_hash: str) -> None:
        """Somebody pays an invoice of this node's; LNbits is told by the websocket."""
        preimage, _ = self.incoming[payment_hash]
        self.incoming[payment_hash] = (preimage, True)
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._tell(payment_hash), self._loop).result(START_S)

    def settle(self, payment_hash: str) -> None:
        """A payment without an answer arrives after all."""
        self.payments[payment_hash] = Payment(True, self._preimages[payment_hash], self.fee_sats * 1000)

    def _serve(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve()

        asyncio.run(main())

    async def _tell(self, payment_hash: str) -> None:
        for socket in list(self._sockets):
            await socket.send_text(json.dumps({"type": "payment_received", "paymentHash": payment_hash}))

    async def _getinfo(self, _: Request) -> Response:
        return JSONResponse({"nodeId": "02" * 33, "channels": [{"state": "Normal", "balanceSat": 1_000_000}]})

    async def _createinvoice(self, request: Request) -> Response:
        form = await _form(request)
        preimage = secrets.token_bytes(32)
        payment_hash = hashlib.sha256(preimage).digest()
        hashed = form.get("descriptionHash", "")
        text = bolt11.encode(
            NODE_KEY, network="bc", payment_hash=payment_hash, payment_secret=secrets.token_bytes(32),
            timestamp=int(time.time()), amount_msat=Msats(int(form["amountSat"]) * 1000),
            description=None if hashed else form.get("description", ""),
            description_hash=bytes.fromhex(hashed) if hashed else None, expiry=int(form["expirySeconds"]),
        )  # fmt: skip
        self.incoming[payment_hash.hex()] = (preimage.hex(), False)
        return JSONResponse({"paymentHash": payment_hash.hex(), "serialized": text})

    async def _payinvoice(self, request: Request) -> Response:
        invoice = bolt11.decode((await _form(request))["invoice"])
        payment_hash, amount = invoice.payment_hash, invoice.amount_msat
        if self.knows_payment:
            self.payments[payment_hash] = Payment(is_paid=False)
        if self.pay_answer is None:
            self._released.clear()
            await self._released.wait()
            return PlainTextResponse("gone", status_code=503)
        if self.pay_answer != "sent":
            return JSONResponse({"paymentHash": payment_hash, "reason": self.pay_answer})
        self.settle(payment_hash)
        paid = self.payments[payment_hash]
        return JSONResponse({
            "recipientAmountSat": (amount or 0) // 1000, "routingFeeSat": self.fee_sats,
            "paymentHash": payment_hash, "paymentPreimage": paid.preimage,
        })  # fmt: skip

    async def _incoming(self, request: Request) -> Response:
        found = self.incoming.get(request.path_params["hash"])
        if found is None:
            return PlainTextResponse("Not found", status_code=404)
        return JSONResponse({"preimage": found[0], "isPaid": found[1], "fees": 0})

    async def _outgoing(self, request: Request) -> Response:
        found = self.payments.get(request.path_params["hash"])
        if found is None:
            return PlainTextResponse("Not found", status_code=404)
        return JSONResponse({"preimage": found.preimage, "isPaid": found.is_paid, "fees": found.fees_msat})

    async def _websocket(self, socket: WebSocket) -> None:
        await socket.accept()
        self._sockets.add(socket)
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            self._sockets.discard(socket)


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
