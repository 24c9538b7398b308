"""Somebody who orders a node of a house, without a door."""

from ledger.bootstrap import BootstrapRecord
from ledger.records import RefundRecord
from tests.flows.house import House
from timmy_dvm.core.bootstrap_facts import BootstrapAsked


class Orderer:
    """One order."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.id = house.random.new_id()

    async def asks(self) -> str:
        """Its invoice."""
        await self.orders()
        return await self.invoice()

    async def orders(self) -> None:
        now = int(self.house.clock.now())
        await self.house.engine.handle(BootstrapAsked(bootstrap_id=self.id, pubkey=None, at=now))

    async def invoice(self) -> str:
        """Its invoice, as soon as it is made."""

        async def has_one() -> bool:
            return (await self.row()).payment_request is not None

        await self.house.until(has_one)
        return str((await self.row()).payment_request)

    async def row(self) -> BootstrapRecord:
        row = await self.house.store.look(lambda view: view.bootstrap(self.id))
        assert row is not None
        return row

    async def is_in(self, state: str) -> None:
        async def it_is() -> bool:
            return (await self.row()).state == state

        await self.house.until(it_is)

    async def is_owed(self, *amounts: int) -> list[RefundRecord]:
        """What of its money goes back, once that is so, in sats."""

        async def sums() -> list[RefundRecord]:
            return list(await self.house.store.look(lambda view: view.refunds_of_bootstrap(self.id)))

        async def they_are() -> bool:
            return [row.amount // 1_000 for row in await sums()] == list(amounts)

        await self.house.until(they_are)
        return await sums()
