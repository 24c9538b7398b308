"""Giving to the pool over HTTP: LNURL-pay as the LUDs spell it, zaps as NIP-57 does, names as NIP-05 does."""

import contextlib
import hashlib
import json

import pytest

from ledger import accounts
from ledger.records import JobState
from lightning import bolt11, lnurl
from relay_client.keys import Keys
from tests.timmy_dvm.http.door import ALICE, URL, a_door
from timmy_dvm.core.actions import Donated
from timmy_dvm.core.policy import Policy
from timmy_dvm.http import giving, session_work
from timmy_dvm.http.giving import GIFTS_PER_ADDRESS, MAX_COMMENT_CHARS, Giving
from timmy_dvm.http.open_places import OpenPlaces

TIMMY = Keys.from_bytes(b"\x07" * 32)
POOL_START = 10_000_000


@contextlib.asynccontextmanager
async def a_bowl(name="timmy", **parts):
    def more(services):
        places = OpenPlaces(GIFTS_PER_ADDRESS, "gifts")
        services.engine.listen(places.applied)
        services.engine.listen(giving.tell)
        mine = Giving(name=name, public_key=TIMMY.public_key, relays=("wss://relay.example",), places=places)
        return [giving.routes(services, mine)]

    async with a_door(more=more, **parts) as door:
        yield door


async def terms_of(door, name="pool"):
    answer = await door.http.get(f"/.well-known/lnurlp/{name}")
    return lnurl.read_terms(answer.content)


async def asks(door, name="pool", amount=21_000, **more):
    answer = await door.http.get(f"/api/lnurl/pay/{name}", params={"amount": amount, **more})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    return answer


async def refusal(door, **wanted):
    body = (await asks(door, **wanted)).json()
    assert body.keys() == {"status", "reason"}
    assert body["status"] == "ERROR"
    return body["reason"]


def zap(amount=21_000, content="", keys=ALICE, event=None):
    tags = [("p", TIMMY.public_key), ("amount", str(amount)), ("relays", "wss://one.example")]
    tags += [("e", event)] if event else []
    return keys.sign(kind=9734, created_at=1_700_000_000, tags=tags, content=content, aux=b"\1" * 32).to_json()


async def facts(door):
    """How much is written down for ever."""
    count = "SELECT count(*) FROM facts"
    return await door.house.store.look(lambda view: view._connection.execute(count).fetchone()[0])


@pytest.mark.parametrize("name", ["pool", "timmy"])
async def test_a_wallet_reads_the_terms_asks_an_invoice_that_commits_to_them_and_the_pool_has_it_all(name):
    async with a_bowl() as door:
        terms = await terms_of(door, name)
        assert lnurl.address_url(f"{name}@timmy.example") == f"{URL}/.well-known/lnurlp/{name}"
        assert (terms.least, terms.most) == (1_000, 1_000_000_000)
        assert json.loads(terms.metadata)[1] == ["text/identifier", f"{name}@timmy.example"]
        answer = await door.http.get(lnurl.ask_url(terms, 21_000))
        invoice = lnurl.read_invoice(answer.content, terms, 21_000, "bcrt")
        door.house.customer.pays(answer.json()["pr"])
        await door.house.until(lambda: door.house.recorder.last(Donated))
        assert await door.house.balance(accounts.POOL) == POOL_START + 21_000
        assert (await door.house.store.invoice(invoice.payment_hash)).received == 21_000
        await door.house.books_are_right()
        assert (await door.http.get("/api/pool")).json()["donors"] == []


async def test_the_terms_say_that_comments_and_zaps_are_taken():
    async with a_bowl() as door:
        answer = await door.http.get("/.well-known/lnurlp/pool")
        told = answer.json()
        assert (told["tag"], told["commentAllowed"]) == ("payRequest", MAX_COMMENT_CHARS)
        assert (told["allowsNostr"], told["nostrPubkey"]) == (True, TIMMY.public_key)
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("name", ["nobody", "POOL", "Timmy", "_", "%2e%2e", "pool%00"])
async def test_a_name_that_is_not_ours_is_told_so(name):
    async with a_bowl() as door:
        for path in (f"/.well-known/lnurlp/{name}", f"/api/lnurl/pay/{name}?amount=1000"):
            answer = await door.http.get(path)
            assert (answer.status_code, answer.json()["status"]) == (200, "ERROR")


@pytest.mark.parametrize(
    "amount", ["", "0", "999", "1001", "1000.0", "-1000", "1e6", "1000001000", "9" * 400, "٣"]
)
async def test_a_sum_that_is_not_taken_is_refused_as_the_luds_spell_it(amount):
    async with a_bowl() as door:
        assert (await refusal(door, amount=amount)).endswith(".")
        assert not await door.house.store.open_invoices()


async def test_a_comment_goes_along_as_far_as_it_is_allowed(caplog):
    caplog.set_level("INFO", logger="timmy.giving")
    async with a_bowl() as door:
        assert "longer" in await refusal(door, comment="x" * (MAX_COMMENT_CHARS + 1))
        made = (await asks(door, comment="Bravo" + "\n" + "x" * (MAX_COMMENT_CHARS - 6))).json()
        door.house.customer.pays(made["pr"])
        await door.house.until(lambda: door.house.recorder.last(Donated))
    (told,) = [one for one in caplog.records if one.name == "timmy.giving"]
    assert told.fields["words"].startswith("Bravo")
    assert (told.fields["sats"], told.fields["named"]) == (21, False)


async def test_a_zap_is_committed_to_as_it_was_sent_and_names_who_asked_for_that():
    async with a_bowl() as door:
        text = zap(content="Keep going #donor")
        made = (await asks(door, nostr=text)).json()["pr"]
        assert bolt11.decode(made).description_hash == hashlib.sha256(text.encode()).hexdigest()
        door.house.customer.pays(made)
        await door.house.until(lambda: door.house.recorder.last(Donated))
        (donor,) = (await door.http.get("/api/pool")).json()["donors"]
        assert (donor["npub"], donor["amountSats"]) == (ALICE.npub, 21)


FALSE = zap().replace(ALICE.public_key, TIMMY.public_key)


@pytest.mark.parametrize(
    "nostr", ["{}", "x", zap(21_001), FALSE], ids=["empty", "no JSON", "another sum", "false"]
)
async def test_a_zap_that_breaks_a_rule_gets_no_invoice(nostr):
    async with a_bowl() as door:
        assert await refusal(door, nostr=nostr)
        assert not await door.house.store.open_invoices()


async def test_who_zaps_a_request_for_money_is_told_to_pay_that():
    async with a_bowl() as door:
        job_id = await door.house.ask()
        await door.house.priced()
        story = await door.house.store.story(job_id)
        assert story.job.state is JobState.AWAITING_EVAL_PAYMENT
        event_id = story.events[0][0].id
        assert "invoice" in await refusal(door, nostr=zap(event=event_id))
        assert (await asks(door, nostr=zap(event="ab" * 32))).json()["pr"]


async def test_gifts_that_wait_are_few_for_an_address_and_a_paid_one_makes_room():
    async with a_bowl() as door:
        made = [(await asks(door)).json()["pr"] for _ in range(GIFTS_PER_ADDRESS)]
        assert len(set(made)) == GIFTS_PER_ADDRESS
        assert f"{GIFTS_PER_ADDRESS} unpaid gifts wait" in await refusal(door)
        door.house.customer.pays(made[0])
        await door.house.until(lambda: door.house.recorder.last(Donated))
        assert (await asks(door)).json()["pr"]


async def test_a_crowd_of_givers_takes_no_customers_place_and_no_customer_a_givers():
    policy = Policy(open_donations=2, open_invoices=2)
    async with a_bowl(policy=policy, per_address=9) as door:
        for _ in range(2):
            assert (await asks(door)).json()["pr"]
        before = await facts(door)
        assert "try again" in await refusal(door)
        assert await facts(door) == before
        await door.ask()
        busy = await door.http.post("/api/jobs", json={"request": "And why?"})
        assert busy.json()["code"] == "busy"


async def test_while_our_wallet_is_away_a_giver_is_told_so(monkeypatch):
    monkeypatch.setattr(session_work, "INVOICE_S", 0.01)
    async with a_bowl() as door:
        door.house.wallet.down = True
        assert "wallet" in await refusal(door)


async def test_whose_key_a_name_is():
    async with a_bowl() as door:
        for query, names in (
            ("?name=timmy", {"timmy"}),
            ("?name=_", {"_"}),
            ("", {"_", "timmy"}),
            ("?name=pool", set()),
        ):
            answer = await door.http.get(f"/.well-known/nostr.json{query}")
            assert answer.json()["names"] == dict.fromkeys(names, TIMMY.public_key)
            assert answer.headers["access-control-allow-origin"] == "*"
    async with a_bowl(name=None) as door:
        answer = await door.http.get("/.well-known/nostr.json?name=timmy")
        assert answer.json() == {"names": {}, "relays": {}}
