"""HEAD where reading changes nothing (RFC 9110, 9.3.2): whoever watches a server often asks for no more.

Not everywhere: some of what is read by GET is handed out once, or costs one of few.
"""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

READ_BY_HEAD: Final = frozenset(
    {"/api/healthz", "/api/pool", "/api/estimate", "/api/world", "/api/testkit", "/docs", "/metrics"}
)
"""Pages and their assets have HEAD themselves."""


class Heads:
    """An ASGI layer: the answer of GET, whose body the server then leaves out.

    Args:
        app: what is behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask as GET would. The server itself goes on by the scope it made, so it sends no body."""
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] in READ_BY_HEAD:
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
