"""What the operator sees when something is wrong, and what is in no answer to anybody (DIA-01 to 03)."""

import asyncio
import contextlib
import html

import httpx
import pytest

from ledger.money import Msats
from lightning.errors import WalletUnavailable
from relay_client.connection import RelayState
from relay_client.status import RelayStatus
from tests.timmy_dvm.http.described import described
from timmy_dvm.clock import ManualClock
from timmy_dvm.config import Secret, load
from timmy_dvm.http import node_status
from timmy_dvm.http.admins import Admins
from timmy_dvm.http.app import create_app
from timmy_dvm.http.node_status import NodeStatus
from timmy_dvm.log import redact

KEY = "lnbits-admin-key-of-this-test"
HOSTILE = '<script>alert("x")</script> & co'


class Wallet:
    def __init__(self, error=None):
        self.error = error

    async def balance_msat(self):
        if self.error is None:
            return Msats(21_500)
        if self.error == "silent":
            await asyncio.Event().wait()
        raise WalletUnavailable(self.error)


class Relays:
    def __init__(self, *relays):
        self.relays = relays

    def status(self):
        return self.relays


class Quiet:
    def __init__(self, trouble=""):
        self.trouble = trouble

    def alarm(self):
        return self.trouble


def relay(url="wss://relay.example", state=RelayState.CONNECTED, error=None):
    return RelayStatus(url, state, 1_700_000_000.0, 1_700_000_001.0, 2, 0, error)


def lnbits(folder, url="https://someone:pass1234@lnbits.example/api?token=abcd"):
    return load(
        None,
        {
            "TIMMY_LIGHTNING__BACKEND": "lnbits",
            "TIMMY_LIGHTNING__LNBITS__URL": url,
            "TIMMY_LIGHTNING__LNBITS__KEY": KEY,
        },
        folder,
    )


@contextlib.asynccontextmanager
async def operator(config, *, wallet=None, relays=(), payments="", watchdog=""):
    redact(KEY)
    parts = (wallet or Wallet(), Relays(*relays), Quiet(payments), Quiet(watchdog), ManualClock())
    routers = [node_status.routes(NodeStatus(config, *parts).show, Admins(Secret("t" * 16), is_public=True))]
    app = create_app(routers, lambda: "0" * 32)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://timmy",
        headers={"Authorization": f"Bearer {'t' * 16}"},
        event_hooks={"response": [described(app)]},
    ) as http:
        yield http


async def seen(http):
    answer = await http.get("/api/admin/node-status")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


async def test_dia_01_the_stub_shows_wallet_nodes_relays_and_no_issue(tmp_path):
    async with operator(load(None, {}, tmp_path), relays=[relay()]) as http:
        state = await seen(http)
    assert (state["stubMode"], state["issues"]) == (True, [])
    assert state["wallet"] == {"backend": "simulated", "reachable": True, "balanceSats": 21}
    nothing = {"configured": False, "reachable": None, "url": None, "error": None}
    assert (state["lnbits"], state["lnd"]) == (nothing, nothing)
    (only,) = state["relays"]
    assert (only["url"], only["state"], only["reconnects"]) == ("wss://relay.example", "connected", 2)
    assert only["lastEventAt"] == "2023-11-14T22:13:21Z"


async def test_dia_01_an_lnbits_that_is_down_is_an_issue_and_no_error(tmp_path):
    async with operator(lnbits(tmp_path), wallet=Wallet("connection refused"), relays=[relay()]) as http:
        state = await seen(http)
    assert (state["lnbits"]["configured"], state["lnbits"]["reachable"]) == (True, False)
    assert state["wallet"]["balanceSats"] is None
    assert state["issues"] == ["The lnbits wallet can't be reached: connection refused"]


async def test_a_wallet_that_says_nothing_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(node_status, "ASK_S", 0.01)
    async with operator(lnbits(tmp_path), wallet=Wallet("silent"), relays=[relay()]) as http:
        (issue,) = (await seen(http))["issues"]
    assert "no answer within" in issue


async def test_every_trouble_is_an_issue(tmp_path):
    away = relay("wss://away.example", RelayState.WAITING, "refused")
    async with operator(
        load(None, {}, tmp_path), relays=[away], payments="the cursor is gone", watchdog="9 sats are missing"
    ) as http:
        issues = (await seen(http))["issues"]
    assert issues == [
        "The simulated wallet's record can't be read: the cursor is gone",
        "9 sats are missing",
        "No relay is connected: nobody can be heard or answered there.",
        "The relay wss://away.example is waiting: refused",
    ]


async def test_dia_03_no_secret_is_shown_whoever_repeats_it(tmp_path):
    told = f"401 for https://op:hunter22@lnbits.example with X-Api-Key: {KEY}"
    relays = [relay("wss://me:pass5678@relay.example/?auth=efgh", RelayState.WAITING, f"token={KEY}")]
    async with operator(lnbits(tmp_path), wallet=Wallet(told), relays=relays) as http:
        for path in ("/api/admin/node-status", "/api/admin/node-status/html"):
            text = html.unescape((await http.get(path)).text)
            assert [secret for secret in (KEY, "hunter22", "pass", "abcd", "efgh") if secret in text] == []
            assert "lnbits.example" in text


async def test_dia_02_the_page_escapes_what_others_say(tmp_path):
    relays = [relay(state=RelayState.WAITING, error=HOSTILE)]
    async with operator(lnbits(tmp_path), wallet=Wallet(HOSTILE), relays=relays) as http:
        answer = await http.get("/api/admin/node-status/html")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert html.escape(HOSTILE) in answer.text


@pytest.mark.parametrize("path", ["/api/admin/node-status", "/api/admin/node-status/html"])
async def test_dia_03_nobody_else_sees_it(tmp_path, path):
    async with operator(load(None, {}, tmp_path)) as http:
        for headers in ({"Authorization": "Bearer x"}, {"Authorization": ""}):
            answer = await http.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "not_operator")
