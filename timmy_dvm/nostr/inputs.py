"""What a request brings to work on: texts, and events and pages that it only names. Pure.

`i` tags as NIP-90 has them, `input` and `param prompt` as clients have them:

    text, prompt, no type   the words themselves
    event                   an event by its id; its content is the input
    job                     the result of another job; of a job of ours the request's id will do
    url                     a web page, where the operator lets us fetch any

What is named has to be looked up (`gathering`) before the request can be priced.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay_client.errors import InvalidKey, InvalidRelayUrl
from relay_client.event import UnverifiedEvent
from relay_client.keys import parse_event_pointer
from relay_client.wire import parse_relay_url
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.job_kind import JobKind, Params
from timmy_dvm.nostr.privacy import Scheme, scheme_of

MAX_NAMED: Final = 8
"""Inputs of one request that have to be looked up."""
MAX_PAGES: Final = 3
MAX_HINTS: Final = 3
"""Relays that are not ours and may be asked for them."""
_MAX_REPLIES: Final = 5
"""`e` tags of one request that are looked at."""

_TEXT_TYPES: Final = frozenset({"", "text", "prompt"})
_SECRET_KINDS: Final = frozenset({4, 13, 14, 15, 1059, 1060, 21_059})
"""Direct messages, seals, rumours and gift wraps (NIP-04, NIP-17, NIP-59), however their content looks."""
_RESULTS: Final = range(6_000, 7_000)
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_is_id: Final = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
# What libraries put into the content of a request whose input stands in its tags.
_BOILERPLATE: Final = re.compile(r"nip[ -]?90 .{0,40}request\W?", re.ASCII | re.IGNORECASE)
_INSTEAD: Final = "put the text itself into an i tag of type text."

Tags = Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Words:
    """The customer's own text."""

    text: str


@dataclass(frozen=True, slots=True)
class EventNamed:
    """An event; ``relays`` may have it. ``is_result``: the customer says that it is a job's."""

    event_id: str
    relays: tuple[str, ...] = ()
    is_result: bool = False


@dataclass(frozen=True, slots=True)
class PageNamed:
    """A web page."""

    url: str


Part = Words | EventNamed | PageNamed


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request whose text is not known yet: its inputs, and the events it may be a reply to, likeliest first."""

    kind: JobKind
    params: Params
    parts: tuple[Part, ...]
    replies_to: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """All events that are named, each once."""
        named = (part.event_id for part in self.parts if isinstance(part, EventNamed))
        return tuple(dict.fromkeys((*named, *self.replies_to)))

    @property
    def has_to_be_looked_up(self) -> bool:
        """Whether anything but words belongs to it."""
        return bool(self.replies_to) or any(not isinstance(part, Words) for part in self.parts)

    @property
    def has_words(self) -> bool:
        """Whether the customer says anything themselves."""
        return any(isinstance(part, Words) and part.text.strip() for part in self.parts)


def has_input(tags: Tags) -> bool:
    """Whether there is any input among these tags, understood or not."""
    return any(_is_input(tag) for tag in tags)


def _is_input(tag: tuple[str, ...]) -> bool:
    match tag:
        case ("i", _, *_) | ("param", "prompt", _, *_):
            return True
        case ("input", kind, _, *_):
            return kind.strip().lower() == "text"
        case _:
            return False


def read_inputs(tags: Tags, *, takes_pages: bool) -> list[Part]:
    """The inputs in their order.

    Raises:
        Bad: one is not understood, or not taken here, or there are too many to be looked up.
    """
    parts = [_part(tag, takes_pages=takes_pages) for tag in tags if _is_input(tag)]
    if sum(not isinstance(part, Words) for part in parts) > MAX_NAMED:
        raise Bad("too_many_inputs", f"At most {MAX_NAMED} inputs can be looked up for one request: name fewer.")
    if sum(isinstance(part, PageNamed) for part in parts) > MAX_PAGES:
        raise Bad("too_many_inputs", f"At most {MAX_PAGES} pages are fetched for one request: name fewer.")
    return parts


def _part(tag: tuple[str, ...], *, takes_pages: bool) -> Part:
    if tag[0] != "i":
        return Words(tag[2])
    _, data, *rest = tag
    kind = rest[0].strip().lower() if rest else ""
    if kind in _TEXT_TYPES:
        return Words(data)
    if kind == "url":
        if takes_pages:
            return PageNamed(data.strip())
        raise Bad("input_type", f"Addresses are not fetched here: {_INSTEAD}")
    if kind in {"event", "job"}:
        return _event(data, rest[1:2], is_result=kind == "job")
    raise Bad("input_type", "That type of input is not understood: put your text into an i tag of type text.")


def _event(data: str, hint: Sequence[str], *, is_result: bool) -> EventNamed:
    try:
        event_id, relays = parse_event_pointer(data)
    except InvalidKey:
        raise Bad(
            "bad_input", "An input of type event or job is named by its event id: hex, note1 or nevent1."
        ) from None
    return EventNamed(event_id, tuple(dict.fromkeys(filter(None, map(hint_of, (*hint, *relays))))), is_result)


def hint_of(text: str) -> str | None:
    """A relay that a stranger names, in its one spelling, if it could be dialled at all: `wss` only."""
    try:
        url = parse_relay_url(text)
    except InvalidRelayUrl:
        return None
    return url if url.startswith("wss://") else None


def from_content(content: str) -> list[Part]:
    """The content as an input, unless it is what a library writes there for want of anything else."""
    text = content.strip()
    return [] if not text or _BOILERPLATE.fullmatch(text) else [Words(text)]


def replies_to(tags: Tags) -> tuple[str, ...]:
    """The events that a request may be a reply to, likeliest first: by NIP-10's markers, then the last first."""
    named: dict[str, list[str]] = {"reply": [], "": [], "root": []}
    for tag in tags:
        match tag:
            case ("e", event_id, _, "reply" | "root" as marker, *_) if _is_id(event_id):
                named[marker].append(event_id)
            case ("e", _, _, "mention", *_):
                pass
            case ("e", event_id, *_) if _is_id(event_id):
                named[""].append(event_id)
            case _:
                pass
    return tuple(dict.fromkeys((*named["reply"][::-1], *named[""][::-1], *named["root"])))[:_MAX_REPLIES]


def hints(parts: Sequence[EventNamed]) -> tuple[str, ...]:
    """The relays to ask for these events besides ours: few, however many are named."""
    return tuple(dict.fromkeys(relay for part in parts for relay in part.relays))[:MAX_HINTS]


def text_of(event: UnverifiedEvent, *, is_result: bool, now: int) -> str:
    """The text of an event that was named as an input.

    Raises:
        Bad: it is not to be read, not what it was said to be, or holds nothing.
    """
    if any(_SECONDS.fullmatch(value) and int(value) <= now for value in event.tag_values("expiration")):
        raise Bad("input_gone", f"An event that you named has expired: {_INSTEAD}")
    if _is_secret(event):
        raise Bad("input_encrypted", f"An event that you named is encrypted, and is not read here: {_INSTEAD}")
    if is_result and event.kind not in _RESULTS:
        raise Bad(
            "not_a_result",
            "An input of type job is a result (kind 6000 to 6999): name the result's event id, or use type event.",
        )
    if not event.content.strip():
        raise Bad("input_empty", f"An event that you named holds no text: {_INSTEAD}")
    return event.content


def _is_secret(event: UnverifiedEvent) -> bool:
    return event.kind in _SECRET_KINDS or scheme_of(event, has_clear_input=False) is not Scheme.NONE


def not_found() -> Bad:
    """An event that no relay we asked has."""
    return Bad(
        "input_not_found",
        "An event that you named was not found: name a relay that has it (wss://…) as third element of the i tag, "
        f"or {_INSTEAD}",
    )
