"""`timmy audit` explains the books of five hundred mixed jobs, and names any row that was altered by hand."""

import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from tests.ledger.test_audit import alter
from tests.money.crowd import Crowd
from timmy_dvm.clock import SeededRandomness
from timmy_dvm.commands.audit import command

JOBS = 500
# Where money, or a word that frees or books money, stands; and how the row is named.
ALTERED = {
    "accounts": ("name", ("balance_msat",)),
    "postings": ("(SELECT name FROM accounts WHERE id = account)", ("amount_msat",)),
    "entries": ("entry_id", ("code",)),
    "invoices": ("payment_hash", ("received_msat", "state", "account")),
    "refunds": ("id", ("amount_msat", "state", "payment_hash", "fee_msat")),
    "payments": ("payment_hash", ("state", "refund")),
    "reservations": (
        "(SELECT jobs.id FROM jobs WHERE jobs.row = job)",
        ("reserved_msat", "granted_msat", "ended_at", "nostr_pubkey", "account"),
    ),
    "jobs": (
        "id",
        (
            "state", "charge_eval_msat", "charge_work_msat", "shortfall_msat", "pool_credit_msat", "absorbed_sats",
            "credit_used_msat", "ended_at", "session_id", "nostr_pubkey",
        ),
    ),
    "identities": ("pubkey", ("sats_absorbed_today",)),
    "sessions": ("id", ("state",)),
    "topups": ("id", ("account", "payment_hash")),
}  # fmt: skip
OTHER = {
    "code": "CASE code WHEN 'settled' THEN 'dust' ELSE 'settled' END",
    "ended_at": "NULL",
    "payment_hash": "'00'",
}
CELLS = [(table, column) for table, (_, columns) in ALTERED.items() for column in columns]


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A ledger as it is on disk after such a day."""
    crowd = Crowd("a day", pool=10_000)
    while crowd.jobs() < JOBS:
        crowd.comes(crowd.one_of("hint", "twice", "listing"))
        crowd.wait(crowd.one_of(10, 60))
    crowd.settles_down()
    crowd.pays_late()
    crowd.settles_down()
    path = tmp_path_factory.mktemp("day") / "timmy.db"
    with closing(sqlite3.connect(path)) as copy:
        crowd.world.query(lambda db: None)
        crowd.world.ledger._reader._connection.backup(copy)
    crowd.world.close()
    return path


def audited(folder):
    done = CliRunner().invoke(command, ["--data-dir", str(folder)])
    return done.exit_code, done.output


def test_the_books_of_five_hundred_mixed_jobs_are_explained(day):
    code, words = audited(day.parent)
    assert (code, words.splitlines()[-1]) == (0, "The books are in order.")
    with closing(sqlite3.connect(day)) as db:
        states = {state for (state,) in db.execute("SELECT DISTINCT state FROM jobs")}
        codes = {code for (code,) in db.execute("SELECT DISTINCT code FROM entries")}
    assert states >= {"complete", "rejected", "failed"}
    assert codes >= {"settled", "settlement", "reserved", "released", "owed", "credited", "credit_used", "sent"}


def row_of(path, table, column):
    """``(key, rowid or key, name)`` of a row of a table, drawn once and for all."""
    name, _ = ALTERED[table]
    key = {"postings": "entry || ' ' || account", "payments": "payment_hash"}.get(table, "rowid")
    with closing(sqlite3.connect(path)) as db:
        found = db.execute(f"SELECT {key}, {name} FROM {table} WHERE {column} IS NOT NULL").fetchall()  # noqa: S608 - names of the list above
    return key, *found[int(SeededRandomness(f"{table} {column}").uniform() * len(found))]


@pytest.mark.parametrize(("table", "column"), CELLS, ids=lambda name: name)
def test_any_one_row_altered_by_hand_is_named(day, tmp_path, table, column):
    """By what it did to the books, too: tests/money/test_every_cell.py has every column, and the seals."""
    key, row, name = row_of(day, table, column)
    path = tmp_path / "timmy.db"
    path.write_bytes(day.read_bytes())
    value = OTHER.get(column, "'odd'" if column == "state" else f"{column} + 1000")
    alter(path, f"UPDATE {table} SET {column} = {value} WHERE {key} = '{row}'")  # noqa: S608 - as above
    code, words = audited(tmp_path)
    assert code == 1, f"{table}.{column} of {name} is {value}, and nobody misses it"
    by_the_books = "\n".join(line for line in words.splitlines() if not line.startswith("BROKEN  seal"))
    found = name in by_the_books or f"{table} row {row}" in by_the_books
    assert found, f"{table}.{column} of {name} is not named: {words}"
