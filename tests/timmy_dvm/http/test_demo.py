"""`GET /api/demo`: one free answer, its limits told with it, and no way around them (DEM-01 to 06, DEM-08)."""

import asyncio

import pytest

from tests.timmy_dvm.http.door import a_door, events_of
from tests.timmy_dvm.world.shop import Shop
from timmy_dvm.agent.offline import FAIL, REFUSE
from timmy_dvm.http import demo
from timmy_dvm.http.hourly import PerHour

HOUR_S = 3_600
LIMITS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def a_demo(*, per_hour=5, limit_sats=100, delay_s=0, **more):
    """The door with this route."""

    def routers(services):
        house = more["house"] = services
        shop = Shop(_House(house, delay_s), limit_sats=limit_sats)
        return (demo.routes(services, shop.free, PerHour(per_hour, services.clock)),)

    parts = {name: more[name] for name in ("proxies", "peer") if name in more}
    return a_door(more=routers, **parts)


class _House:
    """As much of a house as a shop needs, out of the services."""

    def __init__(self, services, delay_s=0):
        from timmy_dvm.agent.offline import OfflineAgent

        self.clock, self.store, self.engine = services.clock, services.store, services.engine
        self.agent = OfflineAgent(delay_s, sleep=services.clock.sleep, eval_model="haiku")


async def ask(door, text="What is a relay?", **headers):
    return await door.http.get("/api/demo", params={"request": text}, headers=headers)


async def test_dem_01_03_an_answer_and_its_limits():
    async with a_demo() as door:
        answer = await ask(door)
        assert answer.status_code == 200
        assert "relay" in answer.json()["result"]
        assert answer.json()["trust_tier"] == "anonymous"
        now = int(door.house.clock.now())
        assert [int(answer.headers[name]) for name in LIMITS] == [5, 4, now + HOUR_S]


@pytest.mark.parametrize(
    ("params", "code"), [({}, "empty"), ({"request": " "}, "empty"), ({"request": "x" * 501}, "too_long")]
)
async def test_dem_02_what_is_no_request_uses_up_nothing(params, code):
    async with a_demo() as door:
        answer = await door.http.get("/api/demo", params=params)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert (await ask(door, "x" * 500)).headers["x-ratelimit-remaining"] == "4"


async def test_dem_05_over_the_limit_is_429_until_the_hour_is_over():
    async with a_demo(per_hour=2) as door:
        assert [(await ask(door)).status_code for _ in range(2)] == [200, 200]
        refused = await ask(door)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert refused.json()["retryAfterSeconds"] == int(refused.headers["retry-after"]) == HOUR_S
        assert all(name in refused.headers for name in LIMITS)
        await door.house.clock.advance(HOUR_S)
        assert (await ask(door)).status_code == 200


async def test_dem_06_limiter_spoof():
    """Nothing that a client says about itself lifts the limit."""
    async with a_demo(per_hour=2) as door:
        answers = [
            await ask(door, **{"X-Forwarded-For": f"192.0.2.{n}", "X-Visitor-Id": str(n)}) for n in range(4)
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]


async def test_behind_a_trusted_proxy_each_address_has_its_own():
    async with a_demo(per_hour=1, proxies=("203.0.113.9/32",)) as door:
        seen = [(await ask(door, **{"X-Forwarded-For": f"192.0.2.{n % 2}"})).status_code for n in range(4)]
        assert seen == [200, 200, 429, 429]


async def test_when_the_days_sats_are_gone_that_is_429_and_uses_up_nothing():
    async with a_demo(limit_sats=0) as door:
        answer = await ask(door)
        assert (answer.status_code, answer.json()["code"]) == (429, "free_answers_gone")
        assert answer.json()["retryAfterSeconds"] > 0
        assert all(name in answer.headers for name in LIMITS)


@pytest.mark.parametrize(("text", "status", "code"), [(FAIL, 503, "work_failed"), (REFUSE, 400, "rejected")])
async def test_a_model_that_gives_none_is_told_plainly(text, status, code):
    async with a_demo() as door:
        answer = await ask(door, text)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert all(name in answer.headers for name in LIMITS)


async def test_dem_04_the_headers_are_in_the_description():
    """API-02."""
    async with a_demo() as door:
        described = (await door.http.get("/openapi.json")).text
        assert described.count("X-RateLimit-") == 6


async def test_a_credential_that_is_none_is_told_so_and_a_good_one_shows_its_tier():
    async with a_demo() as door:
        for path in ("/api/demo?request=x", "/api/pool", f"/api/jobs/{'0' * 32}"):
            answer = await door.http.get(path, headers={"X-Nostr-Token": "junk"})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        answer = await ask(door, **{"X-Nostr-Token": door.token()})
        assert (answer.json()["trust_tier"], answer.headers["x-ratelimit-remaining"]) == ("new", "4")
        pool = await door.http.get("/api/pool", headers={"X-Nostr-Token": door.token()})
        assert pool.json()["trust_tier"] == "new"


EVENTS = {"Accept": "text/event-stream, application/json;q=0.9"}


async def test_whoever_accepts_events_sees_it_while_it_is_written():
    async with a_demo(delay_s=1) as door:
        asked = asyncio.create_task(ask(door, **EVENTS))
        while not asked.done():
            await door.house.clock.advance(0.2)
        answer = await asked
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert all(name in answer.headers for name in LIMITS)
        names, told = zip(*events_of(answer.text), strict=True)
        assert (names[0], names[-1], set(names[1:-1])) == ("partial", "result", {"partial"})
        assert all(told[-1]["result"].startswith(each["text"]) for each in told[:-1])
        assert told[-1]["trust_tier"] == "anonymous"


async def test_what_is_there_at_once_is_one_event_and_what_is_refused_none():
    async with a_demo(per_hour=2) as door:
        answer = await ask(door, **EVENTS)
        ((name, told),) = events_of(answer.text)
        assert (name, "relay" in told["result"]) == ("result", True)
        assert (await ask(door, FAIL, **EVENTS)).status_code == 503
        assert (await ask(door, **EVENTS)).json()["code"] == "rate_limited"


async def test_where_too_many_streams_are_open_the_answer_comes_in_one_piece():
    async with a_demo() as door:
        door.services.streams.open = door.services.streams.most
        answer = await ask(door, **EVENTS)
        assert (answer.status_code, "relay" in answer.json()["result"]) == (200, True)
