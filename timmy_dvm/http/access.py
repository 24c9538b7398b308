"""One line in the log for each request: its route, never its path, for ids in paths are their owners' secrets."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
log = get_logger("access")


class AccessLog:
    """The outermost ASGI layer: what it says of a request nobody can use, whoever reads the log.

    Args:
        app: what is behind it.
        clock: how long an answer took.
    """

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, then say so."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 0, self._clock.monotonic()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            log.debug(
                "request",
                action="request",
                method=scope["method"] if scope["method"] in _METHODS else "(other)",
                route=getattr(scope.get("route"), "path", "(none)"),
                status=status,
                ms=round((self._clock.monotonic() - began) * 1_000),
            )
