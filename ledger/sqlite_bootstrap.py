"""Rows of ``bootstrap_jobs`` to records and back, as :mod:`ledger.sqlite_rows` has it for all others."""

import sqlite3

from ledger.bootstrap import BootstrapRecord, BootstrapState
from ledger.money import Msats
from ledger.sqlite_rows import Parameters


def bootstrap_from(row: sqlite3.Row) -> BootstrapRecord:
    """A row of ``bootstrap_jobs``, without its private key."""
    return BootstrapRecord(
        id=row["id"],
        version=row["version"],
        state=BootstrapState(row["state"]),
        pubkey=row["nostr_pubkey"],
        amount=Msats(row["amount_msat"]),
        payment_hash=row["payment_hash"],
        payment_request=row["payment_request"],
        droplet_id=row["droplet_id"],
        node_ip=row["node_ip"],
        tailscale_hostname=row["tailscale_hostname"],
        lnbits_url=row["lnbits_url"],
        ssh_key_delivered=bool(row["ssh_key_delivered"]),
        error_message=row["error_message"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def bootstrap_columns(order: BootstrapRecord) -> Parameters:
    """What ``insert_bootstrap`` and ``update_bootstrap`` write."""
    return {
        "id": order.id,
        "version": order.version,
        "state": order.state,
        "pubkey": order.pubkey,
        "amount": order.amount,
        "payment_hash": order.payment_hash,
        "payment_request": order.payment_request,
        "droplet_id": order.droplet_id,
        "node_ip": order.node_ip,
        "tailscale_hostname": order.tailscale_hostname,
        "lnbits_url": order.lnbits_url,
        "ssh_private_key": order.ssh_private_key,
        "error_message": order.error_message,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
    }
