"""What Timmy answers in private messages (NIP-17), each sealed and wrapped for its one reader. Never raises.

A message is plain text that names, in `e`, the message it answers. One that is too long for a wrap that relays
take is split, each part with its number. All that one commit says is dated a second apart, because clients show
messages in the order of their dates; seals and wraps are dated apart from that, up to two days back, so that dates
tell relays nothing. A tag says that a bot wrote it, to other bots.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, assert_never

from ledger.records import EventRole, NewEvent
from relay_client.event import EventFields
from relay_client.keys import Keys
from relay_client.nip59 import MAX_BACKDATE_S, Rumor, wrap
from timmy_dvm.core.actions import (
    CreditAdded,
    Delivered,
    Ended,
    Introduced,
    OperationDone,
    PriceTold,
    RefundMoved,
    Refused,
    Reply,
    Working,
)
from timmy_dvm.nostr import plain_words, words
from timmy_dvm.nostr.answering import split
from timmy_dvm.nostr.nip17 import BOT_TAG, KIND_MESSAGE
from timmy_dvm.nostr.origin import Origin
from timmy_dvm.nostr.targets import ToInbox, write_targets

_PART_BYTES: Final = 28_000
"""Of a message's text as JSON: with its tags and the rest it stays below `MAX_RUMOR_BYTES`."""
_MAX_PARTS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """The answer to one private message at one moment.

    Attributes:
        keys: ours.
        entropy: gives fresh random bytes, for keys used once, encryption, signatures and dates.
        origin: how the message came.
        request: the message, a rumor.
        job_id: the job it belongs to, for the ledger.
        at: Unix seconds.
        pay_page: where the job can be paid in a browser.
    """

    keys: Keys
    entropy: Callable[[int], bytes]
    origin: Origin
    request: EventFields
    job_id: str | None
    at: int
    pay_page: str | None = None

    def say(self, message: Reply) -> Sequence[NewEvent]:
        """The gift wraps that say it, in the order in which to publish them."""
        match message:
            case PriceTold():
                texts = [plain_words.money_due(message, self.origin, self.pay_page)]
            case Working():
                texts = [plain_words.working(message)]
            case Delivered():
                texts = [*_parts(message.text), plain_words.receipt(message)]
            case Ended():
                texts = [plain_words.ended(message)]
            case CreditAdded():
                texts = [plain_words.sentence(words.credit_added(message))]
            case Introduced():
                return ()  # who writes to us knows us
            case Refused() | RefundMoved():
                texts = [plain_words.sentence(message.sentence)]
            case OperationDone():
                texts = _parts(plain_words.operation(message, self.origin))
            case _:
                assert_never(message)
        # One RESULT a job: of a long answer it is the first part.
        roles = [EventRole.RESULT if isinstance(message, Delivered) else EventRole.FEEDBACK]
        roles += [EventRole.FEEDBACK] * (len(texts) - 1)
        is_owed = isinstance(message, Delivered)
        return [self._wrapped(_valid(text), role, nth, is_owed) for text, role, nth in zip(texts, roles, count())]

    def _wrapped(self, text: str, role: EventRole, nth: int, is_owed: bool) -> NewEvent:
        reader = self.request.pubkey
        rumor = Rumor.make(
            self.keys.public_key,
            kind=KIND_MESSAGE,
            created_at=self.at + nth,
            tags=[("p", reader), ("e", self.request.id), (BOT_TAG, "answer")],
            content=text,
        )
        event = wrap(
            rumor, self.keys, reader, sealed_at=self._a_date(), wrapped_at=self._a_date(), entropy=self.entropy
        )
        targets = write_targets(ToInbox(key=reader, is_owed=is_owed, message=rumor.id))
        return NewEvent(id=event.id, job_id=self.job_id, role=role, json=event.to_json(), targets=targets)

    def _a_date(self) -> int:
        return max(0, self.at - int.from_bytes(self.entropy(8), "big") % MAX_BACKDATE_S)


def _parts(text: str) -> list[str]:
    """A text in messages, numbered where it takes more than one."""
    parts = split(_valid(text), _PART_BYTES)
    if len(parts) > _MAX_PARTS:
        parts = parts[:_MAX_PARTS]
        parts[-1] += "\n\n[The answer is too long for private messages and ends here.]"
    if len(parts) > 1:
        return [f"({number}/{len(parts)})\n{part}" for number, part in enumerate(parts, start=1)]
    return parts or ["(The answer is empty.)"]


def _valid(text: str) -> str:
    """The text without halves of surrogate pairs, which no event can hold."""
    return text.encode("utf-8", "replace").decode()
