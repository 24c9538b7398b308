"""Claims at a door without events: who may, what is answered, and that the same claim again moves nothing."""

import asyncio
import contextlib
import dataclasses

import pytest

from ledger.money import Msats
from ledger.records import Door, RefundState
from lightning import bolt11
from tests.flows.house import ALICE, a_house
from tests.timmy_dvm.core.builders import STRANGER
from timmy_dvm.claims import Claim, Claims
from timmy_dvm.core.actions import Refused

SECRET = b"sixteen bytes or more"
TAKEN = (RefundState.SENDING, RefundState.SENT)
"""How a claim that was taken stands, by how fast its payment is."""


@contextlib.asynccontextmanager
async def held(url="sqlite:///:memory:", *, of_key=False, by_event=False):
    """A house in which one job is done and its change waits; the claims of it; and that refund."""
    async with a_house(url) as house:
        event = {} if by_event else {"event_id": None}
        job_id = await house.ask(door=Door.HTTP, pubkey=ALICE if of_key else None, **event)
        price = await house.priced()

        async def is_written():
            return await house.store.invoice(price.payment_hash) is not None

        await house.until(is_written)
        house.customer.pays(price.bolt11)
        await house.state_is(job_id, "complete")
        claims = Claims(
            house.engine, house.store, house.policy, house.clock, network=house.wallet.network, secret=SECRET
        )
        (row,) = await house.store.refunds(open_only=True)
        assert row.state is RefundState.HELD
        yield house, claims, row


def invoice_of(house, row, more=0):
    return house.customer.invoice(Msats(row.amount + more))


async def sent(house):
    async def it_is():
        (row,) = await house.store.refunds(open_only=False)
        return row.state is RefundState.SENT

    await house.until(it_is)


async def test_who_shows_the_jobs_secret_is_paid_once_and_the_same_claim_has_the_same_answer():
    async with held() as (house, claims, row):
        asked = Claim(job_id=row.job_id, invoice=invoice_of(house, row), by_secret=True)
        first = await claims.claim(asked)
        assert (first.id, first.amount) == (row.id, row.amount)
        assert first.state in TAKEN
        assert first.payment_hash == bolt11.decode(asked.invoice).payment_hash
        again = await claims.claim(asked)
        await sent(house)
        at_last = await claims.claim(asked)
        assert (again.id, again.payment_hash, at_last.state) == (row.id, first.payment_hash, RefundState.SENT)
        assert house.customer.received == {first.payment_hash: row.amount}
        await house.books_are_right()


async def test_another_claim_while_one_is_under_way_is_told_so_and_after_it_that_nothing_is_left():
    async with held() as (house, claims, row):
        asked = Claim(job_id=row.job_id, invoice=invoice_of(house, row), by_secret=True)
        other = dataclasses.replace(asked, invoice=invoice_of(house, row))
        await claims.claim(asked)
        told = await claims.claim(other)
        assert told.code in ("already_sending", "nothing_owed")  # by how fast the payment was
        await sent(house)
        assert (await claims.claim(other)).code == "nothing_owed"
        assert len(house.customer.received) == 1


@pytest.mark.parametrize("who", [{}, {"pubkey": STRANGER}, {"pubkey": ALICE}])
async def test_without_the_secret_nobody_has_an_anonymous_jobs_money(who):
    async with held() as (house, claims, row):
        told = await claims.claim(Claim(job_id=row.job_id, invoice=invoice_of(house, row), **who))
        assert told.code == "not_yours"
        assert (await house.store.refunds(open_only=True))[0] == row


async def test_the_jobs_key_may_claim_and_no_other():
    async with held(of_key=True) as (house, claims, row):
        invoice = invoice_of(house, row)
        assert (await claims.claim(Claim(job_id=row.job_id, invoice=invoice, pubkey=STRANGER))).code == "not_yours"
        taken = await claims.claim(Claim(job_id=row.job_id, invoice=invoice, pubkey=ALICE))
        assert taken.state in TAKEN


async def test_of_a_job_that_came_as_an_event_a_secret_proves_nothing():
    async with held(of_key=True, by_event=True) as (house, claims, row):
        told = await claims.claim(Claim(job_id=row.job_id, invoice=invoice_of(house, row), by_secret=True))
        assert told.code == "not_yours"


@pytest.mark.parametrize(
    ("code", "job", "more", "text"),
    [
        ("unknown_job", "0" * 32, 0, None),
        ("wrong_amount", None, 1_000, None),
        ("wrong_amount", None, -1_000, None),
        ("bad_invoice", None, 0, "lnbcrt1junk"),
        ("bad_invoice", None, 0, ""),
    ],
)
async def test_a_claim_is_refused_by_the_codes_of_the_relay_door_and_nothing_moves(code, job, more, text):
    async with held() as (house, claims, row):
        invoice = invoice_of(house, row, more) if text is None else text
        told = await claims.claim(Claim(job_id=job or row.job_id, invoice=invoice, by_secret=True))
        assert isinstance(told, Refused)
        assert told.code == code
        assert told.sentence.endswith(".") or code == "bad_invoice"
        assert (await house.store.refunds(open_only=True))[0] == row


async def test_a_claim_that_was_refused_may_be_made_again():
    async with held() as (house, claims, row):
        asked = Claim(job_id=row.job_id, invoice=invoice_of(house, row))
        assert (await claims.claim(asked)).code == "not_yours"
        taken = await claims.claim(dataclasses.replace(asked, by_secret=True))
        assert taken.state in TAKEN


async def test_a_thousand_claims_at_once_make_one_payout(tmp_path):
    """I5, through the engine and a ledger on disk."""
    async with held(f"sqlite:///{tmp_path / 'timmy.db'}") as (house, claims, row):
        asked = [Claim(job_id=row.job_id, invoice=invoice_of(house, row), by_secret=True) for _ in range(1_000)]
        told = await asyncio.gather(*map(claims.claim, asked))
        await sent(house)
        taken = [answer for answer in told if not isinstance(answer, Refused)]
        codes = {answer.code for answer in told if isinstance(answer, Refused)}
        assert codes <= {"already_sending", "nothing_owed"}
        assert len(taken) == len(house.customer.received) == 1
        assert house.customer.received == {taken[0].payment_hash: row.amount}
        await house.books_are_right()


async def test_a_withdrawal_pays_its_one_sum_to_who_has_the_word_and_only_once():
    """LUD-03: k1 is used once, and the least is the most."""
    async with held() as (house, claims, row):
        word = claims.word_for(row)
        assert await claims.offered(word) == await claims.offered(word.upper()) == row
        assert (await claims.withdraw(word, invoice_of(house, row, 1_000))).code == "wrong_amount"
        assert (await claims.withdraw(word, "lnbcrt1junk")).code == "bad_invoice"
        invoice = invoice_of(house, row)
        first = await claims.withdraw(word, invoice)
        assert first.state in TAKEN
        again = await claims.withdraw(word, invoice)
        assert again.payment_hash == first.payment_hash
        await sent(house)
        assert (await claims.withdraw(word, invoice_of(house, row))).code == "nothing_owed"
        assert (await claims.offered(word)).code == "nothing_owed"
        (gone,) = await house.store.refunds(open_only=False)
        assert claims.word_for(gone) is None
        assert len(house.customer.received) == 1


async def test_a_thousand_withdrawals_at_once_make_one_payout():
    async with held() as (house, claims, row):
        word = claims.word_for(row)
        told = await asyncio.gather(*(claims.withdraw(word, invoice_of(house, row)) for _ in range(1_000)))
        await sent(house)
        assert len([answer for answer in told if not isinstance(answer, Refused)]) == 1
        assert len(house.customer.received) == 1


async def test_a_word_that_is_not_ours_opens_nothing():
    async with held() as (house, claims, row):
        word = claims.word_for(row)
        forged = [
            "", "x", word[:-1], word + "0", f"{row.id}{row.version + 1:08x}{word[40:]}", f"{'0' * 32}{word[32:]}",
            Claims(house.engine, house.store, house.policy, house.clock, network="bcrt", secret=b"y" * 16)
            .word_for(row),
        ]  # fmt: skip
        for k1 in forged:
            assert (await claims.offered(k1)).code == "nothing_owed"
            assert (await claims.withdraw(k1, invoice_of(house, row))).code == "nothing_owed"
        assert (await house.store.refunds(open_only=True))[0] == row


async def test_a_word_is_void_once_the_refund_has_moved_and_come_back():
    async with held() as (_, claims, row):
        before = claims.word_for(row)
        moved = dataclasses.replace(row, version=row.version + 2)
        assert claims.word_for(moved) != before


async def test_a_word_of_the_secret_before_counts_while_that_is_being_replaced():
    async with held() as (house, claims, row):
        word = claims.word_for(row)
        parts = (house.engine, house.store, house.policy, house.clock)
        rotated = Claims(*parts, network=house.wallet.network, secret=b"n" * 32, previous=SECRET)
        replaced = Claims(*parts, network=house.wallet.network, secret=b"n" * 32)
        assert (await replaced.offered(word)).code == "nothing_owed"
        assert await rotated.offered(word) == await rotated.offered(rotated.word_for(row)) == row
        assert rotated.word_for(row) == replaced.word_for(row) != word
        assert (await rotated.withdraw(word, invoice_of(house, row))).state in TAKEN
        await sent(house)
