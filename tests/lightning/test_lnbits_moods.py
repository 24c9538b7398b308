"""`lightning.lnbits` against a real LNbits whose node fails, waits and dies as it is told."""

import time

import pytest

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import Paid, Sent
from lightning.errors import WalletUnavailable
from lightning.lnbits import LnbitsWallet
from tests.lightning.contract import create, eventually, list_all, pay

pytestmark = pytest.mark.peer


def read_hash(text: str) -> str:
    return bolt11.decode(text).payment_hash


class TestANodeWithMoods:
    """LNbits on a node that does as it is told: what FakeWallet never shows."""

    @pytest.fixture
    async def node(self, node_and_lnbits):
        node, _ = node_and_lnbits
        yield node
        node.behave()

    @pytest.fixture
    def ahead(self):
        """How many seconds our clock runs ahead."""
        return [0.0]

    @pytest.fixture
    async def wallet(self, node_and_lnbits, ahead):
        _, server = node_and_lnbits
        account = server.new_wallet(100_000)
        made = LnbitsWallet(server.url, account.adminkey, clock=lambda: time.time() + ahead[0])
        yield made
        await made.aclose()

    async def test_a_refund_costs_its_sum_and_the_fee(self, node, wallet):
        node.fee_sats = 2
        before = await wallet.balance_msat()
        status = await pay(wallet, node.outside_invoice(50_000))
        assert (status.state, status.fee_msat) == (Sent.SUCCEEDED, 2_000)
        assert await wallet.balance_msat() == before - 52_000

    async def test_pending_is_in_flight_until_it_arrives(self, node, wallet):
        node.pay_answer = None
        text = node.outside_invoice(50_000)
        payment_hash = read_hash(text)
        assert (await pay(wallet, text)).state is Sent.IN_FLIGHT
        assert (await wallet.lookup_payment(payment_hash)).state is Sent.IN_FLIGHT
        assert (await pay(wallet, text)).state is Sent.IN_FLIGHT
        node.settle(payment_hash)
        status = await wallet.lookup_payment(payment_hash)
        assert (status.state, status.fee_msat) == (Sent.SUCCEEDED, 1_000)
        assert (await pay(wallet, text)).state is Sent.SUCCEEDED

    async def test_not_known_to_the_node_is_failed_only_after_a_minute(self, node, wallet, ahead):
        """LNbits turns "the node has no such payment" into failed, which may come too early."""
        node.pay_answer, node.knows_payment = None, False
        text = node.outside_invoice(50_000)
        assert (await pay(wallet, text)).state is Sent.IN_FLIGHT
        assert (await wallet.lookup_payment(read_hash(text))).state is Sent.UNKNOWN
        assert (await pay(wallet, text)).state is Sent.UNKNOWN
        ahead[0] = 61.0
        assert (await wallet.lookup_payment(read_hash(text))).state is Sent.FAILED
        assert (await pay(wallet, text)).state is Sent.FAILED

    async def test_no_route_reads_as_in_flight(self, node, wallet):
        """LNbits keeps even a definite failure pending on this node, and so must we."""
        node.pay_answer = "no route"
        text = node.outside_invoice(50_000)
        assert (await pay(wallet, text)).state is Sent.IN_FLIGHT
        assert (await wallet.lookup_payment(read_hash(text))).state is Sent.IN_FLIGHT

    async def test_without_the_reserve_for_fees_nothing_is_sent(self, node, wallet):
        text = node.outside_invoice(await wallet.balance_msat())
        status = await pay(wallet, text)
        assert (status.state, "reserve" in status.detail) == (Sent.FAILED, True)
        assert read_hash(text) not in node.payments

    async def test_money_after_expiry_is_seen(self, node, wallet):
        invoice = await wallet.create_invoice(Msats(21_000), memo="late", expiry_s=4, key="late")

        async def expired() -> bool:
            return (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.EXPIRED

        await eventually(expired)
        _, start = await list_all(wallet, None)
        node.receive(invoice.payment_hash)

        async def settled() -> bool:
            return (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.SETTLED

        await eventually(settled)
        rows, _ = await list_all(wallet, start)
        assert [row.payment_hash for row in rows] == [invoice.payment_hash]

    async def test_nothing_is_lost_when_lnbits_dies_and_is_started_again(self, node_and_lnbits, node, wallet):
        _, server = node_and_lnbits
        open_one, paid = await create(wallet, "open"), await create(wallet, "paid")
        node.pay_answer = None
        refund = node.outside_invoice(50_000)
        assert (await pay(wallet, refund)).state is Sent.IN_FLIGHT
        node.receive(paid.payment_hash)
        assert (await wallet.lookup_invoice(paid.payment_hash)).state is Paid.SETTLED
        _, cursor = await list_all(wallet, None)
        server.kill()
        with pytest.raises(WalletUnavailable):
            await wallet.balance_msat()
        assert (await pay(wallet, refund)).state is Sent.UNKNOWN
        node.settle(read_hash(refund))
        server.start()
        assert await list_all(wallet, cursor) == ([], cursor)
        assert (await wallet.lookup_invoice(paid.payment_hash)).state is Paid.SETTLED
        assert (await wallet.lookup_invoice(open_one.payment_hash)).state is Paid.OPEN
        assert (await wallet.lookup_payment(read_hash(refund))).state is Sent.SUCCEEDED
        assert await create(wallet, "open") == open_one
