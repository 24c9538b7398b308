"""L402 clients that were not written here: each buys a request, goes on until the credit is gone, pays for more.

They know nothing of sessions. The port is a real one, on loopback; their wallet is the one outside.
"""

import asyncio
import contextlib
import json
import socket
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter, Request, Response
from l402_requests import AsyncL402Client
from l402_requests.wallets import WalletBase

from ledger import accounts
from ledger.money import msats_from_sats
from lightning import bolt11
from tests.flows.house import House, a_house
from tests.peer_relays import PEERS, require_peers
from tests.timmy_dvm.http.door import services_of
from tests.timmy_dvm.http.session_door import PATH, claims_of, keys_of
from timmy_dvm.http import l402_door, sessions
from timmy_dvm.http.app import create_app
from timmy_dvm.http.server import Gate, bind, make_server
from timmy_dvm.http.session_work import Sessions
from timmy_dvm.http.wire import said

PATIENCE_S = 60
MOST = 40
TEXT = "What is a session, and who may close it? " * 8


def preimage_of(house: House, invoice: str) -> str:
    """Pay one of the house's invoices, and learn its preimage."""
    house.customer.pays(invoice)
    return house.wallet._state.invoices[bolt11.decode(invoice).payment_hash].preimage


def wallet_routes(house: House) -> APIRouter:
    """The customer's wallet, for programs."""
    router = APIRouter()

    @router.post("/wallet")
    async def pay(request: Request) -> Response:
        return said({"preimage": preimage_of(house, (await request.json())["invoice"])})

    return router


@contextlib.asynccontextmanager
async def a_port(house: House) -> AsyncIterator[str]:
    """The routes of sessions, served; its address."""
    services = services_of(house)
    mine = Sessions(
        services=services, keys=keys_of(services), look=house.payments.look, claims=claims_of(services)
    )
    routers = [l402_door.routes(mine), sessions.routes(mine), wallet_routes(house)]
    gate = Gate(read_s=10, connections=100, per_address=100)
    listening: socket.socket = bind("127.0.0.1", 0)
    server = make_server(create_app(routers, house.random.new_id), gate, header_bytes=8_192)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        await house.until(lambda: server.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def went_on_when_its_credit_was_gone(house: House, answers: list[dict]) -> None:
    """All were served, by one session, which has what was paid less what was debited."""
    assert [answer["status"] for answer in answers] == [200] * len(answers)
    bodies = [answer["body"] for answer in answers]
    assert all(body["result"] for body in bodies)
    (session_id,) = {body["sessionId"] for body in bodies}
    assert (answers[0]["paid"], answers[-1]["paid"]) == (1, 2)
    assert len(answers) > 2
    left = 200 - sum(body["debitedSats"] for body in bodies)
    assert bodies[-1]["balanceSats"] == left
    assert await house.balance(accounts.session(session_id)) == msats_from_sats(left)
    await house.books_are_right()


@pytest.mark.peer
@pytest.mark.parametrize("library", ["alby", "l402"])
async def test_an_npm_client_pays_uses_and_fills_a_session(library):
    require_peers()
    async with a_house() as house, a_port(house) as base:
        wish = {"library": library, "url": base + PATH, "pay": f"{base}/wallet", "text": TEXT, "most": MOST}
        process = await asyncio.create_subprocess_exec(
            "node", str(PEERS / "l402.mjs"), json.dumps(wish), stdout=PIPE, stderr=PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 0, err.decode()
        await went_on_when_its_credit_was_gone(house, [json.loads(line) for line in out.splitlines()])


class Purse(WalletBase):
    """The wallet outside, as l402-requests wants one."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.paid = 0

    async def pay_invoice(self, bolt11: str) -> str:
        self.paid += 1
        return preimage_of(self._house, bolt11)


async def test_l402_requests_pays_uses_and_fills_a_session():
    async with a_house() as house, a_port(house) as base:
        purse, answers = Purse(house), []
        async with AsyncL402Client(wallet=purse, budget=None, timeout=PATIENCE_S, trust_env=False) as client:
            while purse.paid < 2:
                answer = await client.post(base + PATH, json={"request": TEXT})
                answers.append({"status": answer.status_code, "body": answer.json(), "paid": purse.paid})
                assert len(answers) < MOST
        await went_on_when_its_credit_was_gone(house, answers)
