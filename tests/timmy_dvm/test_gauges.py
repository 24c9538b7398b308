"""What is counted: each job once, money as the books have it, and nobody's key or id (threat 45)."""

import contextlib
import re

from ledger.store import StoreUnavailable
from relay_client.connection import RelayState
from relay_client.status import RelayStatus
from tests.flows.house import ALICE
from tests.timmy_dvm.http.door import a_door
from timmy_dvm.core.actions import PriceTold
from timmy_dvm.gauges import Gauges
from timmy_dvm.http.metrics import written


class Relays:
    def __init__(self, count=1):
        self.relays = [
            RelayStatus(f"wss://r{n}.example/?token=abcd", RelayState.CONNECTED, 1.0, None, 3, 0, None, {}, 5, 1)
            for n in range(count)
        ]

    def status(self):
        return self.relays


class Quiet:
    trouble = ""

    def alarm(self):
        return self.trouble


@contextlib.asynccontextmanager
async def counted(relays=None):
    async with a_door() as door:
        house = door.house
        parts = (house.store, relays or Relays(), Quiet(), Quiet())
        gauges = Gauges(*parts, house.clock)
        house.engine.listen(gauges.applied)
        yield door, gauges


async def numbers(gauges):
    """Each series and its number."""
    lines = [line for line in written(await gauges.show()).decode().splitlines() if not line.startswith("#")]
    found = dict(line.rsplit(" ", 1) for line in lines)
    assert len(found) == len(lines), "no series twice"
    return {name: float(number) for name, number in found.items()}


async def test_a_job_is_counted_when_it_is_asked_for_while_it_is_open_and_when_it_ends():
    async with counted() as (door, gauges):
        asked = await door.ask(pay="once")
        seen = await numbers(gauges)
        assert seen['timmy_jobs_asked_total{door="http"}'] == 1
        assert seen['timmy_jobs_open{door="http",state="awaiting_eval_payment"}'] == 1
        assert seen["timmy_invoices_open"] == 1
        await door.pay(asked["evalInvoice"])
        await door.reach(asked["jobId"], "complete")
        seen = await numbers(gauges)
        assert seen['timmy_jobs_ended_total{door="http",state="complete"}'] == 1
        assert not [name for name in seen if name.startswith("timmy_jobs_open")]
        assert seen["timmy_invoices_open"] == 0
        assert seen["timmy_commits_total"] > 4


async def test_a_job_ends_once_whatever_comes_later():
    """Here its change is claimed, which writes its row again."""
    async with counted() as (door, gauges):
        done = await door.complete()
        job = await door.house.job(done["jobId"])
        assert gauges._ends_now(job) is False
        assert (await numbers(gauges))['timmy_jobs_ended_total{door="http",state="complete"}'] == 1


async def test_money_is_what_the_books_say_summed_over_whoever_it_belongs_to():
    async with counted() as (door, gauges):
        await door.complete()
        seen = await numbers(gauges)
        balances = await door.house.store.balances()
        assert seen['timmy_money_msat{account="node"}'] == -balances["node"]
        assert seen['timmy_money_msat{account="pool"}'] == balances["pool"]
        refunds = sum(balance for name, balance in balances.items() if name.startswith("refund:"))
        assert seen['timmy_money_msat{account="refund"}'] == refunds > 0


async def test_no_key_no_id_and_no_secret_is_in_any_series():
    async with counted() as (door, gauges):
        job_id = await door.house.ask()
        await door.house.priced()
        assert door.house.recorder.last(PriceTold) is not None
        asked = await door.ask(nostr_token=door.token())
        text = written(await gauges.show()).decode()
        for secret in (ALICE, job_id, asked["jobId"], "abcd"):
            assert secret not in text
        assert not re.search(r"[0-9a-f]{16}", text)


async def test_as_many_relays_as_can_be_configured_keep_it_small():
    async with counted(Relays(64)) as (door, gauges):
        await door.complete()
        seen = await numbers(gauges)
        assert seen['timmy_relay_reconnects_total{relay="wss://r63.example/?***"}'] == 3
        assert seen['timmy_relay_accepted_total{relay="wss://r0.example/?***"}'] == 5
        assert len(seen) < 500


async def test_a_mistake_of_ours_is_counted_by_its_number():
    async with counted() as (_, gauges):
        new_id = gauges.numbered(lambda: "one")
        assert (new_id(), new_id()) == ("one", "one")
        assert (await numbers(gauges))["timmy_incidents_total"] == 2


async def test_trouble_shows_and_without_a_ledger_the_rest_is_still_told():
    class Away:
        async def balances(self):
            raise StoreUnavailable("the disk is full")

    async with counted() as (door, _):
        wallet, watchdog = Quiet(), Quiet()
        wallet.trouble = watchdog.trouble = "no answer"
        seen = await numbers(Gauges(Away(), Relays(), wallet, watchdog, door.house.clock))
    assert (seen["timmy_ledger_up"], seen["timmy_wallet_up"], seen["timmy_wallet_covers_books"]) == (0, 0, 0)
    assert seen['timmy_relay_connected{relay="wss://r0.example/?***"}'] == 1
