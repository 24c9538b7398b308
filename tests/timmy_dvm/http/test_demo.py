"""`GET /api/demo`: one free answer, its limits told with it, and no way around them (DEM-01 to 06, DEM-08)."""

import pytest

from tests.timmy_dvm.http.door import a_door
from tests.timmy_dvm.world.shop import Shop
from timmy_dvm.agent.offline import FAIL, REFUSE
from timmy_dvm.http import demo

HOUR_S = 3_600
LIMITS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def a_demo(*, per_hour=5, limit_sats=100, **more):
    """The door with this route."""

    def routers(services):
        house = more["house"] = services
        shop = Shop(_House(house), limit_sats=limit_sats)
        return (demo.routes(services, shop.free, demo.PerHour(per_hour, services.clock)),)

    parts = {name: more[name] for name in ("proxies", "peer") if name in more}
    return a_door(more=routers, **parts)


class _House:
    """As much of a house as a shop needs, out of the services."""

    def __init__(self, services):
        from timmy_dvm.agent.offline import OfflineAgent

        self.clock, self.store, self.engine = services.clock, services.store, services.engine
        self.agent = OfflineAgent(eval_model="haiku")


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


async def test_no_more_addresses_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(demo, "ADDRESSES", 3)
    async with a_demo() as door:
        allowance = demo.PerHour(1, door.house.clock)
        for number in range(10):
            assert allowance.take(f"192.0.2.{number}").granted
        assert len(allowance._taken) == 3
        assert not allowance.take("192.0.2.9").granted
        assert demo.PerHour(0, door.house.clock).take("192.0.2.1").granted is False


async def test_dem_04_the_headers_are_in_the_description():
    """API-02."""
    async with a_demo() as door:
        described = (await door.http.get("/openapi.json")).text
        assert described.count("X-RateLimit-") == 6
