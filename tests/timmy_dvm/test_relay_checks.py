"""The relay half of the testkit: a Timmy as it is passes, one that is not there or not honest does not."""

import contextlib
import json
import os

import pytest
from websockets.asyncio.server import serve

from relay_client.keys import Keys
from tests.flows.live import until
from tests.flows.shop import TIMMY, serving
from timmy_dvm import relay_checks
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.purse import NotPaid, SimulatedPurse
from timmy_dvm.relay_checks import RelayChecks


class Refuses:
    """A purse that pays nothing."""

    async def pay(self, invoice: str) -> None:
        raise NotPaid("There is nothing in it.")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(relay_checks, "CONNECT_S", 1.0)
    monkeypatch.setattr(relay_checks, "QUIET_S", 0.2)


async def checked(relay, *, provider=TIMMY.public_key, purse=None, answer_s=20.0):
    """Each verdict by its number."""
    told = []
    await RelayChecks(
        relay, provider, purse, told.append, SystemClock(), SystemRandomness(), answer_s=answer_s
    ).run()
    assert len({verdict.number for verdict in told}) == len(told)
    return {verdict.number: verdict.outcome.value for verdict in told}


async def test_a_timmy_as_it_is_passes_all_of_it(tmp_path):
    async with serving(tmp_path) as shop:
        found = await checked(shop.ready.relays[0], purse=SimulatedPurse(shop.ready.http))
    assert found == {f"N{number}": "PASS" for number in range(1, 8)}


async def test_what_cannot_be_paid_is_skipped_and_what_is_not_paid_fails(tmp_path):
    async with serving(tmp_path) as shop:
        unpaid = await checked(shop.ready.relays[0])
        refused = await checked(shop.ready.relays[0], purse=Refuses())
    assert unpaid == dict.fromkeys(("N1", "N2", "N6", "N7"), "PASS") | dict.fromkeys(("N3", "N4", "N5"), "SKIP")
    assert refused == unpaid | {"N3": "FAIL"}


async def test_a_provider_that_is_silent_passes_nothing(tmp_path):
    async with serving(tmp_path) as shop:
        nobody = Keys.from_bytes(os.urandom(32)).public_key
        found = await checked(shop.ready.relays[0], provider=nobody, answer_s=0.5)
    assert found == {"N1": "FAIL", "N5": "SKIP", "N6": "SKIP", "N7": "FAIL"}


async def test_a_relay_that_is_not_there_is_one_failure(tmp_path):
    assert await checked("ws://127.0.0.1:1") == {"N1": "FAIL"}


async def test_a_forged_request_that_is_answered_is_seen():
    """An honest relay and an honest Timmy never answer one, so a relay of ours does."""

    async def credulous(line):
        async for frame in line:
            message = json.loads(frame)
            if message[0] == "EVENT":
                await line.send(json.dumps(["EVENT", "forged", {"content": "Of course!"}]))

    async with serve(credulous, "127.0.0.1", 0) as server, contextlib.AsyncExitStack() as stack:
        port = server.sockets[0].getsockname()[1]
        wire = {"id": "0" * 64, "sig": "0" * 128}
        forgery = await stack.enter_async_context(relay_checks._Forgery.sent(f"ws://127.0.0.1:{port}", wire))
        await until(lambda: forgery.was_answered)
