"""``/.well-known/nostr.json``: who we are by name (NIP-05), so that our name at this address is this key."""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from timmy_dvm.http.answers import answers
from timmy_dvm.http.identity_answers import Names
from timmy_dvm.http.wire import said

_ROOT: Final = "_"
"""The name that stands for the domain itself."""


def routes(name: str, public_key: str, relays: Sequence[str]) -> APIRouter:
    """The route.

    Args:
        name: as the profile has it; asked for in lower case.
        public_key: ours, hex.
        relays: where we are heard.
    """
    router = APIRouter(tags=["identity"])
    mine = {_ROOT, name.lower()}

    @router.get("/.well-known/nostr.json", responses=answers(Names, "Who has this name here, and where."))
    async def names(asked: Annotated[str | None, Query(alias="name", max_length=256)] = None) -> Response:
        """The public key of a name at this address (NIP-05); all names where none is asked for."""
        found = sorted(mine) if asked is None else sorted(mine & {asked.lower()})
        body = {"names": dict.fromkeys(found, public_key), "relays": {public_key: list(relays)} if found else {}}
        # Clients in browsers look from anywhere (NIP-05); there is nothing here that is not public.
        return said(body, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"})

    return router
