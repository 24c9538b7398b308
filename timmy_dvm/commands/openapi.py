"""`timmy openapi`: the description of the HTTP port, and whether the one in the repository still is that."""

from pathlib import Path

import click


@click.command("openapi")
@click.option(
    "--check",
    "kept",
    is_flag=False,
    flag_value="docs/openapi.json",
    type=click.Path(path_type=Path),
    metavar="[F]",
    help="Compare with this file instead (docs/openapi.json); exit code 1 where it is stale.",
)
@click.pass_context
def command(context: click.Context, kept: Path | None) -> None:
    """Print the OpenAPI description of the HTTP port."""
    # Imported here: FastAPI and all routes cost more than all of `timmy --help`.
    from timmy_dvm.http.description import text_of
    from timmy_dvm.http_door import description

    text = text_of(description())
    if kept is None:
        click.echo(text, nl=False)
        return
    try:
        is_current = kept.read_text(encoding="utf-8") == text
    except OSError as error:
        raise click.ClickException(f"{kept} can't be read: {error.strerror}.") from None
    if is_current:
        click.echo(f"{kept} is current.", err=True)
        return
    click.echo(f"{kept} is stale: timmy openapi > {kept}", err=True)
    context.exit(1)
