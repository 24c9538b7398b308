"""The way to a relay that a stranger named: judged as a text, looked up once, connected to at that address."""

from typing import Final
from urllib.parse import urlsplit

from relay_client.errors import DialRefused
from relay_client.strangers import Dialler
from timmy_dvm.outbound import NotPublic, Resolver, resolve_public, why_not_dial

_SCHEMES: Final = frozenset({"wss"})
_PORT: Final = 443


def is_fit(url: str) -> bool:
    """Whether a relay's address is fit to be looked up: wss, its own port, a host of the public internet."""
    return why_not_dial(url, _SCHEMES) is None


def dialler_of(resolver: Resolver) -> Dialler:
    """What a `RelayPool` asks before it dials a relay that is not configured.

    It raises `DialRefused` for what is not public, whatever name leads there, and `OSError` as the resolver does.
    """

    async def dial(url: str) -> tuple[str, int]:
        reason = why_not_dial(url, _SCHEMES)
        if reason is not None:
            raise DialRefused(reason)
        try:
            return await resolve_public(urlsplit(url).hostname or "", _PORT, resolver)
        except NotPublic as error:
            raise DialRefused(str(error)) from None

    return dial
