"""Under which address somebody is counted, whatever they say about themselves (DEM-06)."""

import ipaddress

import pytest
from starlette.requests import HTTPConnection

from timmy_dvm.http.addresses import Addresses

PROXIES = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "::1/128")]


def connection(peer, *forwarded):
    headers = [(b"x-forwarded-for", text.encode("latin-1")) for text in forwarded]
    client = None if peer is None else (peer, 1)
    return HTTPConnection({"type": "http", "client": client, "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "bucket"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("1.2.3.4",), "203.0.113.9"),
        ("2001:db8:1:2::3", (), "2001:db8:1::/48"),
        ("2001:db8:1:ffff::3", (), "2001:db8:1::/48"),
        ("::ffff:203.0.113.9", (), "203.0.113.9"),
        ("fe80::1%eth0", (), "fe80::/48"),
        ("10.0.0.1", ("1.2.3.4",), "1.2.3.4"),
        ("10.0.0.1", ("9.9.9.9, 1.2.3.4",), "1.2.3.4"),
        ("10.0.0.1", ("9.9.9.9", "1.2.3.4"), "1.2.3.4"),
        ("10.0.0.1", ("1.2.3.4, 10.0.0.7",), "1.2.3.4"),
        ("10.0.0.1", ("9.9.9.9, nonsense",), "10.0.0.1"),
        ("10.0.0.1", ("9.9.9.9, nonsense, 10.0.0.7",), "10.0.0.7"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("::1", ("2001:db8:5::1",), "2001:db8:5::/48"),
        ("testclient", (), ""),
        (None, ("1.2.3.4",), ""),
    ],
)
def test_who_is_counted(peer, forwarded, bucket):
    assert Addresses(PROXIES).bucket(connection(peer, *forwarded)) == bucket


def test_a_thousand_spoofed_headers_are_one_address():
    addresses = Addresses()
    told = {addresses.bucket(connection("203.0.113.9", f"10.1.{n // 256}.{n % 256}")) for n in range(1_000)}
    assert told == {"203.0.113.9"}


def test_a_long_chain_is_read_from_its_end_and_no_further():
    chain = ", ".join(["10.0.0.2"] * 10_000)
    assert Addresses(PROXIES).bucket(connection("10.0.0.1", f"1.2.3.4, {chain}")) == "10.0.0.2"


def test_connections_count_under_their_peer_and_those_of_a_trusted_proxy_under_none():
    addresses = Addresses(PROXIES)
    told = [addresses.peer_bucket(host) for host in ("203.0.113.9", "2001:db8:1:2::3", "", "10.0.0.1", "::1")]
    assert told == ["203.0.113.9", "2001:db8:1::/48", "", None, None]
    assert [addresses.is_proxied(connection(host)) for host in ("203.0.113.9", "10.9.9.9", None)] == [
        False,
        True,
        False,
    ]
