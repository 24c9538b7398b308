"""The command line: one program, `timmy`, whose commands are imported when they are used.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration; a command may have more. A mistake of the user's is one
line on stderr, never a traceback.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from timmy_dvm import __version__

COMMANDS: Final = {
    "run": "Run the bot.",
    "demo": "One whole job in one process: ask, price, pay, result, change.",
    "ask": "Ask a question, as any NIP-90 customer would.",
    "status": "Show how the bot, its relays, jobs and books are doing.",
    "jobs": "List the newest jobs.",
    "job": "Tell one job's whole story.",
    "pool": "Show the generosity pool.",
    "audit": "Check the books.",
    "books": "Show the books, or book what you moved in or out.",
    "refunds": "Show what goes back to customers, or settle it by hand.",
    "retire": "Withdraw what was announced on the relays.",
    "init": "Write a commented configuration and make a key.",
    "testkit": "Check a running Timmy from outside.",
    "openapi": "Print the description of the HTTP port.",
    "check-config": "Read the configuration and say what is wrong with it.",
}
"""A command and its short help, in the order of `--help`: `check-config` lives in `commands/check_config.py`."""

USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130
_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group that knows its commands' names and helps by a table, and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # the signature is click's
        """Every name, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 # click's
        """The command of that name, imported now; None: there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"timmy_dvm.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest name where there is none."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.NoSuchCommand(name, possibilities=list(COMMANDS), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 # click's
        """The table of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings=_SETTINGS)
@click.version_option(__version__, "-V", "--version", prog_name="timmy", message="%(prog)s %(version)s")
@click.option("-q", "--quiet", count=True, help="Only warnings.")
@click.option("-v", "--verbose", count=True, help="More; twice: the libraries too.")
@click.pass_context
def timmy(context: click.Context, quiet: int, verbose: int) -> None:
    """Timmy, an AI agent that earns its living on Nostr.

    Every command finds its instance by --config F, TIMMY_CONFIG, ./timmy.toml or ~/.timmy/timmy.toml.
    """
    context.obj = verbose - quiet


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: without the program's name; None: the process's own.
    """
    _forgive_encodings()
    try:
        code = timmy.main(args=arguments, prog_name="timmy", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("timmy: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has left. The interpreter would complain at its end, so give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ValueError as error:
        # Imported here: only a command that has imported pydantic can have raised a ConfigError.
        from timmy_dvm.config.errors import ConfigError

        if not isinstance(error, ConfigError):
            raise
        for problem in error.problems:
            click.echo(f"timmy: {problem}", err=True)
        return USAGE_ERROR
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """The program: `timmy` and `python -m timmy_dvm`."""
    os.umask(0o077)  # ledger, keys, sockets: nothing Timmy writes is for others to read
    sys.exit(run())


def _forgive_encodings() -> None:
    """A terminal that cannot show a character gets `?` instead of a crash."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
