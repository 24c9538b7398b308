"""What can happen to an order of a Bitcoin node, as frozen values; see ``core.facts``.

Its payments are those of any invoice. The ids in here are fresh and random, so that nobody can guess them.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapAsked:
    """Somebody wants a node and asks for the invoice of its fee. ``bootstrap_id`` is fresh."""

    bootstrap_id: str
    pubkey: str | None
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"bootstrap:{self.bootstrap_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProvisioned:
    """A node was set up. Its private key is in no receipt: the order's row has it until it is handed out."""

    bootstrap_id: str
    node_ip: str
    tailscale_hostname: str
    lnbits_url: str
    ssh_private_key: str = field(repr=False)
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"provisioned:{self.bootstrap_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed:
    """A node could not be set up. ``sentence`` is for the customer."""

    bootstrap_id: str
    sentence: str
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"provisioned:{self.bootstrap_id}"


BootstrapFact = BootstrapAsked | NodeProvisioned | NodeFailed
