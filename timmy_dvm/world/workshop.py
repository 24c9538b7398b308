"""The Workshop as the rest of Timmy meets it: it hears of commits and visitors, and tells whoever looks on.

What happens to jobs may come by the hundred a second. Then it is not told step by step: steps are left out, and a
second later everybody gets the whole picture anew.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from ledger.records import Applied
from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger
from timmy_dvm.nostr.bucket import TokenBucket
from timmy_dvm.world.diary import Diary
from timmy_dvm.world.frames import AgentState, Frame, WorldEvent, WorldState, encode
from timmy_dvm.world.scene import Scene
from timmy_dvm.world.watchers import Watcher, Watchers

STEPS_PER_SECOND: Final = 30
STEPS_SAVED_UP: Final = 60
CATCH_UP_S: Final = 1
log = get_logger("world")


class Workshop:
    """Keeps the scene, and tells it.

    Args:
        scene: its state.
        watchers: who looks on.
        diary: what is written down.
        clock: time.
    """

    def __init__(self, scene: Scene, watchers: Watchers, diary: Diary, clock: Clock) -> None:
        self._scene = scene
        self._watchers = watchers
        self._diary = diary
        self._clock = clock
        self._steps = TokenBucket(STEPS_PER_SECOND, clock, room=STEPS_SAVED_UP)
        self._behind = asyncio.Event()
        self._elsewhere: Callable[[str], None] | None = None

    def tell_elsewhere(self, hear: Callable[[str], None]) -> None:
        """Have each `agent_state` heard by somebody besides the watchers, as JSON; it must not wait."""
        self._elsewhere = hear

    def snapshot(self) -> WorldState:
        """What there is to see now."""
        return self._scene.snapshot(self._clock.now())

    def committed(self, applied: Applied) -> None:
        """Hear of a commit (`Engine.listen`). Never waits and never raises."""
        try:
            self._steps_of(self._scene.committed(applied, self._clock.now()))
        except Exception:  # what is shown must never stand in the way of what was paid for
            log.exception("a commit could not be shown", action="commit_unshown")

    def join(self, address: str) -> Watcher | None:
        """Let somebody look on: the first frame in their queue is the snapshot. None: there is no room."""
        watcher = self._watchers.join(address)
        if watcher is not None:
            self._scene.visitors = len(self._watchers)
            self.tell_one(watcher, self.snapshot())
            self._steps_of((self._scene.counts(),))
            self._diary.note("visitor:arrived")
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Somebody is gone."""
        self._watchers.leave(watcher)
        self._scene.visitors = len(self._watchers)
        self._steps_of((self._scene.counts(),))

    def talk_begins(self) -> None:
        """Gamma thinks of a reply."""
        self._talk(self._scene.talk_begins())

    def talk_ends(self) -> None:
        """Gamma is done with it."""
        self._talk(self._scene.talk_ends())

    def happened(self, event: str) -> None:
        """Tell and write down what could be seen."""
        self.tell(self._scene.happened(event, self._clock.now()))
        self._diary.note(event)

    def tell(self, frame: Frame) -> None:
        """Tell everybody."""
        if len(self._watchers):
            self._watchers.tell(encode(frame).decode())

    def tell_one(self, watcher: Watcher, frame: Frame) -> None:
        """Tell one of them alone."""
        watcher.tell(encode(frame).decode())

    async def run(self) -> None:
        """Show the whole picture where steps were left out, until cancelled."""
        while True:
            await self._behind.wait()
            await self._clock.sleep(CATCH_UP_S)
            self._behind.clear()
            self.tell(self.snapshot())

    def _steps_of(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if isinstance(frame, WorldEvent):
                self._diary.note(frame.event)
            self._told_elsewhere(frame)
            if not len(self._watchers) or self._behind.is_set():
                continue
            if self._steps.take():
                self.tell(frame)
            else:
                self._behind.set()

    def _talk(self, frame: AgentState) -> None:
        self._told_elsewhere(frame)
        self.tell(frame)

    def _told_elsewhere(self, frame: Frame) -> None:
        if self._elsewhere is not None and isinstance(frame, AgentState):
            self._elsewhere(encode(frame).decode())
