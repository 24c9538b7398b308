"""What an operator may add for strangers and against them, as a customer meets it on real sockets."""

import contextlib
import json
import sqlite3

import httpx
import pytest

from relay_client import nip44
from relay_client.local_relay import LocalRelay
from tests.flows.live import until
from tests.flows.shop import TIMMY, books, fresh_keys, heard, publish, serving, signed
from timmy_dvm.nostr import work

TEXT = 5050
ME = TIMMY.public_key
ASK = (("i", "What is a relay?", "text"),)


@pytest.fixture
async def relay():
    async with LocalRelay(port=0) as made:
        yield made


async def test_whom_the_operator_follows_is_served_free_from_the_start(relay, tmp_path):
    owner, friend, stranger = fresh_keys(), fresh_keys(), fresh_keys()
    await publish(relay.url, signed(owner, 3, [("p", friend.public_key)]))
    more = {"TIMMY_TRUST__FOLLOWS_TIER": "established"}
    async with serving(tmp_path, relay.url, owner_pubkey=owner.npub, more=more):
        await until(lambda: is_kept(tmp_path, f"follows:{owner.public_key}"))
        free, paid = signed(friend, TEXT, ASK, to=ME), signed(stranger, TEXT, ASK, to=ME)
        await publish(relay.url, free, paid)
        await heard(relay.url, free, "result")
        await heard(relay.url, paid, "payment-required")
    told = {story.job.pubkey: (story.job.state, story.job.absorbed_sats > 0) for story in await books(tmp_path)}
    assert told == {friend.public_key: ("complete", True), stranger.public_key: ("awaiting_eval_payment", False)}


async def test_a_key_that_a_trusted_provider_ranks_is_served_free_once_it_is_looked_up(relay, tmp_path, caplog):
    """NIP-85: its first request is priced like any other's, and `why` says so from then on."""
    provider, ranked, stranger = fresh_keys(), fresh_keys(), fresh_keys()
    more = {
        "TIMMY_TRUST__RANK_PROVIDERS": f"{provider.npub} {relay.url}",
        "TIMMY_TRUST__RANK_ESTABLISHED": "60",
    }
    await publish(relay.url, signed(provider, 30_382, [("d", ranked.public_key), ("rank", "89")]))
    caplog.set_level("DEBUG", logger="timmy.ranks")
    async with serving(tmp_path, relay.url, more=more):
        first = signed(ranked, TEXT, [("i", "Who are you?", "text")], to=ME)
        await publish(relay.url, first)
        await heard(relay.url, first, "payment-required")
        await until(lambda: any(one.fields["found"] for one in caplog.records if one.name == "timmy.ranks"))
        assert "Others speak for this key: the pool's budget of the day is that of established keys." in (
            await reason(relay.url, ranked)
        )
        free, paid = signed(ranked, TEXT, ASK, to=ME), signed(stranger, TEXT, ASK, to=ME)
        await publish(relay.url, free, paid)
        await heard(relay.url, free, "result")
        await heard(relay.url, paid, "payment-required")
        assert "Others speak" not in await reason(relay.url, stranger)


async def reason(url, keys):
    """Why a key has what it has, by its own question."""
    asked = signed(keys, TEXT, [("param", "op", "me")], to=ME)
    await publish(url, asked)
    return json.loads((await heard(url, asked, "result")).content)["why"]


async def is_kept(folder, setting):
    with contextlib.closing(sqlite3.connect(folder / "timmy.db")) as ledger:
        return ledger.execute("SELECT 1 FROM settings WHERE key = ?", (setting,)).fetchone() is not None


def mined(keys, bits):
    """A request with that much work behind it."""
    tries = (signed(keys, TEXT, (*ASK, ("nonce", str(n), str(bits))), to=ME) for n in range(1_000_000))
    return next(event for event in tries if work.bits(event) >= bits)


async def test_a_stranger_is_told_how_many_bits_and_is_served_once_it_shows_them(relay, tmp_path):
    async with serving(tmp_path, relay.url, min_pow_bits_new="8"):
        stranger = fresh_keys()
        lazy = signed(stranger, TEXT, ASK, to=ME)
        await publish(relay.url, lazy)
        refused = await heard(relay.url, lazy, "error")
        assert refused.tag("code") == ("code", "pow")
        assert "8 bits here (NIP-13)" in refused.content
        diligent = mined(stranger, 8)
        await publish(relay.url, diligent)
        await heard(relay.url, diligent, "payment-required")
    assert [story.job.event_id for story in await books(tmp_path)] == [diligent.id]


def decrypted(answer, keys):
    assert answer.tag("encrypted") is not None
    assert "wallet" not in answer.content
    return nip44.decrypt(answer.content, nip44.conversation_key(keys, ME))


async def test_the_operator_is_told_in_private_how_things_stand_and_nobody_else(relay, tmp_path):
    """DIA-04."""
    owner, stranger = fresh_keys(), fresh_keys()
    async with serving(tmp_path, relay.url, owner_pubkey=owner.npub) as shop:
        asked = signed(owner, TEXT, [("param", "op", "node-status")], to=ME)
        other = signed(stranger, TEXT, [("param", "op", "node-status")], to=ME)
        await publish(relay.url, asked, other)
        told = json.loads(decrypted(await heard(relay.url, asked, "result"), owner))
        async with httpx.AsyncClient(trust_env=False) as http:
            shown = (await http.get(f"{shop.ready.http}/api/admin/node-status")).json()
        assert told.keys() - {"op"} == shown.keys() - {"trust_tier"}
        assert (told["op"], told["wallet"], told["issues"]) == ("node-status", shown["wallet"], shown["issues"])
        refused = await heard(relay.url, other, "error")
        assert refused.tag("code") == ("code", "owner_only")
    assert await books(tmp_path) == []


async def test_without_an_operator_nobody_is_told(relay, tmp_path):
    stranger = fresh_keys()
    async with serving(tmp_path, relay.url):
        asked = signed(stranger, TEXT, [("param", "op", "node-status")], to=ME)
        await publish(relay.url, asked)
        assert (await heard(relay.url, asked, "error")).tag("code") == ("code", "owner_only")
