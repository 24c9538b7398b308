"""The contract of `lightning.backend.Lightning`, as claims that run on every backend.

A backend's test file has a fixture `harness` that yields its `Harness`, and a class `TestX(LightningContract)`.
Each test asks for a fresh harness whose wallet holds at least 1,000,000 msat and can pay and be paid.
"""

import abc
import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from coincurve import PrivateKey

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import Invoice, Lightning, Paid, Sent, SettledInvoice
from lightning.errors import InvalidInvoice, WalletRefused, WalletUnavailable

PATIENCE_S = 20.0
NO_SUCH_HASH = "ab" * 32
SUM = Msats(21_000)
FEE_CAP = Msats(5_000)
MAINNET_INVOICE = (  # the BOLT 11 example for one cup of coffee, 2017
    "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypq"
    "dq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven"
    "09sam30g4vgpfna3rh"
)


class Harness(abc.ABC):
    """One backend under test, and the world around its wallet."""

    backend: Lightning
    same_key_same_invoice: bool = True
    """Whether a repeated key gives the very same invoice, or only one with the same terms."""

    @abc.abstractmethod
    async def pay_from_outside(self, bolt11: str) -> None:
        """Another wallet pays an invoice of the backend's; returns once it counts as paid over there."""

    @abc.abstractmethod
    async def outside_invoice(self, amount_msat: int) -> str:
        """A fresh BOLT11 another wallet made, which the backend can pay."""

    @abc.abstractmethod
    def unreachable(self) -> Lightning:
        """A backend of the same kind whose wallet is not there (a closed port, say). The harness closes it."""

    async def wait(self, seconds: float) -> None:
        """Let the wallet's time go by; with a simulated clock, without waiting."""
        await asyncio.sleep(seconds)


async def eventually(claim: Callable[[], Awaitable[bool]]) -> None:
    """Wait until ``claim`` holds; a real wallet's books may follow a little later."""
    async with asyncio.timeout(PATIENCE_S):
        while not await claim():  # noqa: ASYNC110 - a wallet over HTTP raises no event of ours
            await asyncio.sleep(0.05)


async def create(backend: Lightning, key: str = "job-1", amount: Msats = SUM) -> Invoice:
    return await backend.create_invoice(amount, memo="Timmy 0a1b2c3d", expiry_s=600, key=key)


async def pay(backend: Lightning, text: str, key: str = "refund-1"):
    return await backend.pay(text, max_fee_msat=FEE_CAP, key=key)


async def list_all(backend: Lightning, cursor: str | None) -> tuple[list[SettledInvoice], str]:
    rows: list[SettledInvoice] = []
    while True:
        page, after = await backend.list_settled(cursor)
        rows += page
        if after == cursor:
            return rows, cursor
        cursor = after


async def first_hint_of(hints: AsyncIterator[tuple[str, str | None]], payment_hash: str) -> str | None:
    async with asyncio.timeout(PATIENCE_S):
        async for seen, cursor in hints:
            if seen == payment_hash:
                return cursor
    pytest.fail("the stream ended without the hint")


class ReceivingContract:
    """Invoices of ours."""

    async def test_an_invoice_says_what_was_asked(self, harness: Harness):
        invoice = await create(harness.backend)
        read = bolt11.decode(invoice.bolt11)
        assert read.network == harness.backend.network
        assert read.amount_msat == invoice.amount_msat == SUM
        assert read.payment_hash == invoice.payment_hash
        assert read.expires_at == invoice.expires_at
        assert read.description == "Timmy 0a1b2c3d"
        assert read.expiry == pytest.approx(600, abs=60)

    async def test_a_description_hash_takes_the_memos_place(self, harness: Harness):
        want = hashlib.sha256(b"[]").digest()
        asked = harness.backend.create_invoice(SUM, memo="ignored", expiry_s=600, key="zap", description_hash=want)
        if not harness.backend.caps.description_hash:
            with pytest.raises(WalletRefused):
                await asked
            return
        read = bolt11.decode((await asked).bolt11)
        assert (read.description_hash, read.description) == (want.hex(), None)

    async def test_repeating_a_key_is_safe(self, harness: Harness):
        first, again = await create(harness.backend), await create(harness.backend)
        if harness.same_key_same_invoice:
            assert first == again
        assert first.amount_msat == again.amount_msat

    async def test_two_keys_are_two_invoices(self, harness: Harness):
        one, two = await asyncio.gather(create(harness.backend, "a"), create(harness.backend, "b"))
        assert one.payment_hash != two.payment_hash

    @pytest.mark.parametrize("amount", [0, -1_000, 999])
    async def test_less_than_a_sat_is_refused(self, harness: Harness, amount):
        with pytest.raises(WalletRefused):
            await create(harness.backend, amount=Msats(amount))

    async def test_single_msat_are_exact_or_refused_and_never_rounded(self, harness: Harness):
        if harness.backend.caps.msat:
            assert bolt11.decode((await create(harness.backend, amount=Msats(1_501))).bolt11).amount_msat == 1_501
            return
        with pytest.raises(WalletRefused):
            await create(harness.backend, amount=Msats(1_501))

    async def test_a_memo_too_long_is_refused_by_bytes_not_characters(self, harness: Harness):
        too_long = "é" * (harness.backend.caps.memo_bytes // 2 + 1)
        with pytest.raises(WalletRefused):
            await harness.backend.create_invoice(SUM, memo=too_long, expiry_s=600, key="long")

    async def test_a_new_invoice_is_open(self, harness: Harness):
        invoice = await create(harness.backend)
        assert (await harness.backend.lookup_invoice(invoice.payment_hash)).state is Paid.OPEN

    async def test_an_unknown_hash_is_unknown(self, harness: Harness):
        assert (await harness.backend.lookup_invoice(NO_SUCH_HASH)).state is Paid.UNKNOWN

    async def test_paid_from_outside_is_settled_and_stays_so(self, harness: Harness):
        backend = harness.backend
        before = await backend.balance_msat()
        invoice = await create(backend)
        await harness.pay_from_outside(invoice.bolt11)

        async def settled() -> bool:
            return (await backend.lookup_invoice(invoice.payment_hash)).state is Paid.SETTLED

        await eventually(settled)
        status = await backend.lookup_invoice(invoice.payment_hash)
        assert status.state is Paid.SETTLED
        assert status.received_msat in ((SUM,) if backend.caps.reports_received else (SUM, None))

        async def credited() -> bool:
            return await backend.balance_msat() == before + SUM

        await eventually(credited)

    async def test_time_makes_an_open_invoice_expire(self, harness: Harness):
        invoice = await harness.backend.create_invoice(SUM, memo="short", expiry_s=4, key="short")
        await harness.wait(5)

        async def expired() -> bool:
            return (await harness.backend.lookup_invoice(invoice.payment_hash)).state is Paid.EXPIRED

        await eventually(expired)


class FollowingContract:
    """How settlements are learnt: by listing, and by hints."""

    async def test_a_listing_has_the_paid_and_not_the_open(self, harness: Harness):
        backend = harness.backend
        _, start = await list_all(backend, None)
        paid, unpaid = await create(backend, "paid"), await create(backend, "open")
        await harness.pay_from_outside(paid.bolt11)
        rows: list[SettledInvoice] = []

        async def listed() -> bool:
            rows[:], _ = await list_all(backend, start)
            return any(row.payment_hash == paid.payment_hash for row in rows)

        await eventually(listed)
        assert unpaid.payment_hash not in {row.payment_hash for row in rows}
        row = next(row for row in rows if row.payment_hash == paid.payment_hash)
        assert row.received_msat in (SUM, None)

    async def test_paging_ends_and_skips_nothing(self, harness: Harness):
        backend = harness.backend
        _, cursor = await list_all(backend, None)
        wanted: set[str] = set()
        seen: set[str] = set()
        for turn in range(3):
            invoice = await create(backend, f"turn-{turn}")
            wanted.add(invoice.payment_hash)
            await harness.pay_from_outside(invoice.bolt11)

        async def all_seen() -> bool:
            nonlocal cursor
            rows, cursor = await list_all(backend, cursor)
            seen.update(row.payment_hash for row in rows)
            return wanted <= seen

        await eventually(all_seen)

    async def test_the_very_first_listing_begins_at_the_beginning(self, harness: Harness):
        invoice = await create(harness.backend)
        await harness.pay_from_outside(invoice.bolt11)

        async def listed() -> bool:
            rows, _ = await list_all(harness.backend, None)
            return invoice.payment_hash in {row.payment_hash for row in rows}

        await eventually(listed)

    async def test_a_payment_while_listening_gives_a_hint(self, harness: Harness):
        backend = harness.backend
        _, start = await list_all(backend, None)
        invoice = await create(backend)
        hint = asyncio.create_task(first_hint_of(backend.settled(start), invoice.payment_hash))
        await harness.pay_from_outside(invoice.bolt11)
        await hint
        assert (await backend.lookup_invoice(invoice.payment_hash)).state is Paid.SETTLED

    async def test_what_a_gap_missed_is_found_again(self, harness: Harness):
        """By the stream where it can resume, and by the listing always."""
        backend = harness.backend
        _, start = await list_all(backend, None)
        invoice = await create(backend)
        await harness.pay_from_outside(invoice.bolt11)
        if backend.caps.resume:
            cursor = await first_hint_of(backend.settled(start), invoice.payment_hash)
            assert cursor is not None
            await list_all(backend, cursor)  # a cursor of the stream is one of the listing

        async def listed() -> bool:
            rows, _ = await list_all(backend, start)
            return invoice.payment_hash in {row.payment_hash for row in rows}

        await eventually(listed)

    async def test_a_cursor_is_short_text(self, harness: Harness):
        invoice = await create(harness.backend)
        await harness.pay_from_outside(invoice.bolt11)
        _, cursor = await list_all(harness.backend, None)
        assert cursor is not None
        assert len(cursor) <= 128

    async def test_an_empty_listing_has_a_cursor_too(self, harness: Harness):
        """Else whoever listens from it would start anywhere."""
        invoice = await create(harness.backend)
        _, start = await harness.backend.list_settled(None)
        assert start is not None
        await harness.pay_from_outside(invoice.bolt11)

        async def listed() -> bool:
            rows, _ = await list_all(harness.backend, start)
            return invoice.payment_hash in {row.payment_hash for row in rows}

        await eventually(listed)

    async def test_closing_ends_the_stream(self, harness: Harness):
        async def drain() -> None:
            async for _ in harness.backend.settled(None):
                pass

        listening = asyncio.create_task(drain())
        await harness.backend.balance_msat()  # gives the stream its turn to begin
        await harness.backend.aclose()
        await harness.backend.aclose()
        async with asyncio.timeout(PATIENCE_S):
            await listening


class PayingContract:
    """Invoices of others."""

    async def test_a_payment_arrives_once_and_costs_what_it_says(self, harness: Harness):
        backend = harness.backend
        before = await backend.balance_msat()
        text = await harness.outside_invoice(SUM)
        status = await pay(backend, text)
        assert status.state is Sent.SUCCEEDED
        assert (status.fee_msat or 0) <= FEE_CAP
        again = await pay(backend, text)
        assert (again.state, again.fee_msat) == (status.state, status.fee_msat)
        looked_up = await backend.lookup_payment(bolt11.decode(text).payment_hash)
        assert (looked_up.state, looked_up.fee_msat) == (Sent.SUCCEEDED, status.fee_msat)

        async def charged() -> bool:
            return await backend.balance_msat() == before - SUM - (status.fee_msat or 0)

        await eventually(charged)

    async def test_a_preimage_if_told_is_the_right_one_and_not_in_the_repr(self, harness: Harness):
        text = await harness.outside_invoice(SUM)
        status = await pay(harness.backend, text)
        if status.preimage is not None:
            digest = hashlib.sha256(bytes.fromhex(status.preimage)).hexdigest()
            assert digest == bolt11.decode(text).payment_hash
            assert status.preimage not in repr(status)

    async def test_five_at_once_pay_once(self, harness: Harness):
        backend = harness.backend
        before = await backend.balance_msat()
        text = await harness.outside_invoice(SUM)
        answers = await asyncio.gather(*(pay(backend, text) for _ in range(5)))
        assert Sent.FAILED not in {answer.state for answer in answers}
        payment_hash = bolt11.decode(text).payment_hash

        async def succeeded() -> bool:
            return (await backend.lookup_payment(payment_hash)).state is Sent.SUCCEEDED

        await eventually(succeeded)
        assert before - await backend.balance_msat() <= SUM + FEE_CAP

    async def test_two_refunds_are_two_payments(self, harness: Harness):
        one, two = await harness.outside_invoice(SUM), await harness.outside_invoice(SUM)
        states = [(await pay(harness.backend, text, key)).state for text, key in ((one, "r1"), (two, "r2"))]
        assert states == [Sent.SUCCEEDED, Sent.SUCCEEDED]

    async def test_an_unknown_payment_is_unknown_and_not_failed(self, harness: Harness):
        assert (await harness.backend.lookup_payment(NO_SUCH_HASH)).state is Sent.UNKNOWN

    async def test_a_payment_beyond_the_balance_fails_and_costs_nothing(self, harness: Harness):
        backend = harness.backend
        before = await backend.balance_msat()
        text = await harness.outside_invoice(before + 1_000_000)
        assert (await pay(backend, text)).state is Sent.FAILED
        assert await backend.balance_msat() == before

    @pytest.mark.parametrize("text", ["", "lnbcrt1nonsense", "timmy@example.com", "lightning:"])
    async def test_what_is_no_invoice_is_refused_before_sending(self, harness: Harness, text):
        with pytest.raises(InvalidInvoice):
            await pay(harness.backend, text)

    async def test_an_invoice_of_another_network_is_refused(self, harness: Harness):
        if harness.backend.network == "bc":
            text = bolt11.encode(
                PrivateKey(b"\x01" * 32), network="bcrt", payment_hash=b"\x02" * 32, payment_secret=b"\x03" * 32,
                timestamp=2_000_000_000, amount_msat=SUM, description="", expiry=600,
            )  # fmt: skip
        else:
            text = MAINNET_INVOICE
        with pytest.raises(InvalidInvoice):
            await pay(harness.backend, text)

    async def test_another_amount_than_the_invoices_is_refused(self, harness: Harness):
        text = await harness.outside_invoice(SUM)
        with pytest.raises(InvalidInvoice):
            await harness.backend.pay(text, max_fee_msat=FEE_CAP, key="r", amount_msat=Msats(SUM + 1_000))
        assert (await harness.backend.lookup_payment(bolt11.decode(text).payment_hash)).state is Sent.UNKNOWN


class RobustnessContract:
    """Cancelling, and a wallet that is not there."""

    async def test_after_a_cancelled_call_the_next_one_works(self, harness: Harness):
        backend = harness.backend
        text = await harness.outside_invoice(SUM)
        for call in (create(backend, "lost"), pay(backend, text), backend.balance_msat()):
            task = asyncio.create_task(call)
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        invoice = await create(backend, "after")
        assert (await backend.lookup_invoice(invoice.payment_hash)).state is Paid.OPEN
        state = (await backend.lookup_payment(bolt11.decode(text).payment_hash)).state
        assert state is not Sent.FAILED

    async def test_a_wallet_out_of_reach_is_unavailable(self, harness: Harness):
        gone = harness.unreachable()
        for call in (
            create(gone),
            gone.lookup_invoice(NO_SUCH_HASH),
            gone.lookup_payment(NO_SUCH_HASH),
            gone.list_settled(None),
            gone.balance_msat(),
        ):
            with pytest.raises(WalletUnavailable):
                await call

    async def test_paying_with_the_wallet_out_of_reach_is_unknown(self, harness: Harness):
        text = await harness.outside_invoice(SUM)
        assert (await pay(harness.unreachable(), text)).state is Sent.UNKNOWN


class LightningContract(ReceivingContract, FollowingContract, PayingContract, RobustnessContract):
    """Everything a backend promises."""
