"""The programs of others that the flow tests lean on do what is believed of them, before we are blamed for it."""

import asyncio
import contextlib
import json
import os
import re
import time
from pathlib import Path

import pytest
from coincurve import PrivateKey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ledger.money import Msats
from lightning import bolt11
from relay_client import nip04, nip44
from relay_client.event import Event
from relay_client.keys import Keys
from tests.peer_customer import PROGRAMS, Ending, ask
from tests.peer_relays import NpmRelay, SdkRelay

pytestmark = pytest.mark.peer

LIBRARIES = pytest.mark.parametrize("library", PROGRAMS)
RELAYS = pytest.mark.parametrize("relay_class", [SdkRelay, NpmRelay])
TIMMY, STRANGER = Keys.from_bytes(b"\x01" * 32), Keys.from_bytes(b"\x02" * 32)
PAYMENT_HASH = bytes(range(32))
PEERS = Path(__file__).parent / "peers"


def signed(content="", *, kind=1, tags=(), keys=TIMMY):
    return keys.sign(kind=kind, created_at=int(time.time()), tags=tags, content=content, aux=os.urandom(32))


def invoice():
    return bolt11.encode(
        PrivateKey(b"\x03" * 32),
        network="bcrt",
        payment_hash=PAYMENT_HASH,
        payment_secret=b"\x04" * 32,
        timestamp=int(time.time()),
        amount_msat=Msats(9_000),
        description="a test",
    )


class Line:
    """One connection to a relay, in frames."""

    def __init__(self, ws):
        self.ws = ws

    async def say(self, *message):
        await self.ws.send(json.dumps(message))

    async def hear(self, name):
        async with asyncio.timeout(10):
            while (message := json.loads(await self.ws.recv()))[0] != name:
                pass
            return message

    async def publish(self, event):
        """The relay's yes or no."""
        await self.ws.send(f'["EVENT",{event.to_json()}]')
        while (answer := await self.hear("OK"))[1] != event.id:
            pass
        return answer[2]


@contextlib.asynccontextmanager
async def line_to(relay):
    async with connect(relay.url, proxy=None, close_timeout=0.5) as ws:
        yield Line(ws)


class Till:
    """The one HTTP call a customer makes to pay, on loopback; `answer` is the status it gets."""

    def __init__(self, answer="200 OK"):
        self.answer = answer
        self.requests = []
        self.paid = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"(?i)content-length: *(\d+)", head)[1])
        self.requests.append((head.split("\r\n")[0], await reader.readexactly(length)))
        self.paid.set()
        writer.write(f"HTTP/1.1 {self.answer}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Provider:
    """A minimal NIP-90 provider on one relay: asks for money, then repeats the prompt in capitals."""

    def __init__(self, relay, scheme="none"):
        self.relay = relay
        self.scheme = scheme
        self.prompts = []

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        self.line = await self._stack.enter_async_context(line_to(self.relay))
        await self.line.say("REQ", "jobs", {"kinds": [5050], "#p": [TIMMY.public_key]})
        await self.line.hear("EOSE")
        return self

    async def __aexit__(self, *_):
        await self._stack.aclose()

    async def job(self):
        """The next request, its prompt written down."""
        job = Event.from_wire(json.dumps((await self.line.hear("EVENT"))[2]))
        hidden = [] if self.scheme == "none" else json.loads(self._decrypted(job))
        self.prompts += [tag[1] for tag in (*job.tags, *hidden) if tag[0] == "i"]
        return job

    async def answer(self, job, kind, content="", tags=(), keys=TIMMY):
        """An answer in the scheme of the request; feedback's tags go inside, a result's content alone."""
        clear = [["e", job.id], ["p", job.pubkey]]
        if self.scheme != "none":
            content = self._encrypted(job, json.dumps(tags) if kind == 7000 else content)
            tags = [["encrypted"]]
        assert await self.line.publish(signed(content, kind=kind, tags=[*clear, *tags], keys=keys))

    async def work(self, till):
        job = await self.job()
        await self.answer(
            job, 7000, tags=[["status", "payment-required", "9 sats"], ["amount", "9000", invoice()]]
        )
        async with asyncio.timeout(10):
            await till.paid.wait()
        await self.answer(job, 7000, tags=[["status", "processing"]])
        await self.answer(job, 6050, self.prompts[-1].upper())
        await self.answer(job, 7000, tags=[["status", "success"]])

    def _decrypted(self, job):
        assert ("encrypted",) in [tag[:1] for tag in job.tags]
        if self.scheme == "nip04":
            return nip04.decrypt(job.content, TIMMY, job.pubkey)
        return nip44.decrypt(job.content, nip44.conversation_key(TIMMY, job.pubkey))

    def _encrypted(self, job, text):
        if self.scheme == "nip04":
            return nip04.encrypt(text, TIMMY, job.pubkey, os.urandom(16))
        return nip44.encrypt(text, nip44.conversation_key(TIMMY, job.pubkey), os.urandom(32))


@RELAYS
async def test_a_relay_takes_an_event_passes_it_on_and_serves_it_later(relay_class):
    event, other = signed("hello \u2028 \u2600", tags=[["t", "a"]]), signed("other", tags=[["t", "b"]])
    async with relay_class() as relay, line_to(relay) as writer, line_to(relay) as live, line_to(relay) as late:
        await live.say("REQ", "live", {"kinds": [1], "#t": ["a"]})
        await live.hear("EOSE")
        assert await writer.publish(other)
        assert await writer.publish(event)
        # Both were passed on by the npm relay, which looks at no tags here.
        while (heard := Event.from_wire(json.dumps((await live.hear("EVENT"))[2]))).id != event.id:
            assert relay_class is NpmRelay
        await late.say("REQ", "late", {"kinds": [1], "#t": ["a"]})
        served = Event.from_wire(json.dumps((await late.hear("EVENT"))[2]))
        assert heard == served == event


@RELAYS
async def test_a_relay_refuses_a_forged_event(relay_class):
    event = signed("true")
    async with relay_class() as relay, line_to(relay) as line:
        await line.say("EVENT", json.loads(event.to_json()) | {"content": "false"})
        assert (await line.hear("OK"))[2] is False


@RELAYS
async def test_a_relay_of_a_replaceable_event_keeps_the_newest(relay_class):
    old = TIMMY.sign(kind=11998, created_at=int(time.time()) - 60, tags=[], content="old", aux=os.urandom(32))
    new = signed("new", kind=11998)
    async with relay_class() as relay, line_to(relay) as line:
        assert await line.publish(old)
        assert await line.publish(new)
        await line.say("REQ", "all", {"kinds": [11998]})
        assert (await line.hear("EVENT"))[2]["content"] == "new"
        assert json.loads(await line.ws.recv())[0] == "EOSE"


@RELAYS
async def test_a_relay_that_stops_cuts_its_clients_and_comes_back_on_the_same_port(relay_class):
    async with relay_class() as relay:
        url = relay.url
        async with line_to(relay) as line:
            assert await line.publish(signed())
            await relay.stop()
            with pytest.raises(ConnectionClosed):
                await line.hear("nothing")
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await connect(url, proxy=None)
        await relay.stop()
        await relay.start()
        assert relay.url == url
        async with line_to(relay) as line:
            assert await line.publish(signed("again"))


@RELAYS
async def test_a_burst_is_not_held_to_a_rate(relay_class):
    events = [signed(str(number)) for number in range(200)]
    async with relay_class() as relay, line_to(relay) as line:
        for event in events:
            assert await line.publish(event)


async def test_the_npm_relay_keeps_a_deletion_to_itself():
    """So a job is not cancelled through it; who takes this for our fault should find it here."""
    event = signed("hello")
    deletion = signed(kind=5, tags=[["e", event.id]])
    async with NpmRelay() as relay, line_to(relay) as line:
        await line.say("REQ", "live", {"kinds": [1, 5]})
        await line.hear("EOSE")
        assert await line.publish(event)
        assert await line.publish(deletion)
        await line.say("REQ", "all", {"kinds": [1, 5]})
        assert (await line.hear("EVENT"))[2]["id"] == event.id
        assert json.loads(await line.ws.recv()) == ["EOSE", "all"]


async def test_the_npm_relay_leaves_no_process_behind():
    async with NpmRelay() as relay:
        pid = relay.pid
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@LIBRARIES
@pytest.mark.parametrize("scheme", ["none", "nip44", "nip04"])
async def test_a_customer_asks_pays_once_and_takes_the_result(scheme, library):
    async with (
        SdkRelay() as relay,
        Provider(relay, scheme) as provider,
        Till() as till,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(provider.work(till))
        heard = await ask(
            [relay.url],
            TIMMY.public_key,
            "say \u2600",
            encrypt=scheme,
            pay_base=till.url,
            receipt=True,
            library=library,
        )
        assert heard.ending is Ending.RESULT, heard.log
    assert provider.prompts == ["say \u2600"]
    assert heard.statuses == ["payment-required", "processing", "result", "success"]
    assert heard.result.content == "SAY \u2600"
    assert all(answer.valid and answer.encrypted is (scheme != "none") for answer in heard.answers)
    assert heard.answers[0].tag("amount") == "9000"
    assert till.requests == [(f"POST /api/dev/stub/pay/{PAYMENT_HASH.hex()} HTTP/1.1", b"{}")]


@LIBRARIES
async def test_a_customer_uses_several_relays_and_hears_each_event_once(library):
    async with SdkRelay() as one, NpmRelay() as two, Provider(two) as provider, asyncio.TaskGroup() as group:

        async def work():
            job = await provider.job()
            result = signed("done", kind=6050, tags=[["e", job.id], ["p", job.pubkey]])
            async with line_to(one) as other:
                assert await other.publish(result)
                assert await provider.line.publish(result)
            await provider.answer(job, 7000, tags=[["status", "success"]])

        group.create_task(work())
        heard = await ask([one.url, two.url], TIMMY.public_key, "hi", receipt=True, library=library)
    assert heard.statuses == ["result", "success"]


@LIBRARIES
async def test_a_customer_who_will_not_pay_leaves(library):
    async with SdkRelay() as relay, Provider(relay) as provider, Till() as till, asyncio.TaskGroup() as group:
        work = group.create_task(provider.work(till))
        heard = await ask([relay.url], TIMMY.public_key, "hi", library=library)
        assert heard.ending is Ending.NOT_PAID
        work.cancel()
    assert till.requests == []


async def test_a_customer_whose_payment_fails_says_so():
    async with (
        SdkRelay() as relay,
        Provider(relay) as provider,
        Till("404 Not Found") as till,
        asyncio.TaskGroup() as group,
    ):
        job = group.create_task(provider.job())
        asked = group.create_task(ask([relay.url], TIMMY.public_key, "hi", pay_base=till.url))
        await provider.answer(
            await job, 7000, tags=[["status", "payment-required"], ["amount", "9000", invoice()]]
        )
        assert (await asked).ending is Ending.NOT_PAID
        assert "404" in (await asked).log


@LIBRARIES
async def test_a_customer_believes_only_the_provider_it_asked(library):
    async with SdkRelay() as relay, Provider(relay) as provider, asyncio.TaskGroup() as group:

        async def work():
            job = await provider.job()
            await provider.answer(job, 6050, "from a stranger", keys=STRANGER)
            await provider.answer(job, 7000, tags=[["status", "error", "no"]])

        group.create_task(work())
        heard = await ask([relay.url], TIMMY.public_key, "hi", library=library)
    assert [(answer.valid, answer.kind) for answer in heard.answers] == [(False, 6050), (True, 7000)]
    assert heard.ending is Ending.REFUSED


@LIBRARIES
async def test_a_customer_without_an_answer_gives_up_in_time(library):
    async with SdkRelay() as relay:
        heard = await ask([relay.url], TIMMY.public_key, "hi", timeout_s=3, library=library)
    assert heard.ending is Ending.TIMEOUT
    assert heard.answers == ()
    assert "asked" in heard.log


@LIBRARIES
async def test_a_customer_whose_relay_is_not_there_says_so(library):
    async with SdkRelay() as relay:
        url = relay.url
    assert (await ask([url], TIMMY.public_key, "hi", timeout_s=20, library=library)).ending is Ending.BROKEN


def test_the_npm_packages_are_pinned_with_hashes_and_name_no_host():
    wanted = json.loads((PEERS / "package.json").read_text())["dependencies"]
    text = (PEERS / "package-lock.json").read_text()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    assert "://" not in text
    locked = {name: part for name, part in json.loads(text)["packages"].items() if name}
    assert all(part["integrity"].startswith("sha512-") for part in locked.values())
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
