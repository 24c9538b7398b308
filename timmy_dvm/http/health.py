"""What ``/api/healthz`` shows."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Response

from ledger.money import Msats, sats_down
from ledger.store import Store, StoreUnavailable
from relay_client.keys import Keys
from relay_client.pool import RelayPool, RelayStatus
from timmy_dvm import __version__
from timmy_dvm.config import Config
from timmy_dvm.http import answers as shapes
from timmy_dvm.http.wire import said
from timmy_dvm.payments import Payments
from timmy_dvm.solvency import Watchdog
from timmy_dvm.views import when

_ANSWERS: Final = {
    **shapes.answers(shapes.Health, "All is well."),
    503: {"model": shapes.Health, "description": "Something stands in the way of serving: `status` says what."},
}


def routes(show: Callable[[], Awaitable[dict[str, Any]]]) -> APIRouter:
    """The route. A status other than ``ok`` is a 503, for whoever watches from outside."""
    router = APIRouter(tags=["operator"])

    @router.get("/api/healthz", responses=_ANSWERS)
    async def healthz() -> Response:
        """Whether everything that serving needs is there."""
        state = await show()
        return said({**state, "trust_tier": "anonymous"}, 200 if state["status"] == "ok" else 503)

    return router


class Health:
    """``ok``, or the first thing that stands in the way of serving."""

    def __init__(
        self, config: Config, keys: Keys, pool: RelayPool, store: Store, payments: Payments, watchdog: Watchdog
    ) -> None:
        self._config = config
        self._keys = keys
        self._pool = pool
        self._store = store
        self._payments = payments
        self._watchdog = watchdog

    async def show(self) -> dict[str, Any]:
        """The state of everything that serving needs; keys as HTTP spells them."""
        relays = [relay_view(relay) for relay in self._pool.status()]
        state: dict[str, Any] = {
            "status": "ok",
            "version": __version__,
            "npub": self._keys.npub,
            "stubMode": self._config.lightning.backend == "simulated",
            "agent": self._config.agent.backend,
            "relays": relays,
        }
        if not any(relay["state"] == "connected" for relay in relays):
            state["status"] = "no_relay"
        if self._payments.trouble:
            state["status"] = "no_wallet"
        if self._watchdog.alarm():
            state["status"] = "wallet_short"
        try:
            balances = await self._store.balances()
        except StoreUnavailable:
            return state | {"status": "no_ledger"}
        reserved = sum(amount for name, amount in balances.items() if name.startswith("reserved:"))
        pool = {"balanceSats": sats_down(balances["pool"]), "reservedSats": sats_down(Msats(reserved))}
        return state | {"pool": pool}


def relay_view(relay: RelayStatus) -> dict[str, Any]:
    """How one relay is doing: where its connection stands, since when, and what it has done wrong lately."""
    return {
        "url": relay.url,
        "state": relay.state.value,
        "connectedSince": when(None if relay.connected_since is None else int(relay.connected_since)),
        "lastEventAt": when(None if relay.last_event_at is None else int(relay.last_event_at)),
        "reconnects": relay.reconnects,
        "misbehaviour": relay.misbehaviour,
        "lastError": relay.last_error,
        "faults": dict(relay.faults),
        "accepted": relay.accepted,
        "refused": relay.refused,
        "lastRefusal": relay.last_refusal,
        "pauseSeconds": relay.pause_s,
        "unserved": dict(relay.unserved),
        "limitation": relay.limitation.known(),
    }
