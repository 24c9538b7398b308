import asyncio
import contextlib

import pytest

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import InvoiceStatus, Paid
from lightning.errors import WalletRefused, WalletUnavailable
from tests.lightning.contract import LightningContract, create, first_hint_of, list_all
from tests.lightning.simulated_world import OPENING, SUM, SimulatedHarness


@pytest.fixture
async def harness():
    world = SimulatedHarness()
    yield world
    await world.backend.aclose()


@pytest.fixture
def wallet(harness):
    return harness.backend


class TestTheContractInMemory(LightningContract):
    pass


class TestTheContractOnDisk(LightningContract):
    @pytest.fixture
    async def harness(self, tmp_path):
        world = SimulatedHarness(tmp_path / "wallet.jsonl")
        yield world
        await world.backend.aclose()


class TestInvoices:
    async def test_they_are_signed_by_the_node_of_the_seed(self, harness, wallet):
        """LNB-03."""
        assert bolt11.decode((await create(wallet)).bolt11).payee == wallet.node_id
        assert harness.open().node_id == wallet.node_id
        assert harness.unreachable().node_id != wallet.node_id

    async def test_the_same_seed_clock_and_dice_give_the_same_text(self):
        one, two = SimulatedHarness(), SimulatedHarness()
        assert await create(one.backend) == await create(two.backend)

    async def test_a_key_used_for_other_terms_is_refused(self, wallet):
        await create(wallet, "job-1")
        for changes in (
            {"amount_msat": Msats(22_000)},
            {"memo": "other"},
            {"expiry_s": 601},
            {"description_hash": b"\x01" * 32},
        ):
            terms = {"amount_msat": SUM, "memo": "Timmy 0a1b2c3d", "expiry_s": 600, **changes}
            with pytest.raises(WalletRefused, match="other terms"):
                await wallet.create_invoice(key="job-1", **terms)

    async def test_a_key_with_a_description_hash_repeats_too(self, wallet):
        terms = {"memo": "", "expiry_s": 600, "key": "zap", "description_hash": b"\x01" * 32}
        assert await wallet.create_invoice(SUM, **terms) == await wallet.create_invoice(SUM, **terms)
        with pytest.raises(WalletRefused, match="other terms"):
            await wallet.create_invoice(SUM, **{**terms, "description_hash": b"\x02" * 32})

    @pytest.mark.parametrize(
        "changes",
        [
            {"key": ""},
            {"key": "a b"},
            {"key": "k" * 129},
            {"expiry_s": 0},
            {"expiry_s": 366 * 86_400 + 1},
            {"description_hash": b"short"},
            {"amount_msat": Msats(10**19)},
        ],
    )
    async def test_terms_no_wallet_takes_are_refused(self, wallet, changes):
        with pytest.raises((WalletRefused, ValueError)):
            await wallet.create_invoice(**{"amount_msat": SUM, "memo": "", "expiry_s": 600, "key": "k", **changes})

    async def test_a_creation_can_fail(self, wallet):
        wallet.fail_creates = 1
        with pytest.raises(WalletUnavailable):
            await create(wallet)
        assert (await create(wallet)).amount_msat == SUM

    async def test_a_creation_can_succeed_and_its_answer_be_lost(self, harness, wallet):
        wallet.lose_creates = 1
        before = harness.dice.getstate()
        with pytest.raises(WalletUnavailable):
            await create(wallet)
        assert harness.dice.getstate() != before, "an invoice was made"
        made = harness.dice.getstate()
        await create(wallet)
        assert harness.dice.getstate() == made, "and is found by its key"


class TestBeingPaid:
    @pytest.mark.parametrize("amount", [10_500, 21_000, 31_500, 42_000])
    async def test_any_amount_may_come(self, wallet, amount):
        invoice = await create(wallet)
        wallet.settle(invoice.payment_hash, Msats(amount))
        status = await wallet.lookup_invoice(invoice.payment_hash)
        assert status == InvoiceStatus(Paid.SETTLED, Msats(amount), 1_700_000_000)
        assert await wallet.balance_msat() == OPENING + amount

    async def test_late_money_is_taken_and_listed(self, harness, wallet):
        invoice = await create(wallet)
        _, cursor = await list_all(wallet, None)
        harness.clock.now += 601
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.EXPIRED
        wallet.settle(invoice.payment_hash)
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.SETTLED
        rows, _ = await list_all(wallet, cursor)
        assert [row.payment_hash for row in rows] == [invoice.payment_hash]

    async def test_an_invoice_expires_in_the_very_second_it_says(self, harness, wallet):
        invoice = await create(wallet)
        harness.clock.now = invoice.expires_at - 0.001
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.OPEN
        harness.clock.now = invoice.expires_at
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.EXPIRED

    async def test_a_second_payment_of_a_hash_fails_as_in_a_node(self, wallet):
        invoice = await create(wallet)
        wallet.settle(invoice.payment_hash)
        with pytest.raises(WalletRefused, match="paid already"):
            wallet.settle(invoice.payment_hash)
        assert await wallet.balance_msat() == OPENING + SUM

    async def test_unless_it_is_forced_and_then_the_sum_grows(self, wallet):
        invoice = await create(wallet)
        with pytest.raises(WalletRefused, match="not paid yet"):
            wallet.settle_again(invoice.payment_hash)
        wallet.settle(invoice.payment_hash)
        wallet.settle_again(invoice.payment_hash, Msats(5_000))
        assert (await wallet.lookup_invoice(invoice.payment_hash)).received_msat == 26_000
        assert await wallet.balance_msat() == OPENING + 26_000
        rows, _ = await list_all(wallet, None)
        assert [row.received_msat for row in rows] == [21_000, 26_000]

    async def test_a_cancelled_invoice_takes_nothing(self, wallet):
        invoice = await create(wallet)
        wallet.cancel(invoice.payment_hash)
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.CANCELED
        with pytest.raises(WalletRefused, match="no such invoice"):
            wallet.settle(invoice.payment_hash)

    async def test_a_paid_or_unknown_invoice_cannot_be_cancelled(self, wallet):
        invoice = await create(wallet)
        wallet.settle(invoice.payment_hash)
        for payment_hash in (invoice.payment_hash, "ab" * 32):
            with pytest.raises(WalletRefused, match="unpaid invoice"):
                wallet.cancel(payment_hash)

    @pytest.mark.parametrize("amount", [0, -1])
    async def test_nothing_is_no_payment(self, wallet, amount):
        invoice = await create(wallet)
        with pytest.raises(WalletRefused, match="at least one"):
            wallet.settle(invoice.payment_hash, Msats(amount))
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.OPEN

    async def test_nobody_can_pay_what_was_never_asked(self, wallet):
        with pytest.raises(WalletRefused, match="no such invoice"):
            wallet.settle("ab" * 32)


class TestHints:
    async def test_a_page_has_a_thousand_rows(self, wallet):
        invoice = await create(wallet)
        wallet.settle(invoice.payment_hash)
        for _ in range(1_001):
            wallet.settle_again(invoice.payment_hash, Msats(1))
        first, cursor = await wallet.list_settled(None)
        second, end = await wallet.list_settled(cursor)
        assert (len(first), len(second)) == (1_000, 2)
        assert await wallet.list_settled(end) == ([], end)

    @pytest.mark.parametrize("cursor", ["", "-1", "x", "1", "9" * 19, "٣"])
    async def test_a_cursor_from_elsewhere_is_refused(self, wallet, cursor):
        """Also one from ahead of the record: an old backup must not hide what comes next."""
        with pytest.raises(WalletRefused, match="from the beginning"):
            await wallet.list_settled(cursor)
        with pytest.raises(WalletRefused, match="from the beginning"):
            await anext(wallet.settled(cursor))

    async def test_no_cursor_means_from_now_on(self, wallet):
        old, new = await create(wallet, "old"), await create(wallet, "new")
        wallet.settle(old.payment_hash)
        hint = asyncio.create_task(anext(wallet.settled(None)))
        await asyncio.sleep(0)
        wallet.settle(new.payment_hash)
        assert await hint == (new.payment_hash, "2")

    async def test_a_forged_hint_comes_through_and_changes_nothing(self, wallet):
        invoice = await create(wallet)
        hint = asyncio.create_task(anext(wallet.settled(None)))
        await asyncio.sleep(0)
        wallet.push(invoice.payment_hash)
        assert await hint == (invoice.payment_hash, "0")
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.OPEN
        assert await list_all(wallet, None) == ([], "0")

    @pytest.mark.parametrize("switch", ["down", "muted"])
    async def test_hints_wait_while_the_wallet_is_away(self, wallet, switch):
        invoice = await create(wallet)
        setattr(wallet, switch, True)
        hints = wallet.settled("0")
        hint = asyncio.create_task(anext(hints))
        await asyncio.sleep(0)
        wallet.settle(invoice.payment_hash)
        wallet.push("ab" * 32)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not hint.done()
        setattr(wallet, switch, False)
        assert not getattr(wallet, switch)
        async with asyncio.timeout(5):
            seen = {(await hint)[0], (await anext(hints))[0]}
        assert seen == {invoice.payment_hash, "ab" * 32}
        await hints.aclose()

    async def test_two_listeners_hear_the_same(self, wallet):
        invoice = await create(wallet)
        listeners = [asyncio.create_task(first_hint_of(wallet.settled("0"), invoice.payment_hash)) for _ in "ab"]
        wallet.settle(invoice.payment_hash)
        assert await asyncio.gather(*listeners) == ["1", "1"]

    async def test_a_stream_that_is_behind_when_the_wallet_closes_just_ends(self, wallet):
        for key in "ab":
            wallet.settle((await create(wallet, key)).payment_hash)
        hints = wallet.settled("0")
        await anext(hints)
        await wallet.aclose()
        assert [hint async for hint in hints] == []


async def test_a_cancelled_listener_leaves_nothing_behind(wallet):
    listening = asyncio.create_task(anext(wallet.settled(None)))
    await asyncio.sleep(0)
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    invoice = await create(wallet)
    wallet.settle(invoice.payment_hash)
    assert await anext(wallet.settled("0")) == (invoice.payment_hash, "1")
