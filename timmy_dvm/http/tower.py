"""The Workshop's page and what it needs, out of the package: it works installed as from the checkout."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from timmy_dvm.http.page_headers import SECURITY_HEADERS, policy

_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS: Final = {
    **SECURITY_HEADERS,
    # Some browsers don't take a socket for 'self'.
    "Content-Security-Policy": policy(connects="'self' ws: wss:", forms="'none'"),
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    kind: str
    tag: str


def routes() -> APIRouter:
    """``GET /tower/`` and its assets, read once."""
    router = APIRouter(include_in_schema=False)
    assets = _assets()

    @router.get("/tower")
    async def tower_without_slash() -> Response:
        return RedirectResponse("/tower/", 308)

    def add(path: str, asset: _Asset) -> None:
        @router.api_route(path, methods=["GET", "HEAD"])
        async def page(request: Request) -> Response:
            headers = {**_HEADERS, "ETag": asset.tag}
            if request.headers.get("if-none-match") == asset.tag:
                return Response(status_code=304, headers=headers)
            return Response(asset.body, media_type=asset.kind, headers=headers)

    for name, asset in assets.items():
        add("/tower/" if name == "index.html" else f"/tower/assets/{name}", asset)
    return router


def _assets() -> dict[str, _Asset]:
    found = {}
    for file in files("timmy_dvm.http").joinpath("pages", "tower").iterdir():
        _, dot, ending = file.name.rpartition(".")
        kind = _KINDS.get(dot + ending)
        if kind is not None:
            body = file.read_bytes()
            found[file.name] = _Asset(body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found
