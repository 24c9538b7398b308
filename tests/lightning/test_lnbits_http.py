"""The connection to LNbits, with answers no LNbits would give."""

import ssl

import httpx
import pytest

from lightning.errors import WalletUnavailable
from lightning.lnbits_http import MAX_ANSWER_BYTES, LnbitsHttp
from lightning.lnbits_wire import Refusal
from tests.lightning.canned import Answers

KEY = "0123456789abcdef0123456789abcdef"


def connection(*answers, timeout_s: float = 5.0, url: str = "http://127.0.0.1:5000") -> tuple[LnbitsHttp, Answers]:
    transport = Answers(*answers)
    return LnbitsHttp(url, KEY, timeout_s=timeout_s, backoff_s=0.001, transport=transport), transport


async def endless():
    while True:
        yield b"x" * 65_536


async def test_an_answer_is_its_body():
    http, asked = connection(httpx.Response(200, content=b"{}"), url="http://127.0.0.1:5000/behind/a/proxy/")
    assert await http.call("GET", "payments/paginated", params={"amount[gt]": 0}) == b"{}"
    (request,) = asked.requests
    assert request.url.path == "/behind/a/proxy/api/v1/payments/paginated"
    assert request.headers["X-Api-Key"] == KEY
    assert KEY not in str(request.url)
    await http.aclose()


@pytest.mark.parametrize("code", [204, 301, 307, 400, 404, 500, 502, 520])
async def test_any_other_code_is_a_refusal_and_redirects_are_not_followed(code):
    http, asked = connection(httpx.Response(code, headers={"Location": "http://127.0.0.1:1/"}, content=b"no"))
    assert await http.call("GET", "wallet") == Refusal(code, "no reason given")
    assert len(asked.requests) == 1
    await http.aclose()


async def test_too_many_requests_is_waited_out():
    said = {"error": "Rate limit exceeded: 8 per 1 minute"}
    http, asked = connection(
        httpx.Response(429, json=said), httpx.Response(429, json=said), httpx.Response(200, content=b"1")
    )
    assert await http.call("GET", "wallet") == b"1"
    assert len(asked.requests) == 3
    await http.aclose()


async def test_too_many_requests_for_ever_says_what_to_do():
    http, _ = connection(httpx.Response(429, json={"error": "no"}), timeout_s=0.05)
    with pytest.raises(WalletUnavailable, match="rate limit"):
        await http.call("GET", "wallet")
    await http.aclose()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "did not answer within"),
        (httpx.ConnectError("refused"), r"cannot be reached \(ConnectError\)"),
        (httpx.ReadError("reset"), "ReadError"),
        (httpx.RemoteProtocolError("dropped"), "RemoteProtocolError"),
        (httpx.Response(200, content=endless()), "more than"),
        (httpx.Response(500, content=endless()), "more than"),
        (httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=endless()), "compressed"),
    ],
)
async def test_trouble_is_unavailable_in_words_without_the_key(answer, sentence):
    http, _ = connection(answer, timeout_s=0.2)
    with pytest.raises(WalletUnavailable, match=sentence) as raised:
        await http.call("POST", "payments", body={"out": False})
    assert KEY not in repr(raised.value)
    await http.aclose()


async def test_the_longest_answer_is_read():
    http, _ = connection(httpx.Response(200, content=b"x" * MAX_ANSWER_BYTES))
    assert len(await http.call("GET", "wallet")) == MAX_ANSWER_BYTES
    await http.aclose()


async def test_no_cookie_is_kept():
    """With a cookie of its session LNbits would take the next call for the administrator's."""
    http, asked = connection(
        httpx.Response(200, headers={"Set-Cookie": "cookie_access_token=x; Path=/"}, content=b""),
        httpx.Response(200, content=b""),
    )
    await http.call("GET", "wallet")
    await http.call("GET", "wallet")
    assert "Cookie" not in asked.requests[1].headers
    await http.aclose()


async def test_closed_is_unavailable_and_closing_twice_is_fine():
    http, asked = connection(httpx.Response(200, content=b""))
    await http.aclose()
    await http.aclose()
    with pytest.raises(WalletUnavailable, match="closed"):
        await http.call("GET", "wallet")
    assert asked.requests == []


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("127.0.0.1:5000", KEY),
        ("ftp://127.0.0.1", KEY),
        ("http://", KEY),
        ("http://me:pass@127.0.0.1", KEY),
        ("http://127.0.0.1/?key=1", KEY),
        ("http://127.0.0.1/#a", KEY),
        ("http://127.0.0.1", ""),
        ("http://127.0.0.1", "short"),
        ("http://127.0.0.1", f"{KEY}\r\nX-Evil: 1"),
        ("http://127.0.0.1", f"../{KEY}"),
    ],
)
def test_an_address_or_key_that_cannot_be_one_is_refused_without_repeating_the_key(url, key):
    with pytest.raises(ValueError) as raised:
        LnbitsHttp(url, key, timeout_s=1, backoff_s=1)
    assert KEY not in str(raised.value)


async def test_https_trusts_what_it_was_told_to_and_the_push_goes_the_same_way():
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for tls in (own, None):
        http = LnbitsHttp("https://lnbits.example/", KEY, timeout_s=1, backoff_s=1, tls=tls)
        assert http.push_uri == f"wss://lnbits.example/api/v1/ws/{KEY}"
        assert http.tls is own if tls else http.tls is not None
        assert repr(http) == "LnbitsHttp(https://lnbits.example)"
        await http.aclose()
