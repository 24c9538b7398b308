"""`timmy status`: what is going on. Exit code 0 when the bot serves, 1 when something stands in its way.

What a running bot alone knows (relays, wallet) is asked over its HTTP port; jobs and books are read from the
ledger, which is there without a bot too.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import click
import httpx
import msgspec

from ledger.records import JobState
from timmy_dvm.commands.options import Shared, shared_options
from timmy_dvm.commands.reading import reading
from timmy_dvm.config import Config
from timmy_dvm.core.transitions import AWAITING, RUNNING
from timmy_dvm.terminal import printable
from timmy_dvm.views import books_view

_PATIENCE_S = 5
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # compared with, never bound to
_MOST_JOBS = 100_000
_TROUBLE = {
    "no_relay": "no relay is connected, so requests can't be heard",
    "no_wallet": "the wallet doesn't answer, so nothing can be paid",
    "wallet_short": "the wallet holds less than the books say: no payouts, no new invoices (see the log)",
    "no_ledger": "the ledger can't be read or written",
}


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="As JSON: health is the answer of GET /api/healthz.")
@shared_options
@click.pass_context
def command(context: click.Context, shared: Shared, *, as_json: bool) -> None:
    """Show how the bot, its relays, its jobs and its books are doing."""
    config = shared.load()
    base = base_url(config)
    health, unseen = _health(base)
    jobs, books = asyncio.run(_from_ledger(shared))
    if as_json:
        body = {"health": health, "jobs": jobs, "booksSats": books}
        click.echo(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
    else:
        for line in (*_told(base, health, unseen), *_counted(jobs, books)):
            click.echo(printable(line))
    context.exit(0 if health is not None and health.get("status") == "ok" else 1)


def base_url(config: Config) -> str:
    """Where the instance's own machine reaches its HTTP port."""
    host = _ANY_ADDRESS.get(config.http.host, config.http.host)
    return f"http://[{host}]:{config.http.port}" if ":" in host else f"http://{host}:{config.http.port}"


def _health(base: str) -> tuple[dict[str, Any] | None, str]:
    """What the bot says of itself; or None, and why it said nothing."""
    try:
        answer = httpx.get(f"{base}/api/healthz", timeout=_PATIENCE_S, trust_env=False)
        health = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return None, str(error) or type(error).__name__
    if not isinstance(health, dict) or not isinstance(health.get("npub"), str):
        return None, "something else answers there"
    return health, ""


async def _from_ledger(shared: Shared) -> tuple[dict[str, int], Mapping[str, int]]:
    async with reading(shared) as store:
        waiting = await store.jobs(limit=_MOST_JOBS, states=sorted(AWAITING))
        running = await store.jobs(limit=_MOST_JOBS, states=sorted(RUNNING))
        counts = {str(state): 0 for state in (*sorted(AWAITING), *sorted(RUNNING))}
        for job in (*waiting, *running):
            counts[str(JobState(job.state))] += 1
        return {**counts, "outbox": len(await store.pending())}, books_view(await store.balances())


def _told(base: str, health: Mapping[str, Any] | None, unseen: str) -> Sequence[str]:
    if health is None:
        return (f"no bot at {base} ({unseen}); `timmy run` starts one",)
    state = health.get("status")
    first = "serving" if state == "ok" else f"NOT SERVING: {_TROUBLE.get(str(state), state)}"
    return (
        f"{first}  {base}  {health['npub']}  version {health.get('version')}",
        f"agent {health.get('agent')}, wallet {'simulated' if health.get('stubMode') else 'real'}",
        *(_relay(relay) for relay in health.get("relays", ())),
    )


def _relay(relay: Mapping[str, Any]) -> str:
    """One relay; what it did wrong stands behind it by name and number."""
    line = f"relay {relay.get('url')}  {relay.get('state')}"
    if relay.get("reconnects"):
        line += f", {relay['reconnects']} reconnects"
    if faults := relay.get("faults"):
        line += "; MISBEHAVES: " + ", ".join(f"{count} {name}" for name, count in sorted(faults.items()))
    if unserved := relay.get("unserved"):
        line += "; DOES NOT SERVE " + ", ".join(f"{name}: {why}" for name, why in sorted(unserved.items()))
    if relay.get("pauseSeconds"):
        line += f"; wants less of us, paused for {relay['pauseSeconds']:.0f} s"
    if relay.get("state") != "connected" and relay.get("lastError"):
        line += f" ({relay['lastError']})"
    return line


def _counted(jobs: Mapping[str, int], books: Mapping[str, int]) -> Sequence[str]:
    work = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in jobs.items() if state != "outbox")
    return (
        f"jobs  {work}; {jobs['outbox']} waiting in the outbox",
        "books  " + ", ".join(f"{name} {sats:,}" for name, sats in books.items()) + " (sats)",
    )
