"""Somebody who holds a session at `generosity`: every step is a fact handed in by hand. Amounts are whole sats."""

import json

from ledger import accounts
from ledger.money import Msats, msats_from_sats
from ledger.records import Door, JobRecord, Mode, RefundRecord
from ledger.sessions import SessionRecord
from tests.timmy_dvm.generosity import Generosity, hexed, priced
from timmy_dvm.core.actions import Message, Refused
from timmy_dvm.core.facts import InvoiceMade, InvoiceNotMade, InvoiceUnpaid, PaymentOut, PaymentSeen, PayResult
from timmy_dvm.core.facts import RequestReceived as Asked
from timmy_dvm.core.refund_facts import RefundInvoiced, RefundNotInvoiced
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked, SessionIdle, SessionTopUpAsked


def code(told: list[Message]) -> str:
    """Of a refusal, which was all that was said."""
    (message,) = told
    assert isinstance(message, Refused)
    assert message.sentence.endswith(".")
    return message.code


class Holder:
    """One session, from asking for it to its end."""

    def __init__(self, world: Generosity, pubkey: str | None = None) -> None:
        self.world = world
        self.pubkey = pubkey
        self.id = hexed(f"session {world.fresh()}", 32)
        self.deposit = hexed(f"topup {world.fresh()}", 32)

    async def _told(self, fact) -> list[Message]:
        before = len(self.world.said())
        await self.world.engine.handle(fact)
        return self.world.said()[before:]

    async def asks(self, sats: int = 500) -> list[Message]:
        return await self._told(
            SessionAsked(
                session_id=self.id,
                topup_id=self.deposit,
                pubkey=self.pubkey,
                amount=msats_from_sats(sats),
                at=self.world.now,
            )
        )

    async def opens(self, sats: int = 500) -> "Holder":
        """To the deposit's being there; of any sum that the bounds allow."""
        assert await self.asks(sats) == []
        await self.settles(await self.bill(self.deposit), sats)
        return self

    async def bill(self, topup_id: str) -> str:
        """Our wallet makes the invoice of a top-up; its hash."""
        action = await self._wanted(topup_id)
        wanted = json.loads(action.body)
        payment_hash = hexed(f"hash {wanted['key']}")
        fact = InvoiceMade(
            job_id="",
            topup_id=topup_id,
            key=wanted["key"],
            payment_hash=payment_hash,
            bolt11="lnbc1",
            amount=Msats(wanted["amount"]),
            created_at=self.world.now,
            expires_at=self.world.now + 600,
            at=self.world.now,
        )
        await self.world.engine.handle(fact, done=action.id)
        return payment_hash

    async def _wanted(self, topup_id: str):
        pending = await self.world.store.pending()
        (action,) = [a for a in pending if a.kind == "CreateInvoice" and topup_id in a.body]
        return action

    async def wallet_is_away(self, topup_id: str) -> None:
        action = await self._wanted(topup_id)
        key = json.loads(action.body)["key"]
        fact = InvoiceNotMade(job_id="", topup_id=topup_id, key=key, at=self.world.now)
        await self.world.engine.handle(fact, done=action.id)

    async def settles(self, payment_hash: str, sats: int | None = None, *, msat: int = 0) -> None:
        received = None if sats is None else Msats(1_000 * sats + msat)
        fact = PaymentSeen(payment_hash=payment_hash, received=received, at=self.world.now)
        await self.world.engine.handle(fact)

    async def expires(self, payment_hash: str) -> None:
        await self.world.engine.handle(InvoiceUnpaid(payment_hash=payment_hash, at=self.world.now))

    async def asks_to_top_up(self, sats: int = 500, **changes) -> tuple[str, list[Message]]:
        topup_id = hexed(f"topup {self.world.fresh()}", 32)
        fact = SessionTopUpAsked(
            session_id=self.id, topup_id=topup_id, amount=msats_from_sats(sats), at=self.world.now, **changes
        )
        return topup_id, await self._told(fact)

    async def requests(self, work: int, **changes) -> tuple[str, list[Message]]:
        """A request of which the work is estimated at that much; its job's id, whether or not one was made."""
        values = {
            "job_id": hexed(f"job {self.world.fresh()}", 32),
            "door": Door.HTTP,
            "mode": Mode.ONCE,
            "event_id": None,
            "pubkey": None,
            "text": "Why?",
            "origin": "",
            "btc": priced(work),
            "asked_at": self.world.now,
            "at": self.world.now,
            "session_id": self.id,
        }
        fact = Asked(**(values | changes))
        return fact.job_id, await self._told(fact)

    async def is_served(self, work: int, actual: int) -> JobRecord:
        """A request whose work is estimated at one sum and costs another."""
        job_id, told = await self.requests(work)
        assert told == []
        await self.world.accept(job_id)
        await self.world.answer(job_id, actual)
        return await self.world.job(job_id)

    async def closes(self, sats: int | None = None, name: str = "out", **changes) -> list[Message]:
        """With a BOLT11 for that much, or without one."""
        n = self.world.fresh()
        fields = {"session_id": self.id, "refund_id": hexed(f"refund {n}", 32), "at": self.world.now}
        if sats is not None:
            fields |= {
                "bolt11": f"lnbc{n}",
                "payment_hash": hexed(f"{name} {n}"),
                "amount": msats_from_sats(sats),
                "expires_at": self.world.now + 600,
            }
        return await self._told(SessionCloseAsked(**(fields | changes)))

    async def sent(self, result: PayResult = PayResult.SUCCEEDED, fee: int = 0) -> None:
        """What our wallet says of the payment that is under way."""
        (row,) = [row for row in await self.refunds() if row.payment_hash and row.state in ("sending", "in_doubt")]
        fact = PaymentOut(
            refund_id=row.id,
            payment_hash=row.payment_hash,
            attempts=row.attempts,
            result=result,
            fee=msats_from_sats(fee),
            detail="",
            at=self.world.now,
        )
        await self.world.engine.handle(fact)

    async def _ask(self) -> dict:
        pending = [a for a in await self.world.store.pending() if a.kind == "AskForInvoice"]
        mine = {row.id for row in await self.refunds()}
        (wanted,) = [(a, b) for a in pending if (b := json.loads(a.body))["refund_id"] in mine]
        return {"done": wanted[0].id, **wanted[1]}

    async def is_asked_for(self) -> tuple[str, int]:
        """The address that is asked for an invoice, and of which sum in msat."""
        asked = await self._ask()
        return asked["address"], asked["amount"]

    async def address_gives(self, sats: int) -> None:
        """Where the rest goes gave an invoice of that sum."""
        asked, n = await self._ask(), self.world.fresh()
        assert asked["amount"] == msats_from_sats(sats)
        fact = RefundInvoiced(
            refund_id=asked["refund_id"],
            attempts=asked["attempts"],
            bolt11=f"lnbc{n}",
            payment_hash=hexed(f"address {n}"),
            expires_at=self.world.now + 600,
            at=self.world.now,
        )
        await self.world.engine.handle(fact, done=asked["done"])

    async def address_is_away(self) -> None:
        asked = await self._ask()
        fact = RefundNotInvoiced(
            refund_id=asked["refund_id"],
            attempts=asked["attempts"],
            sentence="It does not answer.",
            lasting=False,
            at=self.world.now,
        )
        await self.world.engine.handle(fact, done=asked["done"])

    async def time_is_over(self) -> None:
        """The look that is due next at whether the session was used."""
        pending = await self.world.store.pending()
        (action,) = [a for a in pending if a.kind == "CloseIdleSession" and self.id in a.body]
        self.world.now = max(self.world.now, action.due_at)
        fact = SessionIdle(session_id=self.id, due_at=action.due_at, at=self.world.now)
        await self.world.engine.handle(fact, done=action.id)

    # What there is to see

    async def row(self) -> SessionRecord:
        row = await self.world.store.look(lambda view: view.session(self.id))
        assert row is not None
        return row

    async def state(self) -> str:
        return str((await self.row()).state)

    async def has(self) -> int:
        return await self.world.balance(accounts.session(self.id))

    async def refunds(self) -> list[RefundRecord]:
        return list(await self.world.store.look(lambda view: view.refunds_of_session(self.id)))

    async def owed(self) -> list[str]:
        return [f"{row.state} {row.amount // 1_000} {row.reason}" for row in await self.refunds()]
