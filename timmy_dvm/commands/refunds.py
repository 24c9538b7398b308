"""`timmy refunds`: what is owed to whom and why; and settling one by hand.

It works beside a running bot: the ledger takes one writer at a time, and the bot finds a retry within a minute.
"""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Sequence

import click
import msgspec

from ledger.money import sats_down
from ledger.records import Applied, Change, FactRecord, NewAction, RefundRecord
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable, View
from relay_client.keys import npub
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.commands.reading import ledger_file, reading
from timmy_dvm.core import by_hand
from timmy_dvm.core.case import Decision

_MAX_NOTE_CHARS = 200
_NPUB_CHARS = 12


@click.command("refunds")
@click.argument("move", type=click.Choice(["settle", "retry"]), required=False)
@click.argument("refund_id", metavar="[ID]", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="Show those that are settled too.")
@click.option("--json", "as_json", is_flag=True, help="For programs, with whole ids and keys.")
@click.option("--paid-elsewhere", is_flag=True, help="Of settle: you paid it with another wallet.")
@click.option("--note", default="", metavar="TEXT", help="Of settle: how; kept with the entry.")
@shared_options
def command(
    shared: Shared,
    move: str | None,
    refund_id: str | None,
    all_of_them: bool,
    as_json: bool,
    paid_elsewhere: bool,
    note: str,
) -> None:
    """Show what is on its way back to customers; or settle one by hand, or have one tried again.

    `settle` books that you paid a refund with another wallet: its sats in Timmy's wallet are yours then. `retry`
    sends it now, instead of after its pause or not at all.
    """
    if move is None:
        _show(asyncio.run(_rows(shared, open_only=not all_of_them)), as_json=as_json)
        return
    if refund_id is None:
        raise click.UsageError(f"Which one? timmy refunds {move} ID")
    if move == "retry":
        row = asyncio.run(_change(shared, refund_id, "Retried", lambda row, _: by_hand.retried(row)))
        click.echo(f"{sats_down(row.amount):,} sats are tried again within a minute, or when Timmy runs next")
        return
    if not paid_elsewhere or not note.strip():
        raise click.UsageError("Settling needs --paid-elsewhere and --note TEXT: how did you pay it?")
    if len(note) > _MAX_NOTE_CHARS or not note.isprintable():
        raise UserError(f"The note must be one line of at most {_MAX_NOTE_CHARS} characters.")
    row = asyncio.run(_change(shared, refund_id, "Settled", lambda row, at: by_hand.paid_elsewhere(row, note, at)))
    click.echo(f"booked: {sats_down(row.amount):,} sats were paid elsewhere and are yours here")


def _show(rows: Sequence[RefundRecord], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_as_object(row) for row in rows], ensure_ascii=False, indent=2))
        return
    for row in rows:
        click.echo(_line(row))
    if not rows:
        click.echo("nothing is owed")


async def _rows(shared: Shared, *, open_only: bool) -> list[RefundRecord]:
    async with reading(shared) as store:
        return list(await store.refunds(open_only=open_only))


async def _change(
    shared: Shared, text: str, what: str, decided: Callable[[RefundRecord, int], Decision]
) -> RefundRecord:
    refund_id = _found(text, await _rows(shared, open_only=False)).id
    at = int(SystemClock().now())
    fact = FactRecord(
        id=f"refunds:{SystemRandomness().new_id()}", kind=f"Refund{what}", job_id=None, at=at, body="{}"
    )
    seen: list[RefundRecord] = []

    def decide(view: View) -> Change:
        row = view.refund(refund_id)
        if row is None:
            raise by_hand.NotNow("It is not there any more.")
        seen[:] = [row]
        decision = decided(row, at)
        actions = tuple(
            NewAction(
                kind=type(do.action).__name__,
                job_id=row.job_id,
                body=msgspec.json.encode(do.action).decode(),
                due_at=do.due_at,
            )
            for do in decision.actions
        )
        return Change(refunds=decision.refunds, entries=decision.entries, actions=actions)

    try:
        store = open_ledger(f"sqlite:///{ledger_file(shared)}", beside=True)
        try:
            outcome = await store.commit(fact, decide)
        finally:
            await store.close()
    except (StoreUnavailable, by_hand.NotNow) as error:
        raise UserError(str(error)) from None
    if not isinstance(outcome, Applied):
        raise UserError("The books moved meanwhile, so nothing was done. Please try again.")
    return seen[0]


def _found(text: str, rows: list[RefundRecord]) -> RefundRecord:
    found = [row for row in rows if row.id == text] or [row for row in rows if row.id.startswith(text)]
    if len(found) != 1:
        trouble = "More than one refund begins like that: give more of" if found else "No refund has"
        raise UserError(f"{trouble} its id, as `timmy refunds --all --json` shows it.")
    return found[0]


def _line(row: RefundRecord) -> str:
    whom = "nobody known" if row.pubkey is None else f"{npub(row.pubkey)[:_NPUB_CHARS]}…"
    why = f"{row.reason}{f'; {row.note}' if row.note else ''}"
    return (
        f"{row.id[:8]}  {sats_down(row.amount):>9,} sats  {row.state:<14} {_when(row.updated_at)}  {whom}  {why}"
    )


def _when(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M")


def _as_object(row: RefundRecord) -> dict[str, object]:
    return {
        "id": row.id,
        "jobId": row.job_id,
        "npub": None if row.pubkey is None else npub(row.pubkey),
        "amountSats": sats_down(row.amount),
        "state": str(row.state),
        "since": row.updated_at,
        "reason": row.reason,
        "note": row.note,
        "attempts": row.attempts,
        "nextTryAt": row.due_at,
        "goesByItself": row.target is not None,
    }
