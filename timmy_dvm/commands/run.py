"""`timmy run`: the bot. Stops on SIGTERM or Ctrl-C; a second Ctrl-C does not wait."""

import asyncio
import signal
import sys

import click

from ledger.files import LedgerLocked
from ledger.store import StoreUnavailable
from timmy_dvm.app import App, Ready
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.config import Config
from timmy_dvm.garbage import keep_what_is_loaded


@click.command("run")
@shared_options
def command(shared: Shared) -> None:
    """Run the bot until it is told to stop.

    Without a configuration: embedded relay, simulated wallet, offline agent, HTTP on 127.0.0.1:5050.
    """
    config = shared.load_and_log()
    try:
        asyncio.run(_serve(config))
    except (LedgerLocked, StoreUnavailable) as error:
        raise UserError(str(error)) from None


async def _serve(config: Config) -> None:
    app = App(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.stop)
    await app.run(_tell)


def _tell(ready: Ready) -> None:
    keep_what_is_loaded()
    click.echo(ready.line(), err=True)
    if sys.stdout.isatty():
        click.echo(f"Timmy is {ready.npub}\n  relays  {', '.join(ready.relays)}\n  web     {ready.http}")
        click.echo('Try, in another terminal:  timmy ask "What is a DVM?"')
