"""`timmy testkit`: checks a running Timmy from outside, over HTTP and over a relay.

The first half is the script that `GET /api/testkit` gives, our own copy: what a stranger's server serves is
not run.
"""

import asyncio
import re
from collections import Counter
from typing import Final

import click

from relay_client.errors import InvalidKey, InvalidRelayUrl
from relay_client.keys import parse_public_key
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.commands.local import health, local_address
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.http.testkit import script_of
from timmy_dvm.purse import SimulatedPurse
from timmy_dvm.relay_checks import RelayChecks, Verdict
from timmy_dvm.terminal import printable

_VERDICT: Final = re.compile(r"(PASS|FAIL|SKIP) ")
_SUMMARY: Final = re.compile(r"PASS=\d+ FAIL=\d+ SKIP=\d+")


@click.command("testkit")
@click.option("--base", metavar="URL", help="Web address of the Timmy to test. Default: the local one.")
@click.option(
    "--relay",
    metavar="URL",
    help="Test over this relay too. Default: the local instance's first; with --base none.",
)
@shared_options
@click.pass_context
def command(context: click.Context, /, shared: Shared, base: str | None, relay: str | None) -> None:
    """Check a running Timmy from outside. The last line counts what passed, failed and was skipped."""
    counts = asyncio.run(_test(base or local_address(shared), relay, is_local=base is None))
    click.echo(f"PASS={counts['PASS']} FAIL={counts['FAIL']} SKIP={counts['SKIP']}")
    context.exit(1 if counts["FAIL"] or not counts["PASS"] else 0)


async def _test(base: str, relay: str | None, *, is_local: bool) -> Counter[str]:
    base = base.rstrip("/")
    counts = await _over_http(base)
    if relay is None and not is_local:
        return counts

    def tell(verdict: Verdict) -> None:
        counts[verdict.outcome.value] += 1
        click.echo(printable(verdict.line()))

    about = await health(base)
    relay = relay or str(about["relays"][0]["url"])
    purse = SimulatedPurse(base) if about.get("stubMode") else None
    clock, randomness = SystemClock(), SystemRandomness()
    try:
        provider = parse_public_key(about["npub"])
        await RelayChecks(relay, provider, purse, tell, clock, randomness).run()
    except InvalidKey as error:
        raise UserError(f"{base} does not tell whom to ask: {error}.") from None
    except InvalidRelayUrl as error:
        raise click.UsageError(f"--relay: {error}") from None
    return counts


async def _over_http(base: str) -> Counter[str]:
    """Run the script; its verdicts are shown as they come, and counted here."""
    counts: Counter[str] = Counter()
    try:
        script = await asyncio.create_subprocess_exec(
            "bash", "-s", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise UserError("The testkit needs bash and curl on the PATH.") from None
    if script.stdin is None or script.stdout is None:
        raise TypeError("a process that was started with pipes has them")
    script.stdin.write(script_of(base).encode())
    script.stdin.close()
    has_ended = False
    async for raw in script.stdout:
        line = raw.decode(errors="replace").rstrip("\n")
        if _SUMMARY.fullmatch(line):
            has_ended = True
            continue
        if (found := _VERDICT.match(line)) is not None:
            counts[found[1]] += 1
        click.echo(printable(line))
    await script.wait()
    if not has_ended:
        raise UserError("The testkit's script broke off before its end.")
    return counts
