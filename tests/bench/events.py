"""What our event path costs, against the least it could cost, measured side by side in one run.

`bench()` gives the figures; `python -m tests.bench` prints them. Ratios are sound on a noisy machine,
absolute rates are not.
"""

import asyncio
import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from statistics import median

import coincurve
import msgspec
from websockets.asyncio.client import connect

from relay_client import event as proofs
from relay_client.filter import Filter
from relay_client.happenings import EventHeard
from relay_client.keys import Keys
from relay_client.local_relay import LocalRelay
from relay_client.session import Session
from relay_client.wire import event_message


class _BareEvent(msgspec.Struct):
    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: list[list[str]]
    content: str
    sig: str


_BARE = msgspec.json.Decoder(tuple[str, str, _BareEvent])


def bench(*, events: int = 600, rounds: int = 9, relay_events: int = 6_000) -> dict[str, float]:
    """Measure event + session against a bare loop, and the embedded relay over a socket.

    Returns:
        `bare_per_s`: frame decoded by msgspec, sha256, coincurve verify, nothing else.
        `session_per_s`: the same frames through `Session.receive` and `UnverifiedEvent.verify`.
        `session_ratio`: median of the rounds' ratios, the second to the first.
        `relay_per_s`: events one `LocalRelay` proves, stores and answers with OK, sent by another process.
    """
    frames = _frames(events)
    bare, ours = [], []
    _bare(frames[:50])
    _session(frames[:50])
    for _ in range(rounds):
        bare.append(_rate(_bare, frames))
        proofs._is_signed.cache_clear()  # each round meets its events for the first time
        ours.append(_rate(_session, frames))
    return {
        "bare_per_s": round(median(bare)),
        "session_per_s": round(median(ours)),
        "session_ratio": round(median(our / least for our, least in zip(ours, bare, strict=True)), 3),
        "relay_per_s": round(asyncio.run(_relay(relay_events))),
    }


def _signed(count: int) -> list:
    keys = Keys.from_bytes(os.urandom(32))
    now = int(time.time())
    tags = [["i", "What is a satoshi, and who named it?", "text"], ["p", "ab" * 32], ["output", "text/plain"]]
    text = "What one asks, at some length. " * 15
    return [
        keys.sign(
            kind=5050, created_at=now - n % 60, tags=[*tags, ["n", str(n)]], content=text, aux=os.urandom(32)
        )
        for n in range(count)
    ]


def _frames(count: int) -> list[bytes]:
    return [f'["EVENT","jobs",{event.to_json()}]'.encode() for event in _signed(count)]


def _rate(run: Callable[[list[bytes]], None], frames: list[bytes]) -> float:
    start = time.perf_counter()
    run(frames)
    return len(frames) / (time.perf_counter() - start)


def _bare(frames: list[bytes]) -> None:
    for frame in frames:
        event = _BARE.decode(frame)[2]
        digest = hashlib.sha256(
            msgspec.json.encode((0, event.pubkey, event.created_at, event.kind, event.tags, event.content))
        ).digest()
        key = coincurve.PublicKeyXOnly(bytes.fromhex(event.pubkey))
        assert digest.hex() == event.id
        assert key.verify(bytes.fromhex(event.sig), digest)


def _session(frames: list[bytes]) -> None:
    session = Session("wss://relay.example")
    session.subscribe("jobs", [Filter(kinds=frozenset({5050}), tags={"p": frozenset({"ab" * 32})})])
    session.opened()
    heard = 0
    for frame in frames:
        for happening in session.receive(frame, 0.0):
            if isinstance(happening, EventHeard):
                happening.event.verify()
                heard += 1
    assert heard == len(frames)


async def _relay(count: int) -> float:
    """Events accepted in a second; the sender is another process, so the relay has a core of its own."""
    async with LocalRelay() as relay:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        sender = context.Process(target=_sender, args=(relay.url, count, there))
        sender.start()
        there.close()
        rate = await asyncio.to_thread(here.recv)
        await asyncio.to_thread(sender.join)
        assert len(relay) == count
        return float(rate)


def _sender(url: str, count: int, pipe: Connection) -> None:
    pipe.send(asyncio.run(_send_all(url, [event_message(event) for event in _signed(count)])))
    pipe.close()


async def _send_all(url: str, texts: list[str]) -> float:
    async with connect(url, compression=None) as ws:

        async def hear() -> None:
            for _ in texts:
                assert b",true," in await ws.recv(decode=False)

        start = time.perf_counter()
        hearing = asyncio.create_task(hear())
        for text in texts:
            await ws.send(text)
        await hearing
        return len(texts) / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name:16} {value:>10,}\n" for name, value in bench().items()))
