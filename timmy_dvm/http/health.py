"""What ``/api/healthz`` shows."""

from typing import Any

from ledger.money import Msats, sats_down
from ledger.store import Store, StoreUnavailable
from relay_client.keys import Keys
from relay_client.pool import RelayPool
from timmy_dvm import __version__
from timmy_dvm.config import Config
from timmy_dvm.payments import Payments


class Health:
    """``ok``, or the first thing that stands in the way of serving."""

    def __init__(self, config: Config, keys: Keys, pool: RelayPool, store: Store, payments: Payments) -> None:
        self._config = config
        self._keys = keys
        self._pool = pool
        self._store = store
        self._payments = payments

    async def show(self) -> dict[str, Any]:
        """The state of everything that serving needs; keys as HTTP spells them."""
        relays = [
            {"url": r.url, "state": r.state.name.lower(), "reconnects": r.reconnects} for r in self._pool.status()
        ]
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
        try:
            balances = await self._store.balances()
        except StoreUnavailable:
            return state | {"status": "no_ledger"}
        reserved = sum(amount for name, amount in balances.items() if name.startswith("reserved:"))
        pool = {"balanceSats": sats_down(balances["pool"]), "reservedSats": sats_down(Msats(reserved))}
        return state | {"pool": pool}
