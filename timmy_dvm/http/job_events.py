"""A job as server-sent events (HTML Living Standard, 9.2), for whoever watches it.

    event: job      data: the object of GET /api/jobs/{id}      at once, and at each change
    event: partial  data: {"text": all that is written so far}  while the answer grows, four a second at most

After the last change the stream ends. A browser then comes back with the id it saw last, and hears 204: that is
all. A comment every 15 s keeps proxies from hanging up.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec
from fastapi import Request

from ledger.store import Story
from timmy_dvm.clock import Clock
from timmy_dvm.http.job_views import is_settled
from timmy_dvm.http.watching import Watch, Watchers
from timmy_dvm.partials import Partials, Stream

KEEP_ALIVE_S: Final = 15.0
PARTIALS_PAUSE_S: Final = 0.25
_LAST_ID: Final = "end"
_KEEP_ALIVE: Final = b": still here\n\n"
_RETRY: Final = b"retry: 2000\n\n"
_json: Final = msgspec.json.Encoder(decimal_format="number").encode

Show = Callable[[], Awaitable[tuple[Story, dict[str, object]]]]
"""Reads the job anew: whole, and as it is shown."""


def was_told_all(request: Request, story: Story) -> bool:
    """Whether a browser comes back that saw the end."""
    return request.headers.get("last-event-id") == _LAST_ID and is_settled(story)


async def stream(
    job_id: str, *, show: Show, watchers: Watchers, partials: Partials, clock: Clock
) -> AsyncIterator[bytes]:
    """The events, until nothing more will happen by itself. Closing it early is safe."""
    yield _RETRY
    with watchers.watching(job_id) as watch:
        writing = _Writing(job_id, partials, clock)
        try:
            while True:
                story, view = await show()
                over = is_settled(story)
                yield _event("job", view, _LAST_ID if over else None)
                if over:
                    return
                hears_partials = story.job.event_id is None  # what came as an event is answered on relays alone
                async for event in _until_changed(watch, writing if hears_partials else None):
                    yield event
        finally:
            await writing.stop()


async def _until_changed(watch: Watch, writing: "_Writing | None") -> AsyncIterator[bytes]:
    """Partials and signs of life, until the job changes."""
    change = asyncio.ensure_future(watch.change())
    try:
        while not change.done():
            news = {change} if writing is None else {change, writing.next()}
            done, _ = await asyncio.wait(news, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                yield _KEEP_ALIVE
            elif writing is not None and change not in done and (text := writing.taken()):
                yield _event("partial", {"text": text})
    finally:
        change.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await change


class _Writing:
    """The newest text of a job's answer, no oftener than a reader wants it."""

    def __init__(self, job_id: str, partials: Partials, clock: Clock) -> None:
        self._job_id = job_id
        self._partials = partials
        self._clock = clock
        self._stream: Stream | None = None
        self._version = 0
        self._waiting: asyncio.Future[None] | None = None

    def next(self) -> "asyncio.Future[None]":
        """Done when there is more to show; the same until :meth:`taken`."""
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._more())
        return self._waiting

    def taken(self) -> str:
        """The text as it is now; empty where its run has ended."""
        self._waiting = None
        return "" if self._stream is None else self._stream.text

    async def stop(self) -> None:
        """Wait for nothing any more."""
        if self._waiting is not None:
            self._waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._waiting

    async def _more(self) -> None:
        if self._stream is not None:
            await self._clock.sleep(PARTIALS_PAUSE_S)
        while True:
            if self._stream is None or self._stream.has_ended:
                self._stream, self._version = await self._partials.begun(self._job_id), 0
            version = await self._stream.newer(self._version)
            if version is not None:
                self._version = version
                return


def _event(name: str, data: dict[str, object], event_id: str | None = None) -> bytes:
    numbered = b"" if event_id is None else f"id: {event_id}\n".encode()
    return b"event: " + name.encode() + b"\n" + numbered + b"data: " + _json(data) + b"\n\n"
