"""`timmy job ID`: one job's whole story, from the ledger, beside a running bot."""

import asyncio
import sys

import click
import msgspec

from ledger.store import Story
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.commands.reading import reading
from timmy_dvm.core.trust import Tier
from timmy_dvm.views import story_view


@click.command("job")
@click.argument("name", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="The object that GET /api/jobs/{id} gives, and more.")
@shared_options
def command(shared: Shared, name: str, *, as_json: bool) -> None:
    """Tell the whole story of one job.

    ID is a job id, the beginning of an event id, note1… or nevent1….
    """
    story = asyncio.run(_find(shared, name))
    view = story_view(story, Tier.ANONYMOUS if story.job.pubkey is None else Tier.NEW)
    if as_json:
        encoded = msgspec.json.Encoder(decimal_format="number").encode(view)
        click.echo(msgspec.json.format(encoded, indent=2).decode())
    else:
        click.echo(_told(story))


async def _find(shared: Shared, name: str) -> Story:
    async with reading(shared) as store:
        found = await store.find_jobs(_hex(name))
        if not found:
            raise UserError(f"No job is called {name}; `timmy jobs` lists them.")
        if len(found) > 1:
            raise UserError(f"{len(found)} jobs begin with {name}: give more of the id.")
        story = await store.story(found[0].id)
        if story is None:
            raise UserError(f"No job is called {name}; `timmy jobs` lists them.")
        return story


def _hex(name: str) -> str:
    if not name.startswith(("note1", "nevent1")):
        return name.lower()
    from relay_client.errors import InvalidKey
    from relay_client.keys import parse_event_id

    try:
        return parse_event_id(name)
    except InvalidKey as error:
        raise UserError(str(error)) from None


def _told(story: Story) -> str:
    from timmy_dvm.views import when

    job = story.job
    lines = [f"job {job.id}", f"state {job.state}", f"asked by {job.pubkey or 'nobody known'}"]
    if story.texts.forgotten:
        lines.append("its texts are forgotten, as its customer asked; the books stay")
    elif sys.stdout.isatty():
        lines.append(f"request {story.texts.request[:200]!r}")
    moments = [(fact.at, 0, f"{fact.kind}  {fact.id}") for fact in story.facts]
    for at, entry in story.entries:
        moved = "  ".join(f"{p.account[:20]} {p.amount:+d}" for p in entry.postings)
        moments.append((at, 1, f"  {entry.code}: {moved} msat"))
    lines += [f"{when(at)}  {text}" for at, _, text in sorted(moments, key=lambda moment: moment[:2])]
    for event, deliveries in story.events:
        told = ", ".join(f"{d.relay} {d.outcome}" for d in deliveries) or "not offered yet"
        lines.append(f"event {event.id}  {event.role}: {told}")
    lines += [f"refund {r.id}: {r.amount} msat {r.state} ({r.reason})" for r in story.refunds]
    return "\n".join(lines)
