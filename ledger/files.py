"""Where a ledger lies on disk: its URL, its rights, and the lock that keeps a second process out."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ledger.store import StoreUnavailable

MEMORY: Final = ":memory:"
_SCHEME: Final = "sqlite:///"


class LedgerLocked(Exception):
    """Another process runs on this ledger. Two would pay twice, so the second one must not start."""


def path_of(url: str) -> Path | None:
    """The file of a ledger's URL; None for ``sqlite:///:memory:``.

    ``sqlite:///timmy.db`` is relative, and whoever reads a configuration file resolves it;
    ``sqlite:////var/lib/timmy/timmy.db`` is absolute.

    Raises:
        ValueError: the URL is of another kind.
    """
    place = url.removeprefix(_SCHEME)
    if place == url or not place or "\0" in place:
        raise ValueError("ledger.url must be sqlite:///path (three slashes, four for an absolute path)")
    return None if place == MEMORY else Path(place)


def prepare_file(path: Path) -> None:
    """Make the ledger's file and its folder where they are missing, for this user alone.

    SQLite gives its ``-wal`` and ``-shm`` files the rights of the ledger.

    Raises:
        StoreUnavailable: that is not possible here.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"the ledger {path} can't be made or opened ({error.strerror}): check ledger.url and the rights there"
        ) from error


class LedgerLock:
    """The right to run on a ledger, held until it is closed or the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Give the right back."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lock_ledger(path: Path) -> LedgerLock:
    """Take the right to run on the ledger at ``path``, or be refused at once.

    Only the running bot takes it; whoever just looks opens the ledger read-only beside it. The lock is the
    kernel's, on ``<path>.lock``: a process that was killed leaves none behind.

    Raises:
        LedgerLocked: another process holds it.
        StoreUnavailable: the lock file can't be made.
    """
    lock = path.with_name(path.name + ".lock")
    prepare_file(lock)
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise LedgerLocked(
            f"another Timmy (process {holder}) runs on {path}: stop it, or choose another ledger.url"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return LedgerLock(descriptor)
