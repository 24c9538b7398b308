"""A Timmy that runs as a user runs it, and customers who ask it over its relay."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from relay_client.dial import Outside
from relay_client.event import Event
from relay_client.keys import Keys, parse_public_key
from relay_client.pool import RelayPool
from timmy_dvm.app import Ready
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.nostr.customer import Answer, Customer, Order, Said

PATIENCE_S = 60.0
"""How long a test waits for what must come. A machine under load is slow; only what never comes fails."""
_READY = re.compile(r"ready npub=(\S+) http=(\S+) relays=(\S+)")
_SETTING = re.compile(r"(?:# )?([a-z0-9_]+) = ")


def edited(text: str, **settings: object) -> str:
    """A configuration as its owner edits it: each setting is written where the file shows it, comment or not.

    ``lightning__lnbits__url="http://…"`` sets ``url`` in ``[lightning.lnbits]``.
    """
    wanted = {name.replace("__", "."): value for name, value in settings.items()}
    lines, table = [], ""
    for line in text.splitlines():
        if line.startswith("["):
            table = line.strip("[]")
        found = _SETTING.match(line)
        name = f"{table}.{found[1]}" if found else ""
        lines.append(f"{found[1]} = {_toml(wanted.pop(name))}" if found and name in wanted else line)
    assert not wanted, f"the file shows no {sorted(wanted)}"
    made = "\n".join(lines) + "\n"
    tomllib.loads(made)
    return made


def _toml(value: object) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An empty home, and nothing of the environment of whoever runs the tests but what coverage needs."""
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {"HOME": str(folder / "home"), "PATH": os.environ["PATH"]} | coverage | more


async def timmy(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run one command of `timmy` to its end."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "timmy_dvm", *arguments],
        cwd=folder,
        env=environment(folder, **environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )


@dataclass
class Running:
    """`timmy run` as a process, ready. ``lines`` is what it wrote to stderr so far."""

    ready: Ready
    process: asyncio.subprocess.Process
    lines: list[str]

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    async def stop(self) -> int:
        """Ask it to end; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


@contextlib.asynccontextmanager
async def running(folder: Path, **environ: str) -> AsyncIterator[Running]:
    """`timmy run` in a folder, from ready until the test is over."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "timmy_dvm", "run",
        cwd=folder, env=environment(folder, **environ), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    lines: list[str] = []
    ready = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read(process.stderr, lines, ready))
    try:
        yield Running(await asyncio.wait_for(ready, PATIENCE_S), process, lines)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _read(stderr: asyncio.StreamReader, lines: list[str], ready: "asyncio.Future[Ready]") -> None:
    async for line in stderr:
        lines.append(line.decode().rstrip())
        found = _READY.match(lines[-1])
        if found and not ready.done():
            ready.set_result(Ready(found[1], found[2], tuple(found[3].split(","))))
    if not ready.done():
        ready.set_exception(AssertionError("timmy ended before it was ready:\n" + "\n".join(lines)))


@dataclass
class Errand:
    """One request, and what was answered so far."""

    id: str
    answers: list[Answer] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def hears(self, said: Said, timeout_s: float = PATIENCE_S) -> Answer:
        """The first answer of that sort. An error fails the test at once where something else is waited for."""
        found: list[Answer] = []

        def told() -> bool:
            found[:] = [answer for answer in self.answers if answer.said in (said, Said.ERROR)]
            return bool(found)

        try:
            async with asyncio.timeout(timeout_s), self.news:
                await self.news.wait_for(told)
        except TimeoutError:
            raise AssertionError(f"no {said}; heard {[str(a.said) for a in self.answers]}") from None
        wanted = [answer for answer in found if answer.said is said]
        assert wanted, f"instead of {said}: {found[0].text}"
        return wanted[0]


@contextlib.asynccontextmanager
async def asking(ready: Ready, order: Order | str, keys: Keys | None = None) -> AsyncIterator[Errand]:
    """A customer asks, over a connection of their own, and listens until the block ends."""
    randomness = SystemRandomness()
    keys = keys or Keys.from_bytes(randomness.token(32))
    provider = parse_public_key(ready.npub)
    if isinstance(order, str):
        order = Order(text=order, provider=provider)
    async with RelayPool(ready.relays, outside=Outside()) as pool:
        await pool.wait_connected()
        customer = Customer(keys, pool, SystemClock(), randomness)
        request = customer.request(order)
        errand = Errand(request.id)
        listening = asyncio.create_task(_listen(customer, request, provider, errand))
        try:
            yield errand
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening


async def _listen(customer: Customer, request: Event, provider: str, errand: Errand) -> None:
    async with contextlib.aclosing(customer.ask(request, provider)) as answers:
        async for answer in answers:
            async with errand.news:
                errand.answers.append(answer)
                errand.news.notify_all()


async def until(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Wait until something holds that tells nobody when it does; it may be a coroutine function."""
    async with asyncio.timeout(timeout_s):
        while True:
            outcome = condition()
            if asyncio.iscoroutine(outcome):
                outcome = await outcome
            if outcome:
                return
            await asyncio.sleep(0.02)
