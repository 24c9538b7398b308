"""`Idempotency-Key`: the same key gets the same answer, for ever, and costs once.

Before anything is done the key is on disk, with a seed from which its ids are made. A process that dies in
between finds the seed again, so a repeat names the same job; what was answered is on disk as well, and is said
again. What failed on our side (5xx) is no answer: a repeat goes on. Per route and credential.
"""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from fastapi import Request, Response

from ledger.store import Store
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.http.addresses import Addresses
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.hourly import PerHour

HEADER: Final = "Idempotency-Key"
_SEED_BYTES: Final = 32
_MAX_CHARS: Final = 255
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_STRONG: Final = re.compile(r"[0-9a-fA-F-]{32,255}|[A-Za-z0-9+/_=-]{22,255}", re.ASCII)
"""What can hold 128 random bits: 32 hex digits, with or without dashes, or 22 digits of base64."""
_FEWEST_DIGITS: Final = 8
"""A strong key of fewer different characters was not drawn by chance."""


REFUSED_AN_HOUR: Final = 300
"""Fresh keys an address may spend in an hour on what is refused: each is a row on disk, for ever, for nothing."""
_ADDRESSES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Seed:
    """Where the ids of one request come from: always the same for the same key."""

    text: str = field(repr=False)

    def id(self, what: str) -> str:
        """An id of 128 bits, 32 hex digits."""
        return hashlib.sha256(f"{what}:{self.text}".encode()).hexdigest()[:32]

    def secret(self, what: str) -> str:
        """A secret of 256 bits, 64 hex digits."""
        return hashlib.sha256(f"secret:{what}:{self.text}".encode()).hexdigest()


Work = Callable[[Seed], Awaitable[Response]]
"""Does what is asked, from a seed."""


@dataclass(slots=True)
class _Turn:
    """Who uses one key at this moment: one works, the others wait for its answer."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class Idempotency:
    """Answers each key once.

    Args:
        store: the ledger.
        clock, randomness: for when a key was used first, and fresh seeds.
        addresses: tells from where somebody asks.
    """

    def __init__(self, store: Store, clock: Clock, randomness: Randomness, addresses: Addresses) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._addresses = addresses
        self._refusals = PerHour(REFUSED_AN_HOUR, clock, _ADDRESSES)
        self._turns: dict[str, _Turn] = {}

    async def answer(self, request: Request, credential: str | None, work: Work) -> Response:
        """Do the work, or say again what was answered.

        Args:
            request: what is asked; its body has been read.
            credential: who asks, None for nobody in particular.
            work: raises :class:`Fault` like a route.

        Raises:
            Fault: 400 for a key that is none, or that anybody could guess; 409 for one used for something else;
                429 where too many of this address were spent on nothing.
        """
        told = request.headers.getlist(HEADER)
        if not told:
            return await work(self.fresh())
        key = _key(request, told, credential)
        async with self._alone(key):
            return await self._once(request, key, work)

    async def _once(self, request: Request, key: str, work: Work) -> Response:
        address, fresh = self._addresses.bucket(request), self.fresh()
        await self._check(address, key)
        body_hash = hashlib.sha256(await request.body()).hexdigest()
        seen = await self._store.begin_answer(key, body_hash, fresh.text, int(self._clock.now()))
        if seen.body_hash != body_hash:
            sentence = "That Idempotency-Key was used for another request: take a fresh key for this one."
            raise Fault(HTTPStatus.CONFLICT, "idempotency_conflict", sentence)
        if seen.status is not None and seen.answer is not None:
            return _stored(seen.status, seen.answer)
        try:
            answer = await work(Seed(seen.seed))
        except Fault as fault:
            if seen.seed == fresh.text and fault.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._refusals.take(address)
            if _is_final(fault.status):
                await self._note(key, fault.answer())
            raise
        if _is_final(answer.status_code):
            await self._note(key, answer)
        return answer

    async def _check(self, address: str, key: str) -> None:
        standing = self._refusals.look(address)
        # A key that is on disk already costs nothing more, and its answer is promised for ever.
        if standing.granted or await self._store.look(lambda view: view.is_key_used(key)):
            return
        wait_s = max(1, standing.reset_at - int(self._clock.now()))
        sentence = "Too many of your requests were refused: try again later, or without an Idempotency-Key."
        fields, headers = {"retryAfterSeconds": wait_s}, {"Retry-After": str(wait_s)}
        raise Fault(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", sentence, fields, headers)

    async def _note(self, key: str, answer: Response) -> None:
        await self._store.finish_answer(key, answer.status_code, bytes(answer.body).decode())

    @contextlib.asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """One at a time for each key: who comes second finds the answer of the first."""
        turn = self._turns.setdefault(key, _Turn())
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[key]

    def fresh(self) -> Seed:
        """A seed for what is asked without a key."""
        return Seed(self._randomness.token(_SEED_BYTES).hex())


def _key(request: Request, told: list[str], credential: str | None) -> str:
    text = told[0]
    if len(told) > 1 or not _KEY.fullmatch(text):
        sentence = f"An Idempotency-Key is one text of 1 to {_MAX_CHARS} printable characters."
        raise Fault(HTTPStatus.BAD_REQUEST, "bad_idempotency_key", sentence)
    if credential is None and not (_STRONG.fullmatch(text) and len(set(text)) >= _FEWEST_DIGITS):
        sentence = "Without a credential an Idempotency-Key must hold 128 random bits: 32 hex digits, for example."
        raise Fault(HTTPStatus.BAD_REQUEST, "weak_idempotency_key", sentence)
    parts = (request.method, request.url.path, credential or "", text)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _is_final(status: int) -> bool:
    """Whether it stands for ever: not what failed on our side, nor what only has to wait, or be paid for."""
    waits = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.PAYMENT_REQUIRED}
    return status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in waits


def _stored(status: int, answer: str) -> Response:
    headers = {"Cache-Control": "no-store", "Idempotency-Replayed": "true"}
    return Response(answer, status, headers, media_type="application/json")
