"""Which earlier answer a private message goes on from (NIP-17). Pure; reads the books.

People reply to a message, by its id in an `e` tag, or simply write on. Our own messages travel in wraps that do
not show their ids, so those are kept beside the wraps (`targets.ToInbox`). Whoever names nothing that we know, and
writes soon after an answer, goes on from the newest one. Only what was said in private is gone on from so: a
thread in the open is taken up by naming it.
"""

from dataclasses import dataclass
from typing import Final

from ledger.records import JobRecord, JobState
from ledger.store import View
from timmy_dvm.nostr.targets import ToInbox, read_targets

WRITES_ON_S: Final = 3_600
"""How long after an answer a message that names none is taken as going on from it."""
CLOCKS_DIFFER_S: Final = 60
"""How much earlier than the answer such a message may be dated; one from before it asks something else."""
LOOKED_BACK: Final = 20
"""A key's newest jobs among which the answer is looked for."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a message tells of its place: the messages that it may be a reply to, likeliest first, and its date."""

    replies_to: tuple[str, ...]
    at: int


def goes_on_from(view: View, pubkey: str, heard: Heard) -> str | None:
    """The job whose thread goes on, one of this key's (hex) that has its answer still; None where none does."""
    answered = [job for job in view.newest_jobs_of(pubkey, LOOKED_BACK) if _has_answer(view, job)]
    told = {job.id: _messages(view, job) for job in answered}
    for message in heard.replies_to:
        for job in answered:
            if message == job.event_id or message in told[job.id]:
                return job.id
    private = (job for job in answered if told[job.id] and _is_recent(job, heard.at))
    return next((job.id for job in private), None)


def _has_answer(view: View, job: JobRecord) -> bool:
    return job.state is JobState.COMPLETE and bool(view.texts(job.id).result)


def _is_recent(job: JobRecord, at: int) -> bool:
    return job.ended_at is not None and -CLOCKS_DIFFER_S <= at - job.ended_at <= WRITES_ON_S


def _messages(view: View, job: JobRecord) -> frozenset[str]:
    """The ids of all messages that we wrote about a job; none where we answered in other ways."""
    targets = (_private(text) for text in view.targets_of(job.id))
    return frozenset(target.message for target in targets if target is not None)


def _private(text: str) -> ToInbox | None:
    try:
        targets = read_targets(text)
    except ValueError:
        return None
    return targets if isinstance(targets, ToInbox) else None
