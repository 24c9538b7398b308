"""`timmy ask --param op=…`: an account at a Timmy, as its user types it."""

import asyncio
import json
import re

from ledger.sqlite import open_ledger
from tests.flows.live import until
from tests.timmy_dvm.commands.test_ask import ask, job, label

__all__ = ["ask", "job"]  # fixtures
QUESTION = "What is a relay, who runs one, and what does it cost to keep it going?"


async def arrived(bot):
    """Whether all that was paid out has been booked as sent."""
    store = open_ledger(f"sqlite:///{bot.folder / 'timmy.db'}", read_only=True)
    try:
        return not [row for row in await store.refunds(open_only=True) if row.job_id is None]
    finally:
        await store.close()


def test_a_topup_is_paid_like_a_job_and_ends_with_its_receipt(ask, job):
    done = ask("--param", "op=topup", "--param", "amount_sats=300")
    assert done.code == 0, done.err
    assert json.loads(done.out)["invoice"]["amountSats"] == 300
    assert label(done, "paid") == "300 sats"
    assert "300 sats were added to your balance: it is 300 sats now." in done.err
    assert "payment-required" not in done.err

    again = ask(QUESTION)
    assert again.code == 0, again.err
    assert "Covered by your credit" in again.err
    assert not re.search(r"^ *invoice", again.err, re.MULTILINE)
    balance = json.loads(ask("--param", "op=balance").out)
    assert 0 < balance["creditSats"] < 300
    assert job()["invoices"] == []


def test_a_topup_that_is_too_dear_is_not_paid_and_taken_back(ask):
    done = ask("--max-sats", "50", "--param", "op=topup", "--param", "amount_sats=51")
    assert done.code == 3
    assert "is more than --max-sats 50; nothing was paid." in label(done, "too dear")
    assert "taken back" in done.err


def test_a_topup_without_a_wallet_waits_for_whoever_pays_and_ends_3_when_nobody_does(ask):
    done = ask("--pay", "none", "--timeout", "3", "--param", "op=topup", "--param", "amount_sats=5")
    assert done.code == 3
    assert label(done, "invoice").startswith("lightning:lnbcrt")


def test_the_balance_is_taken_out_and_the_key_forgotten_and_the_operator_sees_so(ask, job, timmy, bot):
    assert ask("--param", "op=topup", "--param", "amount_sats=100").code == 0
    assert ask("Reverse: abc").code == 0
    most = json.loads(ask("--param", "op=balance").out)["payoutSats"]
    invoice = bot.customer.invoice(1_000 * most)
    done = ask("--param", "op=refund", "--param", f"invoice={invoice}")
    assert done.code == 0, done.err
    assert json.loads(done.out)["refundAmountSats"] == most

    asyncio.run(until(lambda: arrived(bot)))
    forgotten = ask("--param", "op=forget")
    assert json.loads(forgotten.out) == {"op": "forget", "forgottenJobs": 1, "moreJobs": False}
    story = job()
    assert (story["forgotten"], story["request"], story["result"]) == (True, "", None)
    told = timmy("job", story["jobId"], "--data-dir", str(bot.folder))
    assert "its texts are forgotten, as its customer asked" in told.out


def test_a_job_that_is_remembered_says_nothing_of_forgetting(ask, job, timmy, bot):
    assert ask("Reverse: abc").code == 0
    story = job()
    assert story["forgotten"] is False
    assert "forgotten" not in timmy("job", story["jobId"], "--data-dir", str(bot.folder)).out
