"""Files that hold Timmy's own secrets: his key, and others he makes for himself at the first start."""

import contextlib
import os
import tempfile
from pathlib import Path

from relay_client.errors import InvalidKey
from relay_client.keys import Keys
from timmy_dvm.clock import Randomness
from timmy_dvm.config import ConfigError, Secret, read_secret

TOKEN_BYTES = 32


def load_or_create_key(path: Path, randomness: Randomness) -> Keys:
    """The identity in `path` (hex or nsec); where there is no such file, a new one, stored there as nsec.

    Raises:
        ConfigError: the file holds no key, is open to others, or cannot be written.
    """
    if not path.exists():
        write_secret(path, _new_key(randomness).to_nsec())
    try:
        return Keys.from_text(read_secret(path).reveal())
    except InvalidKey as error:
        raise ConfigError(f"nostr.secret_key_file: {path} holds no key: {error}") from None


def load_or_create_token(path: Path, randomness: Randomness) -> Secret:
    """The secret text in `path`; where there is no such file, 256 random bits as hex, stored there.

    Raises:
        ConfigError: the file is empty, open to others, or cannot be written.
    """
    if not path.exists():
        write_secret(path, randomness.token(TOKEN_BYTES).hex())
    return read_secret(path)


def write_secret(path: Path, text: str) -> None:
    """Write a new file of mode 600, whole and on disk before this returns. Never overwrites.

    Of two that race for one path, one wins, and the other leaves its file alone: read the path afterwards.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, 0o600)  # whatever the umask was
                file.write(text + "\n")
                file.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(partial, path)  # unlike a rename, fails where a file already is
        finally:
            Path(partial).unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _new_key(randomness: Randomness) -> Keys:
    while True:
        try:
            return Keys.from_bytes(randomness.token(TOKEN_BYTES))
        except InvalidKey:  # 1 in 2**128: zero, or above the order of the curve
            continue


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
