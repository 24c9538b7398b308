"""Who may come in to the embedded relay, what it says over HTTP (NIP-11), and how it starts and stops."""

import asyncio

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from relay_client.local_relay import LocalRelay, RelayLimits
from relay_client.wire import req_message
from tests.faults import until
from tests.relay_client.kit import signed
from tests.relay_client.relay_kit import ALL, LIMITS, client_of, publish, stored


async def test_the_relay_describes_itself():
    async with LocalRelay(limits=LIMITS) as relay, httpx.AsyncClient() as http:
        answer = await http.get(relay.url.replace("ws", "http"), headers={"Accept": "application/nostr+json"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/nostr+json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    description = answer.json()
    assert set(description["supported_nips"]) == {1, 9, 11, 40, 42}
    assert description["limitation"]["max_message_length"] == LIMITS.frame_bytes
    assert description["limitation"]["max_subscriptions"] == LIMITS.subscriptions
    assert description["limitation"]["auth_required"] is False


async def test_a_browser_that_comes_by_gets_a_sentence():
    async with LocalRelay() as relay, httpx.AsyncClient() as http:
        answer = await http.get(relay.url.replace("ws", "http"))
    assert answer.status_code == 200
    assert relay.url in answer.text


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://[::1"]
)
async def test_pages_of_other_sites_are_turned_away_unless_allowed(origin):
    async with LocalRelay() as relay, LocalRelay(any_origin=True) as open_relay:
        with pytest.raises(InvalidStatus, match="403"):
            async with client_of(relay, origin=origin):
                pass
        async with client_of(open_relay, origin=origin) as client:
            assert (await publish(client, signed()))[0]


@pytest.mark.parametrize("origin", ["http://127.0.0.1:5050", "http://localhost:5050", "http://[::1]:5050"])
async def test_pages_of_this_machine_are_served(origin):
    async with LocalRelay() as relay, client_of(relay, origin=origin) as client:
        assert (await publish(client, signed()))[0]


# Starting and stopping


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "relay.example", "::", ""])  # noqa: S104 - to be refused
def test_it_listens_on_loopback_unless_told_otherwise(host):
    with pytest.raises(ValueError, match="loopback"):
        LocalRelay(host=host)
    LocalRelay(host=host, public=True)


async def test_it_takes_a_free_port_and_says_which_and_keeps_it():
    relay = LocalRelay()
    await relay.start()
    url = relay.url
    assert url.startswith("ws://127.0.0.1:")
    async with client_of(relay) as client:
        await publish(client, signed())
    await relay.stop()
    await relay.stop()
    async with relay:
        assert relay.url == url
        assert len(relay) == 1


async def test_stopping_does_not_wait_for_clients_that_say_or_read_nothing():
    async with asyncio.timeout(8):
        async with LocalRelay() as relay, client_of(relay) as deaf:
            port = int(relay.url.rpartition(":")[2])
            _, mute = await asyncio.open_connection("127.0.0.1", port)
            for n in range(100):
                await publish(deaf, signed("x" * 100_000 + str(n)))
            await deaf.ws.send(req_message("all", [ALL]))
            deaf.ws.transport.pause_reading()
            await until(lambda: len(relay._transports) == 2)
            await relay.stop()
            deaf.ws.transport.abort()
            mute.close()
        assert not relay._transports


async def test_with_a_journal_events_are_there_at_the_next_start(tmp_path):
    path = tmp_path / "relay.jsonl"
    old, new, gone = signed("old", kind=0, created_at=1_600_000_000), signed("new", kind=0), signed("gone")
    deletion = signed(kind=5, tags=[["e", gone.id]])
    async with LocalRelay(journal=path) as relay, client_of(relay) as client:
        for event in (old, new, gone, deletion, signed(kind=20_001)):
            assert (await publish(client, event))[0]
    path.write_bytes(path.read_bytes() + b'{"id":"cut off')
    async with LocalRelay(journal=path) as relay, client_of(relay) as client:
        assert set(await stored(client)) == {new.id, deletion.id}
        assert (await publish(client, gone))[1].startswith("blocked:")
        later = signed("later")
        await publish(client, later)
    assert len(path.read_text().splitlines()) == 3
    async with LocalRelay(journal=path) as relay, client_of(relay) as client:
        assert set(await stored(client)) == {new.id, deletion.id, later.id}


async def test_a_journal_that_grows_is_written_anew_while_running(tmp_path):
    path = tmp_path / "relay.jsonl"
    limits = RelayLimits(events=5)
    async with LocalRelay(journal=path, limits=limits) as relay, client_of(relay) as client:
        for n in range(60):
            await publish(client, signed(str(n)))
    assert len(path.read_text().splitlines()) <= 21
