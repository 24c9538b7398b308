"""For commands that only look: the ledger, open for reading, beside a running bot."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from ledger.sqlite import open_ledger
from ledger.store import Store, StoreUnavailable
from timmy_dvm.commands.options import Shared, UserError


def ledger_file(shared: Shared) -> Path:
    """The instance's ledger.

    Raises:
        UserError: there is none yet, or it is not a file.
    """
    path = shared.load().ledger.sqlite_path
    if path is None:
        raise UserError("This version reads ledgers in SQLite only.")
    if not path.exists():
        raise UserError(f"There is no ledger at {path} yet: `timmy run` makes it, or name another with --config.")
    return path


@contextlib.asynccontextmanager
async def reading(shared: Shared) -> AsyncIterator[Store]:
    """The ledger, read-only."""
    path = ledger_file(shared)
    try:
        store = open_ledger(f"sqlite:///{path}", read_only=True)
    except StoreUnavailable as error:
        raise UserError(str(error)) from None
    try:
        yield store
    except StoreUnavailable as error:
        raise UserError(str(error)) from None
    finally:
        await store.close()
