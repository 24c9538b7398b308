"""`timmy check-config`: read the configuration, say what is wrong with it or what it comes to. Touches nothing."""

import json

import click

from timmy_dvm.building import check
from timmy_dvm.commands.options import Shared, shared_options
from timmy_dvm.config import Config


@click.command("check-config")
@click.option("--json", "as_json", is_flag=True, help="Every key with its value, without the secrets.")
@shared_options
def command(shared: Shared, *, as_json: bool) -> None:
    """Read the configuration and say what is wrong with it.

    Reads the file, the environment and the modes of the secret files; connects to nothing.
    """
    config = shared.load()
    check(config)
    for note in config.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        click.echo(json.dumps(config.as_public_dict(), indent=2))
    else:
        click.echo(_summary(config))


def _summary(config: Config) -> str:
    relays = ", ".join(config.nostr.relays) or f"embedded, port {config.nostr.relay_port}"
    ledger = config.ledger.sqlite_path or "PostgreSQL"
    lines = [
        f"configuration  {config.file or 'none: defaults and environment'}",
        f"relays         {relays}",
        f"http           {config.http.host}:{config.http.port}",
        f"wallet         {config.lightning.backend}",
        f"agent          {config.agent.backend}",
        f"ledger         {ledger}",
    ]
    lines += [f"               {name} from {origin}" for name, origin in sorted(config.origins.items())]
    return "\n".join([*lines, "No mistakes found."])
