"""Behind a proxy each address has as many requests at once as it would have connections."""

import asyncio
import ipaddress

import pytest

from timmy_dvm.http.addresses import Addresses
from timmy_dvm.http.crowd import Crowd

PROXY = "10.0.0.1"
TIMEOUT_S = 20


class Behind:
    """An application that serves until it is let."""

    def __init__(self):
        self._entered = asyncio.Semaphore(0)
        self.let = asyncio.Event()
        self.crowd = Crowd(self._serve, Addresses([ipaddress.ip_network("10.0.0.0/8")]), per_address=2)

    async def _serve(self, _scope, _receive, _send):
        self._entered.release()
        await self.let.wait()

    async def asks(self, client, peer=PROXY, kind="http"):
        """What is sent to whoever asks, unless they are being served."""
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": kind, "client": (peer, 1), "headers": [(b"x-forwarded-for", client.encode())]}
        await self.crowd(scope, None, send)
        return sent

    def holds(self, group, client, **told):
        return group.create_task(self.asks(client, **told))

    async def serves(self, more):
        async with asyncio.timeout(TIMEOUT_S):
            for _ in range(more):
                await self._entered.acquire()


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_one_client_of_a_proxy_has_its_share_and_all_others_have_theirs(kind):
    behind = Behind()
    async with asyncio.TaskGroup() as group:
        for client in ("1.1.1.1", "1.1.1.1", "2.2.2.2"):
            behind.holds(group, client, kind=kind)
        await behind.serves(3)
        (first, *_) = await behind.asks("1.1.1.1", kind=kind)
        assert first.get("status", first.get("code")) == {"http": 429, "websocket": 1013}[kind]
        behind.holds(group, "2.2.2.2", kind=kind)
        await behind.serves(1)
        behind.let.set()
    assert await behind.asks("1.1.1.1", kind=kind) == [], "what has ended makes room"
    assert not behind.crowd._open


async def test_who_comes_without_a_proxy_is_counted_at_the_gate_alone():
    behind = Behind()
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            behind.holds(group, "1.1.1.1", peer="203.0.113.9")
        await behind.serves(5)
        behind.let.set()


async def test_a_network_of_ipv6_addresses_is_one_client():
    behind = Behind()
    async with asyncio.TaskGroup() as group:
        for host in range(2):
            behind.holds(group, f"2001:db8:1:{host}::1")
        await behind.serves(2)
        assert (await behind.asks("2001:db8:1:ffff::1"))[0]["status"] == 429
        behind.let.set()
