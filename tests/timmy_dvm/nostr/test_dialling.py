"""Relays that strangers name, through the whole way out (publisher, pool, guard): only the public is dialled."""

import asyncio
import contextlib
import json
import re
from pathlib import Path

import pytest
from websockets.asyncio.server import serve

from relay_client import strangers
from relay_client.errors import DialRefused, NotConnected
from relay_client.pool import RelayPool
from tests.timmy_dvm.nostr.kit import ALICE, TIMMY, signed
from timmy_dvm.clock import SystemClock
from timmy_dvm.nostr.dialling import dialler_of, is_fit
from timmy_dvm.nostr.publishing import NOT_DIALLED, NostrPublisher
from timmy_dvm.nostr.targets import ToCustomer, write_targets

SSRF = json.loads((Path(__file__).parents[2] / "vectors" / "ssrf.json").read_text())
REBINDING = {case["name"]: case for case in SSRF["rebinding"]}
RESULT = signed(kind=6050, keys=TIMMY, content="The answer.")
PUBLIC = "93.184.216.34"
TIMEOUT_S = 10


class Names:
    """A resolver that gives each answer once, and this machine's address ever after."""

    def __init__(self, *answers):
        self.answers = [list(answers)] if answers else []
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        return self.answers.pop() if self.answers else ["127.0.0.1"]


@pytest.fixture
def dialled(monkeypatch):
    """The addresses that sockets were to be opened to; none of them is."""
    addresses = []

    @contextlib.asynccontextmanager
    async def open_socket(_url, _options, address):
        addresses.append(address)
        raise NotConnected("not in a test")
        yield

    monkeypatch.setattr(strangers, "open_socket", open_socket)
    return addresses


async def outcome_at(url, resolver):
    """What becomes of a result whose request names this relay; None where it is no relay's address at all."""
    pool = RelayPool([], keys=TIMMY, dialler=dialler_of(resolver))
    async with pool, asyncio.timeout(TIMEOUT_S):
        publisher = NostrPublisher(pool, SystemClock(), dials=True)
        task = publisher.publish_further(
            RESULT.to_json(), write_targets(ToCustomer(key=ALICE.public_key, named=(url,)))
        )
        return None if task is None else next(iter((await task).values()), None)


def as_relay(url):
    return re.sub(r"^[a-z]+:", "wss:", url)


@pytest.mark.parametrize("row", SSRF["urls"], ids=lambda row: row["url"])
@pytest.mark.parametrize("spelt", [str, as_relay], ids=["as it is", "as a relay"])
async def test_no_address_of_the_vectors_is_dialled_nor_looked_up(row, spelt, dialled):
    names = Names(PUBLIC)
    assert row["expect"] == "reject"
    assert await outcome_at(spelt(row["url"]), names) in (None, NOT_DIALLED)
    assert (dialled, names.asked) == ([], [])
    with pytest.raises(DialRefused):
        await dialler_of(names)(spelt(row["url"]))


@pytest.mark.parametrize(
    "url", ["ws://relay.example", "wss://relay.example:8443", "wss://me@relay.example", "https://relay.example"]
)
async def test_the_dialler_judges_the_text_before_anything_is_looked_up(url):
    names = Names(PUBLIC)
    with pytest.raises(DialRefused):
        await dialler_of(names)(url)
    assert names.asked == []


@pytest.mark.parametrize(("address", "row"), SSRF["addresses"].items(), ids=str)
async def test_a_host_that_leads_to_a_forbidden_address_is_not_dialled(address, row, dialled):
    names = Names(address)
    assert await outcome_at("wss://relay.customer.example", names) == "not_connected"
    assert names.asked == [("relay.customer.example", 443)]
    assert dialled == ([(address, 443)] if row["expect"] == "accept" else [])


@pytest.mark.parametrize(("address", "row"), SSRF["addresses"].items(), ids=str)
async def test_an_address_instead_of_a_host_is_judged_alike(address, row, dialled):
    url = f"wss://[{address}]" if ":" in address else f"wss://{address}"
    is_accepted = row["expect"] == "accept"
    assert await outcome_at(url, Names()) == ("not_connected" if is_accepted else NOT_DIALLED)
    assert dialled == ([(address, 443)] if is_accepted else [])


async def test_a_name_is_looked_up_once_and_one_private_answer_spoils_all(dialled):
    names = Names(*REBINDING["two_answers"]["answers"])
    await outcome_at("wss://relay.customer.example", names)
    assert dialled == []
    assert len(names.asked) == 1


async def test_what_is_connected_to_is_what_was_judged(dialled):
    names = Names(PUBLIC)  # and 127.0.0.1 to whoever asks again
    await outcome_at("wss://relay.customer.example", names)
    assert dialled == [(PUBLIC, 443)]
    assert len(names.asked) == 1


async def test_a_host_that_is_not_found_is_not_connected(dialled):
    async def nobody(_host, _port):
        raise OSError("no such host")

    assert await outcome_at("wss://relay.customer.example", nobody) == "not_connected"
    assert dialled == []


async def test_a_chain_of_redirects_begins_with_an_address_that_may_be_dialled_and_is_not_followed():
    """`relay_client.dial` follows none; each step alone would be judged like any other."""
    first, second = (as_relay(url) for url in REBINDING["redirect_to_private"]["chain"])
    assert is_fit(first)
    assert not is_fit(second)


@contextlib.asynccontextmanager
async def a_strangers_relay(monkeypatch, *answers):
    """A relay behind a public name, which says these frames to all that is new; what it is told is yielded."""
    told = []

    async def talk(ws):
        for answer in answers:
            await ws.send(json.dumps(answer))
        async for frame in ws:
            told.append(json.loads(frame))
            await ws.send(json.dumps(["OK", RESULT.id, False, "auth-required: who are you?"]))

    async with serve(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        real = strangers.open_socket
        monkeypatch.setattr(
            strangers,
            "open_socket",
            lambda _url, options, address: real(f"ws://127.0.0.1:{port}", options, ("127.0.0.1", port)),
        )
        yield told


async def test_a_strangers_relay_gets_the_event_and_never_hears_who_we_are(monkeypatch):
    challenges = [["AUTH", "challenge"], ["NOTICE", "say who you are"], ["AUTH", "another"]]
    async with a_strangers_relay(monkeypatch, *challenges) as told:
        assert await outcome_at("wss://relay.customer.example", Names(PUBLIC)) == "auth-required"
        assert told == [["EVENT", json.loads(RESULT.to_json())]]
