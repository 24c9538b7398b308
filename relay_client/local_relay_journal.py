"""The embedded relay's memory between two starts: one event a line, only ever appended to.

A line that cannot be read, such as the last one after a power cut, is left out. When the file has grown to
several times what the relay keeps, it is written anew beside the old one and put in its place.
"""

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from relay_client.errors import InvalidEvent
from relay_client.event import MAX_EVENT_BYTES, Event

_log = logging.getLogger(__name__)
_REWRITE_AT: Final = 4


class Journal:
    """The file. Every method blocks for as long as the disk takes; none raises for what the disk does.

    Args:
        path: the file; made with mode 600, for it holds what customers asked.
        max_events: how many events the relay keeps.
    """

    def __init__(self, path: Path, max_events: int) -> None:
        self._path = path
        self._max_events = max_events
        self._fd: int | None = None
        self._lines = 0

    def load(self) -> list[Event]:
        """The events of the file that can be read and are true, oldest first."""
        events: list[Event] = []
        unreadable = 0
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            while line := file.readline(MAX_EVENT_BYTES + 2):
                try:
                    events.append(Event.from_wire(line))
                except InvalidEvent:
                    unreadable += 1
        if unreadable:
            _log.warning("%d lines of the relay's journal could not be read and are left out", unreadable)
        return events

    def rewrite(self, texts: Sequence[str]) -> None:
        """Make the file hold exactly these events, and open it for `append`."""
        beside = self._path.with_name(self._path.name + ".new")
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.writelines(text.encode() + b"\n" for text in texts)
            beside.replace(self._path)
            self.close()
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            self._give_up(error)
        self._lines = len(texts)

    def append(self, text: str) -> bool:
        """Add one event; returns whether it is time to `rewrite`."""
        if self._fd is not None:
            try:
                os.write(self._fd, text.encode() + b"\n")
            except OSError as error:
                self._give_up(error)
            self._lines += 1
        return self._lines > _REWRITE_AT * self._max_events

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _give_up(self, error: OSError) -> None:
        """The relay serves on without it: its events are copies, the ledger does not depend on them."""
        _log.warning("the relay's journal cannot be written, its events end with this run: %s", error.strerror)
        self.close()
