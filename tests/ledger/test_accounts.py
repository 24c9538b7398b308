import sqlite3

import pytest

from ledger import accounts
from ledger.accounts import Kind
from ledger.queries import sql_text

CHART = [
    ("node", Kind.ASSET),
    ("operator", Kind.EQUITY),
    ("pool", Kind.OWED),
    ("earned", Kind.INCOME),
    ("shortfall", Kind.EXPENSE),
    ("routing_fees", Kind.EXPENSE),
    (accounts.reserved("x"), Kind.OWED),
    (accounts.job("x"), Kind.OWED),
    (accounts.customer("x"), Kind.OWED),
    (accounts.session("x"), Kind.OWED),
    (accounts.refund("x"), Kind.OWED),
]
NOT_IN_IT = ["", "pool:x", "job", "job:", "node:1", "Pool", "jobs:x", ":x"]


@pytest.mark.parametrize(("name", "kind"), CHART)
def test_an_accounts_kind_follows_from_its_name(name, kind):
    assert accounts.kind_of(name) is kind
    assert accounts.has_floor(name) is (kind is Kind.OWED)


@pytest.mark.parametrize("name", NOT_IN_IT)
def test_a_name_the_chart_does_not_have_is_refused(name):
    with pytest.raises(ValueError, match="chart of accounts"):
        accounts.kind_of(name)


def test_the_database_holds_the_same_chart():
    connection = sqlite3.connect(":memory:")
    connection.executescript(sql_text("schema.sql"))
    connection.execute("DROP TRIGGER accounts_are_kept")
    connection.execute("DELETE FROM accounts")
    for name, kind in CHART:
        connection.execute("INSERT INTO accounts (name, kind) VALUES (?, ?)", (name, kind))
    for name in [*NOT_IN_IT, *(name for name, _ in CHART)]:
        for kind in Kind:
            with pytest.raises(sqlite3.IntegrityError, match=r"chart|UNIQUE"):
                connection.execute("INSERT INTO accounts (name, kind) VALUES (?, ?)", (name, kind))
    connection.close()


def test_a_family_is_what_stands_before_the_colon():
    assert accounts.family("job:a:b") == "job"
    assert accounts.family("pool") == "pool"


def test_balances_are_shown_as_a_person_expects_them():
    assert accounts.as_shown("node", -5) == 5
    assert accounts.as_shown("shortfall", -5) == 5
    assert accounts.as_shown("pool", 5) == 5
    assert accounts.as_shown("earned", 5) == 5
