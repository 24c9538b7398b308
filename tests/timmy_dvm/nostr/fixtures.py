"""What real clients send (fixtures.json), ready to be signed by anybody, now, for any provider."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from relay_client import nip04, nip44
from relay_client.event import Event
from relay_client.keys import Keys

_FILE = Path(__file__).with_name("fixtures.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """One request, and what must become of it.

    Attributes:
        name, sender: for people.
        kind, tags, content: of the event; `<timmy>` in a tag is the provider, `<tomorrow>` a day from now.
        scheme, inside: the tags that are encrypted into the content.
        reads: the clients by whose rules the answers must be readable (`fixtures_reading.RULES`).
        outcome: `job` or `noise`.
        text, sats, max_output_tokens, temperature, ignored: of a job.
        code: of the error that answers noise, where it names us.
    """

    name: str
    sender: str
    kind: int
    tags: list[list[str]]
    content: str
    reads: list[str]
    outcome: str
    scheme: str = "none"
    inside: tuple[list[str], ...] = ()
    text: str = ""
    sats: int = 0
    max_output_tokens: int | None = None
    temperature: str | None = None
    ignored: tuple[str, ...] = ()
    code: str = ""

    def signed(self, keys: Keys, provider: str, *, also: tuple[tuple[str, ...], ...] = ()) -> Event:
        """The event as `keys` sends it now to `provider` (hex), with more tags."""
        at = int(time.time())
        known = {"<timmy>": provider, "<tomorrow>": str(at + 86_400)}
        tags = [tuple(known.get(item, item) for item in tag) for tag in self.tags]
        content = self.content if self.scheme == "none" else self._sealed(keys, provider)
        return keys.sign(kind=self.kind, created_at=at, tags=[*tags, *also], content=content, aux=os.urandom(32))

    def _sealed(self, keys: Keys, provider: str) -> str:
        text = json.dumps(self.inside)
        if self.scheme == "nip04":
            return nip04.encrypt(text, keys, provider, os.urandom(16))
        return nip44.encrypt(text, nip44.conversation_key(keys, provider), os.urandom(32))


def _read(request: dict[str, object]) -> Fixture:
    lists = {name: tuple(request[name]) for name in ("inside", "ignored") if name in request}
    return Fixture(**(request | lists))


ALL = {one.name: one for one in map(_read, json.loads(_FILE.read_text())["requests"])}
JOBS = {name: one for name, one in ALL.items() if one.outcome == "job"}
NOISE = {name: one for name, one in ALL.items() if one.outcome == "noise"}
