"""`lightning.lnbits` against a real LNbits: the shared contract, and the traps of this wallet in particular."""

import asyncio
import ssl
import time
from contextlib import aclosing

import httpx
import pytest

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import Paid, Sent
from lightning.errors import WalletRefused, WalletUnavailable
from lightning.lnbits import LnbitsWallet
from tests.lightning.contract import Harness, LightningContract, create, eventually, list_all, pay
from tests.lnbits_server import LnbitsServer, free_port
from tests.tcp_wire import tcp_wire

pytestmark = pytest.mark.peer


class LnbitsHarness(Harness):
    """Our wallet, and another person's, which may be on another LNbits."""

    def __init__(self, ours: LnbitsServer, theirs: LnbitsServer) -> None:
        self.ours = ours.new_wallet(100_000, "ours")
        self.theirs = theirs.new_wallet(100_000, "theirs")
        self.backend = LnbitsWallet(ours.url, self.ours.adminkey)
        self.other = httpx.AsyncClient(
            base_url=theirs.url,
            headers={"X-Api-Key": self.theirs.adminkey},
            trust_env=False,
            timeout=20,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # loading authorities costs more than the test
        )
        self._gone: list[LnbitsWallet] = []

    async def pay_from_outside(self, bolt11: str) -> None:
        answer = await self.other.post("/api/v1/payments", json={"out": True, "bolt11": bolt11})
        assert (answer.status_code, answer.json().get("status")) == (201, "success"), answer.text

    async def outside_invoice(self, amount_msat: int) -> str:
        asked = {"out": False, "amount": amount_msat // 1000, "memo": "refund"}
        answer = await self.other.post("/api/v1/payments", json=asked)
        assert answer.status_code == 201, answer.text
        return answer.json()["bolt11"]

    def unreachable(self):
        self._gone.append(LnbitsWallet(f"http://127.0.0.1:{free_port()}", self.ours.adminkey))
        return self._gone[-1]

    async def aclose(self) -> None:
        await asyncio.gather(self.backend.aclose(), self.other.aclose(), *(gone.aclose() for gone in self._gone))


@pytest.fixture
async def harness(lnbits):
    made = LnbitsHarness(lnbits, lnbits)
    yield made
    await made.aclose()


class TestLnbits(LightningContract):
    """Payments inside one LNbits, as between two customers of the same provider."""


class TestLnbitsToAnother(LightningContract):
    """Our wallet on one LNbits, everybody else on another: payments leave the house and come in from outside."""

    @pytest.fixture
    async def harness(self, lnbits, far_lnbits):
        made = LnbitsHarness(far_lnbits, lnbits)
        yield made
        await made.aclose()


async def sole_row(harness: LnbitsHarness, server: LnbitsServer, external_id: str) -> dict:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        answer = await client.get(
            "/api/v1/payments/paginated",
            params={"external_id": external_id},
            headers={"X-Api-Key": harness.ours.inkey},
        )
    (row,) = answer.json()["data"]
    return row


async def hints_until(wallet: LnbitsWallet, cursor: str | None, wanted: str) -> list[str]:
    """All hints up to the wanted one."""
    seen: list[str] = []
    async with asyncio.timeout(10), aclosing(wallet.settled(cursor)) as hints:
        async for payment_hash, _ in hints:
            seen.append(payment_hash)
            if payment_hash == wanted:
                break
    return seen


class TestCreating:
    async def test_a_lost_answer_still_makes_one_invoice(self, lnbits, harness):
        async with tcp_wire(lnbits.port) as wire:
            wallet = LnbitsWallet(wire.url, harness.ours.adminkey)
            wire.lose_answers_to = b"POST "
            with pytest.raises(WalletUnavailable):
                await create(wallet, "job-7")
            wire.lose_answers_to = None
            invoice = await create(wallet, "job-7")
            await wallet.aclose()
        row = await sole_row(harness, lnbits, "job-7")
        assert row["payment_hash"] == invoice.payment_hash

    async def test_five_at_once_with_one_key_are_one_invoice(self, lnbits, harness):
        made = await asyncio.gather(*(create(harness.backend, "same") for _ in range(5)))
        assert len({invoice.payment_hash for invoice in made}) == 1
        await sole_row(harness, lnbits, "same")

    async def test_a_key_is_bound_to_its_terms(self, harness):
        await create(harness.backend, "bound")
        with pytest.raises(WalletRefused, match="other terms"):
            await create(harness.backend, "bound", Msats(22_000))

    async def test_a_key_still_gives_its_invoice_when_that_has_expired(self, harness):
        asked = {"memo": "short", "expiry_s": 4, "key": "short"}
        first = await harness.backend.create_invoice(Msats(5_000), **asked)

        async def expired() -> bool:
            return (await harness.backend.lookup_invoice(first.payment_hash)).state is Paid.EXPIRED

        await eventually(expired)
        assert await harness.backend.create_invoice(Msats(5_000), **asked) == first

    async def test_more_than_lnbits_allows_is_refused(self, harness):
        with pytest.raises(WalletRefused, match="too high"):
            await create(harness.backend, "much", Msats(10_000_001_000))


class TestFollowing:
    async def test_a_forged_push_changes_nothing(self, lnbits, harness):
        wallet = LnbitsWallet(lnbits.url, harness.ours.adminkey, poll_s=0.2)
        invoice, real = await create(wallet, "forged"), await create(wallet, "real")
        _, start = await list_all(wallet, None)
        hints = asyncio.create_task(hints_until(wallet, start, real.payment_hash))
        for text in (
            f'{{"payment":{{"payment_hash":"{invoice.payment_hash}","amount":21000,"status":"success"}}}}',
            "nonsense",
        ):
            answer = await harness.other.post(f"/api/v1/ws/{harness.ours.adminkey}", params={"data": text})
            assert answer.json()["sent"] is True
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.OPEN
        await harness.pay_from_outside(real.bolt11)
        assert await hints == [real.payment_hash]
        await wallet.aclose()

    async def test_the_push_alone_is_enough(self, lnbits, harness):
        """Polling is as good as off, so only the push can bring the hint."""
        wallet = LnbitsWallet(lnbits.url, harness.ours.adminkey, poll_s=600, idle_poll_s=600)
        invoice = await create(wallet)
        hints = asyncio.create_task(hints_until(wallet, None, invoice.payment_hash))

        async def listening() -> bool:
            return any(bell._connected for bell in wallet._bells)

        await eventually(listening)
        await harness.pay_from_outside(invoice.bolt11)
        assert await hints == [invoice.payment_hash]
        await wallet.aclose()

    async def test_without_the_push_the_listing_finds_it(self, lnbits, harness):
        async with tcp_wire(lnbits.port) as wire:
            wire.cut_push()
            wallet = LnbitsWallet(wire.url, harness.ours.adminkey, poll_s=0.1, idle_poll_s=600)
            invoice = await create(wallet)
            _, start = await list_all(wallet, None)
            hints = asyncio.create_task(hints_until(wallet, start, invoice.payment_hash))
            await harness.pay_from_outside(invoice.bolt11)
            assert await hints == [invoice.payment_hash]
            await wallet.aclose()

    async def test_what_came_while_lnbits_was_away_is_found_when_it_is_back(self, lnbits, harness):
        async with tcp_wire(lnbits.port) as wire:
            wallet = LnbitsWallet(wire.url, harness.ours.adminkey, poll_s=0.1, idle_poll_s=600, backoff_s=0.05)
            invoice = await create(wallet)
            _, start = await list_all(wallet, None)
            hints = asyncio.create_task(hints_until(wallet, start, invoice.payment_hash))
            await wire.close()
            with pytest.raises(WalletUnavailable):
                await wallet.lookup_invoice(invoice.payment_hash)
            await harness.pay_from_outside(invoice.bolt11)
            await wire.open()
            assert await hints == [invoice.payment_hash]
            await wallet.aclose()

    async def test_pages_are_complete_and_in_order_also_when_rows_move(self, monkeypatch, lnbits, harness):
        """Marking a payment with a label counts as a change in LNbits, and moves its row to the end."""
        monkeypatch.setattr("lightning.lnbits.PAGE_ROWS", 3)
        backend = harness.backend
        paid: list[str] = []

        async def sell(count: int) -> None:
            for _ in range(count):
                invoice = await create(backend, f"sale-{len(paid)}")
                await harness.pay_from_outside(invoice.bolt11)
                paid.append(invoice.payment_hash)

        _, start = await list_all(backend, None)
        await sell(8)
        rows, cursor = await list_all(backend, start)
        assert [row.payment_hash for row in rows] == paid
        for moved in paid[0], paid[4], paid[-1]:
            answer = await harness.other.put(
                f"/api/v1/payments/{moved}/labels",
                headers={"X-Api-Key": harness.ours.adminkey},
                json={"labels": ["seen"]},
            )
            assert answer.status_code == 200, answer.text
            await sell(2)
            rows, after = await list_all(backend, cursor)
            assert set(paid[-2:]) <= {row.payment_hash for row in rows}
            assert await list_all(backend, after) == ([], after)
            cursor = after

    async def test_money_by_our_lightning_address_is_listed_too(self, lnbits, harness):
        """Nobody asked us for that invoice: whoever reads the listing must act on known hashes only."""
        _, start = await list_all(harness.backend, None)
        name = harness.ours.lightning_address.partition("@")[0]
        terms = (await harness.other.get(f"/.well-known/lnurlp/{name}")).json()
        asked = {"amount": 5_000, "comment": "thanks"}
        answer = await harness.other.get(terms["callback"], params=asked)
        await harness.pay_from_outside(answer.json()["pr"])
        rows, _ = await list_all(harness.backend, start)
        assert [row.received_msat for row in rows] == [5_000]


class TestPaying:
    async def test_an_answer_lost_on_the_way_is_looked_up(self, lnbits, harness):
        async with tcp_wire(lnbits.port) as wire:
            wallet = LnbitsWallet(wire.url, harness.ours.adminkey)
            before = await wallet.balance_msat()
            text = await harness.outside_invoice(21_000)
            wire.lose_answers_to = b"POST "
            status = await pay(wallet, text)
            assert status.state in (Sent.SUCCEEDED, Sent.UNKNOWN)  # the look-up may overtake the payment
            assert (await pay(wallet, text)).state is Sent.SUCCEEDED
            assert await wallet.balance_msat() == before - 21_000
            await wallet.aclose()

    async def test_a_payment_that_ran_out_of_time_is_unknown_and_happens_once(self, lnbits, harness):
        """LNbits stands still while it is asked to pay, and does so when it goes on."""
        backend = harness.backend
        before = await backend.balance_msat()
        text = await harness.outside_invoice(21_000)
        invoice = await create(backend)
        assert (await backend.lookup_payment(invoice.payment_hash)).state is Sent.UNKNOWN
        lnbits.pause()
        try:
            status = await backend.pay(text, max_fee_msat=Msats(0), key="refund", timeout_s=0.5)
            assert status.state is Sent.UNKNOWN
            hurried = LnbitsWallet(lnbits.url, harness.ours.adminkey, timeout_s=0.3)
            with pytest.raises(WalletUnavailable, match="did not answer"):
                await hurried.balance_msat()
            await hurried.aclose()
        finally:
            lnbits.resume()
        assert (await pay(backend, text)).state is Sent.SUCCEEDED
        assert await backend.balance_msat() == before - 21_000

    async def test_an_expired_invoice_is_failed_and_never_sent(self, harness):
        backend = harness.backend
        before = await backend.balance_msat()
        asked = {"out": False, "amount": 21, "memo": "late", "expiry": 1}
        text = (await harness.other.post("/api/v1/payments", json=asked)).json()["bolt11"]
        ends = bolt11.decode(text).expires_at
        await asyncio.sleep(ends - time.time() + 0.01)
        assert (await pay(backend, text)).state is Sent.FAILED
        assert await backend.balance_msat() == before

    async def test_the_payees_failed_row_is_no_result_of_ours(self, lnbits, harness):
        """For an invoice it gave up before, LNbits answers "201 Created" with the payee's side of it."""
        wallet = LnbitsWallet(lnbits.url, harness.ours.adminkey, clock=lambda: 1_000_000_000.0)
        before = await wallet.balance_msat()
        asked = {"out": False, "amount": 21, "memo": "late", "expiry": 1}
        row = (await harness.other.post("/api/v1/payments", json=asked)).json()

        async def given_up() -> bool:
            looked = await harness.other.get(f"/api/v1/payments/{row['payment_hash']}")
            return looked.json().get("status") == "failed"

        await eventually(given_up)
        assert (await pay(wallet, row["bolt11"])).state is Sent.UNKNOWN
        assert await wallet.balance_msat() == before
        await wallet.aclose()

    @pytest.mark.parametrize("form", ["lightning:{}", "LIGHTNING:{}", "  {}\n"])
    async def test_the_forms_people_paste_are_paid(self, harness, form):
        text = form.format(await harness.outside_invoice(21_000))
        assert (await pay(harness.backend, text)).state is Sent.SUCCEEDED

    async def test_an_invoice_in_capitals_is_paid(self, harness):
        text = (await harness.outside_invoice(21_000)).upper()
        assert (await pay(harness.backend, text)).state is Sent.SUCCEEDED

    async def test_one_hash_two_rows_when_we_pay_ourselves(self, harness):
        invoice = await create(harness.backend)
        assert (await pay(harness.backend, invoice.bolt11)).state is Sent.SUCCEEDED
        status = await harness.backend.lookup_invoice(invoice.payment_hash)
        assert (status.state, status.received_msat) == (Paid.SETTLED, 21_000)


class TestTheKey:
    async def test_a_wrong_key_is_said_so_and_pays_nothing(self, lnbits, harness):
        invoice = await create(harness.backend)
        text = await harness.outside_invoice(21_000)
        stranger = LnbitsWallet(lnbits.url, "0" * 32)
        for call in (
            create(stranger),
            stranger.lookup_invoice(invoice.payment_hash),
            stranger.lookup_invoice("ab" * 32),
            stranger.lookup_payment(invoice.payment_hash),
            stranger.list_settled(None),
            stranger.balance_msat(),
        ):
            with pytest.raises(WalletRefused, match="key"):
                await call
        assert (await pay(stranger, text)).state is Sent.UNKNOWN
        await stranger.aclose()

    async def test_the_invoice_key_receives_but_does_not_pay(self, lnbits, harness):
        receiving = LnbitsWallet(lnbits.url, harness.ours.inkey)
        invoice = await create(receiving)
        assert (await receiving.lookup_invoice(invoice.payment_hash)).state is Paid.OPEN
        before = await receiving.balance_msat()
        status = await pay(receiving, await harness.outside_invoice(21_000))
        assert (status.state, "admin key" in status.detail) == (Sent.UNKNOWN, True)
        assert await receiving.balance_msat() == before
        await receiving.aclose()

    async def test_the_key_is_in_no_log_and_no_repr(self, lnbits, harness, caplog):
        caplog.set_level(0)
        backend = harness.backend
        invoice = await create(backend)
        hints = asyncio.create_task(hints_until(backend, None, invoice.payment_hash))
        await harness.pay_from_outside(invoice.bolt11)
        await hints
        gone = harness.unreachable()
        with pytest.raises(WalletUnavailable) as failed:
            await gone.balance_msat()
        told = caplog.text + repr(backend) + repr(vars(backend)) + str(failed.value) + repr(failed.value)
        assert harness.ours.adminkey not in told
        assert "lightning" in caplog.text or caplog.records
