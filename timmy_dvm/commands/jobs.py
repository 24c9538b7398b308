"""`timmy jobs`: the newest jobs, one a line."""

import asyncio
from collections.abc import Sequence

import click
import msgspec

from ledger.records import JobRecord, JobState
from timmy_dvm.commands.options import Shared, shared_options
from timmy_dvm.commands.reading import reading
from timmy_dvm.views import jobs_view


@click.command("jobs")
@click.option("-n", "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many.")
@click.option("--state", type=click.Choice([str(state) for state in JobState]), multiple=True, help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
@shared_options
def command(shared: Shared, limit: int, state: Sequence[str], *, as_json: bool) -> None:
    """List the newest jobs."""
    jobs = asyncio.run(_read(shared, limit, [JobState(name) for name in state]))
    rows = jobs_view(jobs)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    for row in rows:
        click.echo(
            f"{row['createdAt']}  {row['jobId']}  {row['state']:<21}  quoted {row['quotedSats']} sats, "
            f"charged {row['chargedSats']}"
        )
    if not rows:
        click.echo("No jobs yet.", err=True)


async def _read(shared: Shared, limit: int, states: Sequence[JobState]) -> Sequence[JobRecord]:
    async with reading(shared) as store:
        return await store.jobs(limit=limit, states=states)
