"""`timmy init`: write the configuration and the key of a new instance."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from timmy_dvm.clock import SystemRandomness
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.config import ConfigError, load
from timmy_dvm.config.example import render_example
from timmy_dvm.config.loading import FILE_NAME
from timmy_dvm.config.sources import CONFIG_VARIABLE
from timmy_dvm.identity import load_or_create_key

_OFFER = (
    "Give each new key one free answer (at most 20 sats each, 150 sats a day in all, "
    "out of the pool's share for newcomers)?"
)


@click.command("init")
@click.option("--agent", type=click.Choice(["offline", "anthropic"]), default="offline", show_default=True)
@click.option(
    "--wallet",
    type=click.Choice(["simulated", "lnbits", "nwc", "lnd", "phoenixd", "cln"]),
    default="simulated",
    show_default=True,
)
@click.option("-r", "--relay", "relays", multiple=True, metavar="URL", help="Relay to use; repeats.")
@click.option("--newcomers/--no-newcomers", default=None, help="Free first answers; asked for on a terminal.")
@click.option("--print", "only_print", is_flag=True, help="Only print the commented configuration.")
@shared_options
def command(
    shared: Shared, *, agent: str, wallet: str, relays: tuple[str, ...], newcomers: bool | None, only_print: bool
) -> None:
    """Write a commented configuration and make a key with mode 600.

    The file is --config, TIMMY_CONFIG or ./timmy.toml; one that is there is never overwritten.
    """
    named: dict[str, Any] = {"agent.backend": agent, "lightning.backend": wallet}
    if relays:
        named["nostr.relays"] = list(relays)
    if only_print:
        click.echo(render_example(named), nl=False)
        return
    path = (shared.config_file or Path(os.environ.get(CONFIG_VARIABLE) or FILE_NAME)).expanduser().absolute()
    if path.exists():
        raise UserError(f"{path} is already there, and is left as it is. Take another --config, or move it away.")
    if newcomers is None:
        newcomers = sys.stdin.isatty() and click.confirm(_OFFER, default=False)
    named["free_tier.newcomer_allowance"] = newcomers
    key_file = (shared.data_dir or path.parent).expanduser().absolute() / "nostr.key"
    keys = load_or_create_key(key_file, SystemRandomness())
    _write(path, render_example(named))
    click.echo(f"{path} is written; every key in it says what it means.")
    click.echo(f"Timmy is {keys.npub}. His secret key is in {key_file}; keep a copy of it.")
    click.echo(_next_step(path, shared.data_dir))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def _next_step(path: Path, data_dir: Path | None) -> str:
    try:
        load(path, os.environ, data_dir)
    except ConfigError as error:
        return f"Before the first start, mend in it:\n{error}"
    if data_dir is not None:  # the file does not name it, and another folder would have another key
        return f"Next: timmy check-config, then timmy run, both with --data-dir {shlex.quote(str(data_dir))}."
    return "Next: timmy check-config, then timmy run."
