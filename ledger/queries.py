"""SQL stays SQL: named statements out of a ``.sql`` file that lies beside the code."""

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files

_NAME = re.compile(r"^-- name: (.+)$", re.MULTILINE)


def sql_text(name: str) -> str:
    """A ``.sql`` file of this package, as text."""
    return files("ledger").joinpath(name).read_text(encoding="utf-8")


def named_queries(name: str) -> dict[str, str]:
    """The statements of a file by the name above each, in the file's order, without trailing comments."""
    _, *parts = _NAME.split(sql_text(name))
    return {title.strip(): next(statements(body)) for title, body in zip(parts[::2], parts[1::2], strict=True)}


def statements(script: str) -> Iterator[str]:
    """A script, one statement at a time.

    ``executescript`` would commit an open transaction first, and a half-made schema must never be visible.
    """
    statement = ""
    for piece in script.split(";")[:-1]:
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
