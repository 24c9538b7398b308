"""`timmy audit`: the invariants, as queries over the ledger. Exit code 0 when all hold, 1 when one is broken."""

import asyncio

import click
import msgspec

from ledger.audit import audit
from ledger.store import StoreUnavailable
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.commands.reading import ledger_file, reading
from timmy_dvm.views import books_view


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Findings and books as JSON.")
@shared_options
@click.pass_context
def command(context: click.Context, shared: Shared, *, as_json: bool) -> None:
    """Check the books: every promise the ledger makes, row by row. Safe beside a running bot."""
    try:
        findings = audit(ledger_file(shared))
    except StoreUnavailable as error:
        raise UserError(str(error)) from None
    try:
        books = asyncio.run(_books(shared))
    except UserError:
        if not findings:
            raise
        books = {}  # what was found keeps them from being read, and says so
    if as_json:
        body = {"findings": [str(finding) for finding in findings], "booksSats": books}
        click.echo(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
    else:
        for name, sats in books.items():
            click.echo(f"{name:<14}{sats:>14,} sats")
        for finding in findings:
            click.echo(f"BROKEN  {finding}")
        click.echo("The books are in order." if not findings else f"{len(findings)} findings.")
    context.exit(1 if findings else 0)


async def _books(shared: Shared) -> dict[str, int]:
    async with reading(shared) as store:
        return books_view(await store.balances())
