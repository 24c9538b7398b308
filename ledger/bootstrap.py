"""An order of a Bitcoin node for a fee, with its payment and what came of it in one row. Pure.

Its money stands in the account ``job:<id>``, as that of anything which was paid for and is not earned yet. Times
are unix seconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from ledger.money import Msats


class BootstrapState(StrEnum):
    """Where an order stands. Which may follow which is one table, in ``timmy_dvm.core.transitions``."""

    AWAITING_PAYMENT = "awaiting_payment"
    PROVISIONING = "provisioning"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapRecord:
    """An order as the ledger holds it. ``version`` is 0 before it is written, and rises by one at each change.

    ``id`` is random and a bearer secret; ``pubkey`` is the key that ordered, None for nobody known. ``amount`` is
    the fee. ``ssh_private_key`` is written with READY and never read back into a record: it is handed out once, by
    :meth:`ledger.store.Store.take_ssh_key`, which erases it; ``ssh_key_delivered`` says that it was.
    """

    id: str
    version: int = 0
    state: BootstrapState = BootstrapState.AWAITING_PAYMENT
    pubkey: str | None
    amount: Msats
    payment_hash: str | None = None
    payment_request: str | None = None
    droplet_id: str | None = None
    node_ip: str | None = None
    tailscale_hostname: str | None = None
    lnbits_url: str | None = None
    ssh_private_key: str | None = field(default=None, repr=False)
    ssh_key_delivered: bool = False
    error_message: str | None = None
    created_at: int
    updated_at: int
