"""Pages of other origins (IDN-18, COR-03 to 05, threat 44)."""

import contextlib

import httpx
import pytest

from tests.timmy_dvm.http.door import URL, a_door
from timmy_dvm.http.cors import Cors
from timmy_dvm.http.limits import Limits

LISTED, OTHER = "https://app.example", "https://evil.example"
RATE = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


@contextlib.asynccontextmanager
async def browser(origins=(LISTED,)):
    async with a_door() as door:
        app = Cors(Limits(door.app, header_bytes=8_192, body_bytes=1_024), origins)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
            yield http


def named(answer, header):
    return {name.strip().lower() for name in answer.headers.get(header, "").split(",")} - {""}


async def preflight(http, origin=LISTED, method="POST", headers="x-nostr-token"):
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return await http.options("/api/jobs", headers={"Origin": origin, **asked})


async def test_cor_03_05_a_preflight_lists_what_may_be_sent_and_read():
    async with browser() as http:
        for header in ("X-Nostr-Token", "Authorization", "Content-Type", "Idempotency-Key"):
            answer = await preflight(http, headers=header.lower())
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, LISTED)
            assert header.lower() in named(answer, "access-control-allow-headers")
        read = named(answer, "access-control-expose-headers")
        assert read >= {"x-nostr-token", "www-authenticate", "idempotency-replayed"} | RATE
        assert "origin" in named(answer, "vary")
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_every_method_of_the_api_may_be_asked_for(method):
    async with browser() as http:
        assert (await preflight(http, method=method)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"), [("/api/pool", 200), ("/api/jobs/none", 404), ("/nothing", 404), ("/api/jobs", 405)]
)
async def test_cor_04_a_listed_origin_is_echoed_and_may_read_every_answer(path, status):
    async with browser() as http:
        answer = await http.get(path, headers={"Origin": LISTED})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, LISTED)
        assert named(answer, "access-control-expose-headers") >= RATE


async def test_a_page_can_read_why_its_body_was_refused():
    async with browser() as http:
        answer = await http.post("/api/jobs", content=b"x" * 2_000, headers={"Origin": LISTED})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (413, LISTED)


@pytest.mark.parametrize(
    "origin",
    [OTHER, "null", "*", "", f"{LISTED}.evil.example", "http://app.example", f"{LISTED}:444", f"{LISTED}/", "é"],
)
async def test_cor_04_any_other_origin_gets_no_header_at_all(origin):
    async with browser() as http:
        for answer in (
            await preflight(http, origin=origin.encode()),
            await http.get("/api/pool", headers={"Origin": origin.encode()}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_nobody_is_listed_unless_the_operator_does():
    async with browser(origins=()) as http:
        answer = await http.get("/api/pool", headers={"Origin": LISTED})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]
