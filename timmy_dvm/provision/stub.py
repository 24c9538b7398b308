"""A node that is none: what a provisioner tells when it is done, at an address nobody has (RFC 5737)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from timmy_dvm.clock import Clock, Randomness

DELAY_S: Final = 2.0
OPS: Final = "/opt/timmy-node/ops.sh"
CREDENTIALS: Final = "/root/node-credentials.txt"
"""A file on the node that was ordered, where its set-up writes it; nothing is read or written here."""
_BLOCKS: Final = ("192.0.2", "198.51.100", "203.0.113")
"""TEST-NET-1 to 3: never routed."""
_LNBITS_PORT: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that was set up.

    Attributes:
        ip: its IPv4 address.
        tailscale_hostname: its name in the owner's own network.
        lnbits_url: of its wallet; plain http, for it is reached inside that network.
        next_steps: what its owner does now, a sentence each; they name only files that are there.
    """

    ip: str
    tailscale_hostname: str
    lnbits_url: str
    next_steps: Sequence[str]


class StubProvisioner:
    """Takes two seconds, and sets up nothing."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness

    async def provision(self) -> Node:
        """A node, after a while. Cancelling is safe: there is nothing to take back."""
        await self._clock.sleep(DELAY_S)
        block, host, *name = self._randomness.token(6)
        ip = f"{_BLOCKS[block % len(_BLOCKS)]}.{host % 254 + 1}"
        return Node(
            ip=ip,
            tailscale_hostname=f"timmy-node-{bytes(name).hex()}",
            lnbits_url=f"http://{ip}:{_LNBITS_PORT}",
            next_steps=next_steps(ip),
        )


def next_steps(ip: str) -> tuple[str, ...]:
    """What the owner of a node at that address does now."""
    return (
        f"Save the private key with mode 600 and log in: ssh -i node.key root@{ip}",
        f"Read all credentials: cat {CREDENTIALS}",
        f"Monitor Bitcoin sync (takes 1-2 weeks to reach 100%): bash {OPS} sync",
        f"See how Lightning is: bash {OPS} lnd",
    )
