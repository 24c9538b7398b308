"""The Timmy that runs on this machine, as commands that speak with a running one find it."""

from typing import Any, Final

import httpx

from timmy_dvm.commands.options import Shared, UserError

LOCAL_S: Final = 5


def local_address(shared: Shared) -> str:
    """Where the instance that is meant serves HTTP."""
    config = shared.load()
    host = config.http.host
    return f"http://{f'[{host}]' if ':' in host else host}:{config.http.port}"


async def health(http: str) -> dict[str, Any]:
    """What a Timmy says of itself at ``/api/healthz``; ``npub`` and ``relays`` are there.

    Raises:
        UserError: none answers there.
    """
    async with httpx.AsyncClient(timeout=LOCAL_S, trust_env=False) as client:
        try:
            body = (await client.get(f"{http.rstrip('/')}/api/healthz")).json()
            body["npub"], body["relays"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
            raise UserError(
                f"No Timmy answers at {http}. Start one with `timmy run`, or name one with --to and --relay."
            ) from None
    return dict(body)
