"""Web pages of other origins: those the operator named may call the API, all others are told nothing at all."""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS: Final = ("GET", "POST", "DELETE")
ALLOWED: Final = ("Authorization", "Content-Type", "Idempotency-Key", "X-Nostr-Token")
EXPOSED: Final = (
    "Idempotency-Replayed",
    "Retry-After",
    "WWW-Authenticate",
    "X-Nostr-Token",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)


class Cors:
    """Around everything, so that a page can also read why it was refused. No cookies, so no credentials.

    Args:
        app: what is behind it.
        origins: as a browser writes them: scheme, host, and the port where it is not the usual one.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._cors = CORSMiddleware(
            app,
            allow_origins=self._origins,
            allow_methods=METHODS,
            allow_headers=ALLOWED,
            expose_headers=EXPOSED,
        )
        # Browsers read it in the answer itself; programs that check a set-up read it here too [COR-03].
        self._cors.preflight_headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; an origin that is not named meets a server that knows nothing of other origins."""
        is_named = scope["type"] == "http" and Headers(scope=scope).get("origin") in self._origins
        await (self._cors if is_named else self._app)(scope, receive, send)
