"""A signed request handed in over HTTP: the same job as over a relay, answered by signed events."""

import contextlib
import json

import pytest

from relay_client.event import Event
from tests.timmy_dvm.http.door import a_door
from tests.timmy_dvm.nostr.kit import ALICE, TIMMY, signed
from timmy_dvm.clock import SeededRandomness
from timmy_dvm.http import events
from timmy_dvm.nostr.hand_in import HandIn
from timmy_dvm.nostr.nip90 import Terms
from timmy_dvm.nostr.speaker import NostrSpeaker

KINDS = frozenset({5050, 5001, 5002})


class Voice(NostrSpeaker):
    """Timmy's own voice; what it says goes to a relay that takes everything."""

    async def publish(self, _event_json, _targets):
        return {"ws://relay": "accepted"}

    def publish_further(self, _event_json, _targets):
        """The customer has no relays of their own."""


class Elsewhere:
    """A desk that notes what it is handed: what is no plain job goes there."""

    def __init__(self):
        self.taken = []

    async def take(self, came, asked):
        self.taken.append(type(asked).__name__)


@contextlib.asynccontextmanager
async def a_counter(**terms):
    desk = Elsewhere()

    def more(services):
        hand_in = HandIn(
            desk=desk,
            engine=services.engine,
            store=services.store,
            keys=TIMMY,
            clock=services.clock,
            randomness=services.randomness,
            prices=services.prices,
            terms=Terms(**{"kinds": KINDS, **terms}),
        )
        return [events.routes(services, hand_in)]

    async with a_door(more=more, recorder=Voice(TIMMY, SeededRandomness("voice"))) as door:
        door.desk = desk
        yield door


def request(door, *tags, text="What is a relay?", **fields):
    tags = (["i", text, "text"], ["p", TIMMY.public_key], *tags)
    return signed(*tags, **{"at": door.services.now(), **fields})


async def post(door, event):
    return await door.http.post("/api/events", content=event.to_json())


async def test_a_request_is_taken_priced_and_shown_without_its_words():
    async with a_counter() as door:
        event = request(door)
        answer = await post(door, event)
        assert answer.status_code == 202
        body = answer.json()
        assert (body["eventId"], body["state"], body["trust_tier"]) == (event.id, "awaiting_eval_payment", "new")
        assert body["evalInvoice"]["amountSats"] == body["pricingBreakdown"]["estimatedSats"]
        assert (await door.house.job(body["jobId"])).pubkey == ALICE.public_key
        assert not {"result", "claimSecret", "reason"} & body.keys()


async def test_the_same_event_again_is_the_same_job_and_the_same_invoice():
    async with a_counter() as door:
        event = request(door)
        first, again = (await post(door, event)).json(), (await post(door, event)).json()
        assert first["jobId"] == again["jobId"]
        assert first["evalInvoice"] == again["evalInvoice"]
        assert len(await door.house.store.jobs(limit=9)) == 1


async def test_the_answers_are_read_as_the_signed_events_they_are():
    async with a_counter() as door:
        event = request(door)
        taken = (await post(door, event)).json()
        await door.pay(taken["evalInvoice"])
        await door.reach(taken["jobId"], "complete")
        told = (await door.http.get(f"/api/events/{event.id}")).json()
        assert told["state"] == "complete"
        answers = [Event.from_wire(json.dumps(each)) for each in told["events"]]  # verified
        assert {answer.pubkey for answer in answers} == {TIMMY.public_key}
        assert 6050 in [answer.kind for answer in answers]
        assert all(event.id in answer.tag_values("e") for answer in answers)


async def test_an_open_request_handed_to_us_is_meant_for_us():
    async with a_counter() as door:
        event = signed(["i", "What is a relay?", "text"], at=door.services.now())
        assert (await post(door, event)).status_code == 202


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"content": "another"}, "bad_event"),
        ({"sig": "0" * 128}, "bad_event"),
        ({"id": "0" * 64}, "bad_event"),
        ({"kind": "5050"}, "bad_event"),
    ],
)
async def test_idn_19_what_is_not_signed_as_it_stands_is_refused(change, code):
    async with a_counter() as door:
        raw = {**json.loads(request(door).to_json()), **change}
        answer = await door.http.post("/api/events", json=raw)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert not await door.house.store.jobs(limit=1)


async def test_what_is_refused_says_so_at_once():
    async with a_counter() as door:
        for event, code in (
            (request(door, text="x" * 16_001), "too_long"),
            (request(door, ["bid", "1000"]), "underbid"),
            (request(door, kind=1), "not_for_us"),
            (request(door, at=door.services.now() - 90_000), "not_for_us"),
            (request(door, text=" "), "empty"),
        ):
            answer = await post(door, event)
            assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert not await door.house.store.jobs(limit=1)


async def test_an_operation_goes_over_the_desk_and_is_answered_on_relays():
    async with a_counter() as door:
        answer = await post(door, request(door, ["param", "op", "balance"]))
        assert answer.status_code == 202
        assert (answer.json()["jobId"], door.desk.taken) == (None, ["Question"])


async def test_an_event_nobody_handed_in_has_no_answers():
    async with a_counter() as door:
        answer = await door.http.get(f"/api/events/{'0' * 64}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_event")
        assert (await door.http.get("/api/events/xyz")).status_code == 404
