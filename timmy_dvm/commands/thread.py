"""The last thread of `timmy ask`, kept beside the customer's key so that `-c` can go on with it."""

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from timmy_dvm.commands.options import Shared, UserError
from timmy_dvm.config import ConfigError
from timmy_dvm.nostr.privacy import Scheme

_FILE: Final = "last-thread.json"


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered whom last.

    Attributes:
        provider, customer: their keys, hex.
        result: event id of the answer.
        scheme: how both were encrypted.
    """

    provider: str
    customer: str
    result: str
    scheme: Scheme = Scheme.NONE


def last_thread(shared: Shared, *, provider: str | None, customer: str) -> Thread:
    """The thread to go on with.

    Args:
        shared: which instance is meant.
        provider: whom to ask; None asks anybody.
        customer: who asks.

    Raises:
        UserError: there is none with this provider and this key.
        ConfigError: the configuration can't be read.
    """
    try:
        thread = msgspec.json.decode(_place(shared).read_bytes(), type=Thread)
    except (OSError, msgspec.MsgspecError):
        raise UserError("There is no thread to go on with: ask something without -c first.") from None
    if thread.customer != customer:
        raise UserError("The last thread is another key's: go on with that key (--sec), or ask without -c.")
    if thread.provider != provider:
        raise UserError(f"The last thread is with another provider: add --to {thread.provider}, or drop -c.")
    return thread


def remember(shared: Shared, thread: Thread) -> None:
    """Keep it as the last one; where that can't be written, the answer was given all the same."""
    with contextlib.suppress(OSError, ConfigError):
        path = _place(shared)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(".part")
        partial.touch(mode=0o600)
        partial.write_bytes(msgspec.json.encode(thread))
        partial.replace(path)


def _place(shared: Shared) -> Path:
    return shared.load().data_dir / _FILE
