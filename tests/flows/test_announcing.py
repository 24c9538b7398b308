"""Timmy is found on a real relay by those who look for a provider, is seen alive, and withdraws when told to.

The production bot and the real `timmy retire`, over an embedded relay that outlives them.
"""

import json
import time

import pytest

from relay_client.event import Event
from relay_client.local_relay import LocalRelay
from tests.flows.live import timmy, until
from tests.flows.shop import TIMMY, fresh_keys, heard, line_to, publish, serving, signed

ME = TIMMY.public_key
HANDLERS = {"kinds": [31_990], "#k": ["5050"]}


@pytest.fixture
async def relay():
    async with LocalRelay() as made:
        yield made


async def found(url, **query):
    """What a relay has stored."""
    events = []
    async with line_to(url) as ws:
        await ws.send(json.dumps(["REQ", "look", query]))
        while (message := json.loads(await ws.recv()))[0] == "EVENT":
            events.append(Event.from_wire(json.dumps(message[2])))
    return events


async def the_one(url, **query):
    """The only such event, once it is there."""
    events = []

    async def there():
        events[:] = await found(url, **query)
        return events

    await until(there)
    assert len(events) == 1, events
    return events[0]


async def retire(folder, url, *more):
    environ = {"TIMMY_NOSTR__SECRET_KEY": TIMMY.to_nsec()} | ({"TIMMY_NOSTR__RELAYS": url} if url else {})
    return await timmy(folder, "retire", "--data-dir", str(folder), *more, **environ)


async def test_a_client_that_looks_for_a_provider_of_texts_finds_timmy_alive(relay, tmp_path):
    """API-05."""
    async with serving(tmp_path, relay.url):
        handler = await the_one(relay.url, **HANDLERS)
        assert handler.pubkey == ME
        assert handler.tag("d") == ("d", "timmy-5050")
        assert json.loads(handler.content)["name"] == "Timmy"
        beat = await the_one(relay.url, kinds=[11_998], authors=[ME])
        assert beat.tag("d") == handler.tag("d")
        assert 0 < int(beat.tag_values("expiration")[0]) - time.time() <= 300


async def test_each_served_kind_has_its_own_announcement_and_the_profile_says_bot(relay, tmp_path):
    async with serving(tmp_path, relay.url):

        async def all_there():
            handlers = await found(relay.url, kinds=[31_990], authors=[ME])
            return {event.tag_values("k")[0] for event in handlers} == {"5050", "5001", "5002"}

        await until(all_there)
        profile = await the_one(relay.url, kinds=[0], authors=[ME])
        assert json.loads(profile.content)["bot"] is True


async def test_the_relay_list_names_the_relays_that_are_really_read(relay, tmp_path):
    async with LocalRelay() as other, serving(tmp_path, relay.url, other.url) as shop:
        for url in (relay.url, other.url):
            listed = await the_one(url, kinds=[10_002], authors=[ME])
            assert set(listed.tag_values("r")) == {relay.url, other.url} == set(await shop.relays())


async def test_a_timmy_without_relays_is_announced_on_its_own(tmp_path):
    async with serving(tmp_path) as shop:
        (url,) = shop.ready.relays
        assert (await the_one(url, kinds=[10_002])).tag_values("r") == [url]


async def test_a_ping_is_answered(relay, tmp_path):
    keys = fresh_keys()
    ping = signed(keys, 7007, [], to=ME)
    async with serving(tmp_path, relay.url):
        await publish(relay.url, ping)
        pong = await the_one(relay.url, kinds=[7000], **{"#e": [ping.id]})
        assert pong.pubkey == ME
        assert (pong.tag_values("status"), pong.tag_values("p")) == (["pong"], [keys.public_key])
        assert pong.tag("trust_tier") == ("trust_tier", "new")


async def test_who_does_not_want_to_be_found_says_nothing(relay, tmp_path):
    keys = fresh_keys()
    request = signed(keys, 5050, [("i", "", "text")], to=ME)
    async with serving(tmp_path, relay.url, announce="false"):
        await publish(relay.url, signed(keys, 7007, [], to=ME), request)
        await heard(relay.url, request, "error")
    assert [event.kind for event in await found(relay.url, authors=[ME])] == [7000]


async def test_retire_withdraws_every_announcement_and_the_next_start_makes_them_again(relay, tmp_path):
    async with serving(tmp_path, relay.url):
        before = await the_one(relay.url, **HANDLERS)
    done = await retire(tmp_path, relay.url)
    assert (done.returncode, done.stdout) == (0, f"{relay.url}  withdrawn\n"), done.stderr
    assert await found(relay.url, kinds=[31_990]) == []
    assert len(await found(relay.url, kinds=[0], authors=[ME])) == 1
    async with serving(tmp_path, relay.url):
        assert (await the_one(relay.url, **HANDLERS)).created_at > before.created_at


async def test_retire_waits_for_the_bot_to_be_stopped(relay, tmp_path):
    async with serving(tmp_path, relay.url):
        await the_one(relay.url, **HANDLERS)
        done = await retire(tmp_path, relay.url)
        assert done.returncode == 1
        assert "stop it" in done.stderr
        assert "Traceback" not in done.stderr
        assert await found(relay.url, **HANDLERS)


async def test_retire_says_which_relay_did_not_take_it(relay, tmp_path):
    async with serving(tmp_path, relay.url):
        await the_one(relay.url, **HANDLERS)
    await relay.stop()
    done = await retire(tmp_path, relay.url)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{relay.url}  NOT WITHDRAWN: ")


async def test_retire_without_relays_or_without_a_ledger_says_what_is_missing(relay, tmp_path):
    done = await retire(tmp_path, None)
    assert (done.returncode, "nostr.relays" in done.stderr) == (1, True)
    done = await retire(tmp_path, relay.url)
    assert (done.returncode, "There is no ledger at" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


async def test_retire_makes_no_key(relay, tmp_path):
    done = await timmy(tmp_path, "retire", "--data-dir", str(tmp_path), TIMMY_NOSTR__RELAYS=relay.url)
    assert (done.returncode, "There is no key at" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
