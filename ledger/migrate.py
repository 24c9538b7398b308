"""From whatever schema a ledger has to the newest, in one transaction.

A fresh ledger is made from ``schema.sql``; an older one goes through the numbered files in ``migrations/`` that
it has not seen. Both end the same, which a test proves with :func:`schema_of`.
"""

import re
import sqlite3
from importlib.resources import files
from typing import Final

from ledger.queries import sql_text, statements
from ledger.seals import mark_broken, seal_all
from ledger.store import StoreUnavailable

_FILE: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_COMMENT: Final = re.compile(r"--[^\n]*")
_LAYOUT: Final = re.compile(r"\s*([(),])\s*|\s+")


def migrations() -> list[tuple[int, str]]:
    """``(number, file name)`` of every migration, in order."""
    found = (_FILE.fullmatch(file.name) for file in files("ledger").joinpath("migrations").iterdir())
    return sorted((int(name[1]), name[0]) for name in found if name)


def version_of(connection: sqlite3.Connection) -> int | None:
    """The number of the newest migration a ledger has; None for a file that is no ledger yet."""
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone()
    if made is None:
        return None
    (number,) = connection.execute("SELECT max(number) FROM schema_version").fetchone()
    return None if number is None else int(number)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a ledger to the newest schema. Safe to repeat, and safe when two processes do it at once.

    Raises:
        StoreUnavailable: a newer Timmy wrote this ledger, or it is no ledger at all.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if (version_of(connection) or 0) < migrations()[-1][0]:
            mark_broken(connection)
            _advance(connection)
            seal_all(connection)
        check_version(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def check_version(connection: sqlite3.Connection) -> None:
    """Make sure that this ledger can be read as it is.

    Raises:
        StoreUnavailable: it is of another version, or no ledger.
    """
    newest, _ = migrations()[-1]
    version = version_of(connection)
    if version is None:
        raise StoreUnavailable("that file is no ledger yet: `timmy run` makes it")
    if version < newest:
        raise StoreUnavailable("the ledger is of an older version: `timmy run` brings it up to date")
    if version > newest:
        raise StoreUnavailable(
            f"a newer Timmy wrote this ledger (schema {version}, this one knows {newest}): run that one"
        )


def _advance(connection: sqlite3.Connection) -> None:
    version = version_of(connection)
    if version is None:
        if schema_of(connection):
            raise StoreUnavailable("that file is another program's database: check ledger.url")
        _run(connection, sql_text("schema.sql"))
        _note(connection, *migrations()[-1])
        return
    for number, name in migrations():
        if number > version:
            _run(connection, sql_text(f"migrations/{name}"))
            _note(connection, number, name)


def _run(connection: sqlite3.Connection, script: str) -> None:
    for statement in statements(script):
        connection.execute(statement)


def _note(connection: sqlite3.Connection, number: int, name: str) -> None:
    connection.execute("INSERT INTO schema_version (number, name) VALUES (?, ?)", (number, name))


def schema_of(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """``(kind, name, definition)`` of all that a ledger is made of, without comments and layout."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {(kind, name, _settled(sql)) for kind, name, sql in rows}


def _settled(sql: str) -> str:
    """A definition without comments and layout: a column that was added later stands where no line break is."""
    return _LAYOUT.sub(lambda found: found[1] or " ", _COMMENT.sub("", sql)).strip()
