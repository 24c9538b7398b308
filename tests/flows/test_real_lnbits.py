"""`timmy run` on a real LNbits: paid from another wallet, the change paid out, and nothing lost in any outage."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest

from ledger.audit import audit
from ledger.sqlite import open_ledger
from lightning import bolt11
from relay_client.keys import Keys, parse_public_key
from tests.faults import FaultProxy
from tests.flows.live import Running, asking, edited, running, timmy, until
from tests.lnbits_server import LnbitsAccount, free_port
from timmy_dvm.nostr.customer import Order, Said
from timmy_dvm.terminal import read_ledger

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("lnbits")]

QUESTION = (
    "I keep reading about data vending machines on Nostr. What does one do for me, how do I pay it "
    "with Lightning, and what happens to my sats if it fails?"
)
OUTAGE_S = 20.0
ASKED_AFTER_S = 10.0
BAR_S = 60.0
"""The longest a payment may stay unseen."""
IDLE_S = 30.0
"""How often the record is read although there is push: what is found sooner was found by the push."""
LAST_LOOK_S = 3.6
"""A little more than the longest pause between two of the looks that a ring causes."""


class Purse:
    """A wallet on LNbits in a person's hands: the customer's, or ours seen from outside."""

    def __init__(self, url: str, account: LnbitsAccount) -> None:
        self._account = account
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"X-Api-Key": account.adminkey},
            trust_env=False,
            timeout=30,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # http: loading authorities is time lost
        )

    @property
    def key(self) -> str:
        return self._account.adminkey

    async def pay(self, invoice: str) -> None:
        answer = await self._http.post("/api/v1/payments", json={"out": True, "bolt11": invoice})
        assert (answer.status_code, answer.json().get("status")) == (201, "success"), answer.text

    async def invoice(self, sats: int) -> str:
        asked = {"out": False, "amount": sats, "memo": "change"}
        answer = await self._http.post("/api/v1/payments", json=asked)
        assert answer.status_code == 201, answer.text
        return answer.json()["bolt11"]

    async def msats(self) -> int:
        return (await self._http.get("/api/v1/wallet")).json()["balance"]

    async def knows(self, payment_hash: str) -> bool:
        return (await self._http.get(f"/api/v1/payments/{payment_hash}")).status_code == 200

    async def aclose(self) -> None:
        await self._http.aclose()


class Doorman:
    """A proxy in front of LNbits that tells websockets from the rest: only the push can be cut, or turned away.

    ``heard`` is what passed, in order: ``list`` for a reading of the record, ``push`` for a push.
    """

    def __init__(self, target_url: str) -> None:
        target = urlsplit(target_url)
        self._target = (target.hostname, target.port)
        self.deaf = False
        self.turned_away = 0
        self.heard: list[str] = []
        self._bells: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def bells(self) -> int:
        return len(self._bells)

    def cut_bells(self) -> None:
        self.deaf = True
        for writer in self._bells:
            writer.transport.abort()

    async def quiet(self) -> None:
        """Wait until the record is read by the clock alone: after a ring it is read at growing distance."""
        await until(lambda: self.bells)
        seen = -1
        while seen != len(self.heard):
            seen = len(self.heard)
            await asyncio.sleep(LAST_LOOK_S)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            if bell := b"upgrade: websocket" in head.lower():
                if self.deaf:
                    self.turned_away += 1
                    writer.transport.abort()
                    return
                self._bells.add(writer)
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._note(head)
            far_writer.write(head)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, far_writer))
                    group.create_task(self._pump(far_reader, writer, is_push=bool(bell)))
            except* OSError:
                pass
            finally:
                far_writer.close()
        self._bells.discard(writer)
        self._tasks.discard(task)
        writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_push: bool = False
    ) -> None:
        while chunk := await source.read(65_536):
            self._note(chunk)
            if is_push and b'"payment"' in chunk:
                self.heard.append("push")
            sink.write(chunk)
            await sink.drain()
        sink.close()

    def _note(self, chunk: bytes) -> None:
        if chunk.startswith(b"GET /api/v1/payments/paginated?status=success"):
            self.heard.append("list")


@pytest.fixture
async def ours(lnbits):
    """Timmy's own wallet."""
    purse = Purse(lnbits.url, lnbits.new_wallet(1_000, "timmy"))
    yield purse
    await purse.aclose()


@pytest.fixture
async def customer(lnbits):
    """A wallet of somebody else."""
    purse = Purse(lnbits.url, lnbits.new_wallet(1_000, "customer"))
    yield purse
    await purse.aclose()


async def set_up(folder: Path, url: str, key: str) -> None:
    """What an owner does: init, a key file, three lines of the file, check-config."""
    made = await timmy(folder, "init", "--agent", "offline", "--wallet", "lnbits")
    assert made.returncode == 0, made.stderr
    assert "lightning.lnbits.url" in made.stdout  # it says what is still missing
    key_file = folder / "lnbits.key"
    key_file.touch(mode=0o600)
    key_file.write_text(f"{key}\n")
    file = folder / "timmy.toml"
    file.write_text(
        edited(
            file.read_text(),
            lightning__lnbits__url=url,
            lightning__lnbits__key_file="lnbits.key",
            lightning__lnbits__network="bc",
            nostr__relay_port=free_port(),
            http__port=0,
        )
    )
    checked = await timmy(folder, "check-config")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "wallet         lnbits" in checked.stdout


@contextlib.asynccontextmanager
async def serving(folder: Path, url: str, ours: Purse) -> AsyncIterator[Running]:
    """A Timmy that earns for ``ours``; in the end every sat that LNbits has for it must be in its books."""
    await set_up(folder, url, ours.key)
    async with running(folder) as bot:
        yield bot
        assert await bot.stop() == 0, bot.log
    assert ours.key not in bot.log
    audited = await timmy(folder, "audit")
    assert (audited.returncode, audited.stdout.splitlines()[-1]) == (0, "The books are in order."), audited.stdout
    store = open_ledger(f"sqlite:///{folder / 'timmy.db'}")
    try:
        balances = await store.balances()
    finally:
        await store.close()
    assert not audit(folder / "timmy.db")
    assert -balances["node"] == await ours.msats()


async def test_paid_by_push_answered_and_the_change_paid_out(tmp_path, lnbits, ours, customer):
    """LNB-07, LNB-08."""
    keys = Keys.from_bytes(b"\x07" * 32)
    async with Doorman(lnbits.url) as doorman, serving(tmp_path, doorman.url, ours) as bot:
        async with asking(bot.ready, QUESTION, keys) as errand:
            price = await errand.hears(Said.PRICE)
            invoice = bolt11.decode(price.bolt11)
            assert invoice.network == "bc"
            assert invoice.amount_msat == price.amount
            assert await ours.knows(invoice.payment_hash)

            await doorman.quiet()
            before = len(doorman.heard)
            await customer.pay(price.bolt11)
            assert "Lightning" in (await errand.hears(Said.RESULT, timeout_s=IDLE_S / 2)).text
            assert doorman.heard[before] == "push", doorman.heard[before:]
            receipt = read_ledger(await errand.hears(Said.RECEIPT))
        (change,) = receipt["refunds"]
        assert change["state"] == "owed"  # until it is known that the customer's profile names no address
        assert change["amountSats"] >= 10
        spent = price.amount - 1_000 * change["amountSats"]
        assert spent == 1_000 * (receipt["evalAmountSats"] + receipt["actualAmountSats"])

        params = {"op": "refund", "job": errand.id, "invoice": await customer.invoice(change["amountSats"])}
        claim = Order(text="", provider=parse_public_key(bot.ready.npub), params=params)
        async with asking(bot.ready, claim, keys) as claiming:
            await claiming.hears(Said.RESULT)
            await until(lambda: _has(customer, 1_000_000 - spent))
        assert await ours.msats() == 1_000_000 + spent


async def _has(purse: Purse, msats: int) -> bool:
    return await purse.msats() == msats


@pytest.mark.parametrize("moment", ["never there", "cut before the payment"])
async def test_without_push_the_listing_finds_the_payment(tmp_path, lnbits, ours, customer, moment):
    async with Doorman(lnbits.url) as doorman:
        doorman.deaf = moment == "never there"
        async with serving(tmp_path, doorman.url, ours) as bot, asking(bot.ready, QUESTION) as errand:
            price = await errand.hears(Said.PRICE)
            if not doorman.deaf:
                await until(lambda: doorman.bells == 1)
                doorman.cut_bells()
            await until(lambda: doorman.turned_away)
            await customer.pay(price.bolt11)
            await errand.hears(Said.RESULT, timeout_s=BAR_S)
            assert "push" not in doorman.heard


async def test_while_lnbits_is_away_nothing_is_lost(tmp_path, lnbits, ours, customer):
    """LNB-11: one pays while we can't be told; another asks while there can be no invoice. Both are served."""
    async with (
        FaultProxy(lnbits.url) as line,
        serving(tmp_path, line.url, ours) as bot,
        asking(bot.ready, QUESTION) as payer,
    ):
        price = await payer.hears(Said.PRICE)
        line.refuse()
        ends_at = asyncio.get_running_loop().time() + OUTAGE_S
        await customer.pay(price.bolt11)
        await asyncio.sleep(ASKED_AFTER_S)
        async with asking(bot.ready, "What is a relay?") as asker:
            await until(lambda: "invoice_not_made" in bot.log)
            await asyncio.sleep(ends_at - asyncio.get_running_loop().time())
            assert not asker.answers
            assert {answer.said for answer in payer.answers} == {Said.PRICE}
            line.accept()

            await payer.hears(Said.RESULT)
            await customer.pay((await asker.hears(Said.PRICE)).bolt11)
            await asker.hears(Said.RESULT)


async def test_answers_lost_in_a_half_open_connection_are_asked_for_again(tmp_path, lnbits, ours, customer):
    """What we ask and what we would be told is swallowed, until connections that seemed to be alive are reset."""
    async with (
        FaultProxy(lnbits.url) as line,
        serving(tmp_path, line.url, ours) as bot,
        asking(bot.ready, QUESTION) as payer,
    ):
        price = await payer.hears(Said.PRICE)
        line.stall()
        await customer.pay(price.bolt11)
        async with asking(bot.ready, "What is a relay?") as asker:
            await until(lambda: "invoice_not_made" in bot.log)
            line.cut()
            line.pass_on()
            await payer.hears(Said.RESULT)
            await customer.pay((await asker.hears(Said.PRICE)).bolt11)
            await asker.hears(Said.RESULT)
