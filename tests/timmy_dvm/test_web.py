"""A page comes from the address that was judged and from no other, in bounds, and under TLS for its own name."""

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from timmy_dvm.fetching import GuardedFetch, public_https
from timmy_dvm.web import MAX_BYTES, NotFetched, Web

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ssrf.json").read_text())
PUBLIC = "93.184.216.34"
TEXT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def response(body=b"Hello", *, kind="text/plain", status="200 OK", more=""):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


PAGES = {
    "/": response(),
    "/latin": response("caf\xe9".encode("latin-1"), kind="text/plain; charset=latin-1"),
    "/lies": response("café".encode(), kind="text/plain; charset=no-such-thing"),
    "/broken": response(b"caf\xe9", kind="text/markdown"),
    "/html": response(b"<title>A</title><script>x</script><p>B &amp; C", kind="text/html; charset=utf-8"),
    "/json": response(b'{"a": 1}', kind="application/json"),
    "/most": response(b"x" * MAX_BYTES),
    "/more": response(b"x" * (MAX_BYTES + 1)),
    "/picture": response(kind="image/png"),
    "/untyped": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "/packed": response(more="Content-Encoding: gzip\r\n"),
    "/private": response(status="302 Found", more="Location: https://127.0.0.1/\r\n"),
    "/elsewhere": response(status="301 Moved", more="Location: https://ok.example/\r\n"),
    "/missing": response(status="404 Not Found"),
    "/nonsense": b"SSH-2.0-OpenSSH_9.6\r\n",
    "/cookie": response(more="Set-Cookie: who=you; Path=/\r\n"),
}


class Site:
    """A web server on loopback under TLS, with a certificate for ok.example alone."""

    def __init__(self):
        self.requests = []
        self.hung_up = asyncio.Event()

    async def handle(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            path = request.split()[1]
            if path == "/endless":
                await self.pour(writer)
            elif path == "/silent":
                await reader.read()
            else:
                writer.write(PAGES[path])
                await writer.drain()
        writer.close()
        self.hung_up.set()

    @staticmethod
    async def pour(writer):
        writer.write(TEXT + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1_024 + b"\r\n")
            await writer.drain()


class Detour(httpx.AsyncHTTPTransport):
    """Dials the site whatever address it is told to dial, and remembers which that was."""

    def __init__(self, port, trusted):
        super().__init__(verify=trusted, trust_env=False)
        self.port = port
        self.dialled = []

    async def handle_async_request(self, request):
        self.dialled.append(request.url.host)
        assert request.url.port is None
        request.url = request.url.copy_with(host="127.0.0.1", port=self.port)
        return await super().handle_async_request(request)


class Names:
    """A resolver that always gives the same answers, or the next of several; it counts."""

    def __init__(self, *answers):
        self.answers = list(answers) or [[PUBLIC]]
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for ok.example and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ok.example")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ok.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "ok.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
async def site(certificate):
    made = Site()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()


@pytest.fixture
def detour(site, certificate):
    return Detour(site.port, ssl.create_default_context(cafile=certificate))


@pytest.fixture
def web(detour):
    def made(*answers, **how):
        return web_of(Names(*answers), detour, **how)

    return made


def web_of(resolver, detour, **how):
    return Web(GuardedFetch(public_https(resolver), transport=detour, **how))


async def refused(web, url="https://ok.example/"):
    with pytest.raises(NotFetched) as caught:
        await web.text_of(url)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "Hello"),
        ("/latin", "café"),
        ("/lies", "café"),
        ("/broken", "caf�"),
        ("/html", "A\nB & C"),
        ("/json", '{"a": 1}'),
        ("/most", "x" * MAX_BYTES),
    ],
)
async def test_a_page_is_fetched_from_the_address_that_was_judged(web, detour, path, text):
    assert await web().text_of(f"https://ok.example{path}") == text
    assert detour.dialled == [PUBLIC]


async def test_the_name_is_looked_up_once_and_goes_into_tls_and_the_host_header(detour, site):
    names = Names([PUBLIC], ["127.0.0.1"])
    await web_of(names, detour).text_of("https://ok.example/#part")
    assert names.asked == [("ok.example", 443)]
    (request,) = site.requests
    lines = request.lower().split("\r\n")
    assert lines[0] == "get / http/1.1"
    assert "host: ok.example" in lines
    assert "accept-encoding: identity" in lines


async def test_a_certificate_for_another_name_is_not_taken(web, site):
    assert "can't be reached" in await refused(web(), "https://other.example/")
    assert site.requests == []


async def test_an_address_of_six_words_is_dialled_as_it_is(web, detour):
    # The certificate is for a name, so nothing comes of it but the attempt.
    await refused(web(), "https://[2606:4700:4700::1111]/")
    assert detour.dialled == ["2606:4700:4700::1111"]


@pytest.mark.parametrize("row", VECTORS["urls"], ids=lambda row: ascii(row["url"]))
async def test_no_address_that_is_not_public_is_dialled(web, detour, row):
    assert row["expect"] == "reject"
    await refused(web(["127.0.0.1"]), row["url"])
    assert detour.dialled == []


@pytest.mark.parametrize("address", VECTORS["addresses"])
async def test_no_name_leads_to_an_address_that_is_not_public(web, detour, address):
    expected = VECTORS["addresses"][address]["expect"]
    if expected == "accept":
        assert await web([address]).text_of("https://ok.example/") == "Hello"
        assert detour.dialled == [address]
        return
    for answers in ([address], [PUBLIC, address]):
        assert "not public" in await refused(web(answers))
    assert detour.dialled == []


@pytest.mark.parametrize(("path", "why"), [("/private", "moved"), ("/elsewhere", "moved"), ("/missing", "404")])
async def test_no_redirect_is_followed(web, detour, path, why):
    assert why in await refused(web(), f"https://ok.example{path}")
    assert detour.dialled == [PUBLIC]


@pytest.mark.parametrize("path", ["/endless", "/more"])
async def test_a_page_beyond_the_cap_is_not_read_further(web, site, path):
    assert "longer than 262,144 bytes" in await refused(web(), f"https://ok.example{path}")
    async with asyncio.timeout(10):
        await site.hung_up.wait()


@pytest.mark.parametrize(
    ("path", "why"),
    [("/picture", "no text"), ("/untyped", "no text"), ("/packed", "packed"), ("/nonsense", "reach")],
)
async def test_what_is_no_text_is_not_taken(web, path, why):
    assert why in await refused(web(), f"https://ok.example{path}")


async def test_a_page_that_does_not_come_is_given_up(web, site):
    assert "in time" in await refused(web(deadline_s=0.1), "https://ok.example/silent")
    async with asyncio.timeout(10):
        await site.hung_up.wait()


async def test_a_name_that_nobody_knows_or_that_takes_too_long_is_refused(detour):
    async def unknown(_host, _port):
        raise OSError("no such host")

    async def slow(_host, _port):
        await asyncio.Event().wait()

    assert "can't be reached" in await refused(web_of(unknown, detour))
    assert "did not come" in await refused(web_of(slow, detour, deadline_s=0.05))
    assert detour.dialled == []


async def test_nothing_is_kept_from_one_page_to_the_next(detour, site):
    web = web_of(Names(), detour)
    await web.text_of("https://ok.example/cookie")
    await web.text_of("https://ok.example/")
    assert "cookie:" not in site.requests[1].lower()


async def test_the_environment_and_a_netrc_are_not_asked(detour, site, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine ok.example login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    await web_of(Names(), detour).text_of("https://ok.example/")
    assert "authorization" not in site.requests[0].lower()
