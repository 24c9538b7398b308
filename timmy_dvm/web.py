"""Fetches the text of a web page that a stranger named, as `outbound` has it: judge, resolve once, connect there.

The name in the address is looked up once; what is dialled is the address that was judged, under TLS for the name.
No redirect is followed, nothing is sent that could tell one fetch from another (no cookies, no credentials), and
the environment's proxies are not asked. A page is taken unpacked only, so that its cap is one on what it unfolds
to as well.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from timmy_dvm.html_text import visible_text
from timmy_dvm.outbound import NotPublic, Resolver, TooLong, read_capped, resolve_public, why_not_dial

if TYPE_CHECKING:
    import httpx

MAX_BYTES: Final = 262_144
DEADLINE_S: Final = 5.0
"""For one page, from the look-up to its last byte."""
_PORT: Final = 443
_SCHEMES: Final = frozenset({"https"})
_OK: Final = 200
_MOVED: Final = range(300, 400)
_TEXTS: Final = frozenset({"application/json", "application/xhtml+xml", "application/xml"})
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_ACCEPT: Final = "text/plain, text/markdown, text/html;q=0.9, text/*;q=0.8, application/json;q=0.7"
_INSTEAD: Final = "put the text itself into an i tag of type text."


class NotFetched(Exception):
    """A page is not to be had, or not to be taken. The text says what the customer should do."""


class Web:
    """Fetches pages.

    Args:
        resolver: looks hosts up.
        transport: opens connections; None for the real one.
        deadline_s: for one page.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._resolver = resolver
        self._transport = transport
        self._deadline_s = deadline_s

    async def text_of(self, url: str) -> str:
        """The text of a page; of HTML what a reader sees.

        Cancelling is safe.

        Raises:
            NotFetched: the address is not a public one, or the page is none that can be used.
        """
        import httpx  # late: only who fetches pages pays for it

        if (reason := why_not_dial(url, _SCHEMES)) is not None:
            raise NotFetched(reason)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._fetch(url)
        except (NotPublic, TooLong) as error:
            raise NotFetched(str(error)) from None
        except TimeoutError:
            raise NotFetched(f"A page did not come within {self._deadline_s:g} seconds: {_INSTEAD}") from None
        except (OSError, httpx.HTTPError, httpx.InvalidURL, ssl.SSLError):
            raise NotFetched(f"A page can't be reached: check its address, or {_INSTEAD}") from None

    async def _fetch(self, url: str) -> str:
        import httpx

        host = urlsplit(url).hostname or ""
        address, _ = await resolve_public(host, _PORT, self._resolver)
        there = httpx.URL(url).copy_with(host=address, fragment=None)
        headers = {"host": _authority(host), "accept": _ACCEPT, "accept-encoding": "identity"}
        async with (
            httpx.AsyncClient(
                transport=self._transport,
                headers={"user-agent": "timmy"},
                timeout=self._deadline_s,
                follow_redirects=False,
                trust_env=False,
            ) as client,
            client.stream("GET", there, headers=headers, extensions={"sni_hostname": host}) as answer,
        ):
            kind, charset = _usable(answer)
            body = await read_capped(answer.aiter_raw(), MAX_BYTES)
        text = _decoded(body, charset)
        # In a thread, for a page that was built for it takes a moment.
        return await asyncio.to_thread(visible_text, text) if kind in _HTML else text


def _authority(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _usable(answer: "httpx.Response") -> tuple[str, str]:
    """Type and character set of an answer that can be used.

    Raises:
        NotFetched: it is none.
    """
    if answer.status_code in _MOVED:
        raise NotFetched("A page has moved, and redirects are not followed: name its new address.")
    if answer.status_code != _OK:
        raise NotFetched(f"A page is not to be had (HTTP {answer.status_code}): check its address, or {_INSTEAD}")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("text/") and kind not in _TEXTS:
        raise NotFetched(f"A page that you named is no text: {_INSTEAD}")
    if answer.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise NotFetched(f"A page comes packed though it was asked for as it is: {_INSTEAD}")
    return kind, answer.charset_encoding or "utf-8"


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset, "replace")
    except (LookupError, UnicodeError):
        return body.decode("utf-8", "replace")
