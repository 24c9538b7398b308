"""The only way to an address a stranger names: a job's relays, a lightning address, a callback, a redirect.

Judge the text first (`why_not_dial`), then resolve the host once and judge every answer (`resolve_public`),
then connect to the address that came out, never to the name again: a name may answer differently each time
it is asked. Whatever follows a redirect starts again at the top, and `read_capped` bounds what is read.

Pure: the resolver and the sockets are the caller's, and so are the deadlines.
"""

import re
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

MAX_URL_CHARS: Final = 2_048
MAX_ANSWERS: Final = 64
"""A name with more addresses than this is not dialled; real ones have a handful."""

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Given a host and a port, the texts of its IP addresses, in the order they should be tried."""

# The IANA registries of special-purpose addresses, and what was once handed out for such ends.
_CLOSED_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the machine itself
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # between a provider and its customers
        "127.0.0.0/8",  # this machine
        "169.254.0.0/16",  # link-local; the clouds' metadata service
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112: answers for private addresses
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_OPEN_V6: Final = IPv6Network("2000::/3")
"""All that is handed out to be reached. What lies outside is refused unnamed: loopback, v4-mapped and
v4-compatible addresses, NAT64, unique local, link- and site-local, multicast, discard-only, SRv6."""
_CLOSED_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo (holds an IPv4 address), benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: holds an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the 6bone, given back
        "3fff::/20",  # documentation
    )
)

_PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80}
"""One port a scheme: others are how a stranger would have us knock on services that are not the web."""
_PRINTABLE: Final = re.compile(r"[!-\[\]-~]+")  # ASCII without spaces and backslash
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME_CHARS: Final = 253
# Names that mean something on this machine or in this house only (RFC 6761, 6762, 7686, 8375, 9476).
_CLOSED_NAMES: Final = frozenset(
    ("alt", "arpa", "corp", "home", "internal", "intranet", "invalid",
     "lan", "local", "localdomain", "localhost", "onion", "private", "test")
)  # fmt: skip


class NotPublic(Exception):
    """The host is not to be connected to; the text says why, in a sentence."""


class TooLong(Exception):
    """A body went over its cap; nothing of it is to be used."""


def is_public(address: str) -> bool:
    """Whether this is the text of one IP address that anyone on the internet could reach.

    Stricter than `ipaddress.is_global`, which lets through forms that hide a private IPv4 address inside an
    IPv6 one. Only the plain form is read: `127.1`, `0177.0.0.1`, zone ids and anything else is not public.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _CLOSED_V4)
    # A zone id names an interface of ours; no address in public use has one.
    return ip.scope_id is None and ip in _OPEN_V6 and not any(ip in network for network in _CLOSED_V6)


def why_not_dial(url: str, schemes: frozenset[str]) -> str | None:
    """Judge the text of a URL that a stranger named, before anything is looked up.

    Args:
        url: as it was received.
        schemes: those allowed here, in lower case, of https, wss, http and ws.

    Returns:
        None where the text is fit to be resolved, else a sentence that says what is wrong with it.
    """
    if len(url) > MAX_URL_CHARS:
        return f"The address is longer than {MAX_URL_CHARS:,} characters; name a shorter one."
    # Before parsing: urlsplit silently drops tabs and line ends, and resolvers fold wide digits to ASCII.
    if not _PRINTABLE.fullmatch(url):
        return "The address holds characters that a URL cannot; write it in plain ASCII, names as xn--."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "The address is not a URL; check how it was copied."
    if parts.scheme not in schemes or parts.scheme not in _PORTS:
        return f"Only addresses that begin with {' or '.join(f'{name}://' for name in sorted(schemes))} are used."
    if "@" in parts.netloc:
        return "The address holds a user name; leave out all before the @."
    if port is not None and port != _PORTS[parts.scheme]:
        return f"Only port {_PORTS[parts.scheme]} is used with {parts.scheme}://; leave the port out."
    return why_not_host(host or "")


def why_not_host(host: str) -> str | None:
    """Judge a URL's host, without brackets: an IP address in its plain form, or a name the world knows.

    Returns:
        None where it is fit to be resolved, else a sentence that says what is wrong with it.
    """
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    # The last label decides, as in browsers: no top-level domain is a number, but 127.1 is an address.
    if ":" in name or _NUMBER.fullmatch(labels[-1]):
        return None if is_public(host) else "The address is not one of the public internet; name a public host."
    if len(name) > _MAX_NAME_CHARS or not all(map(_LABEL.fullmatch, labels)):
        return "The host is not a name that the DNS could hold; check how it was copied."
    if len(labels) == 1 or labels[-1] in _CLOSED_NAMES:
        return "The host has no meaning on the public internet; name a public host."
    return None


async def resolve_public(host: str, port: int, resolver: Resolver) -> tuple[str, int]:
    """Ask once where a host is, judge every answer, and name the one address to connect to.

    One answer that is not public spoils them all: an honest name has none. An IP address is not resolved.

    Args:
        host: a URL's host, without brackets.
        port: handed on to the resolver and returned.
        resolver: asked at most once; give it a deadline, and connect to what comes out, not to `host`.

    Returns:
        The IP address and the port, as `relay_client` and a socket take them.

    Raises:
        NotPublic: the host, or one of its addresses, is not of the public internet, or it has none.
        OSError: as the resolver raises it.
    """
    reason = why_not_host(host)
    if reason is not None:
        raise NotPublic(reason)
    if is_public(host):
        return host, port
    answers = await resolver(host, port)
    if not 0 < len(answers) <= MAX_ANSWERS:
        raise NotPublic("The host has no address, or far too many; name another one.")
    if not all(map(is_public, answers)):
        raise NotPublic("The host leads to an address that is not public; name another one.")
    return answers[0], port


async def read_capped(chunks: AsyncIterable[bytes], limit: int) -> bytes:
    """All of a body, if it is at most `limit` bytes (count them after inflation, not before).

    Raises:
        TooLong: it went over. It is not read further; close the connection.
    """
    body = bytearray()
    async for chunk in chunks:
        if len(body) + len(chunk) > limit:
            raise TooLong(f"The answer is longer than {limit:,} bytes and is not read; ask for less.")
        body += chunk
    return bytes(body)
