"""The text of a web page that a stranger named, fetched behind the guard (`fetching`)."""

import asyncio
from typing import Final, assert_never

from timmy_dvm.fetching import Document, Fetch, FetchFailed, Wanted, Why
from timmy_dvm.html_text import visible_text

MAX_BYTES: Final = 262_144
_TEXTS: Final = frozenset({"application/json", "application/xhtml+xml", "application/xml"})
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_INSTEAD: Final = "put the text itself into an i tag of type text."


class NotFetched(Exception):
    """A page is not to be had, or not to be taken. The text says what the customer should do."""


class Web:
    """Fetches pages.

    Args:
        fetch: the only way to a stranger's address.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def text_of(self, url: str) -> str:
        """The text of a page; of HTML what a reader sees.

        Cancelling is safe.

        Raises:
            NotFetched: the address is not a public one, or the page is none that can be used.
        """
        try:
            page = await self._fetch(url, MAX_BYTES, _WANTED)
        except FetchFailed as error:
            raise NotFetched(_sentence(error)) from None
        text = _decoded(page)
        # In a thread, for a page that was built for it takes a moment.
        return await asyncio.to_thread(visible_text, text) if page.kind in _HTML else text


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind in _TEXTS


_WANTED: Final = Wanted(
    "text/plain, text/markdown, text/html;q=0.9, text/*;q=0.8, application/json;q=0.7", takes=_is_text
)


def _sentence(error: FetchFailed) -> str:
    match error.why:
        case Why.UNFIT | Why.TOO_LONG:
            return str(error)
        case Why.MOVED:
            return "A page has moved, and redirects are not followed: name its new address."
        case Why.STATUS:
            return f"A page is not to be had (HTTP {error.status}): check its address, or {_INSTEAD}"
        case Why.KIND:
            return f"A page that you named is no text: {_INSTEAD}"
        case Why.PACKED:
            return f"A page comes packed though it was asked for as it is: {_INSTEAD}"
        case Why.LATE:
            return f"A page did not come in time: {_INSTEAD}"
        case Why.UNREACHABLE:
            return f"A page can't be reached: check its address, or {_INSTEAD}"
        case _:
            assert_never(error.why)


def _decoded(page: Document) -> str:
    try:
        return page.body.decode(page.charset, "replace")
    except (LookupError, UnicodeError):
        return page.body.decode("utf-8", "replace")
