"""A real LNbits on loopback, made and thrown away by the tests.

`make .venv-lnbits/ready` builds its environment. Each server has a data folder of its own, a FakeWallet
(payments between its wallets are real to LNbits, and no sat exists), and is set up without a person.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-lnbits" / "bin" / "python"
START_S = 90.0
STOP_S = 10.0
SUPER_USER = "5f0e1d2c3b4a49588776655443322110"
PASSWORD = "only-for-tests"

_USABLE = "import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))"
_CANDIDATES = ("python3.12", "python3.11", "python3.10", "python3", "python")


def require_lnbits() -> None:
    """Skip where LNbits cannot be had at all; fail where it only was not built."""
    if (ROOT / ".venv-lnbits" / "ready").exists():
        return
    for name in _CANDIDATES:
        found = shutil.which(name)
        # Run, not only found: a version manager leaves names behind that fail when called.
        if found and not subprocess.run([found, "-c", _USABLE], capture_output=True, check=False).returncode:
            pytest.fail("LNbits is not built here; run: make .venv-lnbits/ready")
    pytest.skip("a real LNbits needs Python 3.10, 3.11 or 3.12 with venv, and there is none here")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class LnbitsAccount:
    """One user with one wallet. ``inkey`` may create and look, ``adminkey`` may also pay."""

    id: str
    user: str
    inkey: str = field(repr=False)
    adminkey: str = field(repr=False)
    lightning_address: str


class LnbitsServer:
    """One LNbits process. Blocks while it starts and stops; use it from fixtures.

    ``settings`` are LNbits' own environment variables. They count on a fresh data folder only: later its
    settings table wins.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""

    @property
    def log(self) -> str:
        """The end of what LNbits wrote, for failures."""
        path = self.folder / "log"
        return path.read_text(errors="replace")[-3_000:] if path.exists() else ""

    def start(self) -> None:
        fresh = not (self.folder / "data").exists()
        if fresh:
            self._make_folder()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PYTHON, "-m", "uvicorn", "lnbits.__main__:app", "--host", "127.0.0.1", "--port", str(self.port),
                 "--loop", "uvloop", "--log-level", "warning"],
                cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._until_ready()
        if fresh:
            self._install()

    def stop(self) -> None:
        """Ask it to end, and see that it does. Twice is fine."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """As if the machine had died."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Again on the same data and port. FakeWallet forgets its unpaid invoices by this."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def new_wallet(self, credit_sats: int = 0, name: str = "test") -> LnbitsAccount:
        """A fresh user with one wallet that holds ``credit_sats``."""
        with self._client() as client:
            answer = client.post("/api/v1/account", json={"name": name})
            answer.raise_for_status()
            row = answer.json()
        account = LnbitsAccount(**{key: row[key] for key in LnbitsAccount.__slots__})
        if credit_sats:
            self.credit(account, credit_sats)
        return account

    def credit(self, account: LnbitsAccount, sats: int) -> None:
        """Money from nowhere; the wallet's record shows it as a settled invoice."""
        with self._client() as client:
            answer = client.put(
                "/users/api/v1/balance",
                headers={"Authorization": f"Bearer {self._token}"},
                json={"id": account.id, "amount": sats},
            )
            answer.raise_for_status()

    def _client(self) -> httpx.Client:
        # A client for each errand: a cookie kept from one would outrank the key of the next.
        return httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    def _make_folder(self) -> None:
        (self.folder / "data" / "logs").mkdir(parents=True)
        (self.folder / "extensions").mkdir()
        found = next((PYTHON.parent.parent / "lib").glob("python3.*/site-packages/lnbits"), None)
        assert found is not None, "the environment of LNbits is empty; run: make -B .venv-lnbits/ready"
        # LNbits serves ./lnbits/static, relative to where it runs.
        (self.folder / "lnbits").symlink_to(found)

    def _environment(self) -> dict[str, str]:
        nothing = "[]"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "LNBITS_BASEURL": f"{self.url}/",
            "DEBUG": "false",
            "LNBITS_DATA_FOLDER": str(self.folder / "data"),
            "LNBITS_EXTENSIONS_PATH": str(self.folder / "extensions"),
            "ENABLE_LOG_TO_FILE": "false",
            "LNBITS_ADMIN_UI": "true",
            "SUPER_USER": SUPER_USER,
            "AUTH_SECRET_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "LNBITS_BACKEND_WALLET_CLASS": "FakeWallet",
            "FAKE_WALLET_SECRET": "only-for-tests",
            "LNBITS_CALLBACK_URL_RULES": nothing,
            "LNBITS_CALLBACK_ALLOW_PRIVATE_IPS": "true",
            "LNBITS_LNURL_ALLOW_PRIVATE_IPS": "true",
            # Nothing leaves the machine: no prices, no extension lists.
            "LNBITS_PRICE_AGGREGATOR_ENABLED": "false",
            "LNBITS_EXCHANGE_RATE_PROVIDERS": nothing,
            "LNBITS_EXCHANGE_HISTORY_REFRESH_INTERVAL_SECONDS": "0",
            "LNBITS_EXTENSIONS_MANIFESTS": nothing,
            "LNBITS_WASM_EXTENSIONS_MANIFESTS": nothing,
            "LNBITS_RATE_LIMIT_NO": "1000000",
            "LNBITS_RATE_LIMIT_UNIT": "minute",
            **self._settings,
        }

    def _until_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_S
        with self._client() as client:
            while time.monotonic() < end:
                with contextlib.suppress(httpx.TransportError):
                    client.get("/api/v1/health")
                    return
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        self.kill()
        pytest.fail(f"LNbits did not start:\n{self.log}")

    def _install(self) -> None:
        with self._client() as client:
            answer = client.put(
                "/api/v1/auth/first_install",
                json={"username": "admin", "password": PASSWORD, "password_repeat": PASSWORD},
            )
            answer.raise_for_status()
            self._token = answer.json()["access_token"]
