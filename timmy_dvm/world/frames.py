"""What goes over a watcher's WebSocket, both ways: JSON objects told apart by ``type``. Pure.

The words `agent_state`, `chat` and `visitor_message` are the first Timmy's, and so is the snapshot as first frame.
Times are ISO 8601 UTC.
"""

import functools
from datetime import UTC, datetime
from typing import Final

import msgspec

MAX_TEXT_CHARS: Final = 250
"""Of what a visitor says, and of what Timmy says to a visitor."""
VISITOR: Final = "visitor"
WORKING: Final = "working"
IDLE: Final = "idle"


class _Frame(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    pass


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """One of the five as a snapshot shows them. ``doing`` is a sentence of ours."""

    id: str
    name: str
    trade: str
    state: str
    doing: str


class ParcelView(msgspec.Struct, frozen=True, kw_only=True):
    """A job on somebody's bench."""

    label: str
    at: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could be seen, as a snapshot lists it."""

    event: str
    at: str


class WorldState(_Frame, frozen=True, tag="world_state"):
    """All there is to see. Sent first, and again where too much happened to tell it step by step.

    ``sealed`` counts encrypted jobs, ``more`` those for which there is no room on the benches.
    """

    agents: tuple[AgentView, ...]
    parcels: tuple[ParcelView, ...]
    sealed: int
    more: int
    visitors: int
    events: tuple[Seen, ...]
    at: str


class AgentState(_Frame, frozen=True, tag="agent_state"):
    """Somebody began or ended what they do: ``working`` or ``idle``."""

    agent_id: str
    state: str
    doing: str


class ParcelMoved(_Frame, frozen=True, tag="parcel"):
    """A job came to a bench. ``at`` None: it left the Workshop, ``how`` says in which way."""

    label: str
    at: str | None
    how: str


class Counts(_Frame, frozen=True, tag="counts"):
    """How many jobs are not on a bench, and how many look on."""

    sealed: int
    more: int
    visitors: int


class Said(_Frame, frozen=True, tag="chat"):
    """Somebody spoke: one of the five, or `VISITOR`. The text is shown as text and as nothing else."""

    agent_id: str
    text: str


class WorldEvent(_Frame, frozen=True, tag="world_event"):
    """Something that could be seen, ``visitor:reply``."""

    event: str
    at: str


Frame = WorldState | AgentState | ParcelMoved | Counts | Said | WorldEvent


class _Heard(msgspec.Struct):
    """What a watcher sends; whatever else is in it is nobody's business, an id of their own included."""

    type: str
    text: str | None = None
    content: str | None = None
    message: str | None = None


encode: Final = msgspec.json.Encoder().encode
_heard: Final = msgspec.json.Decoder(_Heard)


class NoFrame(ValueError):
    """That is nothing a watcher may send. The message says what is."""


def read_message(raw: str | bytes) -> str | None:
    """What a visitor said, made fit to be shown: printable, on one line, `MAX_TEXT_CHARS` at most.

    None: it is a frame of another type, or nothing was said.

    Raises:
        NoFrame: it is no JSON object with a type.
    """
    try:
        heard = _heard.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NoFrame('send {"type": "visitor_message", "text": "…"}') from None
    if heard.type != "visitor_message":
        return None
    return one_line(heard.text or heard.content or heard.message or "", MAX_TEXT_CHARS) or None


def one_line(text: str, chars: int) -> str:
    """Printable text on one line, cut to so many characters; the last is then an ellipsis."""
    # More than is ever shown need not be looked at: a model or a visitor may send a novel.
    text = "".join(char if char.isprintable() else " " for char in text[: 8 * chars])
    text = " ".join(text.split())
    return text if len(text) <= chars else text[: chars - 1].rstrip() + "…"


def when(at: float) -> str:
    """A unix time as it is shown."""
    return _shown(int(at))


@functools.lru_cache(maxsize=4)
def _shown(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
