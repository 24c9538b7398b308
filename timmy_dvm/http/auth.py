"""Who asks: a token, or an event they signed for this very request (NIP-98). Present but invalid is always 401."""

import hashlib
from typing import Final

from fastapi import Request

from relay_client.event import Event
from timmy_dvm.clock import Clock
from timmy_dvm.http.addresses import Addresses
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.once import Full, Once, ShareUsed
from timmy_dvm.http.tokens import InvalidToken, Tokens
from timmy_dvm.nostr.signed_in import HTTP_AUTH_WINDOW_S, NotSignedIn, http_auth

TOKEN_HEADER: Final = "X-Nostr-Token"  # noqa: S105 - a header's name
_NOSTR: Final = "nostr"
_READS: Final = frozenset({"GET", "HEAD"})
_MOST_AT_ONCE: Final = 50_000
"""Signed requests that change something, within the two minutes in which an event may count."""


class Callers:
    """Tells the public key of who asks.

    Args:
        tokens: reads what `POST /api/identity/verify` gave out.
        public_url: our public address, without a slash at its end; NIP-98 events are signed for it.
        clock: for what has ended.
        addresses: tells from where somebody asks.
    """

    def __init__(self, tokens: Tokens, public_url: str, clock: Clock, addresses: Addresses) -> None:
        self._tokens = tokens
        self._public_url = public_url
        self._clock = clock
        self._addresses = addresses
        self._began = int(clock.now())
        self._used = Once(_MOST_AT_ONCE)

    async def key_of(self, request: Request, body_token: str | None = None) -> str | None:
        """The public key (hex) of who asks, or None where nobody says who they are.

        Args:
            request: what they ask. A signed event counts once for one that changes something; asking again
                about the same request is no second use.
            body_token: `nostr_token` of the body.

        Raises:
            Fault: 401, for a credential that is none, has ended, was used, or contradicts another.
        """
        told = {*request.headers.getlist(TOKEN_HEADER), *(() if body_token is None else (body_token,))}
        keys = {self._of_token(text) for text in told}
        event = await self._signed(request)
        if event is not None:
            keys.add(event.pubkey)
        if len(keys) > 1 or len(told) > 1:
            raise unauthorized("The credentials of this request are not of one key: send one of them.")
        if event is not None and request.method not in _READS:
            self._use(event, request)
        return keys.pop() if keys else None

    def check_tokens(self, request: Request) -> None:
        """See that the token of a request counts, also where nothing depends on who asks.

        Raises:
            Fault: 401, there is one that does not.
        """
        for text in request.headers.getlist(TOKEN_HEADER):
            self._of_token(text)

    def _of_token(self, text: str) -> str:
        try:
            return self._tokens.read(text, int(self._clock.now()))
        except InvalidToken as error:
            raise unauthorized(str(error)) from None

    async def _signed(self, request: Request) -> Event | None:
        told = request.headers.getlist("authorization")
        if not told:
            return None
        scheme, _, credential = told[0].partition(" ")
        if scheme.lower() != _NOSTR or len(told) > 1:
            raise unauthorized("This route takes one `Authorization: Nostr …` (NIP-98), or X-Nostr-Token.")
        body = await request.body()
        try:
            return http_auth(
                credential.strip(),
                url=f"{self._public_url}{_target(request)}",
                method=request.method,
                payload_hash=hashlib.sha256(body).hexdigest() if body else None,
                now=int(self._clock.now()),
            )
        except NotSignedIn as error:
            raise unauthorized(str(error)) from None

    def _use(self, event: Event, request: Request) -> None:
        """Whoever sees a signed request must not be able to send it again."""
        if request.scope.get("timmy.signed") == event.id:
            return
        if event.created_at < self._began:
            # What was used before a restart is not known any more.
            raise unauthorized("The event was signed before this server started: sign a new one.")
        now = int(self._clock.now())
        try:
            until, address = event.created_at + HTTP_AUTH_WINDOW_S + 1, self._addresses.bucket(request)
            is_first = self._used.use(event.id, until, now, address)
        except ShareUsed:
            sentence = "Too many signed requests come from your address just now: use X-Nostr-Token."
            raise Fault(429, "rate_limited", sentence, {"retryAfterSeconds": 60}, {"Retry-After": "60"}) from None
        except Full:
            sentence = "Too many signed requests come just now: use X-Nostr-Token, or try again in a minute."
            raise Fault(503, "busy", sentence, {"retryAfterSeconds": 60}, {"Retry-After": "60"}) from None
        if not is_first:
            sentence = (
                "That signed event was used before: sign one for each request, a second later or with a nonce."
            )
            raise unauthorized(sentence)
        request.scope["timmy.signed"] = event.id


def unauthorized(sentence: str) -> Fault:
    """A credential that does not count: 401."""
    return Fault(401, "unauthorized", sentence, headers={"WWW-Authenticate": "Nostr"})


def _target(request: Request) -> str:
    """Path and query as they were sent. Not ``request.url``, which is made with the Host header."""
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")
