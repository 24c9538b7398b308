"""A customer on nostr-tools or on NDK, in a process of its own (tests/peers), and what it heard."""

import asyncio
import contextlib
import json
import os
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tests.peer_relays import PEERS, require_peers

GRACE_S = 10.0
PROGRAMS = {"nostr-tools": "customer.mjs", "ndk": "ndk.mjs"}


class Ending(IntEnum):
    """How the customer ended, as its exit code says."""

    RESULT = 0
    BROKEN = 1
    NOT_PAID = 3
    TIMEOUT = 4
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """One event the customer received.

    `content` is readable whether or not the event was encrypted; `tags` are the clear ones and after them
    those that were hidden.
    """

    event: dict[str, Any]
    valid: bool
    encrypted: bool
    content: str
    tags: list[list[str]]

    @property
    def kind(self) -> int:
        return int(self.event["kind"])

    @property
    def status(self) -> str | None:
        return self.tag("status")

    def tag(self, name: str, at: int = 1) -> str | None:
        """An item of the first tag of this name, None where there is none."""
        return next((tag[at] for tag in self.tags if tag[0] == name and len(tag) > at), None)


@dataclass(frozen=True, slots=True)
class Heard:
    """All of one request: how it ended, what came, and what the customer says it did."""

    ending: Ending
    answers: tuple[Answer, ...]
    log: str

    @property
    def statuses(self) -> list[str]:
        """`result` for a result, the status of each feedback, in the order they came."""
        return [answer.status or "?" if answer.kind == 7000 else "result" for answer in self.answers]

    @property
    def result(self) -> Answer | None:
        return next((answer for answer in self.answers if answer.kind != 7000), None)


async def ask(
    relays: Sequence[str],
    provider: str,
    text: str,
    *,
    encrypt: str = "none",
    pay_base: str | None = None,
    secret: str | None = None,
    kind: int = 5050,
    tags: Sequence[Sequence[str]] = (),
    receipt: bool = False,
    timeout_s: float = 30.0,
    library: str = "nostr-tools",
) -> Heard:
    """Ask, pay once where `pay_base` says where, and wait for the result (with `receipt`, for that too).

    Args:
        relays: where the request goes and answers are awaited.
        provider: its public key, hex.
        text: the prompt.
        encrypt: "none", "nip44" or "nip04".
        pay_base: the HTTP port's address; None: it will not pay.
        secret: the customer's, hex; None: a fresh one.
        kind: of the request.
        tags: more of them, hidden where the request is encrypted.
        receipt: wait for the feedback `success` after the result.
        timeout_s: for all of it, inside the customer.
        library: what the customer is written on, one of `PROGRAMS`.
    """
    require_peers()
    wish = {
        "relays": list(relays),
        "provider": provider,
        "text": text,
        "encrypt": encrypt,
        "pay_base": pay_base,
        "secret": os.urandom(32).hex() if secret is None else secret,
        "kind": kind,
        "tags": [list(tag) for tag in tags],
        "receipt": receipt,
        "timeout_s": timeout_s,
    }
    process = await asyncio.create_subprocess_exec(
        "node", str(PEERS / PROGRAMS[library]), json.dumps(wish), stdout=PIPE, stderr=PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s + GRACE_S)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
    log = err.decode(errors="replace")
    assert process.returncode in set(Ending), f"the customer ended with {process.returncode}:\n{log}"
    return Heard(Ending(process.returncode), tuple(map(_answer, out.splitlines())), log)


def _answer(line: bytes) -> Answer:
    heard = json.loads(line)
    event, content = heard["event"], heard["content"]
    return Answer(
        event=event,
        valid=heard["valid"],
        encrypted=content is not None,
        content=event["content"] if content is None else content,
        tags=event["tags"] + (heard["tags"] or []),
    )
