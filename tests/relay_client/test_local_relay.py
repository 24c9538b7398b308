"""The embedded relay over a socket, as any client sees it (NIP-01, 09, 11, 40, 42)."""

import asyncio
import contextlib
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from relay_client.dial import Outside
from relay_client.filter import Filter
from relay_client.local_relay import LocalRelay, RelayLimits
from relay_client.wire import auth_message, close_message, event_message, req_message
from tests.relay_client.kit import JOBS, KEYS, signed
from tests.relay_client.relay_kit import ALL, LIMITS, client_of, publish, stored


async def test_an_event_is_answered_stored_and_passed_on_to_those_who_asked():
    job, note = signed(), signed(kind=1)
    async with LocalRelay() as relay, client_of(relay) as asker, client_of(relay) as author:
        await asker.ws.send(req_message("jobs", [JOBS]))
        assert await asker.hear("EOSE") == ["EOSE", "jobs"]
        assert await publish(author, note) == (True, "")
        assert await publish(author, job) == (True, "")
        assert await asker.hear("EVENT") == ["EVENT", "jobs", json.loads(job.to_json())]
        assert set(await stored(author)) == {job.id, note.id}
        assert await stored(author, JOBS) == [job.id]


async def test_a_duplicate_is_accepted_and_not_passed_on_again():
    job = signed()
    async with LocalRelay() as relay, client_of(relay) as client:
        await publish(client, job)
        await client.ws.send(req_message("live", [Filter(limit=0)]))
        await client.hear("EOSE")
        accepted, words = await publish(client, job)
        assert accepted
        assert words.startswith("duplicate:")
        last = signed("last")
        await client.ws.send(event_message(last))
        assert (await client.hear("EVENT"))[2]["id"] == last.id


async def test_after_close_nothing_more_comes():
    async with LocalRelay() as relay, client_of(relay) as client:
        for sub_id in ("a", "b"):
            await client.ws.send(req_message(sub_id, [JOBS]))
        await client.ws.send(close_message("a"))
        await client.ws.send(close_message("never opened"))
        await client.ws.send(event_message(signed()))
        heard = [json.loads(await client.ws.recv()) for _ in range(4)]
        assert [message[:2] for message in heard if message[0] == "EVENT"] == [["EVENT", "b"]]


async def test_an_ephemeral_event_is_passed_on_and_not_stored():
    async with LocalRelay() as relay, client_of(relay) as client:
        await client.ws.send(req_message("live", [ALL]))
        assert (await publish(client, signed(kind=20_001)))[0]
        assert await stored(client) == []
        assert len(relay) == 0


async def test_deletion_replacement_and_expiration_are_honoured():
    now = [1_700_000_000.0]

    def dated(content="", **fields):
        return signed(content, created_at=int(now[0]), **fields)

    async with LocalRelay(outside=Outside(unix_time=lambda: now[0])) as relay, client_of(relay) as client:
        gone, old = dated("gone"), dated("old", kind=0)
        brief = dated("brief", tags=[["expiration", str(int(now[0]) + 5)]])
        for event in (gone, old, brief):
            assert (await publish(client, event))[0]
        now[0] += 1
        new, deletion = dated("new", kind=0), dated(kind=5, tags=[["e", gone.id]])
        for event in (new, deletion):
            assert (await publish(client, event))[0]
        assert set(await stored(client)) == {brief.id, new.id, deletion.id}
        now[0] += 10
        assert set(await stored(client)) == {new.id, deletion.id}
        assert (await publish(client, gone))[1].startswith("blocked:")
        assert (await publish(client, brief))[1].startswith("invalid:")
        assert not (await publish(client, signed(created_at=int(now[0]) + 901)))[0]


@pytest.mark.parametrize(
    "change", [{"content": "altered"}, {"id": "ab" * 32}, {"sig": "ab" * 64}, {"kind": "1"}, {"tags": [[]]}]
)
async def test_what_is_not_proved_is_refused_by_the_id_it_claims(change):
    event = json.loads(signed().to_json()) | change
    async with LocalRelay() as relay, client_of(relay) as client:
        await client.say("EVENT", event)
        _, event_id, accepted, words = await client.hear("OK")
        assert (event_id, accepted) == (event["id"], False)
        assert words.startswith("invalid:")
        assert len(relay) == 0


async def test_a_forged_copy_of_a_stored_event_is_refused_not_called_a_duplicate():
    """An OK must be a proof here, though it is not one everywhere."""
    job = signed()
    async with LocalRelay() as relay, client_of(relay) as client:
        await publish(client, job)
        await client.say("EVENT", json.loads(job.to_json()) | {"content": "forged"})
        assert (await client.hear("OK"))[2] is False


@pytest.mark.parametrize(
    "frame", ["", "{}", "[]", '["EVENT"]', '["EVENT",{}]', '["EVENT",1]', '["PING"]', "x" * 100, "[" * 100_000]
)
async def test_what_cannot_be_read_gets_a_notice_and_the_connection_lives(frame):
    async with LocalRelay() as relay, client_of(relay) as client:
        await client.ws.send(frame)
        assert (await client.hear("NOTICE"))[1].startswith("invalid:")
        assert (await publish(client, signed()))[0]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (["REQ", "a" * 65, {}], "invalid:"),
        (["REQ", "", {}], "invalid:"),
        (["REQ", "a", {}, {}, {}], "invalid: at most 2 filters"),
        (["REQ", "a", {"search": "x"}], "invalid:"),
        (["REQ", "a", 1], "invalid:"),
        (["REQ", "a", {"ids": ["xyz"]}], "invalid:"),
    ],
)
async def test_a_request_beyond_the_limits_is_closed_with_the_reason(request_, words):
    async with LocalRelay(limits=LIMITS) as relay, client_of(relay) as client:
        await client.say(*request_)
        _, sub_id, reason = await client.hear("CLOSED")
        assert sub_id == request_[1][:64]
        assert reason.startswith(words)
        await publish(client, signed())
        assert len(await stored(client)) == 1


async def test_one_subscription_too_many_is_closed_and_replacing_one_is_not():
    async with LocalRelay(limits=LIMITS) as relay, client_of(relay) as client:
        for sub_id in ("a", "b", "a"):
            await client.ws.send(req_message(sub_id, [JOBS]))
            assert await client.hear("EOSE") == ["EOSE", sub_id]
        await client.ws.send(req_message("c", [JOBS]))
        assert (await client.hear("CLOSED"))[1:] == ["c", "blocked: at most 2 subscriptions; close one first"]


async def test_a_frame_that_is_too_long_ends_the_connection_alone():
    async with LocalRelay(limits=LIMITS) as relay, client_of(relay) as big, client_of(relay) as small:
        await big.ws.send("x" * 20_001)
        with pytest.raises(ConnectionClosed, match="1009"):
            await big.ws.recv()
        assert (await publish(small, signed()))[0]


async def test_one_connection_too_many_is_turned_away():
    async with LocalRelay(limits=LIMITS) as relay, client_of(relay), client_of(relay):
        with pytest.raises(InvalidStatus, match="503"):
            async with client_of(relay):
                pass


async def test_a_reader_that_does_not_keep_up_is_cut_off_and_holds_nobody_up():
    limits = RelayLimits(unsent_bytes=200_000)
    async with LocalRelay(limits=limits) as relay, client_of(relay) as deaf, client_of(relay) as author:
        await deaf.ws.send(req_message("all", [ALL]))
        await deaf.hear("EOSE")
        deaf.ws.transport.pause_reading()
        count = 0
        while len(relay._clients) == 2:
            assert (await publish(author, signed("x" * 100_000 + str(count))))[0]
            count += 1
            assert count < 500
        assert (await publish(author, signed()))[0]


async def test_a_reader_that_asks_for_more_than_it_reads_waits_alone():
    async with LocalRelay() as relay, client_of(relay) as slow, client_of(relay) as other:
        for n in range(100):
            await publish(other, signed("x" * 100_000 + str(n)))
        slow.ws.transport.pause_reading()
        for n in range(20):
            await slow.ws.send(req_message(str(n), [ALL]))
        assert (await publish(other, signed()))[0]
        slow.ws.transport.resume_reading()
        for _ in range(20):
            await slow.hear("EOSE")


# Who you are, NIP-42


def proof(relay, challenge, *, kind=22_242, url=None, ago=0):
    tags = [["relay", url or relay.url], ["challenge", challenge]]
    return signed(kind=kind, created_at=int(time.time()) - ago, tags=tags)


async def test_when_auth_is_required_nothing_works_before_it_and_all_after():
    async with LocalRelay(require_auth=True) as relay, client_of(relay) as client:
        challenge = (await client.hear("AUTH"))[1]
        accepted, words = await publish(client, signed())
        assert not accepted
        assert words.startswith("auth-required:")
        await client.ws.send(req_message("q", [ALL]))
        assert (await client.hear("CLOSED"))[2].startswith("auth-required:")
        event = proof(relay, challenge)
        await client.ws.send(auth_message(event))
        assert (await client.hear("OK"))[1:3] == [event.id, True]
        assert (await publish(client, signed()))[0]
        assert len(await stored(client)) == 1


@pytest.mark.parametrize(
    "fields", [{"kind": 1}, {"url": "wss://relay.example"}, {"url": "x"}, {"ago": 700}, {"ago": -700}]
)
async def test_a_proof_made_for_something_else_proves_nothing(fields):
    async with LocalRelay(require_auth=True) as relay, client_of(relay) as client:
        event = proof(relay, (await client.hear("AUTH"))[1], **fields)
        await client.ws.send(auth_message(event))
        assert (await client.hear("OK"))[1:3] == [event.id, False]
        assert not (await publish(client, signed()))[0]


@pytest.mark.parametrize("challenge", ["another", "é", ""])
async def test_a_proof_for_another_challenge_proves_nothing(challenge):
    async with LocalRelay(require_auth=True) as relay, client_of(relay) as client:
        await client.ws.send(auth_message(proof(relay, challenge)))
        assert (await client.hear("OK"))[2] is False


async def test_a_proof_is_good_for_its_own_connection_only():
    async with LocalRelay(require_auth=True) as relay, client_of(relay) as one, client_of(relay) as two:
        event, other = [proof(relay, (await client.hear("AUTH"))[1]) for client in (one, two)]
        for client, accepted in ((two, False), (one, True)):
            await client.ws.send(auth_message(event))
            assert (await client.hear("OK"))[2] is accepted
        await two.say("AUTH", json.loads(other.to_json()) | {"sig": "ab" * 64})
        assert (await two.hear("OK"))[2] is False


async def test_many_writers_at_once_are_all_heard_by_many_readers():
    count, authors, readers = 40, 5, 5
    async with contextlib.AsyncExitStack() as stack:
        relay = await stack.enter_async_context(LocalRelay())
        heard = []
        for _ in range(readers):
            reader = await stack.enter_async_context(client_of(relay))
            await reader.ws.send(req_message("all", [ALL]))
            await reader.hear("EOSE")
            heard.append(reader)

        async def write(name):
            async with client_of(relay) as client:
                for n in range(count):
                    assert (await publish(client, signed(f"{name} {n}", keys=KEYS)))[0]

        await asyncio.gather(*(write(name) for name in range(authors)))
        for reader in heard:
            ids = {(await reader.hear("EVENT"))[2]["id"] for _ in range(count * authors)}
            assert len(ids) == count * authors
