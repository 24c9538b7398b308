"""`timmy refunds`: what is owed, and settling it by hand beside a running bot."""

import asyncio
import json

import pytest

from ledger import accounts
from ledger.audit import audit
from ledger.entries import Code, transfer
from ledger.money import msats_from_sats
from ledger.records import Change, FactRecord, RefundRecord, RefundState
from ledger.sqlite import open_ledger

ALICE = "a1" * 32


@pytest.fixture
def refunds(bot, timmy):
    def run(*arguments, code=0):
        done = timmy("refunds", *arguments, "--data-dir", str(bot.folder))
        assert done.code == code, done.err
        return done

    return run


@pytest.fixture
def owing(bot):
    """Books a refund of 21 sats; returns its id."""

    async def book(number, target, state):
        row = RefundRecord(
            id=f"{number:032x}", version=0, job_id=None, pubkey=ALICE, amount=msats_from_sats(21), reason="change",
            state=state, created_at=1, updated_at=1, target=target,
        )  # fmt: skip
        name = accounts.refund(row.id)
        entries = (
            transfer(f"in:{row.id}", Code.DEPOSIT, accounts.NODE, accounts.OPERATOR, row.amount),
            transfer(f"owed:{row.id}", Code.REVERSAL, accounts.OPERATOR, name, row.amount),
        )
        store = open_ledger(f"sqlite:///{bot.folder / 'timmy.db'}")
        fact = FactRecord(id=f"test:{row.id}", kind="Test", job_id=None, at=1, body="{}")
        await store.commit(fact, lambda _: Change(refunds=(row,), entries=entries))
        await store.close()
        return row.id

    def owe(number, target=None, state=RefundState.HELD):
        return asyncio.run(book(number, target, state))

    return owe


def test_a_refund_paid_from_elsewhere_is_settled_once_and_its_sats_are_the_operators(refunds, owing, bot):
    refund_id = owing(0xA1)
    (row,) = [row for row in json.loads(refunds("--json").out) if row["id"] == refund_id]
    assert (row["amountSats"], row["state"], row["reason"]) == (21, "held", "change")
    line = next(line for line in refunds().lines if line.startswith(refund_id[:8]))
    assert "21 sats" in line
    assert row["npub"] not in line
    done = refunds("settle", refund_id, "--paid-elsewhere", "--note", "paid with my phone")
    assert done.out == "booked: 21 sats were paid elsewhere and are yours here\n"
    assert refund_id not in refunds("--json").out
    assert "paid_elsewhere" in refunds("--json", "--all").out
    again = refunds("settle", refund_id, "--paid-elsewhere", "--note", "again", code=1)
    assert "It is over: paid_elsewhere." in again.err
    assert not audit(bot.folder / "timmy.db")


def test_settling_says_how_it_was_paid(refunds):
    assert "--paid-elsewhere" in refunds("settle", "00", code=2).err
    assert "timmy refunds settle ID" in refunds("settle", code=2).err
    assert "No refund has" in refunds("retry", "ffff", code=1).err


def test_what_names_no_address_can_not_be_tried_again(refunds, owing):
    assert "claims it with a BOLT11" in refunds("retry", owing(0xA2), code=1).err
