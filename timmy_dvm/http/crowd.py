"""How many requests one address may have open at once behind a proxy, whose connections are not its own.

Without a proxy the gate counts connections, and this layer counts nothing. A proxy that is trusted holds the
connections of many, so there the address it names has as many requests at once as it would have connections:
streams and sockets that nobody ends would otherwise take every place.
"""

from collections import Counter

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from timmy_dvm.http.addresses import Addresses
from timmy_dvm.http.faults import Fault

_RETRY_S = 5
_TRY_AGAIN_LATER = 1013


class Crowd:
    """An ASGI layer.

    Args:
        app: what is behind it.
        addresses: tells proxies from clients.
        per_address: requests at once from one address behind a proxy; one more is 429.
    """

    def __init__(self, app: ASGIApp, addresses: Addresses, per_address: int) -> None:
        self._app = app
        self._addresses = addresses
        self._per_address = per_address
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse for now."""
        if scope["type"] not in {"http", "websocket"} or not self._addresses.is_proxied(HTTPConnection(scope)):
            await self._app(scope, receive, send)
            return
        address = self._addresses.bucket(HTTPConnection(scope))
        if self._open[address] >= self._per_address:
            await self._refuse(scope, receive, send)
            return
        self._open[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
            return
        sentence = (
            f"{self._per_address} requests of your address are being served: end one, or try again in a moment."
        )
        fields, headers = {"retryAfterSeconds": _RETRY_S}, {"Retry-After": str(_RETRY_S)}
        await Fault(429, "too_many_at_once", sentence, fields, headers).answer()(scope, receive, send)
