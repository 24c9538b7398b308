"""Wallets that were not written here give to the pool: they find it by its address, and like the invoice.

The port is a real one, on loopback; each library is told that the address's domain is there.
"""

import asyncio
import contextlib
import hashlib
import json
from asyncio.subprocess import PIPE

import pytest

from ledger import accounts
from lightning import bolt11, lnurl
from relay_client.event import Event
from relay_client.keys import Keys
from tests.flows.house import a_house
from tests.peer_relays import PEERS, require_peers
from tests.timmy_dvm.http.door import services_of
from timmy_dvm.core.actions import Donated
from timmy_dvm.http import giving
from timmy_dvm.http.app import create_app
from timmy_dvm.http.giving import Giving
from timmy_dvm.http.open_places import OpenPlaces
from timmy_dvm.http.server import Gate, bind, make_server
from timmy_dvm.nostr.zaps import read_zap, receipt

pytestmark = pytest.mark.peer

TIMMY, GIVER = Keys.from_bytes(b"\x07" * 32), Keys.from_bytes(b"\x0b" * 32)
PATIENCE_S = 60
POOL_START = 10_000_000


@contextlib.asynccontextmanager
async def a_port(house):
    mine = Giving(name="timmy", public_key=TIMMY.public_key, relays=(), places=OpenPlaces(5))
    app = create_app([giving.routes(services_of(house), mine)], house.random.new_id)
    listening = bind("127.0.0.1", 0)
    server = make_server(app, Gate(read_s=10, connections=100, per_address=100), header_bytes=8_192)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        await house.until(lambda: server.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def asks(base, **wish):
    """What the library got."""
    require_peers()
    told = {
        "base": base,
        "relays": ["wss://relay.example"],
        "secret": "0b" * 32,
        "sats": 21,
        "comment": "Hi",
    } | wish
    process = await asyncio.create_subprocess_exec(
        "node", str(PEERS / "giver.mjs"), json.dumps(told), stdout=PIPE, stderr=PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def pays(house, invoice):
    house.customer.pays(invoice)
    await house.until(lambda: house.recorder.last(Donated))
    assert await house.balance(accounts.POOL) == POOL_START + 21_000
    await house.books_are_right()


async def test_a_wallet_on_alby_tools_pays_the_pool_by_its_address():
    async with a_house() as house, a_port(house) as base:
        got = await asks(base, library="alby", how="pay", address="pool@timmy.example")
        assert bolt11.decode(got["invoice"]).amount_msat == 21_000
        metadata = lnurl.metadata_of("A gift to Timmy's generosity pool", "pool@timmy.example")
        assert bolt11.decode(got["invoice"]).description_hash == hashlib.sha256(metadata.encode()).hexdigest()
        await pays(house, got["invoice"])


@pytest.mark.parametrize("library", ["alby", "nostr-tools"])
async def test_a_client_zaps_and_the_receipt_is_the_one_it_would_make(library):
    async with a_house() as house, a_port(house) as base:
        got = await asks(base, library=library, how="zap", address="timmy@timmy.example")
        assert got["pubkey"] == TIMMY.public_key
        assert (
            bolt11.decode(got["invoice"]).description_hash == hashlib.sha256(got["request"].encode()).hexdigest()
        )
        zap = read_zap(got["request"], amount=21_000, public_key=TIMMY.public_key)
        assert zap.request.pubkey == GIVER.public_key
        await pays(house, got["invoice"])
        ours = Event.from_wire(receipt(zap, got["invoice"], keys=TIMMY, aux=bytes(32), at=1_700_000_000).json)
        if theirs := got.get("receipt"):
            assert [list(tag) for tag in ours.tags] == theirs["tags"]
            assert (ours.kind, ours.created_at, ours.content) == (theirs["kind"], theirs["created_at"], "")
