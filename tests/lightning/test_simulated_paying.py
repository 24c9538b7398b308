"""The simulated wallet pays, misbehaves on demand, and remembers. Its other half is in `test_simulated.py`."""

import hashlib

import pytest
from coincurve import PrivateKey

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import Paid, Sent, SettledInvoice
from lightning.errors import InvalidInvoice, WalletRefused, WalletUnavailable
from lightning.simulated import Outcome
from tests.lightning.contract import create, list_all, pay
from tests.lightning.simulated_world import OPENING, SUM, SimulatedHarness


@pytest.fixture
async def harness():
    world = SimulatedHarness()
    yield world
    await world.backend.aclose()


@pytest.fixture
def wallet(harness):
    return harness.backend


class TestPaying:
    async def test_the_fee_is_charged_and_bounded(self, harness, wallet):
        wallet.fee_msat = Msats(1_000)
        text = harness.outside.invoice(SUM)
        dear = await wallet.pay(text, max_fee_msat=Msats(999), key="r")
        assert (dear.state, dear.fee_msat) == (Sent.FAILED, None)
        assert "1000 msat" in dear.detail
        paid = await wallet.pay(text, max_fee_msat=Msats(1_000), key="r")
        assert (paid.state, paid.fee_msat) == (Sent.SUCCEEDED, 1_000)
        assert await wallet.balance_msat() == OPENING - 22_000
        assert harness.outside.received == {bolt11.decode(text).payment_hash: SUM}

    async def test_a_wallet_may_break_the_bound_and_says_what_it_took(self, harness, wallet):
        wallet.fee_msat, wallet.ignores_fee_limit = Msats(9_000), True
        status = await pay(wallet, harness.outside.invoice(SUM))
        assert (status.state, status.fee_msat) == (Sent.SUCCEEDED, 9_000)
        assert await wallet.balance_msat() == OPENING - 30_000

    async def test_the_fee_must_be_there_too(self, harness, wallet):
        wallet.fee_msat = Msats(1)
        status = await pay(wallet, harness.outside.invoice(OPENING))
        assert (status.state, status.detail) == (Sent.FAILED, "The balance is too low.")

    async def test_the_preimage_is_the_payees(self, harness, wallet):
        text = harness.outside.invoice(SUM)
        status = await pay(wallet, text)
        assert hashlib.sha256(bytes.fromhex(status.preimage)).hexdigest() == bolt11.decode(text).payment_hash

    async def test_a_stranger_is_paid_without_a_preimage(self, wallet):
        text = bolt11.encode(
            PrivateKey(b"\x07" * 32),
            network="bcrt",
            payment_hash=b"\x01" * 32,
            payment_secret=b"\x02" * 32,
            timestamp=1_700_000_000,
            amount_msat=SUM,
            description="",
        )
        status = await pay(wallet, text)
        assert (status.state, status.preimage) == (Sent.SUCCEEDED, None)

    async def test_an_expired_invoice_fails_unless_it_was_paid_in_time(self, harness, wallet):
        paid, missed = harness.outside.invoice(SUM), harness.outside.invoice(SUM)
        await pay(wallet, paid)
        harness.clock.now += 3_601
        assert (await pay(wallet, paid)).state is Sent.SUCCEEDED
        assert (await pay(wallet, missed)).state is Sent.FAILED

    async def test_an_amountless_invoice_wants_an_amount(self, harness, wallet):
        text = harness.outside.invoice(None)
        for amount in (None, Msats(0)):
            with pytest.raises(InvalidInvoice):
                await wallet.pay(text, max_fee_msat=Msats(0), key="r", amount_msat=amount)
        status = await wallet.pay(text, max_fee_msat=Msats(0), key="r", amount_msat=SUM)
        assert status.state is Sent.SUCCEEDED
        assert await wallet.balance_msat() == OPENING - SUM

    async def test_an_invoice_of_its_own_settles_itself_for_free(self, wallet):
        """Real nodes may do so, which is why callers refuse their own hashes before they come here."""
        wallet.fee_msat = Msats(0)
        invoice = await create(wallet)
        status = await pay(wallet, invoice.bolt11)
        assert status.state is Sent.SUCCEEDED
        assert hashlib.sha256(bytes.fromhex(status.preimage)).hexdigest() == invoice.payment_hash
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.SETTLED
        assert await wallet.balance_msat() == OPENING

    async def test_an_invoice_of_its_own_that_is_paid_or_cancelled_fails(self, wallet):
        paid, canceled = await create(wallet, "a"), await create(wallet, "b")
        wallet.settle(paid.payment_hash)
        wallet.cancel(canceled.payment_hash)
        for invoice in (paid, canceled):
            assert (await pay(wallet, invoice.bolt11)).state is Sent.FAILED

    @pytest.mark.parametrize(
        ("outcome", "answer", "look_up"),
        [
            (Outcome.SUCCEEDED, Sent.SUCCEEDED, Sent.SUCCEEDED),
            (Outcome.FAILED, Sent.FAILED, Sent.FAILED),
            (Outcome.IN_FLIGHT, Sent.IN_FLIGHT, Sent.IN_FLIGHT),
            (Outcome.UNKNOWN, Sent.UNKNOWN, Sent.UNKNOWN),
            (Outcome.UNKNOWN_THEN_SUCCEEDED, Sent.UNKNOWN, Sent.SUCCEEDED),
            (Outcome.UNKNOWN_THEN_FAILED, Sent.UNKNOWN, Sent.FAILED),
            (Outcome.LOST, Sent.UNKNOWN, Sent.UNKNOWN),
        ],
    )
    async def test_every_outcome(self, harness, wallet, outcome, answer, look_up):
        text = harness.outside.invoice(SUM)
        wallet.next_outcomes.append(outcome)
        assert (await pay(wallet, text)).state is answer
        assert (await wallet.lookup_payment(bolt11.decode(text).payment_hash)).state is look_up
        free = look_up is Sent.FAILED or outcome is Outcome.LOST
        assert await wallet.balance_msat() == OPENING - (0 if free else SUM)
        again = await pay(wallet, text)
        assert again.state is (Sent.SUCCEEDED if free else look_up), "only what surely failed is tried anew"

    @pytest.mark.parametrize("start", [Outcome.IN_FLIGHT, Outcome.UNKNOWN])
    async def test_an_open_payment_ends_later(self, harness, wallet, start):
        wallet.fee_msat = Msats(500)
        wallet.next_outcomes += [start, start]
        good, bad = harness.outside.invoice(SUM), harness.outside.invoice(SUM)
        for text, end in ((good, Sent.SUCCEEDED), (bad, Sent.FAILED)):
            payment_hash = bolt11.decode(text).payment_hash
            assert (await pay(wallet, text)).fee_msat is None
            wallet.resolve_payment(payment_hash, end)
            assert (await wallet.lookup_payment(payment_hash)).state is end
        assert await wallet.balance_msat() == OPENING - SUM - 500
        assert harness.outside.received == {bolt11.decode(good).payment_hash: SUM}

    async def test_only_an_open_payment_is_resolved_and_only_to_an_end(self, harness, wallet):
        wallet.next_outcomes.append(Outcome.IN_FLIGHT)
        text = harness.outside.invoice(SUM)
        payment_hash = bolt11.decode(text).payment_hash
        with pytest.raises(WalletRefused, match="no open payment"):
            wallet.resolve_payment(payment_hash, Sent.SUCCEEDED)
        await pay(wallet, text)
        with pytest.raises(WalletRefused, match="ends as"):
            wallet.resolve_payment(payment_hash, Sent.UNKNOWN)
        wallet.resolve_payment(payment_hash, Sent.SUCCEEDED)
        with pytest.raises(WalletRefused, match="no open payment"):
            wallet.resolve_payment(payment_hash, Sent.FAILED)


class TestFaults:
    async def test_look_ups_can_know_nothing_for_a_while(self, harness, wallet):
        invoice, text = await create(wallet), harness.outside.invoice(SUM)
        wallet.settle(invoice.payment_hash)
        await pay(wallet, text)
        wallet.lookups_unknown = True
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.UNKNOWN
        assert (await wallet.lookup_payment(bolt11.decode(text).payment_hash)).state is Sent.UNKNOWN
        wallet.lookups_unknown = False
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.SETTLED

    async def test_the_balance_can_be_read_stale(self, wallet):
        wallet.stale_balance_msat = Msats(3)
        assert await wallet.balance_msat() == 3
        wallet.stale_balance_msat = None
        assert await wallet.balance_msat() == OPENING

    async def test_a_wallet_that_is_down_still_takes_money(self, wallet):
        invoice = await create(wallet)
        wallet.down = True
        assert wallet.down
        wallet.settle(invoice.payment_hash)
        with pytest.raises(WalletUnavailable):
            await wallet.lookup_invoice(invoice.payment_hash)
        wallet.down = False
        assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.SETTLED

    async def test_a_full_disk_changes_nothing(self, tmp_path):
        """What cannot be written down has not happened."""
        world = SimulatedHarness(tmp_path / "wallet.jsonl")
        wallet, text = world.backend, world.outside.invoice(SUM)
        await create(wallet, "before")
        await wallet.aclose()
        world.path.rename(tmp_path / "elsewhere")
        world.path.mkdir()
        with pytest.raises(WalletUnavailable):
            await create(wallet, "during")
        assert (await pay(wallet, text)).state is Sent.UNKNOWN
        assert world.outside.received == {}
        world.path.rmdir()
        (tmp_path / "elsewhere").rename(world.path)
        assert (await pay(wallet, text)).state is Sent.SUCCEEDED
        await create(wallet, "after")
        assert await world.restart().balance_msat() == OPENING - SUM


class TestRestart:
    @pytest.fixture
    def harness(self, tmp_path):
        return SimulatedHarness(tmp_path / "wallet.jsonl")

    async def test_everything_is_remembered(self, harness, wallet):
        wallet.fee_msat = Msats(100)
        wallet.next_outcomes += [Outcome.SUCCEEDED, Outcome.IN_FLIGHT, Outcome.FAILED]
        open_, paid, canceled = [await create(wallet, key) for key in ("open", "paid", "canceled")]
        wallet.settle(paid.payment_hash, Msats(30_000))
        wallet.settle_again(paid.payment_hash, Msats(1_000))
        wallet.cancel(canceled.payment_hash)
        texts = [harness.outside.invoice(SUM) for _ in range(3)]
        before = [await pay(wallet, text) for text in texts]
        balance = await wallet.balance_msat()

        again = harness.restart()
        assert await again.balance_msat() == balance == OPENING + 31_000 - 2 * 21_100
        assert await create(again, "open") == open_
        states = [(await again.lookup_invoice(one.payment_hash)).state for one in (open_, paid, canceled)]
        assert states == [Paid.OPEN, Paid.SETTLED, Paid.CANCELED]
        assert [await again.lookup_payment(bolt11.decode(text).payment_hash) for text in texts] == before
        assert (await list_all(again, None))[0] == (await list_all(wallet, None))[0]

    async def test_a_cursor_goes_on_where_it_was(self, harness, wallet):
        first, second = await create(wallet, "a"), await create(wallet, "b")
        wallet.settle(first.payment_hash)
        hints = wallet.settled("0")
        _, cursor = await anext(hints)
        wallet.settle(second.payment_hash)

        again = harness.restart()
        assert await anext(again.settled(cursor)) == (second.payment_hash, "2")
        rows, _ = await again.list_settled(cursor)
        assert rows == [SettledInvoice(second.payment_hash, SUM, 1_700_000_000)]

    async def test_an_open_payment_can_still_end(self, harness, wallet):
        wallet.next_outcomes.append(Outcome.UNKNOWN)
        payment_hash = bolt11.decode(text := harness.outside.invoice(SUM)).payment_hash
        await pay(wallet, text)
        again = harness.restart()
        again.resolve_payment(payment_hash, Sent.FAILED)
        assert await again.balance_msat() == OPENING

    async def test_paying_itself_is_one_step_on_disk(self, harness, wallet):
        """Received and not yet sent, the money would exist twice."""
        invoice = await create(wallet)
        await pay(wallet, invoice.bolt11)
        text = harness.path.read_bytes()
        for cut in range(text.rindex(b"\n", 0, -1) + 1, len(text)):
            harness.path.write_bytes(text[:cut])
            again = harness.restart()
            assert await again.balance_msat() == OPENING, "neither half of it"
