"""Every statement of the ledger is used, named once, and understood by the schema it is meant for."""

import re
import sqlite3
from pathlib import Path

import pytest

import ledger
from ledger.audit import QUERIES
from ledger.queries import named_queries, sql_text, statements
from ledger.sqlite_view import SQL

CODE = "\n".join(file.read_text("utf-8") for file in Path(ledger.__file__).parent.glob("sqlite*.py"))


@pytest.fixture(scope="module")
def fresh():
    connection = sqlite3.connect(":memory:")
    connection.executescript(sql_text("schema.sql"))
    yield connection
    connection.close()


@pytest.mark.parametrize("name", [*SQL, *QUERIES])
def test_the_schema_understands_it(fresh, name):
    query = (SQL | QUERIES)[name]
    parameters = dict.fromkeys(re.findall(r":([a-z_]\w*)", query), None)
    fresh.execute(f"EXPLAIN {query}", parameters)


@pytest.mark.parametrize("name", SQL)
def test_it_is_used(name):
    assert f'"{name}"' in CODE


def test_a_name_stands_once():
    for file in ("queries.sql", "audit.sql"):
        names = re.findall(r"^-- name: (.+)$", sql_text(file), re.MULTILINE)
        assert len(names) == len(set(names)) == len(named_queries(file))


def test_a_script_is_cut_where_its_statements_end():
    trigger = "CREATE TRIGGER c AFTER INSERT ON a BEGIN DELETE FROM a; END;"
    script = f"CREATE TABLE a (b); -- so; it; ends\n{trigger}\n-- rest"
    assert [statement.split()[-2:] for statement in statements(script)] == [["a", "(b);"], ["a;", "END;"]]


WHOLE = {
    "newest_jobs",
    "newest_jobs_in_states",
    "refunds",
    "outbox",
    "balances",
    "forget_events",
    "pool_granted",
    "newest_grants",
    "paying_keys",
    "world_events",
}
"""What is meant to read all of a table: lists for people, the outbox, whose finished rows leave, a table of 1,000
rows, and what is read once at the start."""
OPEN_ONES = {
    "jobs_waiting",
    "jobs_due",
    "accounts_not_drained",
    "invoices_open",
    "refunds_open",
    "topups_waiting",
    "one_open_topup_a_session",
    "bootstrap_jobs_waiting",
    "one_payment_in_flight",
}
"""Partial indexes that hold only what is open."""


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("payable_invoices", "invoices_open"),
        ("waiting_jobs", "jobs_waiting"),
        ("waiting_jobs_of_key", "jobs_waiting"),
        ("jobs_of_key_since", "jobs_of_key"),
        ("newest_jobs_of_key", "jobs_of_key"),
        ("cancelled_jobs_of_key_since", "jobs_of_key"),
        ("waiting_topups", "topups_waiting"),
        ("waiting_topups_of_key", "topups_waiting"),
        ("topups_of_key_since", "topups_of_key"),
        ("open_payouts_of_key", "payouts_of_key"),
        ("run_waits", "outbox_runs"),
        ("reserved_of_key", "reservations_of_key"),
        ("offered_to_key", "jobs_waiting"),
        ("offered_in_sessions_of_key", "jobs_running"),
    ],
)
def test_what_each_request_asks_is_counted_along_an_index(fresh, name, index):
    parameters = dict.fromkeys(re.findall(r":([a-z_]\w*)", SQL[name]), None)
    plan = [row[3] for row in fresh.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", parameters)]
    assert [index in step for step in plan] == [True], plan


def test_a_keys_refunds_are_found_along_its_jobs_and_not_among_everybodys(fresh):
    plan = fresh.execute(f"EXPLAIN QUERY PLAN {SQL['open_refunds_of_key']}", {"pubkey": None, "limit": 1})
    steps = [row[3] for row in plan if row[3].startswith(("SCAN", "SEARCH"))]
    assert ["jobs_of_key" in steps[0], "refunds_of_job" in steps[1]] == [True, True], steps


@pytest.mark.parametrize("name", [name for name in SQL if name not in WHOLE])
def test_it_reads_no_table_from_end_to_end(fresh, name):
    """What a commit does must cost the same in the millionth job as in the first."""
    query = SQL[name]
    parameters = dict.fromkeys(re.findall(r":([a-z_]\w*)", query), None)
    tables = {row[0] for row in fresh.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    plan = [row[3].split() for row in fresh.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
    scans = [step for step in plan if step[0] == "SCAN" and step[1] in tables and step[-1] not in OPEN_ONES]
    assert scans == [], plan
