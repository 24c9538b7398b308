"""From which address somebody asks, for limits. Never from what a client says about itself.

The peer's own address counts; where the peer is a proxy that the operator trusts, the last one in
`X-Forwarded-For` that is not a trusted proxy: what stands before it anybody may have written.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

from starlette.requests import HTTPConnection

_V6_PREFIX: Final = 48
"""Who has one IPv6 address has a whole network of them."""
_MAX_HOPS: Final = 32

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Addresses:
    """Tells who asks by address.

    Args:
        trusted: proxies whose forwarding headers are believed.
    """

    def __init__(self, trusted: Sequence[_Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def bucket(self, connection: HTTPConnection) -> str:
        """Under what a limit counts: an IPv4 address, or an IPv6 /48. Empty where there is no peer."""
        address = self.seen(connection)
        return "" if address is None else _group(address)

    def peer_bucket(self, host: str) -> str | None:
        """Under what a connection from this peer counts; None for a trusted proxy: its connections are others'."""
        address = _address(host)
        if address is None:
            return host
        return None if self._trusts(address) else _group(address)

    def is_proxied(self, connection: HTTPConnection) -> bool:
        """Whether the peer is a trusted proxy."""
        return connection.client is not None and self.peer_bucket(connection.client.host) is None

    def seen(self, connection: HTTPConnection) -> _Address | None:
        """The address of who asks, or None where the connection has none (a socket file)."""
        peer = _address(connection.client.host) if connection.client is not None else None
        if peer is None or not self._trusts(peer):
            return peer
        told = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
        for text in reversed(told[-_MAX_HOPS:]):
            hop = _address(text.strip())
            if hop is None:
                break
            if not self._trusts(hop):
                return hop
            peer = hop
        return peer

    def _trusts(self, address: _Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def _group(address: _Address) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _V6_PREFIX), strict=False))
    return str(address)


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
