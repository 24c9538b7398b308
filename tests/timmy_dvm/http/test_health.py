"""Health over ASGI, without a socket."""

import contextlib

import httpx

from timmy_dvm.http.app import create_app
from timmy_dvm.http.health import routes


async def healthy():
    return {"status": "ok", "npub": "npub1x"}


@contextlib.asynccontextmanager
async def client(health=healthy):
    transport = httpx.ASGITransport(create_app([routes(health)], lambda: "0" * 32))
    async with httpx.AsyncClient(transport=transport, base_url="http://timmy") as http:
        yield http


async def test_health_shows_what_it_was_given_and_the_tier_of_a_stranger():
    async with client() as http:
        answer = await http.get("/api/healthz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ok", "npub": "npub1x", "trust_tier": "anonymous"},
    )
    assert answer.headers["cache-control"] == "no-store"


async def test_a_status_that_is_not_ok_is_a_503_for_whoever_watches():
    async def sick():
        return {"status": "ledger_away"}

    async with client(sick) as http:
        answer = await http.get("/api/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "ledger_away")
