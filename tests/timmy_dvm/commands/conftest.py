"""A Timmy that serves in this process, in a thread of its own, and its commands as a user types them."""

import asyncio
import io
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from lightning.simulated import SimulatedWallet
from lightning.simulated_node import OutsideWallet
from tests.flows.live import PATIENCE_S
from tests.flows.shop import TIMMY
from timmy_dvm import cli
from timmy_dvm.app import App, Ready
from timmy_dvm.building import SIMULATED_BALANCE
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.config import load


class Bot:
    """`timmy run` in a thread: the production bot, with a wallet that a test can look into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clock, random = SystemClock(), SystemRandomness()
        self.wallet = SimulatedWallet(
            seed=b"timmy", now=clock.now, random_bytes=random.token, balance_msat=SIMULATED_BALANCE
        )
        self.customer = OutsideWallet(self.wallet, seed=b"customer", now=clock.now, random_bytes=random.token)
        self.ready: Ready
        self._is_ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(PATIENCE_S)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._app.stop)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert self._error is None

    def _serve(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # the test's thread raises it
            self._error = error
            raise
        finally:
            self._is_ready.set()

    async def _run(self) -> None:
        environ = {
            "TIMMY_HTTP__PORT": "0",
            "TIMMY_NOSTR__RELAY_PORT": "0",
            "TIMMY_NOSTR__SECRET_KEY": TIMMY.to_nsec(),
        }
        self._loop = asyncio.get_running_loop()
        self._app = App(load(None, environ, self.folder), wallet=self.wallet)
        await self._app.run(self._says_ready)

    def _says_ready(self, ready: Ready) -> None:
        self.ready = ready
        self._is_ready.set()


@pytest.fixture(scope="module")
def bot(tmp_path_factory):
    with Bot(tmp_path_factory.mktemp("bot")) as bot:
        yield bot


@dataclass
class Done:
    """What one command line did."""

    code: int
    out: str
    err: str
    lines: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = self.out.splitlines()


@pytest.fixture
def timmy(tmp_path, monkeypatch, capsys):
    """Run one command line of `timmy` in an empty folder with an empty home; `stdin` is what is piped into it."""
    for name in [name for name in os.environ if name.startswith(("TIMMY_", "NOSTR_", "NO_COLOR"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments, stdin=b"", **environ):
        given = tmp_path / "stdin"
        given.write_bytes(stdin)
        with monkeypatch.context() as here, given.open("rb") as raw:
            here.setattr("sys.stdin", io.TextIOWrapper(raw))
            for name, value in environ.items():
                here.setenv(name, value)
            capsys.readouterr()
            code = cli.run(arguments)
        return Done(code, *capsys.readouterr())

    return run
