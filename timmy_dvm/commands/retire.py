"""`timmy retire`: withdraw the announcements. Exit code 0 when every relay took it, 1 when one did not.

It works while the bot does not run, for a running one would announce everything anew. The profile and the relay
lists stay: they say who Timmy is, and not that it serves anybody.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import click

from ledger.files import LedgerLocked, lock_ledger
from ledger.sqlite import open_ledger
from ledger.store import Store, StoreUnavailable
from relay_client.dial import Outside, PublishOutcome
from relay_client.keys import Keys
from relay_client.pool import RelayPool
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.config import Config
from timmy_dvm.identity import load_or_create_key
from timmy_dvm.nostr.announce import Announced, retirement
from timmy_dvm.terminal import printable

_CONNECT_S = 10


@click.command("retire")
@shared_options
@click.pass_context
def command(context: click.Context, shared: Shared) -> None:
    """Withdraw what was announced on the configured relays, with a deletion (NIP-09).

    Stop the bot first. `timmy run` announces anew, unless nostr.announce is false.
    """
    config = shared.load_and_log()
    try:
        outcomes = asyncio.run(_retire(config))
    except LedgerLocked as error:
        raise UserError(f"A running bot would announce itself anew, and {error}.") from None
    except StoreUnavailable as error:
        raise UserError(str(error)) from None
    for url, outcome in outcomes.items():
        said = printable(outcome.text).replace("\n", " ")
        click.echo(
            f"{url}  {'withdrawn' if outcome.is_accepted else f'NOT WITHDRAWN: {outcome.word} {said}'.rstrip()}"
        )
    context.exit(0 if all(outcome.is_accepted for outcome in outcomes.values()) else 1)


async def _retire(config: Config) -> Mapping[str, PublishOutcome]:
    if not config.nostr.relays:
        raise UserError("Nothing is to be withdrawn: nostr.relays names no relay, only the embedded one was told.")
    randomness = SystemRandomness()
    keys = _keys(config, randomness)
    outside = Outside(jitter=randomness.uniform, entropy=randomness.token)
    async with _ledger(config) as store, RelayPool(config.nostr.relays, keys=keys, outside=outside) as pool:
        announced = await Announced.load(store)
        kinds = tuple(dict.fromkeys((*announced.kinds, *config.nostr.kinds)))
        at = announced.next_date(int(SystemClock().now()))
        with contextlib.suppress(TimeoutError):
            await pool.wait_connected(len(pool.urls), _CONNECT_S)
        outcomes = await pool.publish(retirement(keys.public_key, kinds).signed(keys, randomness, at))
        await announced.withdrawn({url: outcome.is_accepted for url, outcome in outcomes.items()}, store)
        return outcomes


def _keys(config: Config, randomness: SystemRandomness) -> Keys:
    """Timmy's own, which this never makes."""
    if config.nostr.secret_key is not None:
        return Keys.from_text(config.nostr.secret_key.reveal())
    path = config.nostr.secret_key_file
    if not path.exists():
        raise UserError(
            f"There is no key at {path}, so nothing was announced; or name the instance with --config."
        )
    return load_or_create_key(path, randomness)


@contextlib.asynccontextmanager
async def _ledger(config: Config) -> AsyncIterator[Store]:
    """The ledger, with the right to run on it, so that no bot starts meanwhile."""
    path = config.ledger.sqlite_path
    if path is None or not path.exists():
        raise UserError(f"There is no ledger at {path or config.ledger.url}: name the instance with --config.")
    with lock_ledger(path):
        store = open_ledger(config.ledger.url)
        try:
            yield store
        finally:
            await store.close()
