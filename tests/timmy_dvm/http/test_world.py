"""`WS /api/ws` and `GET /api/world` as a browser meets them: snapshot, chat, who may look on, and how many."""

import json

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.timmy_dvm.http.watching import ALLOWED, frames_until, says_too_much, served
from tests.timmy_dvm.world.shop import Script, short

HELLO = json.dumps({"type": "visitor_message", "visitorId": "x", "text": "hello"})


async def test_the_first_frame_is_the_snapshot_and_the_same_is_at_api_world():
    async with served() as house, house.look_on() as anne, httpx.AsyncClient() as http:
        (first,) = await frames_until(anne, "world_state")
        assert [agent["id"] for agent in first["agents"]] == ["alpha", "beta", "gamma", "delta", "timmy"]
        shown = (await http.get(f"{house.base}/api/world")).json()
        assert shown.pop("trust_tier") == "anonymous"
        assert shown.keys() == first.keys()


async def test_what_a_visitor_says_reaches_everybody_in_order():
    """TST-15."""
    async with served(Script("Good day.")) as house, house.look_on() as anne, house.look_on() as bob:
        await frames_until(bob, "world_state")
        await anne.send(HELLO)
        for watcher in (anne, bob):
            lines = short(await frames_until(watcher, "world_event"))
            order = ["visitor: hello", "gamma=working", "gamma=idle", "timmy: Good day.", "(visitor:reply)"]
            assert lines[-5:] == order


async def test_markup_arrives_as_the_text_it_is_and_a_novel_is_cut():
    """WLD-24."""
    async with served(Script()) as house, house.look_on() as anne:
        await anne.send(json.dumps({"type": "visitor_message", "text": "<img src=x onerror=alert(1)>"}))
        assert (await frames_until(anne, "chat"))[-1]["text"] == "<img src=x onerror=alert(1)>"
        await frames_until(anne, "world_event")
        await anne.send(json.dumps({"type": "visitor_message", "text": "y" * 3_000}))
        assert len((await frames_until(anne, "chat"))[-1]["text"]) == 250


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "", "//", f"{ALLOWED}.evil"]
)
async def test_foreign_pages_may_not_look_on(origin):
    async with served() as house:
        with pytest.raises(InvalidStatus) as refused:
            async with house.look_on(origin=origin):
                pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["code"] == "foreign_origin"


async def test_our_own_page_and_configured_ones_may():
    async with served() as house:
        for origin in (house.base, ALLOWED, None):
            async with house.look_on(origin=origin) as anne:
                await frames_until(anne, "world_state")


async def test_one_more_than_there_is_room_for_is_told_so():
    async with served(at_most=1) as house, house.look_on() as anne:
        await frames_until(anne, "world_state")
        with pytest.raises(InvalidStatus) as refused:
            async with house.look_on():
                pass
        assert refused.value.response.status_code == 503


@pytest.mark.parametrize(
    "junk",
    ["", "{", "[]", "null", '"visitor_message"', '{"type":5}', '{"type":"visitor_message","text":7}', "[" * 4_000,
     '{"type":"visitor_message"}', '{"type":"visitor_message","text":"  \\u0000 "}', b"\x00\xff",
     '{"type":"chat"}'],
)  # fmt: skip
async def test_what_is_no_message_is_passed_over(junk):
    async with served(Script()) as house, house.look_on() as anne:
        await frames_until(anne, "world_state")
        await anne.send(junk)
        await anne.send(HELLO)
        assert short(await frames_until(anne, "chat"))[-1] == "visitor: hello"


async def test_who_sends_too_much_is_hung_up_on():
    async with served(Script()) as house, house.look_on() as anne:
        with pytest.raises(ConnectionClosed) as closed:
            await says_too_much(anne)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1008
        await house.until(lambda: not len(house.shop.watchers))


async def test_who_leaves_is_counted_no_more():
    async with served() as house, house.look_on() as anne:
        await frames_until(anne, "world_state")
        async with house.look_on():
            await frames_until(anne, "counts", visitors=2)
        await frames_until(anne, "counts", visitors=1)
