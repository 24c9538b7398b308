"""Somebody on nostr-tools who writes private messages (NIP-17), in a process of its own: tests/peers/nip17.mjs."""

import asyncio
import contextlib
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Any, Self

from relay_client.keys import Keys
from tests.peer_relays import PEERS, STOP_S, require_peers

PATIENCE_S = 60.0

Heard = dict[str, Any]


class Writer:
    """One person and their client.

        async with Writer() as writer:
            await writer.listen([relay.url])
            await writer.write(provider, "Good morning.")
            message = await writer.hears(lambda text: "sats" in text)

    `heard` is all that came: the wrap as `came` and, where it could be opened, its `rumor`.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        secret = secret or os.urandom(32)
        self.keys = Keys.from_bytes(secret)
        self.heard: list[Heard] = []
        self._secret = secret.hex()
        self._relays: list[str] = []
        self._news = asyncio.Condition()
        self._answers: asyncio.Queue[Heard] = asyncio.Queue()
        self._process: Process | None = None

    @property
    def rumors(self) -> list[Heard]:
        """What was said to them, in the order of its dates."""
        rumors = [heard["rumor"] for heard in self.heard if "rumor" in heard]
        return sorted(rumors, key=lambda rumor: rumor["created_at"])

    @property
    def texts(self) -> list[str]:
        """The same, its words alone."""
        return [rumor["content"] for rumor in self.rumors]

    async def wrap(self, reader: str, text: str) -> Heard:
        """A message as it would be sent: `wrap` and `rumor`."""
        return await self._ask({"do": "wrap", "reader": reader, "text": text})

    async def open(self, wrap: str) -> Heard:
        """What a wrap (JSON) holds: `rumor`, or `error`."""
        return await self._ask({"do": "open", "wrap": json.loads(wrap)})

    async def listen(self, relays: Sequence[str], *, inbox: Sequence[str] | None = ()) -> None:
        """Ask these relays for messages, and publish kind 10050: of `inbox`, empty is the same, None is none."""
        self._relays = list(relays)
        named = None if inbox is None else list(inbox or relays)
        answer = await self._ask({"do": "listen", "relays": self._relays, "inbox": named})
        assert "listening" in answer, answer

    async def write(self, reader: str, text: str, **more: Any) -> str:
        """Send a message; its rumor's id."""
        answer = await self._ask({"do": "write", "reader": reader, "text": text, "relays": self._relays} | more)
        assert "sent" in answer, answer
        return str(answer["sent"])

    async def hears(self, wanted: Callable[[str], object], timeout_s: float = PATIENCE_S) -> Heard:
        """The first message whose text is wanted: its rumor."""

        def found() -> Heard | None:
            return next((rumor for rumor in self.rumors if wanted(rumor["content"])), None)

        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(found)
        except TimeoutError:
            raise AssertionError(f"that did not come; heard {self.texts}") from None
        rumor = found()
        assert rumor is not None
        return rumor

    async def _ask(self, wish: Heard) -> Heard:
        assert self._process is not None, "it is not running"
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"secret": self._secret} | wish).encode() + b"\n")
        await self._process.stdin.drain()
        return await asyncio.wait_for(self._answers.get(), PATIENCE_S)

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "came" in said:
                async with self._news:
                    self.heard.append(said)
                    self._news.notify_all()
            else:
                self._answers.put_nowait(said)

    async def __aenter__(self) -> Self:
        require_peers()
        self._process = await asyncio.create_subprocess_exec(
            "node", str(PEERS / "nip17.mjs"), stdin=PIPE, stdout=PIPE, limit=2**20
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reading
