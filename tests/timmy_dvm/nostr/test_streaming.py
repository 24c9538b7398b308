"""Answers told while they are written: soon, seldom, and never in the way of what must arrive."""

import asyncio
import contextlib
import itertools
import types

import pytest

from ledger.records import IdentityRecord, JobState
from ledger.store import StoreUnavailable
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, RELAY, TIMMY, opened, sealed, signed
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.trust import TrustRules
from timmy_dvm.nostr.answering import PARTIAL_KEPT_S
from timmy_dvm.nostr.origin import write_origin
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.nostr.streaming import GAPS_S, PARTIALS_A_SECOND, PUT_OFF_S, PartialFeedback
from timmy_dvm.partials import Partials

JOB = "0123456789abcdef0123456789abcdef"
QUESTION = signed(("i", "Tell me a story", "text"), P_TIMMY)
STORE_IS_AWAY = StoreUnavailable("the disk is full; free some space")


class Outlet:
    """Notes each partial and when it came."""

    def __init__(self, clock):
        self._clock = clock
        self.has_room = True
        self.error = None
        self.events = []
        self.sent = []

    async def publish_spare(self, event):
        if self.error:
            raise self.error
        self.events.append(event)
        self.sent.append((self._clock.monotonic(), event.content))

    @property
    def times(self):
        return [at for at, _ in self.sent]

    @property
    def texts(self):
        return [text for _, text in self.sent]


class Books:
    """One job and who asked for it."""

    def __init__(self):
        self.request, self.scheme, self.relays = QUESTION, Scheme.NONE, [RELAY]
        self.work_runs = 1
        self.state = JobState.EXECUTING
        self.origin = None
        self.identity_row = None
        self.error = None
        self.looks = 0

    async def look(self, at):
        self.looks += 1
        if self.error:
            raise self.error
        return at(self)

    def job(self, _):
        return types.SimpleNamespace(pubkey=self.request.pubkey, work_runs=self.work_runs, state=self.state)

    def texts(self, _):
        origin = write_origin(self.request, relay=RELAY, relays=[], scheme=self.scheme)
        return types.SimpleNamespace(origin=origin if self.origin is None else self.origin)

    def identity(self, _):
        return self.identity_row


class World:
    """The teller, the relays, and a model that the test writes for."""

    def __init__(self):
        self.clock = ManualClock(NOW)
        self.outlet = Outlet(self.clock)
        self.books = Books()
        self.partials = Partials()
        randomness = SeededRandomness(1)
        self.teller = PartialFeedback(
            self.partials, self.outlet, self.books, TIMMY, self.clock, randomness, TrustRules()
        )

    @contextlib.asynccontextmanager
    async def awake(self):
        running = asyncio.create_task(self.teller.run())
        await asyncio.sleep(0)
        yield self
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    async def waits(self, seconds):
        """First whoever is awake may fall asleep, then the time passes."""
        await self.clock.advance(0)
        await self.clock.advance(seconds)

    async def writes(self, seconds, job_id=JOB, *, every=0.25):
        """A run that lasts so long and adds a word with every step of the clock."""
        with self.partials.stream(job_id) as on_text:
            for n in range(int(seconds / every)):
                on_text(f"{n} ")
                await self.waits(every)


@pytest.fixture
async def world():
    async with World().awake() as made:
        yield made


async def test_the_first_comes_within_a_second_and_a_half_of_the_first_word(world):
    with world.partials.stream(JOB) as on_text:
        await world.waits(20)  # the model thinks
        on_text("Once ")
        on_text("upon ")
        await world.waits(0.1)
        on_text("a time")
        await world.waits(1.4)
    assert world.outlet.sent == [(20.5, "Once upon a time")]


async def test_ten_last_for_the_longest_run_each_at_least_a_second_after_the_last(world):
    await world.writes(180)
    times = world.outlet.times
    assert len(times) == len(GAPS_S) == 10
    assert times[0] <= 1.5
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))
    assert 120 < times[-1] < 180
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(world.outlet.texts))


async def test_an_answer_of_ten_seconds_is_told_several_times(world):
    await world.writes(10)
    assert world.outlet.times == [0.5, 1.5, 2.5, 4.5, 8.5]


async def test_nothing_is_sent_after_the_end_of_the_run(world):
    with world.partials.stream(JOB) as on_text:
        on_text("Done at once.")
    await world.waits(600)
    assert world.outlet.sent == []
    assert world.books.looks <= 1


@pytest.mark.parametrize("blank", ["", " \n"])
async def test_nothing_is_said_while_there_is_nothing_to_say(world, blank):
    with world.partials.stream(JOB) as on_text:
        on_text(blank)
        await world.waits(60)
        assert world.outlet.sent == []
        on_text("Words")
        await world.waits(1)
        assert world.outlet.texts == [f"{blank}Words"]


async def test_a_model_that_falls_silent_is_not_repeated(world):
    with world.partials.stream(JOB) as on_text:
        on_text("One")
        await world.waits(60)
        assert world.outlet.texts == ["One"]
        on_text(" two")
        await world.waits(0)
        assert world.outlet.texts == ["One", "One two"]


async def test_an_answer_begun_anew_is_told_from_its_new_beginning(world):
    with world.partials.stream(JOB) as on_text:
        on_text("Half an ans")
        await world.waits(0.5)
        on_text(None)
        await world.waits(30)
        on_text("The whole")
        await world.waits(1)
    assert world.outlet.texts == ["Half an ans", "The whole"]


async def test_a_partial_is_feedback_like_any_other_and_relays_may_drop_it_soon(world):
    world.books.identity_row = IdentityRecord(pubkey=ALICE.public_key, first_seen=NOW, last_seen=NOW)
    with world.partials.stream(JOB) as on_text:
        on_text("Once upon")
        await world.waits(1)
    (event,) = world.outlet.events
    assert (event.kind, event.pubkey, event.created_at) == (7000, TIMMY.public_key, NOW)
    assert [list(tag) for tag in event.tags] == [
        ["status", "partial", "The answer so far."],
        ["expiration", str(NOW + PARTIAL_KEPT_S)],
        ["trust_tier", "new"],
        ["e", QUESTION.id, RELAY],
        ["p", ALICE.public_key],
        ["alt", "NIP-90 job feedback: partial"],
    ]


@pytest.mark.parametrize("scheme", [Scheme.NIP44, Scheme.NIP04])
async def test_who_asked_in_secret_is_told_in_secret(world, scheme):
    world.books.scheme = scheme
    world.books.request = signed(P_TIMMY, ("encrypted",), content=sealed([["i", "Psst", "text"]], str(scheme)))
    with world.partials.stream(JOB) as on_text:
        on_text("Once upon a secret")
        await world.waits(1)
    (event,) = world.outlet.events
    assert "secret" not in event.to_json()
    assert {tag[0] for tag in event.tags} == {"status", "e", "p", "encrypted"}
    assert event.tag("status") == ("status", "partial")
    assert '["content","Once upon a secret"]' in opened(event.content)


@pytest.mark.parametrize(("scheme", "bytes_"), [(Scheme.NONE, 54_000), (Scheme.NIP44, 38_000)])
async def test_of_a_long_answer_the_beginning_is_told_and_once_it_is_full_no_more(world, scheme, bytes_):
    world.books.scheme = scheme
    if scheme is Scheme.NIP44:
        world.books.request = signed(P_TIMMY, ("encrypted",), content=sealed([["i", "Psst", "text"]], "nip44"))
    with world.partials.stream(JOB) as on_text:
        for _ in range(20):
            on_text("x" * 60_000)
            await world.waits(10)
    (event,) = world.outlet.events
    text = event.content if scheme is Scheme.NONE else opened(event.content)
    assert bytes_ * 0.9 < text.count("x") <= bytes_
    assert len(event.to_json()) < 65_536


async def test_only_the_first_run_of_a_jobs_work_is_told(world):
    world.books.work_runs = 2
    await world.writes(10)
    assert world.outlet.sent == []


@pytest.mark.parametrize(
    "change",
    [{"origin": ""}, {"origin": '{"door":"http"}'}, {"origin": "{}"}, {"request": signed(kind=14, content="dm")}],
    ids=["forgotten", "http", "nobody's", "direct message"],
)
async def test_who_asked_otherwise_is_not_told_this_way(world, change):
    for name, value in change.items():
        setattr(world.books, name, value)
    await world.writes(10)
    assert world.outlet.sent == []


@pytest.mark.parametrize("error", [STORE_IS_AWAY, ZeroDivisionError()])
async def test_trouble_with_one_answer_leaves_the_next_alone(world, error, caplog):
    world.books.error = error
    await world.writes(5)
    world.books.error = None
    await world.writes(5)
    assert world.outlet.sent
    assert ("while it is written" in caplog.text) is (error is not STORE_IS_AWAY)


async def test_a_partial_that_can_not_be_sent_stops_nothing(world, caplog):
    world.outlet.error = ZeroDivisionError()
    await world.writes(2)
    world.outlet.error = None
    await world.writes(2)
    assert world.outlet.sent
    assert "while it is written" in caplog.text


@pytest.mark.parametrize("change", [{"state": JobState.FAILED}, {"origin": ""}], ids=["ended", "forgotten"])
async def test_a_job_that_ends_otherwise_while_it_is_written_is_told_no_more(world, change):
    with world.partials.stream(JOB) as on_text:
        on_text("Once")
        await world.waits(1)
        for name, value in change.items():
            setattr(world.books, name, value)
        on_text(" upon a time")
        await world.waits(60)
    assert world.outlet.texts == ["Once"]


# What must arrive goes first.


async def test_while_there_is_no_room_a_partial_waits_and_then_tells_the_newest(world):
    world.outlet.has_room = False
    with world.partials.stream(JOB) as on_text:
        on_text("Once")
        await world.waits(10)
        on_text(" upon")
        assert world.outlet.sent == []
        world.outlet.has_room = True
        await world.waits(PUT_OFF_S)
        assert world.outlet.texts == ["Once upon"]


async def test_many_answers_share_so_many_partials_a_second(world):
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(world.partials.stream(f"{n:032x}")) for n in range(50)]
        for n in range(40):
            for on_text in writers:
                on_text(f"{n} ")
            await world.waits(0.25)
    times = world.outlet.times
    assert len(times) <= 11 * PARTIALS_A_SECOND
    for start in range(10):
        assert sum(start <= at < start + 1 for at in times) <= 2 * PARTIALS_A_SECOND
    assert len(times) >= 9 * PARTIALS_A_SECOND


async def test_it_stops_in_the_midst_of_anything():
    world = World()
    async with world.awake():
        with world.partials.stream(JOB) as on_text:
            on_text("Once")
            await world.waits(3)
    assert len(asyncio.all_tasks()) == 1
    with world.partials.stream(JOB) as on_text:
        on_text("nobody listens")
