"""`timmy run` that dies by SIGKILL at one named moment. Started by tests/flows/crash_world.py:

    python crash_child.py DATA_DIR SECONDS_AHEAD MOMENT

Everything is the product's own; around each step that writes or acts stands a wrapper that only asks whether
this is the moment. `before …` dies with the step asked for and not begun, `after …` with it done and nobody told.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable

import ledger.sqlite
import lightning.simulated
import timmy_dvm.agent.offline
import timmy_dvm.app
from timmy_dvm.cli import main
from timmy_dvm.clock import SystemClock

HALF_PUBLISHED = "half published"
KIND_RESULT = 6050


class Fate:
    """Kills this process when its moment has come."""

    def __init__(self, moment: str) -> None:
        self._moment = moment
        self._noted: Awaitable[None] | None = None

    def reached(self, moment: str) -> None:
        if moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner: type, method: str, name: Callable[..., str]) -> None:
        """Stand before and after an async method; `name` gets its arguments."""
        original = getattr(owner, method)

        async def watched(this, *args, **named):
            self.reached(f"before {name(*args)}")
            outcome = await original(this, *args, **named)
            self.reached(f"after {name(*args)}")
            return outcome

        setattr(owner, method, watched)

    def watch_store(self) -> None:
        store = ledger.sqlite.SqliteStore
        self.watch(store, "commit", lambda fact, *_: f"commit {fact.kind}")
        self.watch(store, "delivered", lambda *_: "delivered")
        mark_started = store.mark_started

        def watched(this, action_id):
            self._noted = mark_started(this, action_id)
            return self._noted

        store.mark_started = watched

    def watch_wallet(self) -> None:
        wallet = lightning.simulated.SimulatedWallet
        for method in ("create_invoice", "list_settled", "pay"):
            self.watch(wallet, method, lambda *_, method=method: method)
        settle = wallet.settle

        def watched(this, *args):
            settle(this, *args)
            self.reached("after settle")

        wallet.settle = watched

    def watch_agent(self) -> None:
        """`in evaluate` and `in work`: the run is on disk as begun, and the model is at it."""
        agent = timmy_dvm.agent.offline.OfflineAgent
        for method in ("evaluate", "work"):
            original = getattr(agent, method)

            async def watched(this, *args, original=original, method=method, **named):
                await self._noted
                self.reached(f"in {method}")
                return await original(this, *args, **named)

            setattr(agent, method, watched)

    def watch_relays(self) -> None:
        pool = timmy_dvm.app.RelayPool
        publish = pool.publish

        async def watched(this, event, urls=None, **named):
            if event.kind == KIND_RESULT and self._moment == HALF_PUBLISHED:
                outcomes = await publish(this, event, this.urls[:1])
                assert all(outcome.is_accepted for outcome in outcomes.values())
                self.reached(HALF_PUBLISHED)
            return await publish(this, event, urls, **named)

        pool.publish = watched


def set_clock_ahead(seconds: int) -> None:
    class Ahead(SystemClock):
        def now(self) -> float:
            return super().now() + seconds

    timmy_dvm.app.SystemClock = Ahead


if __name__ == "__main__":
    data_dir, ahead, moment = sys.argv[1:]
    fate = Fate(moment)
    fate.watch_store()
    fate.watch_wallet()
    fate.watch_agent()
    fate.watch_relays()
    set_clock_ahead(int(ahead))
    sys.argv = ["timmy", "run", "--data-dir", data_dir]
    main()
