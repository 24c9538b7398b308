"""Secret values: a type that never shows what it holds, and reading one from a file only its owner can read."""

import hmac
import stat
from pathlib import Path
from typing import Final

from timmy_dvm.config.errors import ConfigError

MAX_SECRET_BYTES: Final = 16_384
"""Longest secret file: an RSA key or a macaroon fits many times over."""


class Secret:
    """A secret text. `reveal()` gives it out; `repr`, `str`, formatting, JSON and pickling do not.

    Two are compared in constant time, so `==` leaks nothing by its duration.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself. Hand it straight to whoever needs it, and keep no copy."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(Secret)  # a hash of the text would be one more way to test guesses

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __str__(self) -> str:
        return "(hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled or copied: it must not travel by accident")


def check_secret_file(path: Path) -> None:
    """Make sure that a secret file is there, is a file, and is closed to everyone but its owner.

    Raises:
        ConfigError: it is not, with the command that mends it.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}; create it with mode 600, or take the key out") from None
    except OSError as error:
        raise ConfigError(f"cannot look at {path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is not a file")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{path} can be read by others (mode {mode:03o}); run: chmod 600 {path}")
    if status.st_size > MAX_SECRET_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_SECRET_BYTES} bytes, so it holds no secret of ours")


def read_secret(path: Path) -> Secret:
    """The secret in a file of mode 600 (or 400): its text without surrounding white space.

    A file that is not UTF-8 text, as LND writes its macaroons, is given as lower-case hex.

    Raises:
        ConfigError: the file is missing, empty, too large or open to others.
    """
    check_secret_file(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        text = raw.hex()
    if any(character < " " and character not in "\t\r\n" for character in text):
        text = raw.hex()  # binary that happens to be valid UTF-8
    if not text:
        raise ConfigError(f"{path} is empty; put the secret into it")
    return Secret(text)
