"""What is known of one relay's limits, read anew now and then (NIP-11)."""

from collections.abc import Awaitable, Callable
from typing import Final

from relay_client.dial import DialOptions, Outside
from relay_client.errors import NotConnected
from relay_client.nip11 import Limitation, document_url, read_limitation
from relay_client.subscriptions import MAX_SUBSCRIPTIONS

REFETCH_S: Final = 3_600.0
"""A relay is asked for its document no more often than this, however often it comes and goes."""

Fetch = Callable[[str, DialOptions], Awaitable[bytes]]
"""The body at an http(s) address, dialled as the options say; raises `NotConnected` if there is none."""


class Information:
    """The limits of one configured relay.

    Args:
        url: the relay's address; its document is at the same one, over HTTP.
        fetch: brings the document; None reads none.
        outside: clock.
        options: how to dial.

    Attributes:
        limitation: what is known; that is nothing before the first document has come.
    """

    def __init__(self, url: str, fetch: Fetch | None, outside: Outside, options: DialOptions) -> None:
        self.limitation = Limitation()
        self._url = url
        self._fetch = fetch
        self._outside = outside
        self._options = options
        self._fetched_at: float | None = None

    @property
    def max_subscriptions(self) -> int:
        """On one connection, of all that we ever ask for."""
        return min(MAX_SUBSCRIPTIONS, self.limitation.max_subscriptions or MAX_SUBSCRIPTIONS)

    async def refresh(self) -> None:
        """Read the document, unless that was tried within `REFETCH_S`. A relay without one keeps what is known."""
        now = self._outside.monotonic()
        if self._fetch is None or (self._fetched_at is not None and now - self._fetched_at < REFETCH_S):
            return
        self._fetched_at = now
        try:
            self.limitation = read_limitation(await self._fetch(document_url(self._url), self._options))
        except NotConnected:
            return
