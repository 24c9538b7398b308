"""The payer behind the dev pay route."""

from ledger.money import ZERO
from ledger.records import InvoiceState
from ledger.store import Store
from lightning.backend import Lightning, Paid, Sent
from lightning.errors import WalletRefused
from timmy_dvm.http.app import PaidHow


class DevPay:
    """A developer pays one of our invoices: with the simulated wallet, or out of our own real one."""

    def __init__(self, wallet: Lightning, store: Store) -> None:
        self._wallet = wallet
        self._store = store

    async def pay(self, payment_hash: str) -> PaidHow:
        """Pay the invoice with this hash, if it is one of ours and open."""
        from lightning.simulated import SimulatedWallet

        invoice = await self._store.invoice(payment_hash)
        if invoice is None:
            return PaidHow.UNKNOWN
        if invoice.state is InvoiceState.SETTLED:
            return PaidHow.ALREADY
        if isinstance(self._wallet, SimulatedWallet):
            try:
                self._wallet.settle(payment_hash)
            except WalletRefused:  # paid a moment ago, or withdrawn
                status = await self._wallet.lookup_invoice(payment_hash)
                return PaidHow.ALREADY if status.state is Paid.SETTLED else PaidHow.UNKNOWN
            return PaidHow.PAID
        sent = await self._wallet.pay(invoice.bolt11, max_fee_msat=ZERO, key=f"dev:{payment_hash}")
        return PaidHow.FAILED if sent.state is Sent.FAILED else PaidHow.PAID
