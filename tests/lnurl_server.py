"""A Lightning address service on loopback, good or bad in every way a refund may meet (LUD-06, LUD-16)."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Self
from urllib.parse import parse_qs, urlsplit

from lightning import lnurl
from lightning.lnurl import PayTerms
from timmy_dvm.fetching import FetchFailed, Judge, Judged, Why

NAME = "pay.example"
"""The host under which the test's judge finds the service."""
ADDRESS = f"alice@{NAME}"
METADATA = '[["text/plain","sats for alice"],["text/identifier","alice@pay.example"]]'
MakeInvoice = Callable[[int, bytes], str]
"""Of a sum in msat and a description hash, a BOLT11."""


class LnurlServer:
    """One service; ``mood`` names what it does next, and ``requests`` is what it was asked."""

    def __init__(self, make: MakeInvoice) -> None:
        self._make = make
        self.mood = ""
        self.requests: list[str] = []
        self.port = 0
        self.made: list[str] = []
        self._serving: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(serving)
        try:
            await asyncio.wait((serving,))
        finally:
            self._serving.discard(serving)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            if self.mood == "silent":
                await reader.read()
            else:
                writer.write(self._answer(request.split()[1]))
                await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _answer(self, target: str) -> bytes:
        redirects = {"redirected inside": "https://127.0.0.1/", "redirected": "https://elsewhere.example/"}
        if self.mood in redirects:
            return _response(b"", "302 Found", f"Location: {redirects[self.mood]}\r\n")
        if self.mood == "gone":
            return _response(b"", "404 Not Found")
        if self.mood == "packed":
            return _response(b"{}", more="Content-Encoding: gzip\r\n")
        if self.mood == "64 kB":
            return _response(b" " * (lnurl.MAX_ANSWER_BYTES + 1))
        if self.mood == "refuses":
            return _json(lnurl.refused("no"))
        if "/.well-known/" in target:
            return _json(lnurl.pay_terms(self._terms()))
        return _json(self._invoice(int(parse_qs(urlsplit(target).query)["amount"][0])))

    def _terms(self) -> PayTerms:
        callbacks = {"callback inside": "https://127.0.0.1/cb", "callback by http": f"http://{NAME}/cb"}
        least = 10**9 if self.mood == "wants more" else 1_000
        callback = callbacks.get(self.mood, f"https://{NAME}/cb?x=1")
        return PayTerms(callback=callback, least=least, most=10**12, metadata=METADATA)

    def _invoice(self, amount: int) -> dict[str, object]:
        if self.mood == "same again":
            return lnurl.pay_invoice(self.made[-1])
        text = b"other" if self.mood == "wrong description" else METADATA.encode()
        asked = amount + 1_000 if self.mood == "wrong amount" else amount
        made = self._make(asked, hashlib.sha256(text).digest())
        self.made.append(made)
        return {"routes": []} if self.mood == "no invoice" else lnurl.pay_invoice(made)


def _response(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def _json(answer: dict[str, object]) -> bytes:
    return _response(json.dumps(answer).encode())


def judge_for(strict: Judge, ports: dict[str, int]) -> Judge:
    """A judge that finds some hosts on loopback, over plain http; all others it leaves to the strict one.

    Only tests have one: what is not among its hosts meets the judge of production.
    """

    async def judge(url: str) -> Judged:
        parts = urlsplit(url)
        if parts.hostname not in ports:
            return await strict(url)
        if parts.scheme != "https" and parts.hostname == NAME:
            raise FetchFailed(Why.UNFIT, "Only https is asked.")
        return Judged("127.0.0.1", ports[parts.hostname], "http")

    return judge


@contextlib.asynccontextmanager
async def an_address(make: MakeInvoice) -> AsyncIterator[LnurlServer]:
    async with LnurlServer(make) as server:
        yield server
