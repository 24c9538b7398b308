"""Whole paid jobs through one Timmy: embedded relay, simulated wallet, offline agent, everything on disk.

The bot runs in a process of its own with its relay and its wallet; a customer's part (requests signed beforehand,
results counted) is another process. A paying hand inside the bot's process settles each invoice the moment it is
written, so what is measured is Timmy and not a customer's wallet.
"""

import asyncio
import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from ledger.records import Applied
from relay_client import event as events
from relay_client.keys import Keys

QUESTION = "What does a data vending machine do, how is it paid, and what happens to my sats if it fails half way?"
_LIMITS = {
    "TIMMY_HTTP__PORT": "0",
    "TIMMY_NOSTR__RELAY_PORT": "0",
    "TIMMY_LIMITS__OPEN_INVOICES": "100000",
}


def bench(*, jobs: int = 1_500, one_by_one: int = 150) -> dict[str, float]:
    """Run ``jobs`` jobs with 64 in flight, then ``one_by_one`` of them one at a time."""
    here, there = multiprocessing.Pipe()
    bot = multiprocessing.get_context("spawn").Process(target=_bot, args=(there,))
    bot.start()
    try:
        relay, provider = here.recv()
        wave = asyncio.run(_customers(relay, provider, jobs, 64))
        here.send("spent")
        spent = here.recv()
        single = asyncio.run(_customers(relay, provider, one_by_one, 1))
        here.send("stop")
    finally:
        bot.join(30)
    cpu = spent.pop("cpu")
    known = sum(spent.values())
    return {
        "jobs_per_s_64_in_flight": round(jobs / wave),
        "jobs_per_s_one_at_a_time": round(one_by_one / single),
        "cpu_us_per_job": round(cpu / jobs * 1e6),
        **{f"share_{name}": round(seconds / cpu, 3) for name, seconds in spent.items()},
        "share_everything_else": round(1 - known / cpu, 3),
    }


def _bot(pipe: Connection) -> None:
    spent = _instrument()
    asyncio.run(_serve(pipe, spent))


def _instrument() -> dict[str, float]:
    """Count the processor time of what can be named, each in its own thread's time, nothing twice."""
    from ledger import writer
    from relay_client import wire

    spent = {"signatures": 0.0, "commits": 0.0, "json": 0.0}

    def timed(owner: object, name: str, what: str) -> None:
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def measured(*arguments, **named):
            before = dict(spent)
            start = time.thread_time()
            try:
                return plain(*arguments, **named)
            finally:
                inner = sum(spent.values()) - sum(before.values())
                spent[what] += max(0.0, time.thread_time() - start - inner)

        setattr(owner, name, measured)

    timed(Keys, "sign", "signatures")
    timed(events.UnverifiedEvent, "verify", "signatures")
    timed(writer, "run_group", "commits")
    timed(wire, "decode_client_message", "json")
    return spent


async def _serve(pipe: Connection, spent: dict[str, float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with timmy(Path(folder), _LIMITS) as (relay, public_key):
            pipe.send((relay, public_key))
            start = time.process_time()
            for name in spent:
                spent[name] = 0.0
            await asyncio.to_thread(pipe.recv)
            pipe.send({**spent, "cpu": time.process_time() - start})
            await asyncio.to_thread(pipe.recv)


@contextlib.asynccontextmanager
async def timmy(
    folder: Path, settings: dict[str, str], pays: Callable[[str], bool] = lambda _: True
) -> AsyncIterator[tuple[str, str]]:
    """A serving Timmy: its first relay and its public key. The invoices of keys that pay are settled at once."""
    from lightning.simulated import SimulatedWallet
    from timmy_dvm.app import App
    from timmy_dvm.clock import SystemClock, SystemRandomness
    from timmy_dvm.config import load
    from timmy_dvm.engine import Engine
    from timmy_dvm.garbage import keep_what_is_loaded

    clock, randomness = SystemClock(), SystemRandomness()
    path = folder / "wallet.jsonl"
    wallet = SimulatedWallet(seed=b"bench", now=clock.now, random_bytes=randomness.token, path=path)
    app = App(load(None, settings, folder), clock=clock, randomness=randomness, wallet=wallet)
    plain = Engine.__init__

    payable: set[str | None] = set()

    def pay(applied: Applied) -> None:
        if applied.job is not None and pays(applied.job.pubkey or ""):
            payable.add(applied.job.id)
        for invoice in applied.change.invoices:
            if str(invoice.state) == "open" and invoice.job_id in payable:
                wallet.settle(invoice.payment_hash)

    def paying(engine: Engine, *arguments, **named) -> None:
        plain(engine, *arguments, **named)
        engine.listen(pay)

    Engine.__init__ = paying
    ready = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(app.run(ready.set_result))
    relay = (await ready).relays[0]
    keep_what_is_loaded()  # as `timmy run` does
    yield relay, app.public_key
    app.stop()
    await running


class _Waiting:
    """Requests that are out, each with a future for its result."""

    def __init__(self, in_flight: int) -> None:
        self._results: dict[str, asyncio.Future[None]] = {}
        self._places = asyncio.Semaphore(in_flight)

    async def listen(self, frames: ClientConnection) -> None:
        async for frame in frames:
            message = json.loads(frame)
            if message[0] == "EVENT":
                asked = next(tag[1] for tag in message[2]["tags"] if tag[0] == "e")
                if asked in self._results and not self._results[asked].done():
                    self._results[asked].set_result(None)

    async def ask(self, asking: ClientConnection, request_id: str, text: str) -> None:
        async with self._places:
            self._results[request_id] = asyncio.get_running_loop().create_future()
            await asking.send(text)
            await asyncio.wait_for(self._results[request_id], 60)


async def drain(frames: ClientConnection) -> None:
    async for _ in frames:
        pass


async def _customers(relay: str, provider: str, jobs: int, in_flight: int) -> float:
    """Seconds from the first request to the last result."""
    requests = [request(provider, _fresh_keys()) for _ in range(jobs)]
    waiting = _Waiting(in_flight)
    async with (
        connect(relay, compression=None, max_size=None) as listening,
        connect(relay, compression=None) as asking,
    ):
        await listening.send(json.dumps(["REQ", "r", {"kinds": [6050], "authors": [provider], "limit": 0}]))
        while json.loads(await listening.recv())[0] != "EOSE":
            pass
        helpers = [asyncio.create_task(waiting.listen(listening)), asyncio.create_task(drain(asking))]
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for request_id, text in requests:
                group.create_task(waiting.ask(asking, request_id, text))
        seconds = time.perf_counter() - start
        for helper in helpers:
            helper.cancel()
    return seconds


def _fresh_keys() -> Keys:
    return Keys.from_bytes(hashlib.sha256(os.urandom(32)).digest())


def request(provider: str, keys: Keys) -> tuple[str, str]:
    """A job that nobody asked before: its id, and the message that asks for it."""
    tags = [["i", QUESTION, "text"], ["p", provider], ["salt", os.urandom(8).hex()]]
    event = keys.sign(kind=5050, created_at=int(time.time()), tags=tags, aux=os.urandom(32))
    return event.id, f'["EVENT",{event.to_json()}]'
