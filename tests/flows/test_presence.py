"""The Workshop on relays (WLD-10): whoever follows Timmy there sees a job pass, and nothing of whose it is."""

import asyncio
import json

from tests.flows.live import PATIENCE_S
from tests.flows.shop import TIMMY, fresh_keys, heard, line_to, publish, serving, signed
from timmy_dvm.config import load
from timmy_dvm.nostr.presence import IDENTIFIER, KIND_AGENT_STATE, KIND_WORLD_STATE

QUESTION = "What is a data vending machine?"


async def next_event(ws):
    while True:
        message = json.loads(await ws.recv())
        if message[0] == "EVENT":
            return message[2]


async def test_wld_10_a_watcher_on_a_relay_gets_the_agents_states_during_a_job(tmp_path):
    keys = fresh_keys()
    request = signed(keys, 5050, [("i", QUESTION, "text")], to=TIMMY.public_key)
    async with serving(tmp_path) as shop, asyncio.timeout(PATIENCE_S):
        (url,) = shop.ready.relays
        async with line_to(url) as ws:
            wanted = {"authors": [TIMMY.public_key], "kinds": [KIND_AGENT_STATE, KIND_WORLD_STATE]}
            await ws.send(json.dumps(["REQ", "look", wanted]))
            picture = await next_event(ws)
            assert (picture["kind"], ["d", IDENTIFIER] in picture["tags"]) == (KIND_WORLD_STATE, True)
            assert len(json.loads(picture["content"])["agents"]) == 5
            await publish(url, request)
            price = await heard(url, request, "payment-required")
            await shop.pay(price.tag("amount")[2])
            seen, texts = set(), ""
            while ("gamma", "idle") not in seen:
                event = await next_event(ws)
                if event["kind"] == KIND_AGENT_STATE:
                    frame = json.loads(event["content"])
                    assert frame["type"] == "agent_state"
                    seen.add((frame["agentId"], frame["state"]))
                    texts += event["content"]
        assert {("alpha", "working"), ("gamma", "working")} <= seen
        assert not any(word in texts for word in (keys.public_key, request.id, QUESTION))


def test_relays_of_others_are_told_nothing_of_it_unless_the_operator_says_so(tmp_path):
    named = {"TIMMY_NOSTR__RELAYS": "ws://127.0.0.1:7"}
    assert load(None, {}, tmp_path).presence
    assert not load(None, named, tmp_path).presence
    assert load(None, {**named, "TIMMY_NOSTR__PRESENCE": "true"}, tmp_path).presence
    assert not load(None, {"TIMMY_NOSTR__PRESENCE": "false"}, tmp_path).presence
