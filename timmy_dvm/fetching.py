"""Fetches a document from an address a stranger named, as `outbound` has it: judge, resolve once, connect there.

The name in the address is looked up once; what is dialled is the address that was judged, under TLS for the name.
No redirect is followed, nothing is sent that could tell one fetch from another (no cookies, no credentials), and
the environment's proxies are not asked. A document is taken unpacked only, so that its cap is one on what it
unfolds to as well.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from timmy_dvm.outbound import NotPublic, Resolver, TooLong, read_capped, resolve_public, why_not_dial

if TYPE_CHECKING:
    import httpx

DEADLINE_S: Final = 5.0
"""For one document, from the look-up to its last byte."""
_PORT: Final = 443
_SCHEMES: Final = frozenset({"https"})
_OK: Final = 200
_MOVED: Final = range(300, 400)


class Why(StrEnum):
    """Why a document is not to be had."""

    UNFIT = "unfit"
    """The address itself is no good, now and later: it is no URL, or not one of the public internet."""
    MOVED = "moved"
    STATUS = "status"
    KIND = "kind"
    PACKED = "packed"
    TOO_LONG = "too_long"
    LATE = "late"
    UNREACHABLE = "unreachable"


class FetchFailed(Exception):
    """A document is not to be had. The text says why, in a sentence.

    Attributes:
        why: the same for programs.
        status: of HTTP; 0 where there was no answer.
    """

    def __init__(self, why: Why, sentence: str, *, status: int = 0) -> None:
        super().__init__(sentence)
        self.why = why
        self.status = status

    @property
    def lasting(self) -> bool:
        """Whether asking again will not help."""
        return self.why is Why.UNFIT


@dataclass(frozen=True, slots=True)
class Judged:
    """Where to connect for a URL that was found fit: an IP address, a port (None: the scheme's), and over what."""

    address: str
    port: int | None = None
    scheme: str = "https"


Judge = Callable[[str], Awaitable[Judged]]
"""Finds a URL fit and says where it leads.

Raises:
    FetchFailed: it is not fit.
    NotPublic: its host is not of the public internet.
    OSError: its host can't be looked up now.
"""


def public_https(resolver: Resolver) -> Judge:
    """The one judge for strangers' addresses: https to a host of the public internet, and nothing else."""

    async def judge(url: str) -> Judged:
        if (reason := why_not_dial(url, _SCHEMES)) is not None:
            raise FetchFailed(Why.UNFIT, reason)
        address, _ = await resolve_public(urlsplit(url).hostname or "", _PORT, resolver)
        return Judged(address)

    return judge


@dataclass(frozen=True, slots=True)
class Wanted:
    """What kind of document will do.

    Args:
        accept: as the HTTP header has it.
        takes: whether a media type, in lower case, is one that can be used; others are not read.
    """

    accept: str = "*/*"
    takes: Callable[[str], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Document:
    """What was fetched: its bytes, its media type in lower case, and the character set it claims."""

    body: bytes
    kind: str = ""
    charset: str = "utf-8"


_ANYTHING: Final = Wanted()


class Fetch(Protocol):
    """How a document is fetched."""

    async def __call__(self, url: str, max_bytes: int, wanted: Wanted = _ANYTHING) -> Document:
        """The document, at most ``max_bytes`` long. Cancelling is safe.

        Raises:
            FetchFailed: it is not to be had.
        """
        ...


class GuardedFetch:
    """A `Fetch` that goes where its judge lets it.

    Args:
        judge: asked once for each URL; what it names is dialled.
        transport: opens connections; None for the real one.
        deadline_s: for one document.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._judge = judge
        self._transport = transport
        self._deadline_s = deadline_s

    async def __call__(self, url: str, max_bytes: int, wanted: Wanted = _ANYTHING) -> Document:
        """See :class:`Fetch`."""
        import httpx  # late: only who fetches pays for it

        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._fetch(url, max_bytes, wanted)
        except NotPublic as error:
            raise FetchFailed(Why.UNFIT, str(error)) from None
        except TooLong as error:
            raise FetchFailed(Why.TOO_LONG, str(error)) from None
        except TimeoutError:
            raise FetchFailed(Why.LATE, f"No answer came within {self._deadline_s:g} seconds.") from None
        except httpx.InvalidURL:
            raise FetchFailed(Why.UNFIT, "The address is not a URL.") from None
        except (OSError, httpx.HTTPError, ssl.SSLError):
            raise FetchFailed(Why.UNREACHABLE, "The address can't be reached now.") from None

    async def _fetch(self, url: str, max_bytes: int, wanted: Wanted) -> Document:
        import httpx

        there = await self._judge(url)
        host = urlsplit(url).hostname or ""
        dialled = httpx.URL(url).copy_with(scheme=there.scheme, host=there.address, port=there.port, fragment=None)
        headers = {
            "host": f"[{host}]" if ":" in host else host,
            "accept": wanted.accept,
            "accept-encoding": "identity",
        }
        async with (
            httpx.AsyncClient(
                transport=self._transport,
                headers={"user-agent": "timmy"},
                timeout=self._deadline_s,
                follow_redirects=False,
                trust_env=False,
            ) as client,
            client.stream("GET", dialled, headers=headers, extensions={"sni_hostname": host}) as answer,
        ):
            kind = _kind_of(answer, wanted)
            body = await read_capped(answer.aiter_raw(), max_bytes)
            return Document(body, kind, answer.charset_encoding or "utf-8")


def _kind_of(answer: "httpx.Response", wanted: Wanted) -> str:
    """The media type of an answer that can be used.

    Raises:
        FetchFailed: it can't.
    """
    status = answer.status_code
    if status in _MOVED:
        raise FetchFailed(Why.MOVED, "The address has moved, and redirects are not followed.", status=status)
    if status != _OK:
        raise FetchFailed(Why.STATUS, f"The address answers with HTTP {status}.", status=status)
    kind = str(answer.headers.get("content-type", "")).partition(";")[0].strip().lower()
    if not wanted.takes(kind):
        raise FetchFailed(Why.KIND, "The answer is of a kind that can't be used.", status=status)
    if answer.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise FetchFailed(Why.PACKED, "The answer comes packed though it was asked for as it is.", status=status)
    return kind
