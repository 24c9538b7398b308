"""Somebody who holds a session at a house: what they hand in, over the house's engine."""

import dataclasses

from ledger import accounts
from ledger.money import msats_from_sats
from ledger.records import Door, JobRecord, Mode, RefundRecord
from ledger.sessions import SessionRecord
from lightning import bolt11
from tests.flows.house import BTC, QUESTION, House
from timmy_dvm.core.facts import RequestReceived
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked, SessionTopUpAsked


class Holder:
    """One session at a house."""

    def __init__(self, house: House, pubkey: str | None = None) -> None:
        self.house = house
        self.pubkey = pubkey
        self.id = house.random.new_id()

    def now(self) -> int:
        return int(self.house.clock.now())

    async def asks(self, sats: int = 500) -> str:
        """The BOLT11 of its deposit."""
        topup_id = self.house.random.new_id()
        await self.house.engine.handle(
            SessionAsked(
                session_id=self.id,
                topup_id=topup_id,
                pubkey=self.pubkey,
                amount=msats_from_sats(sats),
                at=self.now(),
            )
        )
        return await self._invoice(topup_id)

    async def asks_to_top_up(self, sats: int = 500) -> str:
        topup_id = self.house.random.new_id()
        fact = SessionTopUpAsked(
            session_id=self.id, topup_id=topup_id, amount=msats_from_sats(sats), at=self.now()
        )
        await self.house.engine.handle(fact)
        return await self._invoice(topup_id)

    async def _invoice(self, topup_id: str) -> str:
        async def made():
            return await self.house.store.look(
                lambda view: view.invoice((view.topup(topup_id) or _NONE).payment_hash or "")
            )

        await self.house.until(made)
        return (await made()).bolt11

    async def opens(self, sats: int = 500) -> "Holder":
        self.house.customer.pays(await self.asks(sats))
        await self.is_in("active")
        return self

    async def is_in(self, state: str) -> None:
        async def there() -> bool:
            return str((await self.row()).state) == state

        await self.house.until(there)

    async def requests(self, text: str = QUESTION) -> str:
        job_id = self.house.random.new_id()
        fact = RequestReceived(
            job_id=job_id,
            door=Door.HTTP,
            mode=Mode.ONCE,
            event_id=None,
            pubkey=None,
            text=text,
            origin="",
            btc=BTC,
            asked_at=self.now(),
            at=self.now(),
            session_id=self.id,
        )
        await self.house.engine.handle(fact)
        return job_id

    async def is_served(self, text: str = QUESTION) -> JobRecord:
        job_id = await self.requests(text)
        await self.house.state_is(job_id, "complete", "rejected", "failed")
        return await self.house.job(job_id)

    async def closes(self, sats: int | None = None) -> None:
        fact = SessionCloseAsked(session_id=self.id, refund_id=self.house.random.new_id(), at=self.now())
        if sats is not None:
            invoice = self.house.customer.invoice(msats_from_sats(sats))
            decoded = bolt11.decode(invoice)
            fact = dataclasses.replace(
                fact,
                bolt11=invoice,
                payment_hash=decoded.payment_hash,
                amount=decoded.amount_msat,
                expires_at=decoded.expires_at,
            )
        await self.house.engine.handle(fact)

    async def row(self) -> SessionRecord:
        row = await self.house.store.look(lambda view: view.session(self.id))
        assert row is not None
        return row

    async def has(self) -> int:
        return await self.house.balance(accounts.session(self.id))

    async def refunds(self) -> list[RefundRecord]:
        return list(await self.house.store.look(lambda view: view.refunds_of_session(self.id)))

    async def owes(self, *rows: str) -> None:
        """Wait until what of it is on its way back, or was, is that: ``sent 499``."""

        async def there() -> bool:
            return [f"{row.state} {row.amount // 1_000}" for row in await self.refunds()] == list(rows)

        await self.house.until(there)


@dataclasses.dataclass
class _Nothing:
    payment_hash: None = None


_NONE = _Nothing()
