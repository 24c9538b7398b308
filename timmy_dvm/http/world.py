"""The Workshop over HTTP: the snapshot, and a WebSocket for whoever looks on."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
from fastapi import APIRouter, Response
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect

from timmy_dvm.clock import Clock
from timmy_dvm.http.answers import Snapshot, answers
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.wire import said
from timmy_dvm.nostr.bucket import TokenBucket
from timmy_dvm.world.chat import Chat
from timmy_dvm.world.frames import NoFrame, read_message
from timmy_dvm.world.watchers import Watcher
from timmy_dvm.world.workshop import Workshop

FRAMES_PER_SECOND: Final = 5
FRAMES_SAVED_UP: Final = 20
"""Who sends more is hung up on."""
_TOO_FAST: Final = 1008
_AddressOf = Callable[[HTTPConnection], str]


def routes(
    workshop: Workshop, chat: Chat, clock: Clock, *, address_of: _AddressOf, origins: frozenset[str]
) -> APIRouter:
    """``GET /api/world`` and ``WS /api/ws``.

    Args:
        workshop: what there is to see.
        chat: who hears what is said.
        clock: counts what a watcher sends.
        address_of: where somebody comes from, as limits count it.
        origins: pages of other addresses that may look on, ``https://timmy.example``. Our own always may, and so
            may who is no page.
    """
    router = APIRouter(tags=["world"])

    @router.get("/api/world", responses=answers(Snapshot, "The scene."))
    async def world() -> Response:
        """What there is to see in the Workshop just now."""
        return said({**msgspec.to_builtins(workshop.snapshot()), "trust_tier": "anonymous"})

    @router.websocket("/api/ws")
    async def look_on(socket: WebSocket) -> None:
        if not _may_look(socket, origins):
            await _refuse(socket, 403, "foreign_origin", "Pages of that address may not look on.")
            return
        watcher = workshop.join(address_of(socket))
        if watcher is None:
            await _refuse(socket, 503, "full", "The Workshop is full. Please come again in a while.")
            return
        try:
            await socket.accept()
            await _attend(socket, watcher, chat, TokenBucket(FRAMES_PER_SECOND, clock, room=FRAMES_SAVED_UP))
        finally:
            workshop.leave(watcher)

    return router


def _may_look(socket: WebSocket, origins: frozenset[str]) -> bool:
    """Browsers say whose page it is. There is no credential here to steal, but there are sats to spend."""
    named = socket.headers.getlist("origin")
    if not named:
        return True
    _, _, authority = named[0].partition("://")
    return len(named) == 1 and (named[0] in origins or authority == socket.headers.get("host"))


async def _refuse(socket: WebSocket, status: int, code: str, sentence: str) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        await socket.send_denial_response(Fault(status, code, sentence).answer())


async def _attend(socket: WebSocket, watcher: Watcher, chat: Chat, pace: TokenBucket) -> None:
    """Tell and hear at the same time, until either ends or the watcher does not keep up."""
    tasks = [
        asyncio.ensure_future(work)
        for work in (_tell(socket, watcher), _hear(socket, watcher, chat, pace), watcher.lost.wait())
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, WebSocketDisconnect | asyncio.CancelledError):
            raise end


async def _tell(socket: WebSocket, watcher: Watcher) -> None:
    while True:
        await socket.send_text(await watcher.next())


async def _hear(socket: WebSocket, watcher: Watcher, chat: Chat, pace: TokenBucket) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if not pace.take():
            await socket.close(_TOO_FAST, "too many frames")
            return
        with contextlib.suppress(NoFrame):  # whoever writes their own client may send anything; it costs a token
            words = read_message(message.get("text") or message.get("bytes") or "")
            if words is not None:
                chat.hear(watcher, words)
