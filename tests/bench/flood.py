"""Paid jobs while strangers flood: what it costs them in time and Timmy in memory, against a quiet time before.

Three processes. Timmy runs in one, on three relays. A second is two of these relays: one passes on 2,000 true but
hostile events a second, each of a key of its own, as an honest relay would; the other lies, as fast as it is read,
until it is dropped. The third is this one: the good relay and its customers, who have paid before and ask at a
steady pace.
"""

import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from relay_client.keys import Keys
from relay_client.local_relay import LocalRelay
from tests.bench import jobs
from tests.flows.hostile import LIES, SIGNED, Hostile
from timmy_dvm.garbage import keep_what_is_loaded

ME = Keys.from_bytes(b"\x07" * 32)
TICKS_PER_S = 50
PAYERS = 60
_LATE_S = 60
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
_FOLDER = _MEMORY if _MEMORY.is_dir() else None


def bench(
    *, seconds: int = 60, quiet_s: int = 60, events_per_s: int = 2_000, jobs_per_s: int = 10
) -> dict[str, float]:
    """Ask at ``jobs_per_s`` for ``quiet_s`` seconds, then for ``seconds`` seconds under the flood.

    Returns:
        `quiet_p50_ms`, `quiet_p99_ms`, `flood_p50_ms`, `flood_p99_ms`: from a request, paid at once, to a receipt.
            The ledger lies in memory where the machine has a folder for that: this is not about its disk.
        `p99_ratio`: flood to quiet.
        `paid_jobs`, `paid_jobs_lost`: of both parts.
        `hostile_per_s`, `lies_read`: what Timmy took of either flood.
        `memory_growth_mib`: the most there was during the flood and after it, beyond what there was before.
        `cpu_share_quiet`, `cpu_share_flood`: of one core.
    """
    return asyncio.run(_bench(seconds, quiet_s, events_per_s, jobs_per_s))


async def _bench(seconds: int, quiet_s: int, events_per_s: int, jobs_per_s: int) -> dict[str, float]:
    payers = [Keys.from_bytes(os.urandom(32)) for _ in range(PAYERS)]
    async with LocalRelay() as good:
        with _process(_flooder, events_per_s, seconds) as flood:
            urls = await asyncio.to_thread(flood.recv)
            with _process(_bot, [good.url, *urls], [keys.public_key for keys in payers]) as bot:
                pid = await asyncio.to_thread(bot.recv)
                async with _Customers(good.url, payers) as customers:
                    await customers.ask(2 * PAYERS, 10)
                    keep_what_is_loaded()  # the clock must not stand still either, while this process tidies up
                    before = _cpu_s(pid)
                    quiet = await customers.ask(quiet_s * jobs_per_s, jobs_per_s)
                    quiet_cpu = (_cpu_s(pid) - before) / quiet_s
                    memory = _Memory(pid)
                    watching = asyncio.create_task(memory.watch())
                    before = _cpu_s(pid)
                    flood.send("go")
                    loud = await customers.ask(seconds * jobs_per_s, jobs_per_s)
                    loud_cpu = (_cpu_s(pid) - before) / seconds
                    flood.send("stop")
                    sent, lies = await asyncio.to_thread(flood.recv)
                    watching.cancel()
                bot.send("stop")
    p99 = _percentile(quiet, 99), _percentile(loud, 99)
    return {
        "quiet_p50_ms": round(_percentile(quiet, 50) * 1e3, 1),
        "quiet_p99_ms": round(p99[0] * 1e3, 1),
        "flood_p50_ms": round(_percentile(loud, 50) * 1e3, 1),
        "flood_p99_ms": round(p99[1] * 1e3, 1),
        "p99_ratio": round(p99[1] / p99[0], 2),
        "paid_jobs": len(quiet) + len(loud),
        "paid_jobs_lost": sum(each is None for each in (*quiet, *loud)),
        "hostile_per_s": round(sent / seconds),
        "lies_read": lies,
        "memory_growth_mib": round(memory.growth / 2**20, 1),
        "cpu_share_quiet": round(quiet_cpu, 2),
        "cpu_share_flood": round(loud_cpu, 2),
    }


def _percentile(seconds: "list[float | None]", percent: int) -> float:
    """A job that was lost took for ever."""
    ordered = sorted(float("inf") if each is None else each for each in seconds)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@contextmanager
def _process(target, *arguments) -> Iterator[Connection]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(there, *arguments))
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.join(30)


class _Memory:
    """What a process holds, at its most, beyond what it held in the beginning."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._first = _resident_bytes(pid)
        self.growth = 0

    async def watch(self) -> None:
        while True:
            self.growth = max(self.growth, _resident_bytes(self._pid) - self._first)
            await asyncio.sleep(0.2)


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu_s(pid: int) -> float:
    """User and system time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Customers:
    """Ask at a steady pace, whatever becomes of earlier requests, and wait for each receipt."""

    def __init__(self, url: str, payers: list[Keys]) -> None:
        self._url = url
        self._payers = payers
        self._asked = 0
        self._receipts: dict[str, asyncio.Future[None]] = {}

    async def __aenter__(self) -> Self:
        self._hearing = await connect(self._url, compression=None, max_size=None)
        self._asking = await connect(self._url, compression=None)
        await self._hearing.send(json.dumps(["REQ", "r", {"kinds": [7000], "authors": [ME.public_key]}]))
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(jobs.drain(self._asking))]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self._hearing.close()
        await self._asking.close()

    async def ask(self, count: int, per_s: int) -> "list[float | None]":
        """Seconds to each receipt; None where there was none."""
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for n in range(count):
                await asyncio.sleep(max(0.0, start + n / per_s - time.perf_counter()))
                tasks.append(group.create_task(self._one()))
        return [task.result() for task in tasks]

    async def _one(self) -> float | None:
        keys = self._payers[self._asked % len(self._payers)]
        self._asked += 1
        request_id, text = jobs.request(ME.public_key, keys)
        receipt = self._receipts[request_id] = asyncio.get_running_loop().create_future()
        start = time.perf_counter()
        await self._asking.send(text)
        try:
            await asyncio.wait_for(receipt, _LATE_S)
        except TimeoutError:
            return None
        return time.perf_counter() - start

    async def _listen(self) -> None:
        async for frame in self._hearing:
            message = json.loads(frame)
            if message[0] == "EVENT" and ["status", "success"] in [tag[:2] for tag in message[2]["tags"]]:
                for tag in message[2]["tags"]:
                    receipt = self._receipts.get(tag[1]) if tag[0] == "e" else None
                    if receipt is not None and not receipt.done():
                        receipt.set_result(None)


def _bot(pipe: Connection, relays: list[str], payers: list[str]) -> None:
    asyncio.run(_serve(pipe, relays, frozenset(payers)))


async def _serve(pipe: Connection, relays: list[str], payers: frozenset[str]) -> None:
    settings = {"TIMMY_NOSTR__RELAYS": ",".join(relays), "TIMMY_NOSTR__SECRET_KEY": ME.to_nsec()}
    settings |= {"TIMMY_HTTP__PORT": "0", "TIMMY_LIMITS__JOBS_PER_KEY_MINUTE": "1000"}
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        async with jobs.timmy(Path(folder), settings, pays=lambda pubkey: pubkey in payers):
            pipe.send(os.getpid())
            await asyncio.to_thread(_until_told, pipe)


def _until_told(pipe: Connection) -> None:
    with suppress(EOFError):
        pipe.recv()


def _flooder(pipe: Connection, events_per_s: int, seconds: int) -> None:
    asyncio.run(_Flood(events_per_s, seconds).run(pipe))


class _Flood:
    """Two relays. What they send is made beforehand, so that making it takes no time from anybody."""

    def __init__(self, events_per_s: int, seconds: int) -> None:
        hostile = Hostile(ME.public_key, SIGNED)
        self._per_tick = events_per_s // TICKS_PER_S
        self._truths = hostile.frames("timmy", events_per_s * seconds)
        self._lies = Hostile(ME.public_key, LIES).frames("timmy", 200)
        self._may_begin = asyncio.Event()
        self.sent = 0
        self.lies_sent = 0

    async def run(self, pipe: Connection) -> None:
        options = {"compression": None, "max_size": None, "close_timeout": 0.5}
        async with (
            serve(self._muddy, "127.0.0.1", 0, **options) as muddy,
            serve(self._liar, "127.0.0.1", 0, **options) as liar,
        ):
            pipe.send([f"ws://127.0.0.1:{each.sockets[0].getsockname()[1]}" for each in (muddy, liar)])
            await asyncio.to_thread(_until_told, pipe)
            self._may_begin.set()
            await asyncio.to_thread(_until_told, pipe)
            pipe.send((self.sent, self.lies_sent))

    async def _muddy(self, ws: ServerConnection) -> None:
        """An honest relay that strangers use."""
        await self._until_asked(ws)
        answering = asyncio.create_task(self._take_all(ws))
        await self._may_begin.wait()
        with suppress(ConnectionClosed):
            await self._pass_on(ws)
        await answering

    async def _pass_on(self, ws: ServerConnection) -> None:
        start = time.perf_counter()
        for first in range(self.sent, len(self._truths), self._per_tick):
            for frame in self._truths[first : first + self._per_tick]:
                await ws.send(frame)
                self.sent += 1
            await asyncio.sleep(max(0.0, start + self.sent / self._per_tick / TICKS_PER_S - time.perf_counter()))

    async def _liar(self, ws: ServerConnection) -> None:
        """Sends as fast as it is read, until it is dropped."""
        try:
            await self._until_asked(ws)
            await self._may_begin.wait()
            while True:
                for frame in self._lies:
                    await ws.send(frame)
                    self.lies_sent += 1
        except ConnectionClosed:
            pass

    async def _until_asked(self, ws: ServerConnection) -> None:
        while json.loads(await ws.recv())[:2] != ["REQ", "timmy"]:
            pass
        await ws.send('["EOSE","timmy"]')

    async def _take_all(self, ws: ServerConnection) -> None:
        try:
            async for frame in ws:
                message = json.loads(frame)
                if message[0] == "EVENT":
                    await ws.send(json.dumps(["OK", message[1]["id"], True, ""]))
        except ConnectionClosed:
            pass


if __name__ == "__main__":
    import sys

    for name, value in bench().items():
        sys.stdout.write(f"{name:<24}{value:>10}\n")
