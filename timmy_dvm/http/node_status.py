"""``/api/admin/node-status``: what the operator looks at when something is wrong: wallet, node, relays, issues.

No secret is in it: addresses come without their passwords, and foreign words with all known secrets struck out.
"""

import asyncio
import html
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from ledger.money import sats_down
from lightning.backend import Lightning
from lightning.errors import LightningError
from relay_client.pool import RelayPool
from timmy_dvm.clock import Clock
from timmy_dvm.config import Config
from timmy_dvm.config.fields import mask_password
from timmy_dvm.http.admin_answers import NodeState
from timmy_dvm.http.admins import Admins
from timmy_dvm.http.answers import answers
from timmy_dvm.http.health import relay_view
from timmy_dvm.http.page_headers import SECURITY_HEADERS
from timmy_dvm.http.wire import said
from timmy_dvm.log import struck_out
from timmy_dvm.payments import Payments
from timmy_dvm.solvency import Watchdog
from timmy_dvm.views import when

ASK_S: Final = 5.0
"""Longer than this nobody waits for a wallet to say whether it is there."""
_MAX_TEXT: Final = 200
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STATE: Final = answers(
    NodeState, "As it is now; trouble is an issue, not an error.", problems={403: "Not for you."}
)
Show = Callable[[], Awaitable[dict[str, Any]]]


def routes(show: Show, admins: Admins) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["operator"])

    @router.get("/api/admin/node-status", responses=_STATE)
    async def node_status(request: Request) -> Response:
        """Whether wallet, node and relays answer, and what is wrong; for the operator."""
        admins.check(request)
        return said({**await show(), "trust_tier": "anonymous"})

    @router.get("/api/admin/node-status/html", include_in_schema=False)
    async def node_status_html(request: Request) -> Response:
        """The same as a page."""
        admins.check(request)
        headers = {**SECURITY_HEADERS, "Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
        return Response(page_of(await show()), headers=headers, media_type="text/html")

    return router


class NodeStatus:
    """Asks the wallet and looks at everything else.

    Args:
        config: which wallet, where.
        wallet, relays: ours.
        payments, watchdog: what they found out in passing.
        clock: when it was.
    """

    def __init__(
        self,
        config: Config,
        wallet: Lightning,
        relays: RelayPool,
        payments: Payments,
        watchdog: Watchdog,
        clock: Clock,
    ) -> None:
        self._config = config
        self._wallet = wallet
        self._relays = relays
        self._payments = payments
        self._watchdog = watchdog
        self._clock = clock

    async def show(self) -> dict[str, Any]:
        """The state of all of it, in HTTP's names. Raises nothing for what does not answer: that is an issue."""
        balance, trouble = await self._ask()
        backend = self._config.lightning.backend
        relays = [_without_secrets(relay_view(relay)) for relay in self._relays.status()]
        state = {
            "checkedAt": when(int(self._clock.now())),
            "stubMode": backend == "simulated",
            "wallet": {"backend": backend, "reachable": not trouble, "balanceSats": balance},
            "lnbits": self._node("lnbits", self._config.lightning.lnbits.url, trouble),
            "lnd": self._node("lnd", self._config.lightning.lnd.url, trouble),
            "relays": relays,
        }
        return state | {"issues": list(self._issues(trouble, relays))}

    async def _ask(self) -> tuple[int | None, str]:
        """What the wallet holds, in sats, or why it does not say."""
        try:
            async with asyncio.timeout(ASK_S):
                return sats_down(await self._wallet.balance_msat()), ""
        except LightningError as error:
            return None, _told(str(error)) or "it gives no reason"
        except TimeoutError:
            return None, f"no answer within {ASK_S:.0f} seconds"

    def _node(self, backend: str, url: str | None, trouble: str) -> dict[str, Any]:
        """One that is not our wallet is not asked: of a node behind LNbits only LNbits knows."""
        is_ours = self._config.lightning.backend == backend
        return {
            "configured": is_ours,
            "reachable": not trouble if is_ours else None,
            "url": mask_password(url) if is_ours and url else None,
            "error": trouble or None if is_ours else None,
        }

    def _issues(self, trouble: str, relays: list[dict[str, Any]]) -> Iterator[str]:
        backend = self._config.lightning.backend
        if trouble:
            yield f"The {backend} wallet can't be reached: {trouble}"
        elif self._payments.trouble:
            yield f"The {backend} wallet's record can't be read: {_told(self._payments.trouble)}"
        if self._watchdog.alarm():
            yield _told(self._watchdog.alarm())
        away = [relay for relay in relays if relay["state"] != "connected"]
        if len(away) == len(relays):
            yield "No relay is connected: nobody can be heard or answered there."
        for relay in away:
            yield f"The relay {relay['url']} is {relay['state']}: {relay['lastError'] or 'no reason is known'}"


def _without_secrets(relay: dict[str, Any]) -> dict[str, Any]:
    """What a relay said of itself and of us are a stranger's words."""
    told = {name: None if relay[name] is None else _told(relay[name]) for name in ("lastError", "lastRefusal")}
    return {**relay, **told, "url": mask_password(relay["url"])}


def _told(text: str) -> str:
    return struck_out(text)[:_MAX_TEXT]


def page_of(state: Mapping[str, Any]) -> str:
    """The state as a page: no script, no style, all text escaped."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Timmy: node status</title>\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1"></head>\n'
        f"<body><main><h1>Node status</h1>\n<h2>Issues</h2>\n{_list(state['issues'] or ['None.'])}"
        f"<h2>State</h2>\n{_value({name: part for name, part in state.items() if name != 'issues'})}"
        "</main></body></html>\n"
    )


def _list(items: list[Any]) -> str:
    return f"<ul>\n{''.join(f'<li>{_value(item)}</li>{chr(10)}' for item in items)}</ul>\n"


def _value(value: Any) -> str:
    match value:
        case Mapping():
            rows = (f"<dt>{html.escape(str(name))}</dt><dd>{_value(part)}</dd>\n" for name, part in value.items())
            return f"<dl>\n{''.join(rows)}</dl>\n"
        case list():
            return _list(value)
        case _:
            return html.escape("unknown" if value is None else str(value))
