"""NIP-05: our name leads to our key from any page, and nobody else's name leads anywhere."""

import contextlib

import httpx
import pytest

from tests.timmy_dvm.http.described import described
from timmy_dvm.http.app import create_app
from timmy_dvm.http.well_known import routes

KEY, RELAYS = "0a" * 32, ("wss://relay.example",)


@contextlib.asynccontextmanager
async def client():
    app = create_app([routes("Timmy", KEY, RELAYS)], lambda: "")
    transport = httpx.ASGITransport(app)
    hooks = {"response": [described(app)]}
    async with httpx.AsyncClient(transport=transport, base_url="http://timmy", event_hooks=hooks) as http:
        yield http


@pytest.mark.parametrize(
    ("query", "names"),
    [({"name": "timmy"}, ["timmy"]), ({"name": "TIMMY"}, ["timmy"]), ({"name": "_"}, ["_"]), ({}, ["_", "timmy"])],
)
async def test_our_names_lead_to_our_key_and_where_it_is_heard(query, names):
    async with client() as http:
        answer = await http.get("/.well-known/nostr.json", params=query)
    assert answer.json() == {"names": dict.fromkeys(names, KEY), "relays": {KEY: list(RELAYS)}}
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("name", ["bob", "", "timmy\u200b", "../timmy"])
async def test_another_name_is_nobodys(name):
    async with client() as http:
        answer = await http.get("/.well-known/nostr.json", params={"name": name})
    assert (answer.status_code, answer.json()) == (200, {"names": {}, "relays": {}})
