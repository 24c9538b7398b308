"""``GET /api/testkit``: the script that tests this server from outside, with its address filled in."""

import shlex
from importlib import resources
from typing import Final

from fastapi import APIRouter, Response

from timmy_dvm.http.answers import Documented
from timmy_dvm.http.services import Services

MEDIA_TYPE: Final = "text/x-shellscript"
_PLACE: Final = "__BASE__"
_ANSWERS: Final[Documented] = {
    200: {
        "description": "A script for bash 3.2 and curl; its last line is `PASS=n FAIL=n SKIP=n`.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


class Script(Response):
    """A text to give to a shell."""

    media_type = MEDIA_TYPE


def routes(services: Services) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["developers"])

    @router.get("/api/testkit", responses=_ANSWERS, response_class=Script)
    async def testkit() -> Response:
        """A script that tests this server from outside: pipe it into bash."""
        return Script(script_of(services.public_url))

    return router


def script_of(base: str) -> str:
    """The script, for the server at this address; whatever that holds, it stays one word of the shell."""
    text = resources.files("timmy_dvm.http").joinpath("testkit.sh").read_text(encoding="utf-8")
    return text.replace(_PLACE, shlex.quote(base), 1)
