"""One request's answers as signed events: tags, encryption, and the limits of common relays (NIP-90, strfry).

Limits: an event has at most :data:`MAX_EVENT_BYTES` and :data:`MAX_TAGS`, a tag of one letter at most
:data:`MAX_TAG_BYTES`. The character DEL is in none: strfry writes it in another way than all others when it
computes an id, and so refuses every event that holds one. A result that grows beyond drops its copy of the request
first, then its copies of the inputs. A text that is still too long is split: its parts 2 and up are `partial`
feedback events, published first, and the result holds part 1, says so in words, and names the others in its tag
`parts` (where it is in clear). So nothing is lost, and a client that shows only the result shows the beginning and
where the rest is.

Encrypted answers keep in clear only who is answered (`e`, `p`, `encrypted`) and, for clients that never decrypt
feedback, `status` and `amount`. All else is inside: in feedback as a JSON array of tags, in a result as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ledger.records import EventRole, NewEvent
from relay_client.event import MAX_TAGS, EventFields
from relay_client.keys import Keys
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr.nip90 import KIND_FEEDBACK, RESULT_OFFSET
from timmy_dvm.nostr.notes import KIND_NOTE, reply_tags
from timmy_dvm.nostr.origin import Origin
from timmy_dvm.nostr.privacy import MAX_SEALED_BYTES, Scheme, encrypt
from timmy_dvm.nostr.targets import ToCustomer, write_targets

MAX_EVENT_BYTES: Final = 60_000
MAX_TAG_BYTES: Final = 1_024
PARTIAL_KEPT_S: Final = 3_600
"""How long relays should keep what was written so far of an answer; the result takes its place."""
MAX_LINE_CHARS: Final = 280
"""Longest third element of a `status` tag."""
_FRAME_BYTES: Final = 450
"""Id, key, signature, time, kind and the names of the fields, with room to spare."""
_CLEAR_PART_BYTES: Final = 54_000
_SEALED_PART_BYTES: Final = 38_000
_MAX_PARTS: Final = 32
_DEL: Final = "\x7f"
_encode: Final = msgspec.json.encode

Tag = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The reply to one request at one moment.

    Attributes:
        keys: ours.
        entropy: gives fresh random bytes, for signatures and encryption.
        origin: how the request came.
        request: the request.
        job_id: the job it belongs to, for the ledger.
        tier: the customer's.
        at: Unix seconds.
        absorbed_sats: what the pool pays of the job; None where it is not of the free tier.
    """

    keys: Keys
    entropy: Callable[[int], bytes]
    origin: Origin
    request: EventFields
    job_id: str | None
    tier: Tier
    at: int
    absorbed_sats: int | None = None

    def feedback(
        self,
        status: str,
        content: str,
        *,
        line: str | None = None,
        amount: Tag | None = None,
        tags: Sequence[Tag] = (),
    ) -> NewEvent:
        """A feedback event.

        Args:
            status: NIP-90's word.
            content: for people, whole.
            line: for people, in one line; None takes the content.
            amount: the tag, which stays in clear.
            tags: what else a program wants to know.
        """
        content = _valid(content)
        short = " ".join(_valid(content if line is None else line).split())
        short = short if len(short) <= MAX_LINE_CHARS else f"{short[: MAX_LINE_CHARS - 1]}…"
        status_tag = ("status", status, short)
        inside = (status_tag, *([amount] if amount else []), *tags, ("trust_tier", self._tier), *self._free_tier)
        if self.origin.scheme is Scheme.NONE:
            told = f"NIP-90 job feedback: {status}"
            return self._event(KIND_FEEDBACK, (*inside, *self._addressed(), ("alt", told)), content)
        outside: list[Tag] = [("status", status), *([amount] if amount else []), *self._addressed()]
        sealed = self._seal(_encode((*inside, ("content", content))).decode())
        return self._event(KIND_FEEDBACK, outside, sealed)

    def partial(self, beginning: str) -> NewEvent:
        """Feedback with what was written so far of the answer, cut by :meth:`beginning`.

        It holds no `part`, unlike the parts of a result, and relays may drop it after a while (NIP-40).
        """
        expiration = ("expiration", str(self.at + PARTIAL_KEPT_S))
        return self.feedback("partial", beginning, line="The answer so far.", tags=[expiration])

    def beginning(self, text: str) -> str:
        """As much of a text as one feedback event holds, from its beginning."""
        return split(_valid(text[: self._part_bytes]), self._part_bytes)[0] if text else ""

    def note(self, content: str) -> NewEvent:
        """A note in the thread of the one that is answered (NIP-10)."""
        return self._event(KIND_NOTE, reply_tags(self.request, self.origin.relay), _valid(content))

    def result(self, text: str, role: EventRole, *, repeats_request: bool = True) -> list[NewEvent]:
        """The result; several events where it is too long for one, in the order in which to publish them.

        `repeats_request` says whether it may hold a copy of the request and of its inputs.
        """
        text = _valid(text)
        for tags in self._result_tags()[0 if repeats_request else -1 :]:
            if self._fits(text, tags):
                return [self._result(text, tags, role)]
        parts = self._parts(text)
        numbered = list(enumerate(parts, start=1))
        rest = [
            self.feedback("partial", part, line=f"part {number} of {len(parts)}", tags=[_part(number, len(parts))])
            for number, part in numbered[1:]
        ]
        tags = self._result_tags()[-1]
        if self.origin.scheme is Scheme.NONE:
            tags = (*tags, _part(1, len(parts)), ("parts", *(event.id for event in rest)))
        return [*rest, self._result(f"{parts[0]}\n\n{_where_the_rest_is(len(parts))}", tags, role)]

    @property
    def _tier(self) -> str:
        # Whoever signs an event has a key: on relays the lowest tier is "new".
        return str(Tier.NEW if self.tier is Tier.ANONYMOUS else self.tier)

    @property
    def _free_tier(self) -> tuple[Tag, ...]:
        if self.absorbed_sats is None:
            return ()
        return (("free_tier", "true"), ("absorbed_sats", str(self.absorbed_sats)))

    def _addressed(self) -> tuple[Tag, ...]:
        relay = self.origin.relay
        job: Tag = ("e", self.request.id, relay) if relay else ("e", self.request.id)
        sealed: tuple[Tag, ...] = () if self.origin.scheme is Scheme.NONE else (("encrypted",),)
        return (job, ("p", self.request.pubkey), *sealed)

    def _result_tags(self) -> tuple[tuple[Tag, ...], ...]:
        """A result's tags, from the fullest set to the smallest. An encrypted one repeats nothing it was asked."""
        if self.origin.scheme is not Scheme.NONE:
            return ((*self._addressed(), ("status", "success")),)
        least = (
            *self._addressed(),
            ("status", "success"),
            ("trust_tier", self._tier),
            ("alt", "NIP-90 job result"),
        )
        inputs = [
            tag for tag in self.request.tags if tag[0] == "i" and all(_can_be_copied(value) for value in tag)
        ]
        more = (*least, *inputs)
        full = (*more, ("request", self.origin.request))
        return (more, least) if _DEL in self.origin.request else (full, more, least)

    def _fits(self, text: str, tags: Sequence[Tag]) -> bool:
        if self.origin.scheme is not Scheme.NONE:
            return len(text.encode()) <= MAX_SEALED_BYTES
        if len(tags) > MAX_TAGS:
            return False
        return len(_encode((tags, text))) + _FRAME_BYTES <= MAX_EVENT_BYTES

    @property
    def _part_bytes(self) -> int:
        return _CLEAR_PART_BYTES if self.origin.scheme is Scheme.NONE else _SEALED_PART_BYTES

    def _parts(self, text: str) -> list[str]:
        parts = split(text, self._part_bytes)
        if len(parts) > _MAX_PARTS:
            parts = parts[:_MAX_PARTS]
            parts[-1] += "\n\n[The answer is too long for relays and ends here.]"
        return parts

    def _result(self, text: str, tags: Sequence[Tag], role: EventRole) -> NewEvent:
        return self._event(self.request.kind + RESULT_OFFSET, tags, self._seal(text), role)

    def _seal(self, text: str) -> str:
        return encrypt(text, self.origin.scheme, self.keys, self.request.pubkey, self.entropy)

    def _event(
        self, kind: int, tags: Sequence[Tag], content: str, role: EventRole = EventRole.FEEDBACK
    ) -> NewEvent:
        event = self.keys.sign(kind=kind, created_at=self.at, tags=tags, content=content, aux=self.entropy(32))
        targets = ToCustomer(
            key=self.request.pubkey,
            came_from=self.origin.relay,
            named=self.origin.relays,
            is_owed=role is EventRole.RESULT,
        )
        text = event.to_json()
        return NewEvent(id=event.id, job_id=self.job_id, role=role, json=text, targets=write_targets(targets))


def split(text: str, size: int) -> list[str]:
    """A text in parts that, joined, are the text; each has at most `size` bytes as a JSON string.

    A part ends after a line or a word where one ends in its last half.
    """
    parts: list[str] = []
    start = 0
    while start < len(text):
        end = min(len(text), start + size)
        while (length := len(_encode(text[start:end]))) > size:
            end = start + max(1, (end - start) * size // length)
        if end < len(text):
            half = (start + end) // 2
            end = 1 + max(text.rfind("\n", half, end), text.rfind(" ", half, end)) or end
        parts.append(text[start:end])
        start = end
    return parts


def _part(number: int, count: int) -> Tag:
    return ("part", str(number), str(count))


def _where_the_rest_is(count: int) -> str:
    return (
        f"[Part 1 of {count}. The other parts were published as feedback with status partial, "
        "each with its number.]"
    )


def _can_be_copied(value: str) -> bool:
    return len(value.encode()) <= MAX_TAG_BYTES and _DEL not in value


def _valid(text: str) -> str:
    """The text without DEL and without halves of surrogate pairs, which no event can hold."""
    return text.replace(_DEL, "").encode("utf-8", "replace").decode()
