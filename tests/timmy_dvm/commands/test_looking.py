"""`timmy jobs`, `job` and `audit`: what the ledger holds, beside a running bot or without one."""

import asyncio
import json
import re
import shutil
import sqlite3

import pytest

from ledger.records import JobState
from relay_client.keys import nevent, note
from tests.flows.house import ALICE, QUESTION, a_house
from timmy_dvm.views import when

COMPLETE, REJECTED, WAITING = "abcd" + "1" * 60, "abcd" + "2" * 60, "ef" * 32

TRIES = 20
"""Looks at a running bot, each a program of its own, until what it does has come to rest."""


async def _fill(folder):
    """Three jobs of the production engine: done with change held, rejected, and waiting for its payment."""
    async with a_house(f"sqlite:///{folder / 'timmy.db'}") as house:
        for event_id, text, end in (
            (COMPLETE, QUESTION, "complete"),
            (REJECTED, "[reject] " + QUESTION, "rejected"),
        ):
            job_id = await house.ask(text, event_id=event_id)
            await house.state_is(job_id, "awaiting_eval_payment")
            await house.until(lambda job_id=job_id: _invoices(house, job_id))
            house.customer.pays((await _invoices(house, job_id))[0].bolt11)
            await house.state_is(job_id, end)
            await house.clock.advance(60)
        job_id = await house.ask(event_id=WAITING)
        await house.until(lambda: _invoices(house, job_id))
        await house.dispatch.idle()


async def _invoices(house, job_id):
    return (await house.store.story(job_id)).invoices


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    asyncio.run(_fill(folder))
    return folder


@pytest.fixture
def books(filled, tmp_path):
    """A copy of the filled ledger's folder, to look at or to damage."""
    folder = tmp_path / "data"
    shutil.copytree(filled, folder)
    return folder


@pytest.fixture
def look(timmy, books):
    """One command over those books."""

    def run(name, *arguments, code=0):
        done = timmy(name, *arguments, "--data-dir", str(books))
        assert done.code == code, done.err
        assert "Traceback" not in done.err
        return done

    return run


@pytest.fixture
def jobs(look):
    """The jobs as `timmy jobs --json` lists them, by the event that asked."""
    return {row["eventId"]: row for row in json.loads(look("jobs", "--json").out)}


# --- jobs


def test_jobs_are_listed_newest_first_one_a_line(look, jobs):
    done = look("jobs")
    assert [line.split()[1] for line in done.lines] == [jobs[e]["jobId"] for e in (WAITING, REJECTED, COMPLETE)]
    newest = jobs[WAITING]
    assert done.lines[0].split()[:3] == [newest["createdAt"], newest["jobId"], newest["state"]]
    assert done.lines[0].endswith(f"quoted {newest['quotedSats']} sats, charged 0")
    assert done.err == ""


def test_jobs_as_json_hold_no_words_of_a_customer(look):
    done = look("jobs", "--json")
    rows = json.loads(done.out)
    fields = {"jobId", "state", "createdAt", "eventId", "pubkey", "quotedSats", "chargedSats"}
    assert all(set(row) == fields for row in rows)
    assert {row["pubkey"] for row in rows} == {ALICE}
    assert "vending" not in done.out
    assert [row["chargedSats"] > 0 for row in rows] == [False, True, True]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--state", "complete"], [COMPLETE]),
        (["--state", "complete", "--state", "rejected"], [REJECTED, COMPLETE]),
        (["-n", "2"], [WAITING, REJECTED]),
        (["-n", "1", "--state", "complete"], [COMPLETE]),
        (["--state", "failed"], []),
    ],
)
def test_jobs_are_chosen_by_state_and_number(options, found, look):
    done = look("jobs", "--json", *options)
    assert [row["eventId"] for row in json.loads(done.out)] == found


def test_no_jobs_are_said_on_stderr_and_are_an_empty_list_as_json(look):
    done = look("jobs", "--state", "failed")
    assert (done.out, done.err) == ("", "No jobs yet.\n")
    assert json.loads(look("jobs", "--state", "failed", "--json").out) == []


@pytest.mark.parametrize("options", [["--state", "done"], ["-n", "0"], ["-n", "1001"], ["-n", "few"]])
def test_a_choice_that_cannot_be_made_ends_2(options, look):
    look("jobs", *options, code=2)


# --- job


@pytest.mark.parametrize(
    "named",
    [
        lambda row: row["jobId"],
        lambda row: row["jobId"][:8],
        lambda row: row["jobId"][:4].upper(),
        lambda row: row["eventId"],
        lambda row: row["eventId"][:5],
        lambda row: note(row["eventId"]),
        lambda row: nevent(row["eventId"], ["wss://relay.example"], row["pubkey"], 5050),
    ],
    ids=["id", "id-8", "id-4-upper", "event", "event-5", "note1", "nevent1"],
)
def test_a_job_is_found_by_every_name_it_has(named, look, jobs):
    row = jobs[REJECTED]
    assert json.loads(look("job", named(row), "--json").out)["jobId"] == row["jobId"]


def test_a_name_of_two_jobs_asks_for_more_of_it(look):
    done = look("job", "abcd", code=1)
    assert (done.out, done.err) == ("", "Error: 2 jobs begin with abcd: give more of the id.\n")


@pytest.mark.parametrize("name", ["beef" * 8, "abc", "nobody", note("beef" * 16), "%", "' OR 1=1 --"])
def test_a_name_of_no_job_says_where_the_names_are(name, look):
    done = look("job", name, code=1)
    assert (done.out, done.err) == ("", f"Error: No job is called {name}; `timmy jobs` lists them.\n")


@pytest.mark.parametrize("name", ["note1beef", "nevent1beef", "note1"])
def test_a_damaged_name_says_so(name, look):
    done = look("job", name, code=1)
    assert len(done.err.splitlines()) == 1


def test_a_job_as_json_is_its_whole_story_and_adds_up(look, jobs):
    row = jobs[COMPLETE]
    story = json.loads(look("job", row["jobId"], "--json").out)
    assert {name: story[name] for name in ("jobId", "state", "eventId", "pubkey", "createdAt")} == {
        name: row[name] for name in ("jobId", "state", "eventId", "pubkey", "createdAt")
    }
    assert story["request"] == QUESTION
    assert story["runs"] == {"eval": 1, "work": 1}
    (invoice,) = story["invoices"]
    assert (invoice["state"], invoice["amountSats"]) == ("settled", row["quotedSats"])
    (refund,) = story["refunds"]
    assert (refund["state"], refund["reason"]) == ("held", "change")
    assert refund["amountSats"] + row["chargedSats"] == row["quotedSats"]
    assert story["costLedger"]["refundAmountSats"] == refund["amountSats"]
    assert [fact["kind"] for fact in story["facts"]] == [
        "RequestReceived",
        "InvoiceMade",
        "PaymentSeen",
        "EvalDone",
        "WorkDone",
    ]
    account = f"job:{row['jobId']}"
    moved = [entry["postings"].get(account, 0) for entry in story["entries"]]
    assert sum(moved) == 0
    assert any(moved)
    assert {tuple(event["deliveries"].items()) for event in story["events"]} == {(("ws://relay", "accepted"),)}


def test_a_job_as_text_tells_the_same_without_the_customers_words(look, jobs):
    row = jobs[COMPLETE]
    done = look("job", row["jobId"])
    story = json.loads(look("job", row["jobId"], "--json").out)
    assert done.lines[:3] == [f"job {row['jobId']}", "state complete", f"asked by {ALICE}"]
    assert "vending" not in done.out  # stdout is no terminal: it may end in a file
    assert all(f"{fact['at']}  {fact['kind']}  {fact['id']}" in done.lines for fact in story["facts"])
    moments = re.findall(r"^(\d{4}-\S+Z)  ", done.out, re.MULTILINE)
    assert moments == sorted(moments)
    assert len(moments) == len(story["facts"]) + len(story["entries"])
    assert f"refund {story['refunds'][0]['refundId']}: {story['refunds'][0]['amountMsat']} msat held" in done.out
    assert done.out.count("ws://relay accepted") == len(story["events"])


# --- audit


def test_books_in_order_end_0_and_are_added_up(look):
    done = look("audit")
    assert done.lines[-1] == "The books are in order."
    assert not any(line.startswith("BROKEN") for line in done.lines)
    shown = json.loads(look("audit", "--json").out)
    assert shown["findings"] == []
    assert shown["booksSats"]["pool"] >= 10_000
    for name, sats in shown["booksSats"].items():
        assert f"{name:<14}{sats:>14,} sats" in done.lines


def altered(books, *statements):
    connection = sqlite3.connect(books / "timmy.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_an_altered_row_ends_1_and_is_named(look, books, jobs):
    altered(
        books,
        "DROP TRIGGER refund_keeps_its_amount",
        "UPDATE refunds SET amount_msat = amount_msat + 1000 WHERE state = 'held'",
    )
    done = look("audit", code=1)
    broken = [line for line in done.lines if line.startswith("BROKEN  ")]
    assert done.lines[-1] == f"{len(broken)} findings."
    assert any("refund_keeps_its_amount" in line for line in broken)
    assert any(re.match(r"BROKEN  I\d", line) and "refund" in line for line in broken)
    shown = json.loads(look("audit", "--json", code=1).out)
    assert [f"BROKEN  {finding}" for finding in shown["findings"]] == broken


def test_an_altered_row_is_found_though_the_trigger_was_put_back(look, books):
    connection = sqlite3.connect(books / "timmy.db")
    (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'postings_stay'").fetchone()
    connection.close()
    altered(
        books,
        "DROP TRIGGER postings_stay",
        "UPDATE postings SET amount_msat = amount_msat + 1000 WHERE amount_msat > 0",
        trigger,
    )
    done = look("audit", code=1)
    assert not any("postings_stay" in line for line in done.lines)
    assert any(line.startswith("BROKEN  I") for line in done.lines)


# --- where there is nothing to look at, and beside a running bot


@pytest.mark.parametrize("command", [["jobs"], ["job", "abcd"], ["audit"], ["audit", "--json"]])
def test_without_a_ledger_a_sentence_says_how_to_get_one(command, timmy, tmp_path):
    done = timmy(*command, "--data-dir", str(tmp_path / "none"))
    assert (done.code, done.out) == (1, "")
    assert f"There is no ledger at {tmp_path / 'none' / 'timmy.db'} yet: `timmy run` makes it" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", [["jobs"], ["job", "abcd"], ["audit"]])
def test_a_file_that_is_no_ledger_is_a_sentence(command, timmy, tmp_path):
    (tmp_path / "timmy.db").write_bytes(b"no database " * 1_000)
    done = timmy(*command, "--data-dir", str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1


def test_beside_a_running_bot_the_newest_job_is_seen_at_once_and_the_books_are_right(timmy, bot):
    folder = ("--data-dir", str(bot.folder))
    assert timmy("audit", *folder).code == 0
    assert timmy("jobs", *folder).err == "No jobs yet.\n"
    assert timmy("ask", "--http", bot.ready.http, "Reverse: abc").out == "cba\n"
    (row,) = json.loads(timmy("jobs", "--json", *folder).out)
    story = json.loads(timmy("job", row["eventId"], "--json", *folder).out)
    assert (story["state"], story["result"]) == (str(JobState.COMPLETE), "cba")
    assert when(0) < story["createdAt"] <= story["completedAt"]
    for _ in range(TRIES):  # the customer may have the receipt before the relay's OK is noted
        story = json.loads(timmy("job", row["eventId"], "--json", *folder).out)
        delivered = [set(event["deliveries"].values()) for event in story["events"]]
        if delivered == [{"accepted"}] * 4:
            break
    assert delivered == [{"accepted"}] * 4
    assert timmy("audit", *folder).code == 0
