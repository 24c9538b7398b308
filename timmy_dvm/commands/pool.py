"""`timmy pool`: what the pool has, who drew on it today, and its newest entries, whether or not a bot runs."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import click
import msgspec

from ledger.entries import Code
from ledger.reservations import PoolBooks
from timmy_dvm.clock import SystemClock
from timmy_dvm.commands.options import Shared, shared_options
from timmy_dvm.commands.reading import reading
from timmy_dvm.core.trust import DAY_S
from timmy_dvm.views import pool_view

_WORDS: Final[Mapping[str, str]] = {Code.SETTLED: "gift"}
"""Entries whose code tells a reader of the pool's books nothing: only a gift comes out of the wallet into it."""


@click.command("pool")
@click.option(
    "-n", "--limit", type=click.IntRange(0, 1_000), default=10, show_default=True, help="How many entries."
)
@click.option("--json", "as_json", is_flag=True, help="The object that GET /api/pool gives.")
@shared_options
def command(shared: Shared, limit: int, *, as_json: bool) -> None:
    """Show the generosity pool: what it has, today's use, its newest entries."""
    budgets = shared.load().free_tier.daily_budget_sats.model_dump()
    view = pool_view(asyncio.run(_read(shared, limit)), budgets)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(view), indent=2).decode())
        return
    for line in _told(view):
        click.echo(line)


async def _read(shared: Shared, limit: int) -> PoolBooks:
    now = int(SystemClock().now())
    async with reading(shared) as store:
        return await store.pool(since=now - now % DAY_S, limit=limit)


def _told(view: Mapping[str, Any]) -> list[str]:
    lines = [
        f"pool   {view['balanceSats']:,} sats to give, {view['reservedSats']:,} set aside for jobs under way",
        f"in all {view['inSats']:,} sats given to it, {view['outSats']:,} granted",
    ]
    lines += [
        f"today  {use['tier']}: {use['grantedSats']:,} sats granted, {use['reservedSats']:,} set aside, "
        f"{use['jobs']:,} jobs; {view['dailyBudgets'].get(use['tier'], 0):,} a day for each key"
        for use in view["today"]
    ] or ["today  nobody drew on it"]
    lines += [f"donor  {one['at']}  {one['npub']}  {one['amountSats']:,} sats" for one in view["donors"]]
    lines += [
        f"{move['at']}  {_WORDS.get(move['code'], move['code']):<11}  {_signed(move['amountMsat'])} sats"
        for move in view["entries"]
    ]
    return lines


def _signed(msat: int) -> str:
    return f"{Decimal(msat) / 1_000:+,}"
