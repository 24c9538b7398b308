"""The other side of the counter: a NIP-90 customer, for `timmy ask`, the demo and tests. Works with any provider.

It believes an answer only when the provider it asked signed it and it names the request, and reads both spellings
of ``payment-required`` that are in the wild.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ledger.money import Msats, parse_msats
from relay_client.errors import DecryptionFailed
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.keys import Keys
from relay_client.pool import RelayPool
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.nostr.nip90 import KIND_DELETION, KIND_FEEDBACK, RESULT_OFFSET
from timmy_dvm.nostr.privacy import Scheme, decrypt, encrypt

KIND_TEXT = 5050
_LONGEST_TAG_BYTES = 1_024
_ANSWERS = "answers"
Tags = list[list[str]]


class Said(StrEnum):
    """What an answer amounts to."""

    PRICE = "payment-required"
    WORKING = "processing"
    PARTIAL = "partial"
    RESULT = "result"
    RECEIPT = "success"
    ERROR = "error"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Answer:
    """One event that answers a request, read.

    Attributes:
        event: as it came.
        said: what it amounts to.
        text: for people, decrypted.
        tags: all its tags, those inside an encrypted content first.
        amount: what is asked, if anything. ``bolt11``: the invoice for it.
        relay: who delivered it.
    """

    event: Event
    said: Said
    text: str
    tags: Sequence[Sequence[str]]
    amount: Msats | None
    bolt11: str | None
    relay: str

    def tag(self, name: str) -> Sequence[str] | None:
        """The first tag of that name."""
        return next((tag for tag in self.tags if tag and tag[0] == name), None)

    def as_json(self) -> dict[str, object]:
        """The line that ``timmy ask --json`` prints."""
        return {
            "kind": self.event.kind,
            "id": self.event.id,
            "pubkey": self.event.pubkey,
            "status": str(self.said),
            "content": self.text,
            "tags": [list(tag) for tag in self.tags],
            "amountMsat": self.amount,
            "bolt11": self.bolt11,
            "relay": self.relay,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to ask. ``provider`` None asks anybody; ``params`` become ``param`` tags; ``follows`` is the event id
    of an earlier answer to go on from.
    """

    text: str
    provider: str | None
    encrypt: Scheme | None = None
    bid: Msats | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    follows: str | None = None


class Customer:
    """Signs requests, publishes them, and reads what comes back."""

    def __init__(self, keys: Keys, pool: RelayPool, clock: Clock, randomness: Randomness) -> None:
        self._keys = keys
        self._pool = pool
        self._clock = clock
        self._randomness = randomness

    def request(self, order: Order) -> Event:
        """The signed request event; the same order signed again is another request.

        Raises:
            ValueError: an encrypted request must name its provider.
        """
        # Common relays refuse a one-letter tag above 1,024 bytes: a long text travels as content.
        fits = len(order.text.encode()) <= _LONGEST_TAG_BYTES or order.encrypt is not None
        inner: Tags = [["i", order.text, "text"]] if order.text and fits else []
        if order.follows is not None:
            inner.append(["i", order.follows, "job"])
        inner += [["param", name, value] for name, value in order.params.items()]
        clear: Tags = []
        if order.bid is not None:
            inner.append(["bid", str(order.bid)])
        if order.provider is not None:
            clear.append(["p", order.provider])
        clear.append(["relays", *self._pool.urls])
        # Else the same question asked twice within a second would be one event.
        clear.append(["salt", self._randomness.token(8).hex()])
        content = "" if fits else order.text
        if order.encrypt is None:
            clear = [*inner, *clear]
        elif order.provider is None:
            raise ValueError("an encrypted request must name its provider")
        else:
            content = encrypt(json.dumps(inner), order.encrypt, self._keys, order.provider, self._randomness.token)
            clear.append(["encrypted"])
        return self._keys.sign(
            kind=KIND_TEXT,
            created_at=int(self._clock.now()),
            tags=clear,
            content=content,
            aux=self._randomness.token(32),
        )

    def cancellation(self, request: Event) -> Event:
        """Takes a request of ours back (NIP-09), so that nobody waits for its payment."""
        return self._keys.sign(
            kind=KIND_DELETION,
            created_at=int(self._clock.now()),
            tags=[["e", request.id], ["k", str(request.kind)], *(["p", *tag[1:2]] for tag in _providers(request))],
            aux=self._randomness.token(32),
        )

    async def cancel(self, request: Event) -> None:
        """Publish a cancellation, and be content with any relay's OK."""
        await self._pool.publish(self.cancellation(request), enough=1)

    async def ask(self, request: Event, provider: str | None) -> AsyncGenerator[Answer]:
        """Publish a request and yield its answers as they come, without end. Close the iterator to stop.

        Raises:
            ConnectionError: no relay took the request; the sentence says what each answered.
        """
        kinds = frozenset({request.kind + RESULT_OFFSET, KIND_FEEDBACK})
        authors = None if provider is None else frozenset({provider})
        wanted = Filter(kinds=kinds, authors=authors, tags={"e": frozenset({request.id})})
        self._pool.subscribe(_ANSWERS, [wanted])
        outcomes = await self._pool.publish(request)
        if not any(outcome.is_accepted for outcome in outcomes.values()):
            said = "; ".join(
                f"{url}: {outcome.text or outcome.state.name.lower()}" for url, outcome in outcomes.items()
            )
            raise ConnectionError(f"No relay took the request ({said}).")
        async with contextlib.aclosing(self._pool.events()) as events:
            async for received in events:
                if received.subscription == _ANSWERS:
                    yield self._read(received.event, received.url)

    def _read(self, event: Event, relay: str) -> Answer:
        tags: list[Sequence[str]] = list(event.tags)
        text = event.content
        if event.tag("encrypted") is not None:
            text, inner = self._decrypted(event)
            tags = [*inner, *tags]
        amount, bolt11 = _price(tags)
        return Answer(event, _said(event, tags), text, tags, amount, bolt11, relay)

    def _decrypted(self, event: Event) -> tuple[str, list[Sequence[str]]]:
        """The words and the tags inside an encrypted answer; feedback holds a JSON array of tags."""
        try:
            plain = decrypt(event.content, _scheme(event), self._keys, event.pubkey)
        except DecryptionFailed:
            return "(this answer could not be decrypted)", []
        if event.kind != KIND_FEEDBACK:
            return plain, []
        try:
            array = json.loads(plain)
        except (ValueError, RecursionError):
            return plain, []
        inner = [tag for tag in array if isinstance(tag, list) and tag] if isinstance(array, list) else []
        words = next((str(tag[1]) for tag in inner if tag[0] == "content" and len(tag) > 1), "")
        return words, [[str(item) for item in tag] for tag in inner]


def _scheme(event: Event) -> Scheme:
    return Scheme.NIP04 if "?iv=" in event.content else Scheme.NIP44


def _providers(request: Event) -> Sequence[Sequence[str]]:
    return [tag for tag in request.tags if len(tag) > 1 and tag[0] == "p"]


def _said(event: Event, tags: Sequence[Sequence[str]]) -> Said:
    if event.kind != KIND_FEEDBACK:
        return Said.RESULT
    status = next((tag[1] for tag in tags if len(tag) > 1 and tag[0] == "status"), "")
    try:
        return Said(status.replace("_", "-"))
    except ValueError:
        return Said.OTHER


def _price(tags: Sequence[Sequence[str]]) -> tuple[Msats | None, str | None]:
    tag = next((tag for tag in tags if len(tag) > 1 and tag[0] == "amount"), None)
    if tag is None:
        return None, None
    try:
        amount = parse_msats(tag[1])
    except ValueError:
        return None, None
    return amount, tag[2] if len(tag) > 2 else None  # noqa: PLR2004 - amount, msat, bolt11
