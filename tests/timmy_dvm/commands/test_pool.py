"""`timmy pool`: the pool's public books, for people and for programs."""

import asyncio
import json

import pytest

from relay_client.keys import Keys
from tests.timmy_dvm.generosity import MIDNIGHT, NOW, generosity
from timmy_dvm.clock import ManualClock
from timmy_dvm.commands import pool

DAY = 86_400
DONOR = Keys.from_bytes(b"\x0d" * 32)


async def _fill(folder):
    """Yesterday 30 sats; today 42 of 50, 10 set aside for a trusted key, and a gift of 21.5."""
    async with generosity(url=f"sqlite:///{folder / 'timmy.db'}") as it:
        alice, bob = await it.key("established"), await it.key("trusted", "bob")
        it.now = NOW - DAY
        await it.use(alice, 30)
        it.now = NOW
        job_id = await it.ask(alice, 50)
        await it.accept(job_id)
        await it.answer(job_id, 42)
        await it.ask(bob, 10)
        await it.settle(await it.gift(21, donor=DONOR.public_key))


@pytest.fixture
def look(timmy, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "SystemClock", lambda: ManualClock(NOW + 60))
    folder = tmp_path / "data"
    folder.mkdir()
    asyncio.run(_fill(folder))

    def run(*arguments, code=0, **environ):
        done = timmy("pool", "--data-dir", str(folder), *arguments, **environ)
        assert done.code == code, done.err
        return done

    return run


def test_a_person_sees_what_it_has_who_drew_on_it_and_what_moved(look):
    assert look("-n", "4").lines == [
        "pool   9,939 sats to give, 10 set aside for jobs under way",
        "in all 10,021 sats given to it, 72 granted",
        "today  established: 42 sats granted, 0 set aside, 1 jobs; 50 a day for each key",
        "today  trusted: 0 sats granted, 10 set aside, 1 jobs; 200 a day for each key",
        f"donor  2027-01-15T08:00:00Z  {DONOR.npub}  21 sats",
        "2027-01-15T08:00:00Z  gift         +21 sats",
        "2027-01-15T08:00:00Z  reserved     -10 sats",
        "2027-01-15T08:00:00Z  released     +8 sats",
        "2027-01-15T08:00:00Z  reserved     -50 sats",
    ]


def test_a_program_gets_the_object_of_the_http_route(look):
    body = json.loads(look("--json", "-n", "2").out)
    at = "2027-01-15T08:00:00Z"
    assert body == {
        "balanceSats": 9_939,
        "reservedSats": 10,
        "inSats": 10_021,
        "outSats": 72,
        "dailyBudgets": {"new": 0, "established": 50, "trusted": 200, "elite": 1_000},
        "today": [
            {"tier": "established", "grantedSats": 42, "reservedSats": 0, "jobs": 1},
            {"tier": "trusted", "grantedSats": 0, "reservedSats": 10, "jobs": 1},
        ],
        "grants": [
            {"at": at, "tier": "established", "grantedSats": 42},
            {"at": "2027-01-14T08:00:00Z", "tier": "established", "grantedSats": 30},
        ],
        "entries": [
            {"at": at, "code": "settled", "amountMsat": 21_000},
            {"at": at, "code": "reserved", "amountMsat": -10_000},
        ],
        "donors": [{"at": at, "npub": DONOR.npub, "amountSats": 21}],
    }


def test_it_names_no_job_and_no_key_but_a_donors(look):
    words = look("--json", "-n", "1000").out.split('"')
    assert [word for word in words if len(word) >= 32] == [DONOR.npub]


def test_budgets_are_the_configured_ones(look):
    budgets = json.loads(look("--json", TIMMY_FREE_TIER__DAILY_BUDGET_SATS__NEW="5").out)["dailyBudgets"]
    assert budgets["new"] == 5


def test_on_a_day_when_nobody_drew_on_it_that_is_said(look, monkeypatch):
    monkeypatch.setattr(pool, "SystemClock", lambda: ManualClock(MIDNIGHT + 3 * DAY))
    assert "today  trusted: 0 sats granted, 10 set aside" in look().out
    assert "established" not in look().out


def test_a_pool_that_was_never_used(timmy, tmp_path):
    async def fill():
        async with generosity(0, url=f"sqlite:///{tmp_path / 'timmy.db'}"):
            pass

    asyncio.run(fill())
    done = timmy("pool", "--data-dir", str(tmp_path))
    assert done.lines == [
        "pool   0 sats to give, 0 set aside for jobs under way",
        "in all 0 sats given to it, 0 granted",
        "today  nobody drew on it",
    ]


@pytest.mark.parametrize("arguments", [["-n", "-1"], ["-n", "many"], ["extra"]])
def test_a_choice_that_cannot_be_made_ends_2(look, arguments):
    look(*arguments, code=2)


def test_without_a_ledger_it_says_what_makes_one(timmy, tmp_path):
    done = timmy("pool", "--data-dir", str(tmp_path))
    assert (done.code, "timmy run" in done.err) == (1, True)
