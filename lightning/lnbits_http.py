"""One HTTP connection to LNbits: the key in a header, answers bounded in size and time, 429 waited out.

Nothing here decides about money; `lightning.lnbits` does, by the rules of `lightning.lnbits_wire`.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx
import msgspec

from lightning import lnbits_wire as wire
from lightning.errors import WalletUnavailable

MAX_ANSWER_BYTES = 1 << 20
_LONGEST_PAUSE_S = 30.0
_TOO_MANY = 429
_KEY = re.compile(r"[A-Za-z0-9_-]{8,128}", re.ASCII)


class LnbitsHttp:
    """Calls below ``/api/v1``. The key never leaves through the repr, an error or a URL of these calls.

    Args:
        url: where LNbits answers, ``https://host[:port][/path]``; http is for this machine or a private network.
        key: the wallet's admin key.
        timeout_s: the longest a call may take in all, unless it says otherwise.
        backoff_s: the first pause after "too many requests"; it doubles.
        tls: what to trust besides the system's authorities, for a node with a certificate of its own.
        transport: a way out other than a socket.

    Raises:
        ValueError: the address or the key cannot be one.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float,
        backoff_s: float,
        tls: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or "@" in url
        ):
            raise ValueError(
                "The LNbits address must look like https://host[:port][/path], without a user or key in it."
            )
        if not _KEY.fullmatch(key):
            raise ValueError("The LNbits key is not one; copy the admin key from the wallet's API page.")
        self._base = url.rstrip("/")
        self._key = key
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self.tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._http = httpx.AsyncClient(
            base_url=f"{self._base}/api/v1/",
            # Bytes are counted as they come, so none may be hidden in a compressed stream.
            headers={"X-Api-Key": key, "Accept-Encoding": "identity"},
            # LNbits trusts a session cookie more than the key of the call, so none is ever kept.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # Shorter than uvicorn's 5 s: a connection the other side is about to close costs an unknown payment.
            limits=httpx.Limits(max_connections=20, keepalive_expiry=2.0),
            timeout=None,  # noqa: S113 -- `call` bounds each whole exchange, waiting for a connection included
            verify=self.tls
            or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # the latter trusts nobody: http needs none
            transport=transport,
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"LnbitsHttp({self._base})"

    @property
    def push_uri(self) -> str:
        """Where LNbits tells of payments. It holds the key: never log or raise it."""
        return f"ws{self._base[4:]}/api/v1/ws/{self._key}"

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
        timeout_s: float | None = None,
    ) -> bytes | wire.Refusal:
        """One call; the body of a 200 or 201, or the refusal. After "too many requests" it tries again.

        Raises:
            WalletUnavailable: no answer in time, no connection, or an answer that is too long. The request
                may have been carried out.
        """
        limit = self._timeout_s if timeout_s is None else timeout_s
        pause = self._backoff_s
        refused = False
        try:
            async with asyncio.timeout(limit):
                while True:
                    answer = await self._once(method, path, params, body)
                    if isinstance(answer, bytes) or answer.code != _TOO_MANY:
                        return answer
                    refused = True
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
        except TimeoutError:
            why = (
                "asks for fewer requests; raise its rate limit"
                if refused
                else f"did not answer within {limit:g} s"
            )
            raise WalletUnavailable(f"LNbits {why}.") from None
        except httpx.HTTPError as error:
            raise WalletUnavailable(
                f"LNbits cannot be reached ({type(error).__name__}); check that it runs and the address is right."
            ) from None

    async def _once(
        self, method: str, path: str, params: Mapping[str, str | int] | None, body: object
    ) -> bytes | wire.Refusal:
        if self._http.is_closed:
            raise WalletUnavailable("This wallet was closed; open it again.")
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        async with self._http.stream(method, path, params=params, content=content, headers=headers) as response:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise WalletUnavailable(
                    "LNbits answers compressed, though asked not to; look at the proxy before it."
                )
            answer = bytearray()
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise WalletUnavailable(f"LNbits answers more than {MAX_ANSWER_BYTES} bytes; is this LNbits?")
        if response.status_code in (200, 201):
            return bytes(answer)
        return wire.read_refusal(response.status_code, bytes(answer), secret=self._key)

    async def aclose(self) -> None:
        """Drop the connections. Twice is fine."""
        await self._http.aclose()
