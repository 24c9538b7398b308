"""Who asks: a token, or an event they signed for this very request (NIP-98). Present but invalid is always 401."""

import hashlib
from typing import Final

from fastapi import Request

from timmy_dvm.clock import Clock
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.tokens import InvalidToken, Tokens
from timmy_dvm.nostr.signed_in import NotSignedIn, http_auth

TOKEN_HEADER: Final = "X-Nostr-Token"  # noqa: S105 - a header's name
_NOSTR: Final = "nostr"


class Callers:
    """Tells the public key of who asks.

    Args:
        tokens: reads what `POST /api/identity/verify` gave out.
        public_url: our public address, without a slash at its end; NIP-98 events are signed for it.
        clock: for what has ended.
    """

    def __init__(self, tokens: Tokens, public_url: str, clock: Clock) -> None:
        self._tokens = tokens
        self._public_url = public_url
        self._clock = clock

    async def key_of(self, request: Request, body_token: str | None = None) -> str | None:
        """The public key (hex) of who asks, or None where nobody says who they are.

        Args:
            request: what they ask.
            body_token: `nostr_token` of the body.

        Raises:
            Fault: 401, for a credential that is none, has ended, or contradicts another.
        """
        told = {*request.headers.getlist(TOKEN_HEADER), *(() if body_token is None else (body_token,))}
        keys = {self._of_token(text) for text in told}
        if "authorization" in request.headers:
            keys.add(await self._of_authorization(request))
        if len(keys) > 1 or len(told) > 1:
            raise _unauthorized("The credentials of this request are not of one key: send one of them.")
        return keys.pop() if keys else None

    def _of_token(self, text: str) -> str:
        try:
            return self._tokens.read(text, int(self._clock.now()))
        except InvalidToken as error:
            raise _unauthorized(str(error)) from None

    async def _of_authorization(self, request: Request) -> str:
        scheme, _, credential = request.headers["authorization"].partition(" ")
        if scheme.lower() != _NOSTR:
            raise _unauthorized("This route takes `Authorization: Nostr …` (NIP-98) or X-Nostr-Token.")
        body = await request.body()
        query = f"?{request.url.query}" if request.url.query else ""
        try:
            return http_auth(
                credential.strip(),
                url=f"{self._public_url}{request.url.path}{query}",
                method=request.method,
                payload_hash=hashlib.sha256(body).hexdigest() if body else None,
                now=int(self._clock.now()),
            )
        except NotSignedIn as error:
            raise _unauthorized(str(error)) from None


def _unauthorized(sentence: str) -> Fault:
    return Fault(401, "unauthorized", sentence, headers={"WWW-Authenticate": "Nostr"})
