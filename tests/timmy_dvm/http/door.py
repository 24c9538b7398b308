"""The HTTP door of a whole Timmy without sockets: the production routes over ASGI, in the house of the flows."""

import contextlib
import ipaddress
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from starlette.types import ASGIApp

from relay_client.keys import Keys
from tests.flows.house import BTC, House, a_house
from tests.timmy_dvm.http.described import described
from timmy_dvm.http import jobs, prices
from timmy_dvm.http.addresses import Addresses
from timmy_dvm.http.app import create_app, knowing
from timmy_dvm.http.auth import Callers
from timmy_dvm.http.idempotency import Idempotency
from timmy_dvm.http.logins import Logins
from timmy_dvm.http.open_places import OpenPlaces
from timmy_dvm.http.services import Services
from timmy_dvm.http.streams import Streams
from timmy_dvm.http.tokens import SigningKey, Tokens
from timmy_dvm.http.watching import Watchers
from timmy_dvm.prices import FixedPrice

URL = "https://timmy.example"
SECRET = b"s" * 32
QUESTION = "What is a data vending machine?"
ALICE = Keys.from_bytes(b"\x0a" * 32)


def services_of(
    house: House, *, per_address: int = 20, proxies: tuple[str, ...] = (), connections: int = 100
) -> Services:
    """What the routes work with, in this house."""
    watchers, open_places = Watchers(), OpenPlaces(per_address)
    tokens = Tokens([SigningKey(SECRET)], URL)
    addresses = Addresses([ipaddress.ip_network(text) for text in proxies])
    house.engine.listen(watchers.applied)
    house.engine.listen(open_places.applied)
    return Services(
        engine=house.engine,
        store=house.store,
        policy=house.policy,
        prices=FixedPrice(BTC),
        clock=house.clock,
        randomness=house.random,
        partials=house.partials,
        watchers=watchers,
        callers=Callers(tokens, URL, house.clock, addresses),
        logins=Logins(tokens, URL, house.clock, house.random),
        addresses=addresses,
        idempotency=Idempotency(house.store, house.clock, house.random, addresses),
        open_places=open_places,
        streams=Streams(connections),
        network="bcrt",
        public_url=URL,
    )


@dataclass
class Door:
    """A customer of a house, with a browser."""

    house: House
    http: httpx.AsyncClient
    services: Services
    app: ASGIApp

    def token(self, keys: Keys = ALICE) -> str:
        """A token of this key."""
        return Tokens([SigningKey(SECRET)], URL).issue(keys.public_key, self.services.now()).text

    async def ask(self, text: str = QUESTION, *, headers=None, **fields) -> dict:
        """A job that was made."""
        answer = await self.http.post("/api/jobs", json={"request": text, **fields}, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def pay(self, invoice: dict) -> None:
        """Pay it from a wallet outside."""
        self.house.customer.pays(invoice["paymentRequest"])

    async def job(self, job_id: str) -> dict:
        """The job as it stands."""
        return (await self.http.get(f"/api/jobs/{job_id}")).json()

    async def reach(self, job_id: str, *states: str) -> dict:
        """The job, once it is in one of these states."""
        await self.house.state_is(job_id, *states)
        return await self.job(job_id)

    async def complete(self, text: str = QUESTION, *, end: str = "complete", **fields) -> dict:
        """A job that was asked for, paid and over, with its claim secret."""
        asked = await self.ask(text, pay="once", **fields)
        await self.pay(asked["evalInvoice"])
        return {**await self.reach(asked["jobId"], end), "claimSecret": asked["claimSecret"]}


@contextlib.asynccontextmanager
async def a_door(*, more=lambda _: (), peer=("203.0.113.9", 40_000), **parts) -> AsyncIterator[Door]:
    """The door, open. ``more`` makes further routers out of the services."""
    mine = {name: parts.pop(name) for name in ("per_address", "proxies", "connections") if name in parts}
    async with a_house(**parts) as house:
        services = services_of(house, **mine)
        routers = [jobs.routes(services), prices.routes(services), *more(services)]
        app = create_app([knowing(services.callers, routers)], house.random.new_id)
        transport = httpx.ASGITransport(app, client=peer)
        hooks = {"response": [described(app)]}
        async with httpx.AsyncClient(transport=transport, base_url=URL, event_hooks=hooks) as http:
            yield Door(house, http, services, app)


def events_of(text: str) -> list[tuple[str, dict]]:
    """Server-sent events: name and data of each."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found
