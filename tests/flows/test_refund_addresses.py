"""Change that goes by itself: to a Lightning address on loopback, good or bad, and to a real one of LNbits."""

import asyncio
import dataclasses
import hashlib

import pytest

from ledger.audit import audit
from ledger.money import Msats
from lightning import bolt11
from lightning.backend import Sent
from lightning.lnbits import LnbitsWallet
from tests.flows.house import ALICE, House, a_house
from tests.lnurl_server import ADDRESS, NAME, an_address, judge_for
from timmy_dvm.clock import SystemClock
from timmy_dvm.core.actions import Delivered, RefundMoved
from timmy_dvm.core.facts import RefundClaimed
from timmy_dvm.core.refund_facts import CreditWished
from timmy_dvm.fetching import Document, GuardedFetch, public_https


async def nobody(host: str, port: int) -> list[str]:
    raise OSError(f"{host}:{port} is not looked up here")


class Way:
    """The guarded way out of the house, to a service that is built once the house stands."""

    def __init__(self, deadline_s: float = 5.0) -> None:
        self.ports: dict[str, int] = {}
        self._fetch = GuardedFetch(judge_for(public_https(nobody), self.ports), deadline_s=deadline_s)

    async def __call__(self, url: str, max_bytes: int) -> Document:
        return await self._fetch(url, max_bytes)


async def sold(house: House, **wishes: object) -> str:
    """A job that was asked for, paid and done."""
    job_id = await house.ask(**wishes)
    price = await house.priced()
    await house.until(lambda: _is_written(house, price.payment_hash))
    house.customer.pays(price.bolt11)
    await house.state_is(job_id, "complete")
    return job_id


async def _is_written(house: House, payment_hash: str) -> bool:
    """A price is said inside the commit; a payment is known by what is on disk."""
    return await house.store.invoice(payment_hash) is not None


async def refund_is(house: House, *states: str, tries: int = 0, seconds: float = 10.0):
    found = []

    async def it_is() -> bool:
        found[:] = await house.store.refunds(open_only=False)
        return [str(row.state) for row in found] == list(states) and all(row.attempts >= tries for row in found)

    await house.until(it_is, seconds)
    return found


def invoices_of(house: House):
    return lambda msat, of: house.customer.invoice(Msats(msat), description_hash=of)


async def test_change_arrives_at_the_address_that_was_named(tmp_path):
    way = Way()
    url = f"sqlite:///{tmp_path / 'timmy.db'}"
    async with a_house(url, fetch=way) as house, an_address(invoices_of(house)) as service:
        way.ports[NAME] = service.port
        await sold(house, refund_to=ADDRESS)
        (row,) = await refund_is(house, "sent")
        assert house.customer.received == {row.payment_hash: row.amount}
        assert await house.balance(f"refund:{row.id}") == 0
        assert house.recorder.last(Delivered).ledger["refundState"] == "pending"
        await house.until(lambda: house.recorder.last(RefundMoved))
        assert house.recorder.last(RefundMoved).sentence.endswith("were sent back to the address you named.")
        assert len(service.requests) == 2
        assert not any("host: pay.example" not in request.lower() for request in service.requests)
    assert not audit(tmp_path / "timmy.db")


@pytest.mark.parametrize(
    "mood",
    [
        "refuses",
        "wants more",
        "wrong amount",
        "wrong description",
        "no invoice",
        "64 kB",
        "gone",
        "redirected inside",
    ],
)
async def test_a_bad_service_keeps_nobodys_money_and_is_paid_when_it_mends(mood):
    way = Way()
    async with a_house(fetch=way) as house, an_address(invoices_of(house)) as service:
        way.ports[NAME] = service.port
        service.mood = mood
        await sold(house, refund_to=ADDRESS)
        (row,) = await refund_is(house, "owed", tries=1)
        await house.until(lambda: house.recorder.last(RefundMoved))
        assert (row.due_at, house.customer.received) == (int(house.clock.now()) + 60, {})
        service.mood = ""
        await house.clock.advance(60)
        await refund_is(house, "sent")
        await house.books_are_right()


async def test_a_callback_that_leads_inside_is_never_asked_and_the_money_is_held():
    way = Way()
    async with a_house(fetch=way) as house, an_address(invoices_of(house)) as service:
        way.ports[NAME] = service.port
        service.mood = "callback inside"
        await sold(house, refund_to=ADDRESS)
        await refund_is(house, "held")
        assert len(service.requests) == 1
        await house.books_are_right()


async def test_an_address_that_stays_away_is_asked_five_times_and_then_the_money_is_held_and_can_be_claimed():
    way = Way()
    async with a_house(fetch=way) as house, an_address(invoices_of(house)) as service:
        way.ports[NAME] = service.port
        service.mood = "gone"
        job_id = await sold(house, refund_to=ADDRESS)
        for asked, pause in enumerate((60, 600, 3_600, 21_600), 1):
            await house.until(lambda asked=asked: len(service.requests) == asked)
            await refund_is(house, "owed", tries=asked)
            await house.clock.advance(pause)
        (row,) = await refund_is(house, "held")
        assert (len(service.requests), row.attempts) == (5, 5)
        job = await house.job(job_id)
        wish = CreditWished(
            event_id="c7" * 32, request_event_id=job.event_id, pubkey=ALICE, origin="{}", at=int(house.clock.now())
        )
        await house.engine.handle(wish)
        await refund_is(house, "credited")
        assert await house.balance(f"customer:{ALICE}") == row.amount
        await house.books_are_right()


async def test_a_thousand_claims_at_once_beside_the_address_make_one_payout(tmp_path):
    """I5: whoever is first, through the engine and SQLite: exactly one payment leaves."""
    way = Way()
    url = f"sqlite:///{tmp_path / 'timmy.db'}"
    async with a_house(url, fetch=way) as house, an_address(invoices_of(house)) as service:
        service.mood = "gone"
        way.ports[NAME] = service.port
        job_id = await sold(house, refund_to=ADDRESS)
        (row,) = await refund_is(house, "owed", tries=1)
        service.mood = ""
        job = await house.job(job_id)
        now = int(house.clock.now())
        claim = RefundClaimed(
            event_id="", request_event_id=job.event_id, pubkey=ALICE, bolt11="", payment_hash="",
            amount=row.amount, rail_ok=True, expires_at=now + 3_600, origin="{}", at=now,
        )  # fmt: skip

        async def one(number: int) -> None:
            if number % 100 == 0:
                wish = CreditWished(
                    event_id=f"{number:064x}", request_event_id=job.event_id, pubkey=ALICE, origin="{}", at=now,
                    answered=False,
                )  # fmt: skip
                await house.engine.handle(wish)
                return
            text = house.customer.invoice(row.amount)
            payment_hash = hashlib.sha256(bytes.fromhex(_preimage(house, text))).hexdigest()
            await house.engine.handle(
                dataclasses.replace(
                    claim, event_id=f"{number:064x}", bolt11=text, payment_hash=payment_hash, answered=False
                )
            )

        await asyncio.gather(*(one(number) for number in range(1, 1_001)))
        await refund_is(house, "sent")
        assert sum(house.customer.received.values()) == row.amount
        assert len(house.customer.received) == 1
    assert not audit(tmp_path / "timmy.db")


def _preimage(house: House, text: str) -> str:
    found = house.customer.preimage_of(bolt11.decode(text).payment_hash)
    assert found is not None
    return found


@pytest.mark.peer
@pytest.mark.xdist_group("lnbits")
async def test_change_arrives_at_a_real_lightning_address_of_lnbits(tmp_path, lnbits):
    ours, customer = lnbits.new_wallet(credit_sats=10_000), lnbits.new_wallet(credit_sats=10_000)
    name = customer.lightning_address.partition("@")[0]
    way = Way()
    way.ports["127.0.0.1"] = lnbits.port  # the name LNbits has here, and puts into its callback
    wallet = LnbitsWallet(lnbits.url, ours.adminkey)
    theirs = LnbitsWallet(lnbits.url, customer.adminkey)
    before = await theirs.balance_msat()
    path = tmp_path / "timmy.db"
    async with a_house(f"sqlite:///{path}", fetch=way, wallet=_WithPayees(wallet), clock=SystemClock()) as house:
        job_id = await house.ask(refund_to=f"{name}@127.0.0.1")
        price = await house.priced()
        paid = await theirs.pay(price.bolt11, max_fee_msat=Msats(0), key="job", timeout_s=30)
        assert paid.state is Sent.SUCCEEDED, paid
        await refund_is(house, "sent", seconds=60)
        job = await house.job(job_id)
        assert await theirs.balance_msat() == before - job.charge_eval - job.charge_work
    assert not audit(path)
    await theirs.aclose()
    await wallet.aclose()


class _WithPayees:
    """A wallet that the house's own customer could be told of, though nobody plays that one here."""

    def __init__(self, wallet: LnbitsWallet) -> None:
        self._wallet = wallet
        self.payees: list[object] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._wallet, name)
