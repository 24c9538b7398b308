"""Nothing but the public internet is dialled for a stranger, however the address is dressed up."""

import ipaddress
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timmy_dvm.outbound import (
    MAX_ANSWERS,
    MAX_URL_CHARS,
    NotPublic,
    TooLong,
    is_public,
    read_capped,
    resolve_public,
    why_not_dial,
    why_not_host,
)

SSRF = json.loads((Path(__file__).parents[1] / "vectors" / "ssrf.json").read_text())
REBINDING = {case["name"]: case for case in SSRF["rebinding"]}
HTTPS = frozenset({"https"})
WEB = frozenset({"https", "http", "wss", "ws"})


class Answering:
    """A resolver that counts how often it is asked, and tells the truth only the first time."""

    def __init__(self, *answers):
        self.answers = answers
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        return self.answers if len(self.asked) == 1 else ["127.0.0.1"]


@pytest.mark.parametrize(("address", "case"), SSRF["addresses"].items(), ids=str)
def test_the_addresses_of_the_vectors(address, case):
    assert is_public(address) is (case["expect"] == "accept")


@pytest.mark.parametrize("case", SSRF["urls"], ids=lambda case: case["url"])
def test_the_urls_of_the_vectors_fail_by_scheme_or_host(case):
    for schemes in (HTTPS, WEB, WEB | {"file"}):
        assert (why_not_dial(case["url"], schemes) is None) is (case["expect"] == "accept")


@pytest.mark.parametrize("name", ["redirect_to_private", "lnurl_callback_other_host_private"])
def test_each_step_of_a_chain_is_judged(name):
    first, second = REBINDING[name]["chain"]
    assert why_not_dial(first, HTTPS) is None
    assert why_not_dial(second, HTTPS) is not None


async def test_one_private_answer_spoils_them_all():
    resolver = Answering(*REBINDING["two_answers"]["answers"])
    with pytest.raises(NotPublic):
        await resolve_public("two.example", 443, resolver)
    assert len(resolver.asked) == 1


async def test_an_endless_body_is_left_at_the_cap():
    taken = 0

    async def endless():
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1_000

    with pytest.raises(TooLong):
        await read_capped(endless(), 10_000)
    assert taken == 11


async def test_a_body_of_just_the_limit_is_read_whole():
    async def two():
        yield b"ab"
        yield b"cd"

    assert await read_capped(two(), 4) == b"abcd"
    with pytest.raises(TooLong):
        await read_capped(two(), 3)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1",
     "198.17.0.1", "198.20.0.0", "223.255.255.255", "2606:4700:4700::1111", "2001:4860:4860::8888",
     "2a00:1450::1", "2001:200::1"],
)  # fmt: skip
def test_public_addresses_pass(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.1", "0.1.2.3", "100.64.0.1", "100.127.255.255", "172.16.0.1", "172.31.255.255", "192.0.0.9",
     "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "224.0.0.1", "239.255.255.255",
     "255.255.255.255", "::", "::127.0.0.1", "::8.8.8.8", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8",
     "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1",
     "2001:10::1", "2001:20::1", "2001:db8::1", "2002:808:808::1", "2620:4f:8000::1", "3ffe::1", "3fff:fff::1",
     "5f00::1", "fc00::1", "fe80::1", "fe80::1%eth0", "2606:4700:4700::1111%1", "ff02::1", "ff0e::1",
     "4000::1"],
)  # fmt: skip
def test_special_addresses_do_not(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "text",
    ["", " ", "8.8.8.8 ", "\t8.8.8.8", "8.8.8.8\n", "8.8.8", "8.8.8.8.8", "08.8.8.8", "0x8.8.8.8", "134744072",
     "8.8.8.8/32", "8.8.8.8:53", "[2606:4700:4700::1111]", "\uff18.8.8.8", "\u2467.8.8.8", "example.com",
     "8.8.8.8\x00", "-8.8.8.8", "2606:4700:4700::1111%", "2606:4700:4700:::1", "\ud800", "9" * 10_000],
)  # fmt: skip
def test_what_is_not_the_plain_text_of_an_address_is_not_public(text):
    assert not is_public(text)


@given(st.one_of(st.ip_addresses(), st.ip_addresses(network="2000::/3"), st.ip_addresses(network="2001::/16")))
def test_never_more_lenient_than_the_standard_library(ip):
    if is_public(str(ip)):
        assert ip.is_global
        assert not any((ip.is_multicast, ip.is_reserved, ip.is_loopback, ip.is_link_local, ip.is_unspecified))


@given(st.ip_addresses(v=4))
def test_no_ipv6_form_carries_an_ipv4_address_through(ip):
    number = int(ip)
    for carrier in (0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96, 0x64FF9B0001 << 80):
        assert not is_public(str(ipaddress.IPv6Address(carrier | number)))
    assert not is_public(str(ipaddress.IPv6Address(0x2002 << 112 | number << 80)))
    assert not is_public(str(ipaddress.IPv6Address(0x20010000 << 96 | number ^ 0xFFFFFFFF)))


@given(st.text())
@example("[")
@example("https://[")
@example("https://[::1")
@example("https://a:b:c/")
@example("https://host:99999999999999999999/")
def test_no_text_raises(text):
    assert is_public(text) in (True, False)
    for url in (text, f"https://{text}", f"https://{text}/", f"https://relay.example:{text}/"):
        why_not_dial(url, WEB)
    why_not_host(text)


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://example.com/", "https://example.com:443/cb?amount=1&x=@",
     "https://EXAMPLE.com./", "HTTPS://xn--bcher-kva.example/", "https://8.8.8.8/",
     "https://[2606:4700:4700::1111]/", "https://127.0.0.1.nip.io/", "https://1.example/",
     "https://_dmarc.a-b.example/", "https://0x7f.example/"],
)  # fmt: skip
def test_addresses_fit_to_be_resolved(url):
    assert why_not_dial(url, HTTPS) is None


def test_relays_are_judged_by_their_own_scheme_and_port():
    wss = frozenset({"wss"})
    assert why_not_dial("wss://relay.example", wss) is None
    assert why_not_dial("wss://relay.example:443/inbox", wss) is None
    for url in ("ws://relay.example", "https://relay.example", "wss://relay.example:22", "wss://relay.example:80"):
        assert why_not_dial(url, wss) is not None


@pytest.mark.parametrize(
    "host",
    ["0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "127.1", "127.0.0.1.", "017700000001", "0x",
     "8.8.8.010", "8.8.2056", "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
     "127\u30020\u30020\u30021", "127%2e0.0.1", "[::ffff:7f00:1]", "[::]", "[fe80::1%25eth0]", "[::1",
     "localhost", "LOCALHOST.", "a.localhost", "router", "printer.local", "db.internal", "a.home.arpa",
     "x.onion", "a..example", ".example", "", "-a.example", "a-.example", "a b.example", "a\\.example",
     "a\t.example", "a" * 64 + ".example", ".".join(["a" * 63] * 4) + ".example", "a,b.example"],
)  # fmt: skip
def test_hosts_that_are_refused_by_their_text(host):
    assert why_not_dial(f"https://{host}/", WEB) is not None


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "ftp://example.com/", "javascript:alert(1)", "//example.com/", "example.com",
     "https:example.com", "https:///x", "https://user@example.com/", "https://user:pw@example.com/",
     "https://@example.com/", "https://example.com\\@127.0.0.1/", "https://example.com:8443/",
     "https://example.com:0/", "https://example.com:x/", "https://example.com:-1/", "https://exam\tple.com/",
     "https://example.com/\r\nHost: a", " https://example.com/", "https://example.com/" + "a" * MAX_URL_CHARS],
)  # fmt: skip
def test_urls_that_are_refused_by_their_form(url):
    assert why_not_dial(url, HTTPS) is not None


def test_the_reason_never_repeats_what_a_stranger_wrote():
    for url in (
        "https://secret@example.com/",
        "https://secret.local/",
        "secret://x",
        "https://x.example:1/secret",
    ):
        reason = why_not_dial(url, HTTPS)
        assert reason is not None
        assert reason.endswith(".")
        assert "secret" not in reason


async def test_the_first_address_is_the_one_to_connect_to():
    resolver = Answering("2606:4700:4700::1111", "1.1.1.1")
    assert await resolve_public("relay.example", 443, resolver) == ("2606:4700:4700::1111", 443)
    assert resolver.asked == [("relay.example", 443)]


@pytest.mark.parametrize(
    "answers", [(), ("::ffff:127.0.0.1",), ("1.1.1.1", "fe80::1%2"), ("1.1.1.1",) * (MAX_ANSWERS + 1)]
)
async def test_answers_that_are_not_dialled(answers):
    with pytest.raises(NotPublic):
        await resolve_public("relay.example", 443, Answering(*answers))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "2130706433", "localhost", "", "a b.example"])
async def test_a_host_refused_by_its_text_is_not_even_looked_up(host):
    resolver = Answering("1.1.1.1")
    with pytest.raises(NotPublic):
        await resolve_public(host, 443, resolver)
    assert resolver.asked == []


@pytest.mark.parametrize("host", ["1.1.1.1", "2606:4700:4700::1111"])
async def test_an_address_is_judged_without_asking_anybody(host):
    resolver = Answering("127.0.0.1")
    assert await resolve_public(host, 443, resolver) == (host, 443)
    assert resolver.asked == []


async def test_a_resolver_that_fails_is_heard():
    async def broken(host, port):
        raise OSError("no such host")

    with pytest.raises(OSError, match="no such host"):
        await resolve_public("relay.example", 443, broken)
