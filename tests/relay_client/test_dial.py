"""Opening sockets: nobody but us chooses where to."""

import asyncio
import socket

import pytest
from websockets.asyncio.server import serve

from relay_client.dial import (
    CUT_FRAME_BYTES,
    MAX_FRAME_BYTES,
    DialOptions,
    PublishState,
    open_socket,
    outcome_of,
    quick_ack,
)
from relay_client.errors import NotConnected
from relay_client.event import MAX_EVENT_BYTES
from relay_client.happenings import PublishAnswered
from relay_client.local_relay import LocalRelay
from relay_client.wire import Prefix
from tests.faults import ScriptedRelay, until

DIRECT = DialOptions()


@pytest.mark.parametrize(
    ("accepted", "prefix", "state"),
    [
        (True, Prefix.NONE, PublishState.ACCEPTED),
        (True, Prefix.DUPLICATE, PublishState.ACCEPTED),
        (False, Prefix.DUPLICATE, PublishState.ACCEPTED),  # seen in the wild: "false, duplicate: exists"
        (False, Prefix.POW, PublishState.REFUSED),
        (False, Prefix.NONE, PublishState.REFUSED),
        (False, Prefix.AUTH_REQUIRED, PublishState.REFUSED),
    ],
)
def test_a_relays_ok_is_judged(accepted, prefix, state):
    outcome = outcome_of(PublishAnswered("id", accepted, prefix, "words"))
    assert (outcome.state, outcome.prefix, outcome.text) == (state, prefix, "words")
    assert outcome.is_accepted == (state is PublishState.ACCEPTED)


def test_the_limits_leave_room_for_the_largest_event_and_for_one_too_large():
    assert MAX_EVENT_BYTES < MAX_FRAME_BYTES < CUT_FRAME_BYTES


async def test_a_relay_that_redirects_is_not_followed():
    """Else a public relay could send us to a service on our own machine."""
    async with LocalRelay() as inner:

        def redirect(connection, request):
            response = connection.respond(302, "over there")
            response.headers["Location"] = inner.url
            return response

        async def unused(ws):
            raise AssertionError

        async with serve(unused, "127.0.0.1", 0, process_request=redirect) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(NotConnected, match="302"):
                async with open_socket(url, DIRECT):
                    pass


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "ws://" + "a" * 70 + ".example", "ws://a..b"])
async def test_what_cannot_be_reached_is_not_connected_and_says_why(url):
    with pytest.raises(NotConnected, match="cannot be reached"):
        async with open_socket(url, DIRECT):
            pass


async def test_an_address_already_judged_is_not_handed_to_a_proxy():
    with pytest.raises(NotConnected, match="proxy"):
        async with open_socket("ws://relay.example", DialOptions(proxy="http://127.0.0.1:1"), ("127.0.0.1", 1)):
            pass


async def test_acknowledging_at_once_never_raises():
    async with LocalRelay() as relay, open_socket(relay.url, DIRECT) as ws:
        acknowledge_now = quick_ack(ws)
        acknowledge_now()
        ws.transport.abort()
        await ws.wait_closed()
        await asyncio.sleep(0)
        acknowledge_now()


async def test_a_goodbye_that_is_cut_short_leaves_no_socket_open():
    """Stopping while a relay is being dropped must not leave a connection that nobody owns."""

    async def deaf(client):
        client.ws.transport.pause_reading()

    opened = []

    async def talk(url):
        async with open_socket(url, DIRECT) as ws:
            opened.append(ws)

    async with ScriptedRelay(deaf) as relay:
        talking = asyncio.create_task(talk(relay.url))
        await until(lambda: opened)
        await asyncio.sleep(0)
        talking.cancel()
        await asyncio.wait([talking])
        assert opened[0].transport.is_closing()
        await opened[0].wait_closed()


async def test_where_the_system_knows_no_quick_acknowledgement_none_is_asked_for(monkeypatch):
    monkeypatch.delattr(socket, "TCP_QUICKACK", raising=False)
    async with LocalRelay() as relay, open_socket(relay.url, DIRECT) as ws:
        quick_ack(ws)()
