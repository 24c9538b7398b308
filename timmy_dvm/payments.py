"""Money coming in as facts. A push is a hint to look; our own wallet's record decides (NIP-57 and webhooks never).

At start one listing of what settled since the cursor, page by page, then the stream from there on. While the
stream is silent the listing is read again now and then, so that money is found even with every push lost.
"""

import asyncio
from collections.abc import Iterable

from ledger.money import Msats
from ledger.records import InvoiceState
from ledger.store import RuleBroken, Store, StoreUnavailable
from lightning.backend import Lightning, Paid
from lightning.errors import LightningError, WalletRefused
from timmy_dvm.clock import Clock
from timmy_dvm.core.facts import PaymentSeen
from timmy_dvm.engine import Contended, Engine
from timmy_dvm.log import get_logger

_CURSOR = "wallet_cursor"
_AT_ONCE = 64
_SAVE_EVERY_S = 2
_LIST_EVERY_S = 30
"""Without a push money is found within this: the bar is 60 s."""
_RETRY_S = 5
log = get_logger("payments")


class Payments:
    """Watches our wallet for settled invoices and tells the engine."""

    def __init__(self, store: Store, engine: Engine, wallet: Lightning, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._cursor: str | None = None
        self._saved: str | None = None
        self._moved = asyncio.Event()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self.caught_up = asyncio.Event()
        """Set once the first listing is through: what was paid while we were down is booked."""
        self.trouble = ""
        """Why the last listing could not be read; empty when it could."""

    async def run(self) -> None:
        """Run until cancelled. Cancelling is safe: the cursor is behind what was handled, never ahead."""
        self._cursor = self._saved = await self._store.setting(_CURSOR)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_listing())
            group.create_task(self._listen(group))
            group.create_task(self._keep_cursor())

    async def _keep_listing(self) -> None:
        while True:
            try:
                await self._list()
                self.trouble = ""
                self.caught_up.set()
                await self._clock.sleep(_LIST_EVERY_S)
            except (LightningError, StoreUnavailable, RuleBroken, Contended) as error:
                self.trouble = str(error)
                log.warning("can't read the wallet's record", action="wallet_unread", error=self.trouble)
                await self._clock.sleep(_RETRY_S)

    async def _list(self) -> None:
        while True:
            try:
                rows, cursor = await self._wallet.list_settled(self._cursor)
            except WalletRefused:
                if self._cursor is None:
                    raise
                log.warning("the wallet does not know our cursor: reading from the start", action="cursor_lost")
                self._cursor = None
                continue
            at = int(self._clock.now())
            await self._settled_all(
                [PaymentSeen(payment_hash=r.payment_hash, received=r.received_msat, at=at) for r in rows]
            )
            if cursor == self._cursor:
                return
            self._cursor = cursor
            self._moved.set()

    async def _settled_all(self, facts: Iterable[PaymentSeen]) -> None:
        """Book each, whatever becomes of the others; the first trouble is raised once all have ended."""
        outcomes = await asyncio.gather(*(self._settled(fact) for fact in facts), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _settled(self, fact: PaymentSeen) -> None:
        async with self._places:
            invoice = await self._store.invoice(fact.payment_hash)
            if invoice is not None and invoice.state is not InvoiceState.SETTLED:
                await self._engine.handle(fact)

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        await self.caught_up.wait()
        while True:
            try:
                async for payment_hash, _ in self._wallet.settled(self._cursor):
                    await self._places.acquire()
                    group.create_task(self._look(payment_hash))
            except LightningError as error:
                log.warning("the wallet's stream broke off", action="stream_broke", error=str(error))
                await self._clock.sleep(_RETRY_S)
            else:
                return  # the wallet was closed

    async def _look(self, payment_hash: str) -> None:
        """A hint came, and holds a place."""
        try:
            await self.look(payment_hash)
        finally:
            self._places.release()

    async def look(self, payment_hash: str) -> None:
        """Ask the wallet of one invoice, and book what it says. What it can't say now the next listing finds."""
        try:
            invoice = await self._store.invoice(payment_hash)
            if invoice is None or invoice.state is InvoiceState.SETTLED:
                return
            status = await self._wallet.lookup_invoice(payment_hash)
            if status.state is Paid.SETTLED:
                received = None if status.received_msat is None else Msats(status.received_msat)
                at = int(self._clock.now())
                await self._engine.handle(PaymentSeen(payment_hash=payment_hash, received=received, at=at))
        except (LightningError, StoreUnavailable, RuleBroken, Contended) as error:
            log.warning("could not follow a hint of a payment", action="hint_unread", error=str(error))

    async def _keep_cursor(self) -> None:
        while True:
            await self._moved.wait()
            await self._clock.sleep(_SAVE_EVERY_S)
            self._moved.clear()
            await self._save_cursor()

    async def _save_cursor(self) -> None:
        cursor = self._cursor
        if cursor is None or cursor == self._saved:
            return
        try:
            await self._store.remember(_CURSOR, cursor)
        except StoreUnavailable as error:
            log.warning("could not note how far the wallet was read", action="cursor_unsaved", error=str(error))
            self._moved.set()
            return
        self._saved = cursor
