"""What the routes work with, as one frozen value: built by the composition root, handed to each resource."""

from dataclasses import dataclass

from fastapi import Request

from ledger.records import IdentityRecord
from ledger.store import Store
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.core import trust
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.trust import Tier
from timmy_dvm.engine import Engine
from timmy_dvm.http.addresses import Addresses
from timmy_dvm.http.auth import Callers
from timmy_dvm.http.idempotency import Idempotency
from timmy_dvm.http.logins import Logins
from timmy_dvm.http.open_places import OpenPlaces
from timmy_dvm.http.streams import Streams
from timmy_dvm.http.watching import Watchers
from timmy_dvm.partials import Partials
from timmy_dvm.prices import PriceSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that more than one resource needs.

    Attributes:
        network: our wallet's, as BOLT11 writes it: bc, tb, tbs or bcrt.
        public_url: where others reach this port, without a slash at its end.
    """

    engine: Engine
    store: Store
    policy: Policy
    prices: PriceSource
    clock: Clock
    randomness: Randomness
    partials: Partials
    watchers: Watchers
    callers: Callers
    logins: Logins
    addresses: Addresses
    idempotency: Idempotency
    open_places: OpenPlaces
    streams: Streams
    network: str
    public_url: str

    def now(self) -> int:
        """Unix seconds."""
        return int(self.clock.now())

    async def tier_of(self, pubkey: str | None) -> Tier:
        """The tier of a key as it stands now; reading it writes nothing."""
        if pubkey is None:
            return Tier.ANONYMOUS
        row: IdentityRecord | None = await self.store.look(lambda view: view.identity(pubkey))
        now = self.now()
        return trust.tier(trust.met(row, pubkey, now), now, self.policy.trust)

    async def asker(self, request: Request, body_token: str | None = None) -> str | None:
        """The public key (hex) of who asks, or None; see :meth:`timmy_dvm.http.auth.Callers.key_of`."""
        return await self.callers.key_of(request, body_token)
