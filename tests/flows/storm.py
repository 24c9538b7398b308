"""Crowds: many customers at once, who listen on every relay and pay what they are asked; and their books."""

import asyncio
import contextlib
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

from ledger.records import JobState
from lightning import bolt11
from relay_client.event import Event
from relay_client.keys import Keys
from tests.flows.live import until
from tests.flows.shop import FEEDBACK, TIMMY, Shop, books, invoice_of, signed, status_of
from timmy_dvm.nostr.nip90 import RESULT_OFFSET

TEXT = 5050
QUESTION = "What does a data vending machine do for me, how do I pay it, and what comes back if it should fail?"
SERVED = ("payment-required", "processing", "result", "success")
"""What is said about a job that is paid and done, each once."""
_TILLS = 4


def request(
    *more: Sequence[str], text: str = QUESTION, keys: Keys | None = None, ago_s: int = 0, is_named: bool = True
) -> Event:
    """A job for Timmy, or for whoever takes it, of a key that nobody knows unless one is given."""
    asker = keys or Keys.from_bytes(os.urandom(32))
    to = TIMMY.public_key if is_named else None
    return signed(asker, TEXT, [("i", text, "text"), *more], ago_s=ago_s, to=to)


class Crowd:
    """What Timmy said to each request, on whatever relay, each event once; ``pays`` says whose prices are paid."""

    def __init__(self, shop: Shop, pays: Callable[[str], bool]) -> None:
        self._http = httpx.AsyncClient(base_url=shop.ready.http, trust_env=False, timeout=60)
        self._pays = pays
        self._bills: asyncio.Queue[str] = asyncio.Queue()
        self._met: set[str] = set()
        self.answers: defaultdict[str, list[Event]] = defaultdict(list)

    def statuses(self, asked: Event) -> tuple[str, ...]:
        """In the order of their names: relays and the reader may tell them in any other."""
        return tuple(sorted(map(status_of, self.answers[asked.id])))

    def heard(self, status: str) -> int:
        """How many requests were told so."""
        return sum(status in map(status_of, answers) for answers in self.answers.values())

    async def are_all(self, asked: Iterable[Event], statuses: Sequence[str] = SERVED) -> None:
        """Wait until each of the requests has heard these, and assert that it heard nothing else."""
        waiting = list(asked)

        def still_waiting() -> bool:
            waiting[:] = [each for each in waiting if not set(statuses) <= set(self.statuses(each))]
            return bool(waiting)

        try:
            await until(lambda: not still_waiting())
        except TimeoutError:
            heard = {self.statuses(each) for each in waiting}
            raise AssertionError(f"{len(waiting)} requests still wait, having heard {heard}") from None

    async def listen(self, url: str) -> None:
        async with connect(url, proxy=None, close_timeout=0.5, max_size=None) as ws:
            kinds = [FEEDBACK, TEXT + RESULT_OFFSET]
            await ws.send(json.dumps(["REQ", "crowd", {"authors": [TIMMY.public_key], "kinds": kinds}]))
            async for frame in ws:
                message = json.loads(frame)
                # A relay may send what nobody asked for.
                if message[0] == "EVENT" and message[2]["pubkey"] == TIMMY.public_key:
                    self._hear(Event.from_wire(json.dumps(message[2])))

    def _hear(self, event: Event) -> None:
        if event.id in self._met:
            return
        self._met.add(event.id)
        for asked in event.tag_values("e"):
            self.answers[asked].append(event)
            if status_of(event) == "payment-required" and self._pays(asked):
                self._bills.put_nowait(bolt11.decode(invoice_of(event)).payment_hash)

    async def pay(self) -> None:
        while True:
            payment_hash = await self._bills.get()
            (await self._http.post(f"/api/dev/stub/pay/{payment_hash}", json={})).raise_for_status()

    async def aclose(self) -> None:
        await self._http.aclose()


@contextlib.asynccontextmanager
async def crowd(shop: Shop, *urls: str, pays: Callable[[str], bool] = lambda _: True) -> AsyncIterator[Crowd]:
    """A crowd that listens on these relays until the block ends; the end of a line or a till fails the test."""
    made = Crowd(shop, pays)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(made.listen(url)) for url in urls]
        tasks += [group.create_task(made.pay()) for _ in range(_TILLS)]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await made.aclose()


async def all_were_served_once(folder: Path, asked: Iterable[Event]) -> None:
    """The books hold exactly these jobs, each done and with one invoice."""
    stories = await books(folder, limit=1_000)
    ids = [event.id for event in asked]
    assert sorted(story.job.event_id or "" for story in stories) == sorted(ids)
    assert {(story.job.state, len(story.invoices)) for story in stories} == {(JobState.COMPLETE, 1)}
