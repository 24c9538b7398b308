"""What an event asks of us, by NIP-90 and by what clients really send. Pure but for our key, and never raises.

One question, five answers: a job, an operation (`operations`), a cancellation, something addressed to us that we
cannot read (which is answered with what to do about it), or nothing for us (which is met with silence).

NIP-90 is `unrecommended` in its own repository, and clients differ from it and from each other. Where they do,
this reads what was meant: the prompt in an `i` tag of type `text`, `prompt` or none, in `input`, in
`param prompt`, else in the content.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from ledger.money import Msats
from relay_client.errors import DecryptionFailed, InvalidKey
from relay_client.event import Event, EventFields, Tags
from relay_client.keys import Keys
from timmy_dvm.core.facts import Op
from timmy_dvm.nostr import inputs, wishes
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.conversation import Heard
from timmy_dvm.nostr.inputs import Wanted, Words
from timmy_dvm.nostr.job_kind import JobKind, Piece, Task
from timmy_dvm.nostr.kinds import kind_of
from timmy_dvm.nostr.operations import Operation, Question, read_operation
from timmy_dvm.nostr.origin import Reply
from timmy_dvm.nostr.privacy import Scheme, decrypt, scheme_of

KIND_DELETION: Final = 5
"""NIP-09; for a job it is a cancellation."""
KIND_FEEDBACK: Final = 7000
RESULT_OFFSET: Final = 1000
"""A result's kind is its request's kind and this."""

OTHER_REQUESTS: Final = frozenset(
    {5000, 5001, 5002, 5003, 5005, 5050, 5100, 5200, 5201, 5202, 5250, 5300, 5301, 5302, 5303, 5400, 5500}
    | {5900, 5901, 5905, 5970}
)
"""Kinds of request that are in use: one that names us is answered even where its kind is not served."""

MAX_AHEAD_S: Final = 900
"""An event from further in the future is ignored."""
MAX_REPLY_RELAYS: Final = 3
MAX_CANCELS: Final = 20
"""Requests one cancellation may name; the others are ignored."""


def is_request(kind: int) -> bool:
    """Whether events of this kind are job requests (NIP-90)."""
    return kind in range(5_000, 6_000)


_FOREIGN_MARKS: Final = frozenset({"cmd", "secret", "table", "filter"})
"""Tags and params of continuous-integration bots and table queries, which share kind 5050."""
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_inner_tags: Final = msgspec.json.Decoder(Tags)
_is_id: Final = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch

_Tags = Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAsked:
    """A job. ``text`` is what the model would get, joined and stripped; blank where a customer sent none.

    ``addressed`` is False where it names no provider; ``expires_at`` is when no work may start any more (NIP-40);
    the first ``preface_chars`` of the text are ours, not the customer's; ``temperature`` is a decimal from 0 to 1;
    ``ignored`` names the params that change nothing.
    Where there is something ``wanted``, the text is not known yet; ``heard`` is what a private message tells of
    its place in a conversation; ``follows`` is the id of the job it goes on from, once that is known.
    """

    text: str
    reply: Reply
    max_tokens: int | None = None
    model: str | None = None
    bid: Msats | None = None
    refund_to: str | None = None
    addressed: bool = True
    expires_at: int | None = None
    preface_chars: int = 0
    temperature: str | None = None
    ignored: tuple[str, ...] = ()
    wanted: Wanted | None = None
    heard: Heard | None = None
    follows: str | None = None


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A deletion of these events, which may be requests of its author's (NIP-09)."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Meant for us, and not understood. ``sentence`` says what to do, and repeats nothing of the request."""

    code: str
    sentence: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class NotForUs:
    """Not answered. ``why`` is for the log."""

    why: str


ForUs = JobAsked | Operation | CancelAsked | Unreadable
Asked = ForUs | NotForUs


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator serves.

    Attributes:
        kinds: of requests.
        open_jobs: also those that name no provider.
        models: what a customer may choose from; empty: the parameter is ignored, as many clients send one that
            nobody asked for.
        pages: whether web pages that a request names are fetched.
    """

    kinds: frozenset[int]
    open_jobs: bool = True
    models: Collection[str] = ()
    pages: bool = False


def read(event: Event, keys: Keys, *, now: int, not_before: int, terms: Terms) -> Asked:
    """What `event` asks of us; cheap questions first, decryption last.

    Args:
        event: proved.
        keys: ours.
        now: the time, in Unix seconds.
        not_before: events older than this are ignored.
        terms: what the operator serves.
    """
    why_not = why_not_for_us(event, keys, now=now, not_before=not_before, terms=terms)
    if why_not is not None:
        return NotForUs(why_not)
    if event.kind == KIND_DELETION:
        return CancelAsked(cancelled_ids(event))
    if not _providers(event):
        asked = _read_open(event, keys, terms)
    elif event.kind not in terms.kinds:
        return _not_served(event, terms)
    else:
        asked = _read_request(event, keys, terms)
    return replace(asked, expires_at=_expires_at(event)) if isinstance(asked, JobAsked) else asked


def why_not_for_us(event: EventFields, keys: Keys, *, now: int, not_before: int, terms: Terms) -> str | None:
    """What can be told cheaply, before anything is decrypted and even before the event is proved: why `read` would
    find it to be nothing for us; None where it may be. The arguments are `read`'s.
    """
    if event.pubkey == keys.public_key:
        return "our own event"
    if not not_before <= event.created_at <= now + MAX_AHEAD_S:
        return "too old, or from the future"
    if event.kind == KIND_DELETION:
        return None if cancelled_ids(event) else "a deletion of no event"
    if event.kind not in terms.kinds and event.kind not in OTHER_REQUESTS:
        return "a kind that is not served"
    expires_at = _expires_at(event)
    if expires_at is not None and expires_at <= now:
        return "it has expired"
    providers = _providers(event)
    return "it names other providers" if providers and not _names_us(providers, keys) else None


def cancelled_ids(deletion: EventFields) -> tuple[str, ...]:
    """The events a deletion names, each once, and no more than `MAX_CANCELS`."""
    return tuple(dict.fromkeys(value for value in deletion.tag_values("e") if _is_id(value)))[:MAX_CANCELS]


def _providers(event: EventFields) -> list[str]:
    return [value.lower() for value in event.tag_values("p") if value]


def _names_us(providers: Sequence[str], keys: Keys) -> bool:
    """As hex, or as people read it; our own npub is only worked out where there is one to compare it with."""
    return keys.public_key in providers or any(
        value.startswith("npub1") and value == keys.npub for value in providers
    )


def _expires_at(event: EventFields) -> int | None:
    """NIP-40, the soonest; a value that is no time is junk, and junk is ignored."""
    return min((int(value) for value in event.tag_values("expiration") if _SECONDS.fullmatch(value)), default=None)


def _not_served(event: Event, terms: Terms) -> Unreadable:
    kinds = ", ".join(map(str, sorted(terms.kinds)))
    sentence = f"Requests of kind {event.kind} are not served here. Served are: {kinds}."
    return Unreadable(code="kind_not_served", sentence=sentence, reply=Reply(relays=_reply_relays(event.tags)))


def _read_open(event: Event, keys: Keys, terms: Terms) -> Asked:
    """A job for whoever takes it: what makes no sense here may make sense to another, so we stay silent."""
    if not terms.open_jobs or event.kind not in terms.kinds:
        return NotForUs("it names no provider")
    if event.tag("encrypted") is not None:
        return NotForUs("it is encrypted for somebody unnamed")
    if _is_foreign(event.tags):
        return NotForUs("it is meant for another kind of service")
    asked = _read_request(event, keys, terms)
    if not isinstance(asked, JobAsked) or asked.reply.scheme is not Scheme.NONE:
        return NotForUs("an open request that is no job here")
    if not asked.text and asked.wanted is None:
        return NotForUs("an open request without a usable prompt")
    return replace(asked, addressed=False)


def _is_foreign(tags: _Tags) -> bool:
    return any(
        tag[0] in _FOREIGN_MARKS or (tag[0] == "param" and tag[1:2] and tag[1] in _FOREIGN_MARKS) for tag in tags
    )


def _read_request(event: Event, keys: Keys, terms: Terms) -> Asked:
    scheme = scheme_of(event, has_clear_input=inputs.has_input(event.tags))
    relays = _reply_relays(event.tags)
    try:
        private = event.tags if scheme is Scheme.NONE else _open_envelope(event, scheme, keys)
        relays = _reply_relays((*private, *event.tags))
        return _read_tags(event, private, Reply(scheme, relays), terms)
    except Bad as bad:
        return Unreadable(code=bad.code, sentence=bad.sentence, reply=Reply(scheme, relays))


def _open_envelope(event: Event, scheme: Scheme, keys: Keys) -> _Tags:
    """The tags inside an encrypted content; all failures look the same."""
    try:
        return _inner_tags.decode(decrypt(event.content, scheme, keys, event.pubkey))
    except (DecryptionFailed, InvalidKey, msgspec.MsgspecError, ValueError, RecursionError):
        raise Bad(
            "not_decrypted",
            "This request can't be decrypted: encrypt a JSON array of tags for this key (NIP-44 or NIP-04), "
            "and ask again.",
        ) from None


def _read_tags(event: Event, private: _Tags, reply: Reply, terms: Terms) -> Asked:
    """What the tags say. `private` holds input and params; the rest may also stand in clear beside it."""
    params = wishes.params(private)
    operation = read_operation(params, reply)
    if operation is not None and not (isinstance(operation, Question) and operation.op is Op.ESTIMATE):
        return operation
    job = _read_job(event, private, params, reply, terms)
    return job if operation is None else _about(job)


def _read_job(event: Event, private: _Tags, params: dict[str, str], reply: Reply, terms: Terms) -> JobAsked:
    everywhere = private if reply.scheme is Scheme.NONE else (*private, *event.tags)
    wishes.check_output(everywhere)
    clear = event.content if reply.scheme is Scheme.NONE else None
    wanted = _wanted(kind_of(event.kind), private, everywhere, clear, params, terms)
    # Made even where it is not whole yet, for it finds what is wrong with the params.
    task = wanted.kind.task([Piece(part.text) for part in wanted.parts if isinstance(part, Words)], params)
    if wanted.has_to_be_looked_up:
        task = Task("")
    return JobAsked(
        text=task.text,
        preface_chars=task.preface_chars,
        wanted=wanted if wanted.has_to_be_looked_up else None,
        max_tokens=wanted.kind.max_tokens(wishes.max_tokens(params)),
        model=wishes.model(params, terms.models),
        bid=wishes.bid(everywhere),
        refund_to=wishes.refund_to(params),
        temperature=wishes.temperature(params),
        ignored=wishes.ignored(event.kind, params, terms.models),
        reply=reply,
    )


def _wanted(
    kind: JobKind, private: _Tags, everywhere: _Tags, content: str | None, params: dict[str, str], terms: Terms
) -> Wanted:
    """The inputs. The content, where that is in clear, counts for want of another: boilerplate is common there."""
    parts = inputs.read_inputs(private, takes_pages=terms.pages)
    if not parts and content is not None:
        if _is_foreign(private):
            raise Bad("not_text", "Here only texts are answered: put your question into an i tag of type text.")
        parts = [Words(content)]
    if not kind.talks:
        return Wanted(kind=kind, params=params, parts=tuple(parts))
    if content is not None and not any(isinstance(part, Words) for part in parts):
        parts = [*inputs.from_content(content), *parts]
    return Wanted(kind=kind, params=params, parts=tuple(parts), replies_to=inputs.replies_to(everywhere))


def _about(job: JobAsked) -> Question:
    """The question what this job would cost. A bid and an end of its time are for jobs that are made."""
    return Question(
        op=Op.ESTIMATE,
        text=job.text,
        max_tokens=job.max_tokens,
        model=job.model,
        preface_chars=job.preface_chars,
        wanted=job.wanted,
        reply=job.reply,
    )


def _reply_relays(tags: _Tags) -> tuple[str, ...]:
    """Where the customer would like the answer besides: the first few addresses that could be dialled at all."""
    relays: dict[str, None] = {}
    for tag in tags:
        if tag[0] in {"relays", "relay"}:
            for text in tag[1:]:
                if len(relays) < MAX_REPLY_RELAYS and (url := inputs.hint_of(text)):
                    relays[url] = None
    return tuple(relays)
