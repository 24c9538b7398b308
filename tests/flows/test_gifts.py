"""Gifts to the pool as a wallet meets them on real sockets: LNURL-pay, a zap and its receipt, and who is named."""

import json
import os
import time

import httpx
import pytest

from lightning import bolt11, lnurl
from lightning.simulated import SimulatedWallet
from relay_client.event import Event
from relay_client.local_relay import LocalRelay
from tests.flows.live import until
from tests.flows.shop import TIMMY, books, fresh_keys, line_to, serving, signed

ME = TIMMY.public_key


@pytest.fixture
async def relay():
    async with LocalRelay(port=0) as made:
        yield made


async def receipts(url):
    """The zap receipts by Timmy that the relay has."""
    found = []
    async with line_to(url) as ws:
        await ws.send(json.dumps(["REQ", "zaps", {"authors": [ME], "kinds": [9735], "#p": [ME]}]))
        while (message := json.loads(await ws.recv()))[0] == "EVENT":
            found.append(Event.from_wire(json.dumps(message[2], ensure_ascii=False)))
    return found


async def terms_of(http, base, name="pool"):
    told = (await http.get(f"{base}/.well-known/lnurlp/{name}")).content
    return lnurl.read_terms(told), json.loads(told)


async def test_what_a_wallet_gives_is_in_the_pools_open_books(relay, tmp_path):
    async with serving(tmp_path, relay.url) as shop, httpx.AsyncClient(trust_env=False) as http:
        base = shop.ready.http
        terms, _ = await terms_of(http, base)
        assert terms.callback == f"{base}/api/lnurl/pay/pool"
        answer = await http.get(lnurl.ask_url(terms, 21_000))
        lnurl.read_invoice(answer.content, terms, 21_000, "bcrt")

        async def pool():
            return (await http.get(f"{base}/api/pool")).json()

        before = await pool()
        await shop.pay(answer.json()["pr"])

        async def is_there():
            return (await pool())["balanceSats"] == before["balanceSats"] + 21

        await until(is_there)
        told = await pool()
        assert (told["inSats"], told["donors"]) == (before["inSats"] + 21, [])
        assert await receipts(relay.url) == []
    assert await books(tmp_path) == []


async def test_a_zap_has_its_receipt_once_it_is_paid_and_its_giver_the_name_it_wished_for(relay, tmp_path):
    giver = fresh_keys()
    async with serving(tmp_path, relay.url) as shop, httpx.AsyncClient(trust_env=False) as http:
        base = shop.ready.http
        terms, told = await terms_of(http, base, "timmy")
        assert (told["allowsNostr"], told["nostrPubkey"]) == (True, ME)
        tags = [("relays", relay.url), ("amount", "42000")]
        asked = signed(giver, 9734, tags, "For the wizard #donor", to=ME).to_json()
        made = (await http.get(terms.callback, params={"amount": "42000", "nostr": asked})).json()
        assert await receipts(relay.url) == []
        await shop.pay(made["pr"])
        await until(lambda: receipts(relay.url))
        (receipt,) = await receipts(relay.url)
        assert receipt.tag_values("description") == [asked]
        assert receipt.tag_values("bolt11") == [made["pr"]]
        assert receipt.tag_values("P") == [giver.public_key]
        (donor,) = (await http.get(f"{base}/api/pool")).json()["donors"]
        assert (donor["npub"], donor["amountSats"]) == (giver.npub, 42)
    assert await books(tmp_path) == []


async def test_a_gift_that_is_paid_while_timmy_is_down_is_booked_at_the_next_start(relay, tmp_path):
    giver = fresh_keys()
    async with serving(tmp_path, relay.url) as shop, httpx.AsyncClient(trust_env=False) as http:
        asked = signed(giver, 9734, [("relays", relay.url)], to=ME).to_json()
        url = f"{shop.ready.http}/api/lnurl/pay/pool"
        made = (await http.get(url, params={"amount": "9000", "nostr": asked})).json()
    wallet = SimulatedWallet(
        seed=b"timmy", now=time.time, random_bytes=os.urandom, path=tmp_path / "simulated-wallet.jsonl"
    )
    wallet.settle(bolt11.decode(made["pr"]).payment_hash)
    await wallet.aclose()
    async with serving(tmp_path, relay.url):
        await until(lambda: receipts(relay.url))
    assert await books(tmp_path) == []
