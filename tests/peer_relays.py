"""Two relays that were not written here, on loopback: nostr-sdk's in this process, an npm one in another.

`make .venv/ready-peers` installs the second. Both start again on the port they had.
"""

import asyncio
import contextlib
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Self

import nostr_sdk
import pytest

PEERS = Path(__file__).resolve().parent / "peers"
START_S = 20.0
STOP_S = 5.0


def require_peers() -> None:
    """Fail where the npm packages were not installed."""
    if not all((PEERS / "node_modules" / name).exists() for name in ("nostr-tools", "@nostr-dev-kit/ndk")):
        pytest.fail("the npm peers are not installed here; run: make .venv/ready-peers")


class SdkRelay:
    """nostr-sdk's LocalRelay, with limits that no test reaches.

        async with SdkRelay() as relay:
            ...  # relay.url
            await relay.stop()
            await relay.start()  # the same url

    What it kept is gone after a stop. Known of it: it speaks no NIP-11, checks no date in the future, refuses
    events over 65,536 bytes, answers an older replaceable event with `error:`, drops a connection after 6,000
    messages in a minute, and leaves Nagle's algorithm on (a client without TCP_QUICKACK waits 40 ms a frame).

    Args:
        guards_wraps: show gift wraps to those alone whom they name, and who prove who they are (NIP-42, NIP-59).
    """

    def __init__(self, *, guards_wraps: bool = False) -> None:
        self._guards_wraps = guards_wraps
        self._port: int | None = None
        # The relay stops when this is collected.
        self._relay: nostr_sdk.LocalRelay | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def start(self) -> None:
        assert self._relay is None, "it is running"
        # Without it nostr-sdk looks for the loop of whichever test ran first.
        nostr_sdk.uniffi_set_event_loop(asyncio.get_running_loop())
        limit = nostr_sdk.RateLimit(max_reqs=100_000, notes_per_minute=10_000_000)
        builder = nostr_sdk.LocalRelayBuilder().addr("127.0.0.1").rate_limit(limit).auth_dm(self._guards_wraps)
        relay = (builder if self._port is None else builder.port(self._port)).build()
        await relay.run()
        self._port = int(str(await relay.url()).rstrip("/").rpartition(":")[2])
        self._relay = relay

    async def stop(self) -> None:
        """Its clients see the connection end without a close frame. Twice is fine."""
        relay, self._relay = self._relay, None
        if relay is None:
            return
        async with asyncio.timeout(STOP_S):
            relay.shutdown()
            while await self._listens():
                # Now and then one call goes unheard, and the relay would live on.
                relay.shutdown()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class NpmRelay:
    """@nostr-relay/core under node, as tests/peers/relay.mjs puts it together; used like `SdkRelay`.

    What it kept is gone after a stop. Known of it: it speaks no NIP-11 and does not enforce NIP-42; it serves
    events after they expired; it neither keeps nor passes on a kind 5, and deletes nothing for it; a live
    subscription gets events whatever their tags, for `#e` and `#p` are looked at only in what is stored; an
    event id it has answered once gets the same answer again, whatever the rest of the event says.
    """

    def __init__(self) -> None:
        self._port = 0
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it is not running"
        return self._process.pid

    async def start(self) -> None:
        assert self._process is None, "it is running"
        require_peers()
        # Its stdin is held open: should this process die, the relay reads the end and goes too.
        self._process = await asyncio.create_subprocess_exec(
            "node", str(PEERS / "relay.mjs"), str(self._port), stdin=PIPE, stdout=PIPE
        )
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        except BaseException:
            await self.stop()
            raise
        if not line.startswith(b"listening "):
            await self.stop()
            pytest.fail("the npm relay did not start; what it said is above")
        self._port = int(line.split()[1])

    async def stop(self) -> None:
        """End the process; its clients see the connection end without a close frame. Twice is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.communicate()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
