"""What all commands share: which instance is meant, and how the log is written. Imports nothing heavy."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from timmy_dvm.config import Config
    from timmy_dvm.log import LogFormat


class UserError(click.ClickException):
    """Something the user can mend, in one sentence that says how. Exit code 1."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The values of the shared options."""

    config_file: Path | None
    data_dir: Path | None
    log_format: "LogFormat | None"
    verbosity: int
    """-1 with -q, 0, 1 with -v, 2 with -vv."""

    def load(self) -> "Config":
        """The configuration of the instance that is meant. Raises `ConfigError` (exit code 2)."""
        # Imported here: pydantic costs more than all of `timmy --help`.
        from timmy_dvm.config import find_config, load

        return load(find_config(self.config_file, os.environ, Path.cwd()), os.environ, self.data_dir)

    def start_logging(self) -> None:
        """Send this process's log to stderr as the options say."""
        from timmy_dvm.log import start_logging

        start_logging(self.log_format, self.verbosity)

    def load_and_log(self) -> "Config":
        """`load`, then `start_logging` with the loaded secrets struck out and every note written as a warning."""
        from timmy_dvm.log import get_logger, redact

        config = self.load()
        for secret in config.loaded_secrets():
            redact(secret.reveal())
        self.start_logging()
        log = get_logger("config")
        for note in config.notes:
            log.warning(note, action="config_note")
        return config


_OPTIONS = (
    click.option(
        "--config", "config_file", type=click.Path(path_type=Path), metavar="F", help="Configuration file."
    ),
    click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Folder of ledger and keys."),
    click.option(
        "--log-format", type=click.Choice(["text", "json"]), help="Default: text on a terminal, else json."
    ),
    click.option("-q", "--quiet", count=True, help="Only warnings."),
    click.option("-v", "--verbose", count=True, help="More; twice: the libraries too."),
)


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared options; its function gets them as its first argument, a `Shared`.

    `-q` and `-v` count before the command's name too: `timmy -v run` is `timmy run -v`.
    """

    @functools.wraps(function)
    def with_shared(
        *args: Any,
        config_file: Path | None,
        data_dir: Path | None,
        log_format: "LogFormat | None",
        quiet: int,
        verbose: int,
        **kwargs: Any,
    ) -> Any:
        context = click.get_current_context()
        before = context.obj if isinstance(context.obj, int) else 0
        verbosity = max(-1, min(2, before + verbose - quiet))
        return function(Shared(config_file, data_dir, log_format, verbosity), *args, **kwargs)

    wrapped: Callable[..., Any] = with_shared
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
