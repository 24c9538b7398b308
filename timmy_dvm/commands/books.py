"""`timmy books`: what every account holds, and booking what the operator moved in or out of the wallet.

It works beside a running bot: the ledger takes one writer at a time, and both wait for their turn.
"""

import asyncio
import dataclasses

import click

from ledger import accounts
from ledger.entries import Code, transfer
from ledger.money import MAX_MSATS, MSATS_PER_SAT, Msats, msats_from_sats, sats_down
from ledger.records import NOTHING, Applied, Change, FactRecord
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable, View
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.commands.reading import ledger_file, reading
from timmy_dvm.core.solvency import may_take_out
from timmy_dvm.views import books_view

_SATS = click.IntRange(1, MAX_MSATS // MSATS_PER_SAT)


@click.command("books")
@click.argument("move", type=click.Choice(["deposit", "withdraw"]), required=False)
@click.argument("sats", type=_SATS, required=False)
@click.option("--note", default="", metavar="TEXT", help="What it was for; kept with the entry.")
@shared_options
def command(shared: Shared, move: str | None, sats: int | None, note: str) -> None:
    """Show what every account holds; or book SATS that you put into the wallet or took out of it.

    What you put in stays yours to take out; what customers are owed never is.
    """
    if move is None:
        for name, balance in asyncio.run(_balances(shared)).items():
            click.echo(f"{name:<14}{balance:>14,} sats")
        return
    if sats is None:
        raise click.UsageError(f"How many sats? timmy books {move} SATS")
    asyncio.run(_book(shared, Code(move), msats_from_sats(sats), note))
    click.echo(f"booked: {sats:,} sats {'in' if move == Code.DEPOSIT else 'out'}")


async def _balances(shared: Shared) -> dict[str, int]:
    async with reading(shared) as store:
        return books_view(await store.balances())


async def _book(shared: Shared, code: Code, amount: Msats, note: str) -> None:
    fact = FactRecord(
        id=f"books:{SystemRandomness().new_id()}",
        kind="OperatorMoved",
        job_id=None,
        at=int(SystemClock().now()),
        body="{}",
    )

    def decide(view: View) -> Change:
        if code is Code.DEPOSIT:
            entry = transfer(fact.id, code, accounts.NODE, accounts.OPERATOR, amount, note)
        else:
            _refuse_what_is_owed(view, amount)
            entry = transfer(fact.id, code, accounts.OPERATOR, accounts.NODE, amount, note)
        return dataclasses.replace(NOTHING, entries=(entry,))

    try:
        store = open_ledger(f"sqlite:///{ledger_file(shared)}", beside=True)
        try:
            outcome = await store.commit(fact, decide)
        finally:
            await store.close()
    except StoreUnavailable as error:
        raise UserError(str(error)) from None
    if not isinstance(outcome, Applied):
        raise UserError("The books moved meanwhile, so nothing was booked. Please try again.")


def _refuse_what_is_owed(view: View, amount: Msats) -> None:
    node = Msats(accounts.as_shown(accounts.NODE, view.balance(accounts.NODE)))
    most = may_take_out(node, view.payable(), view.fee_caps_in_flight())
    if amount > most:
        raise UserError(
            f"At most {sats_down(most):,} sats are yours to take out now: the rest is owed to customers, or may "
            "be spent on a payment that is on its way. Put the difference back into the wallet."
        )
