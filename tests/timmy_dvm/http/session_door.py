"""The routes of sessions in the house, and somebody with a wallet and a macaroon."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx

from lightning import bolt11
from lightning.l402 import Macaroon
from tests.timmy_dvm.http.door import QUESTION, SECRET, Door, a_door
from timmy_dvm.claims import Claims
from timmy_dvm.http import l402_door, refunds, sessions
from timmy_dvm.http.session_keys import SessionKeys
from timmy_dvm.http.session_work import Sessions

PATH = "/api/sessions/request"


def keys_of(services) -> SessionKeys:
    return SessionKeys(SECRET, services.clock)


def claims_of(services) -> Claims:
    return Claims(
        services.engine,
        services.store,
        services.policy,
        services.clock,
        network=services.network,
        secret=SECRET,
    )


@dataclass
class Desk:
    """A door with sessions, and a customer before it."""

    door: Door
    keys: SessionKeys

    @property
    def http(self) -> httpx.AsyncClient:
        return self.door.http

    @property
    def house(self):
        return self.door.house

    async def asks(self, sats: int = 500, *, headers=None, **fields) -> dict:
        answer = await self.http.post("/api/sessions", json={"amount_sats": sats, **fields}, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def pays(self, invoice: str) -> str:
        """Pay a BOLT11; the preimage."""
        self.house.customer.pays(invoice)
        return self.house.wallet._state.invoices[bolt11.decode(invoice).payment_hash].preimage

    async def opens(self, sats: int = 500, **fields) -> dict:
        """A session that is open, as it is shown, with its macaroon."""
        asked = await self.asks(sats, **fields)
        self.pays(asked["invoice"]["paymentRequest"])
        return await self.reaches(asked["sessionId"], "active")

    async def shows(self, session_id: str) -> dict:
        answer = await self.http.get(f"/api/sessions/{session_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def reaches(self, session_id: str, state: str) -> dict:
        async def there() -> bool:
            return (await self.shows(session_id))["state"] == state

        await self.house.until(there)
        return await self.shows(session_id)

    async def has(self, session_id: str, sats: int) -> dict:
        async def there() -> bool:
            return (await self.shows(session_id))["balanceSats"] == sats

        await self.house.until(there)
        return await self.shows(session_id)

    async def requests(self, session: dict, text: str = QUESTION, **headers) -> httpx.Response:
        return await self.http.post(
            f"/api/sessions/{session['sessionId']}/request",
            json={"request": text},
            headers={"Authorization": f"Bearer {session['macaroon']}", **headers},
        )

    async def fills(self, session: dict, sats: int = 300) -> httpx.Response:
        return await self.http.post(
            f"/api/sessions/{session['sessionId']}/topup", json={"amount_sats": sats}, headers=bearer(session)
        )

    async def closes(self, session: dict, body: dict | None = None) -> httpx.Response:
        return await self.http.request(
            "DELETE", f"/api/sessions/{session['sessionId']}", json=body, headers=bearer(session)
        )


def bearer(session: dict) -> dict[str, str]:
    return {"Authorization": f"Bearer {session['macaroon']}"}


def identifier_of(text: str):
    return Macaroon.from_text(text).identifier


@contextlib.asynccontextmanager
async def a_desk(**parts) -> AsyncIterator[Desk]:
    made: list[SessionKeys] = []

    def routers(services):
        made.append(keys_of(services))
        claims = claims_of(services)
        mine = Sessions(services=services, keys=made[0], look=look, claims=claims)
        return l402_door.routes(mine), sessions.routes(mine), refunds.routes(services, claims)

    async def look(payment_hash: str) -> None:
        await house[0].payments.look(payment_hash)

    house: list = []
    async with a_door(more=routers, **parts) as door:
        house.append(door.house)
        yield Desk(door, made[0])
