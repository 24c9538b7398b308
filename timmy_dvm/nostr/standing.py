"""How a key stands, for what is said without a decision: its tier, read and never written."""

from ledger.store import StoreUnavailable
from timmy_dvm.clock import Clock
from timmy_dvm.core import trust
from timmy_dvm.core.trust import Tier, TrustRules
from timmy_dvm.nostr.gathering import Books


class Standing:
    """Tells tiers.

    Args:
        books: where identities are.
        rules: how a score becomes a tier.
        clock: time, for decay.
    """

    def __init__(self, books: Books, rules: TrustRules, clock: Clock) -> None:
        self._books = books
        self._rules = rules
        self._clock = clock

    async def tier(self, key: str) -> Tier:
        """The tier of a public key (hex); the lowest there is for a key, where it is unknown or can't be read."""
        try:
            identity = await self._books.look(lambda view: view.identity(key))
        except StoreUnavailable:
            return Tier.NEW
        if identity is None:
            return Tier.NEW
        return trust.tier(identity, int(self._clock.now()), self._rules)
