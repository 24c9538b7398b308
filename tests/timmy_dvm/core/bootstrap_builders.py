"""Orders of nodes, and what happens to them, for tests of decisions."""

import dataclasses

from ledger.bootstrap import BootstrapRecord, BootstrapState
from ledger.money import Msats
from ledger.records import InvoiceRecord
from timmy_dvm.core.bootstrap_facts import BootstrapAsked, NodeFailed, NodeProvisioned
from timmy_dvm.core.case import Case
from timmy_dvm.core.facts import PaymentSeen

NODE = "b0" * 16
HASH = "9a" * 32
NOW = 1_700_000_000
FEE = Msats(10_000_000)


def order(**fields) -> BootstrapRecord:
    """An order whose invoice was made."""
    row = BootstrapRecord(
        id=NODE,
        version=2,
        pubkey=None,
        amount=FEE,
        payment_hash=HASH,
        payment_request="lnbcrt1node",
        created_at=NOW,
        updated_at=NOW,
    )
    return dataclasses.replace(row, **fields)


def invoice(**fields) -> InvoiceRecord:
    row = InvoiceRecord(
        payment_hash=HASH,
        account=f"job:{NODE}",
        job_id=None,
        amount=FEE,
        bolt11="lnbcrt1node",
        created_at=NOW,
        expires_at=NOW + 600,
    )
    return dataclasses.replace(row, **fields)


def case(state: BootstrapState = BootstrapState.AWAITING_PAYMENT, **fields) -> Case:
    return Case(bootstrap=order(state=state), **({"invoice": invoice()} | fields))


def asked(**fields) -> BootstrapAsked:
    return dataclasses.replace(BootstrapAsked(bootstrap_id=NODE, pubkey=None, at=NOW), **fields)


def paid(received: int | None = FEE) -> PaymentSeen:
    return PaymentSeen(payment_hash=HASH, received=None if received is None else Msats(received), at=NOW + 5)


def provisioned() -> NodeProvisioned:
    return NodeProvisioned(
        bootstrap_id=NODE,
        node_ip="192.0.2.7",
        tailscale_hostname="timmy-node-1",
        lnbits_url="http://192.0.2.7:5000",
        ssh_private_key="the key",
        at=NOW + 9,
    )


def failed() -> NodeFailed:
    return NodeFailed(bootstrap_id=NODE, sentence="No node.", at=NOW + 9)
