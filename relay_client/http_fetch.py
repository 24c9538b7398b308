"""Fetches a relay's information document over HTTP (NIP-11): the adapter to `httpx`, and the only one here.

Nothing is followed, unpacked or kept: a redirect, an error, a compressed or an endless answer is no document.
"""

import asyncio
import ssl
from typing import Final

import httpx

from relay_client.dial import DialOptions
from relay_client.errors import NotConnected
from relay_client.nip11 import MAX_DOCUMENT_BYTES, MEDIA_TYPE

FETCH_TIMEOUT_S: Final = 5.0
_OK: Final = 200


async def fetch_document(url: str, options: DialOptions) -> bytes:
    """The `information.Fetch` of a real network: at most `MAX_DOCUMENT_BYTES`, within `FETCH_TIMEOUT_S`.

    Raises:
        NotConnected: the relay gave no document; the text says why.
    """
    proxy = options.proxy if isinstance(options.proxy, str) else None
    # The system's authorities, as for the websocket; without TLS nobody is trusted.
    tls = ssl.create_default_context() if url.startswith("https") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    headers = {"Accept": MEDIA_TYPE, "Accept-Encoding": "identity", "User-Agent": "timmy"}
    try:
        async with (
            asyncio.timeout(FETCH_TIMEOUT_S),
            httpx.AsyncClient(proxy=proxy, trust_env=options.proxy is True, verify=tls) as client,
            client.stream("GET", url, headers=headers, follow_redirects=False) as response,
        ):
            if response.status_code != _OK or response.headers.get("Content-Encoding", "identity") != "identity":
                raise NotConnected(f"{url} gave no relay information document (HTTP {response.status_code}).")
            document = bytearray()
            async for chunk in response.aiter_raw():
                document += chunk
                if len(document) > MAX_DOCUMENT_BYTES:
                    raise NotConnected(f"{url} gave a relay information document that is too long.")
            return bytes(document)
    # ImportError, ValueError: a proxy httpx can't use; then nothing goes around it.
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ImportError, ValueError) as error:
        raise NotConnected(f"{url} gave no relay information document: {error}") from error
