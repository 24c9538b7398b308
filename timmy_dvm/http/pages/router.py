"""The routes of the pages. They show what they are given; everything that changes is asked for by the scripts.

A page says what can be said without a script: who Timmy is, and of a job its invoice with the QR code.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from timmy_dvm.http.page_headers import SECURITY_HEADERS
from timmy_dvm.http.pages import qr
from timmy_dvm.http.pages.sheets import Markup, filled, joined
from timmy_dvm.http.pages.shelf import Asset, Shelf

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"
_KEEP_NOTHING: Final = "no-store"
_READ: Final = ["GET", "HEAD"]
_WORKSHOP: Final = Markup('<a href="/tower/">Workshop</a>')
_API: Final = Markup('<a href="/docs">API</a>')
_JOB_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Visitors:
    """What the pages tell whoever comes.

    Attributes:
        npub: who we are on Nostr.
        relays: where we listen.
        request_chars: how long a question may be.
        play_money: the wallet is simulated and a visitor may pay with it, so no real sat can move.
        workshop: there is a Workshop at ``/tower/``.
        described: there is a description of the API at ``/docs``.
        pool_address, pool_lnurl: where the pool is given to, as a Lightning address and as an LNURL; None: nowhere
            that a wallet elsewhere would reach.
    """

    npub: str
    relays: tuple[str, ...]
    request_chars: int
    play_money: bool
    workshop: bool = False
    described: bool = False
    pool_address: str | None = None
    pool_lnurl: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a pay page shows of a job before any script runs: nothing that D16 keeps for its owner.

    Attributes:
        payment_request: the BOLT11 that is open; None when nothing is to be paid now.
        amount_sats: of that invoice.
    """

    payment_request: str | None
    amount_sats: int


Bills = Callable[[str], Awaitable[Bill | None]]
"""The bill of a job, by the job's id; None when there is no such job."""


def pages_router(visitors: Visitors, bills: Bills) -> APIRouter:
    """Every page and every asset. The files are read here, once.

    Args:
        visitors: what the pages tell.
        bills: what a job's pay page shows.
    """
    here = files("timmy_dvm.http.pages")
    pages = _Pages(Shelf(here / "assets", here / "html"), visitors)
    router = APIRouter(include_in_schema=False)
    _add_sheets(router, pages, visitors)
    _add_pay_pages(router, pages, bills)

    @router.api_route("/assets/{name}", methods=_READ)
    async def asset(name: str, request: Request) -> Response:
        return pages.asset(request, name, _ASK_AGAIN)

    @router.api_route("/assets/{digest}/{name}", methods=_READ)
    async def kept_asset(digest: str, name: str, request: Request) -> Response:
        # What an older page asks for after an upgrade is better served anew than not at all.
        return pages.asset(request, name, _FOR_EVER if pages.shelf.is_current(digest) else _KEEP_NOTHING)

    return router


def _add_sheets(router: APIRouter, pages: "_Pages", visitors: Visitors) -> None:
    @router.api_route("/", methods=_READ)
    async def landing() -> Response:
        return pages.page("landing")

    @router.api_route("/api", methods=_READ)
    async def api() -> Response:
        return RedirectResponse("/api/ui", 302, SECURITY_HEADERS)

    @router.api_route("/api/ui", methods=_READ)
    async def ask() -> Response:
        return pages.page("ask")

    @router.api_route("/pool", methods=_READ)
    async def pool() -> Response:
        give = Markup() if visitors.pool_address is None else pages.fill("give", {})
        return pages.page("pool", {"job_id": "", "give": give})

    @router.api_route("/api/ui/", methods=_READ)
    @router.api_route("/pool/", methods=_READ)
    async def without_its_last_slash(request: Request) -> Response:
        return RedirectResponse(request.url.path.rstrip("/"), 308, SECURITY_HEADERS)

    @router.api_route("/pool/give.svg", methods=_READ)
    async def give_svg() -> Response:
        lnurl = None if visitors.pool_address is None else visitors.pool_lnurl
        return _picture(lnurl, qr.svg, "image/svg+xml")


def _add_pay_pages(router: APIRouter, pages: "_Pages", bills: Bills) -> None:
    async def bill_of(job_id: str) -> Bill | None:
        return await bills(job_id) if _JOB_ID.fullmatch(job_id) else None

    @router.api_route("/pay/{job_id}.svg", methods=_READ)
    async def code_svg(job_id: str) -> Response:
        return _picture(_due(await bill_of(job_id)), qr.svg, "image/svg+xml")

    @router.api_route("/pay/{job_id}.png", methods=_READ)
    async def code_png(job_id: str) -> Response:
        return _picture(_due(await bill_of(job_id)), qr.png, "image/png")

    @router.api_route("/pay/{job_id}", methods=_READ)
    async def pay(job_id: str) -> Response:
        bill = await bill_of(job_id)
        if bill is None:
            return pages.page("lost", status=404)
        return pages.page("pay", _bill_values(job_id, bill, pages))


class _Pages:
    """Sheets and assets, as answers."""

    def __init__(self, shelf: Shelf, visitors: Visitors) -> None:
        self.shelf = shelf
        self._values: dict[str, object] = {
            "assets": shelf.folder,
            "npub": visitors.npub,
            "relays": joined("<li><code>{{value}}</code></li>", list(visitors.relays)),
            "request_chars": visitors.request_chars,
            "play_money": "yes" if visitors.play_money else "no",
            "workshop_link": _WORKSHOP if visitors.workshop else Markup(),
            "api_link": _API if visitors.described else Markup(),
            "pool_address": visitors.pool_address or "",
            "pool_lnurl": visitors.pool_lnurl,
        }

    def page(self, name: str, values: dict[str, object] | None = None, status: int = 200) -> Response:
        """A sheet, filled."""
        text = self.fill(name, values or {"job_id": ""})
        headers = SECURITY_HEADERS | {"Cache-Control": _KEEP_NOTHING if values else _ASK_AGAIN}
        return Response(text, status, headers, "text/html; charset=utf-8")

    def fill(self, name: str, values: dict[str, object]) -> Markup:
        """A sheet, or a part of one."""
        return filled(self.shelf.sheet(name), self._values | values, self.shelf.sheet)

    def asset(self, request: Request, name: str, keep: str) -> Response:
        """An asset, packed where the browser takes that; 304 where it has it already."""
        found = self.shelf.asset(name)
        if found is None:
            return Response("There is no such file.", 404, SECURITY_HEADERS, "text/plain; charset=utf-8")
        headers = SECURITY_HEADERS | {"Cache-Control": keep, "ETag": found.etag, "Vary": "Accept-Encoding"}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        return _as_sent(found, headers, packed="gzip" in request.headers.get("accept-encoding", ""))


def _as_sent(asset: Asset, headers: dict[str, str], *, packed: bool) -> Response:
    if packed:
        return Response(asset.packed, 200, headers | {"Content-Encoding": "gzip"}, asset.media_type)
    return Response(asset.body, 200, headers, asset.media_type)


def _due(bill: Bill | None) -> str | None:
    return None if bill is None else bill.payment_request


def _picture(payable: str | None, draw: Callable[[str], bytes], media_type: str) -> Response:
    headers = SECURITY_HEADERS | {"Cache-Control": _KEEP_NOTHING}
    if payable is None:
        return Response("There is nothing to pay here.", 404, headers, "text/plain; charset=utf-8")
    return Response(draw(payable), 200, headers, media_type)


def _bill_values(job_id: str, bill: Bill, pages: _Pages) -> dict[str, object]:
    values: dict[str, object] = {"job_id": job_id}
    if bill.payment_request is None:
        return values | {"plain_bill": Markup()}
    values |= {"payment_request": bill.payment_request, "amount_sats": bill.amount_sats}
    return values | {"plain_bill": pages.fill("plain_bill", values)}
