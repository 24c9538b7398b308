"""The simulated wallet's memory on disk: JSON lines, appended and never changed.

A line is an array of the records that belong together, and is there as a whole or not at all. It is handed to the
operating system before anybody is told, so it survives the process being killed at any moment (not the machine
losing power: no money is at stake here). A last line that was cut off is what nobody was told about, and is
dropped. Reading changes nothing, so a second process may look on.
"""

import os
from pathlib import Path

import msgspec

from lightning.errors import WalletRefused, WalletUnavailable
from lightning.simulated_state import Record


class Journal:
    """The file at ``path``, made with mode 600 on the first write; ``None`` remembers nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None
        self._length = 0

    def read(self) -> list[Record]:
        """All records so far. To be called once, before the first `append`.

        Raises:
            WalletUnavailable: the file cannot be read.
            WalletRefused: a line other than a cut-off last one makes no sense.
        """
        if self._path is None:
            return []
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise WalletUnavailable(f"Cannot read the wallet's file {self._path}: {error.strerror}.") from None
        self._length = text.rfind(b"\n") + 1
        decoder = msgspec.json.Decoder(list[Record])
        records: list[Record] = []
        for number, line in enumerate(text[: self._length].split(b"\n")[:-1], 1):
            try:
                records += decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise WalletRefused(
                    f"Line {number} of the wallet's file {self._path} is damaged; "
                    "move the file away to begin with an empty wallet."
                ) from None
        return records

    def append(self, *records: Record) -> None:
        """Write down records that belong together; when this returns they survive the process.

        Raises:
            WalletUnavailable: they could not be written, and count as never having happened.
        """
        if self._path is None:
            return
        text = msgspec.json.encode(records) + b"\n"
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                os.ftruncate(self._file, self._length)
            written = os.write(self._file, text)
        except OSError as error:
            self._forget_the_rest()
            raise WalletUnavailable(f"Cannot write the wallet's file: {error.strerror}.") from None
        if written < len(text):
            self._forget_the_rest()
            raise WalletUnavailable("Cannot write the wallet's file: the disk is full; make room.")
        self._length += written

    def _forget_the_rest(self) -> None:
        """Open anew next time, which cuts off whatever a failed write left behind."""
        self.close()

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
