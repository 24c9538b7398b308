"""What is announced has the shapes clients read, at its time and no oftener; pings are answered, within bounds."""

import asyncio
import contextlib
import dataclasses
import itertools
import json

import pytest

from ledger.store import StoreUnavailable
from relay_client.dial import PublishOutcome, PublishState
from relay_client.pool import Received
from tests.timmy_dvm.nostr.door import OTHER, Books, ScriptedPool
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, RELAY, TIMMY, signed
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr import announce
from timmy_dvm.nostr.announce import Announced, Announcer, Card

ME = TIMMY.public_key
CARD = Card(name="Timmy", about="Answers.", kinds=(5050, 5001, 5002))
FULL = Card(
    name="Timmy",
    about="Answers.",
    kinds=(5050,),
    models=("sonnet", "haiku"),
    picture="https://timmy.example/t.png",
    lud16="timmy@timmy.example",
    nip05="_@timmy.example",
)
ALL_KINDS = [0, 10_002, 31_990, 31_990, 31_990]
ACCEPTED = PublishOutcome(PublishState.ACCEPTED)
REFUSED = PublishOutcome(PublishState.REFUSED)
DAY_S = 86_400


class Relays(ScriptedPool):
    """Take every event, but for the kinds a test has them refuse."""

    def __init__(self, *urls):
        super().__init__(urls or (RELAY, OTHER))
        self.refused = {}
        self.gate = None

    async def publish(self, event, urls=None):
        if self.gate is not None:
            await self.gate.wait()
        targets = list(self.urls if urls is None else urls)
        self.published.append((event, targets))
        return {url: REFUSED if event.kind in self.refused.get(url, ()) else ACCEPTED for url in targets}

    def of(self, *kinds, url=None):
        return [event for event, urls in self.published if event.kind in kinds and (url is None or url in urls)]

    def announced(self, url=RELAY):
        """The kinds of all that a relay was told, but for heartbeats and pongs."""
        return [event.kind for event, urls in self.published if url in urls and event.kind not in (11_998, 7000)]


@dataclasses.dataclass
class All:
    """Everybody stands alike."""

    of: Tier

    async def tier(self, _):
        return self.of


class World:
    """An announcer, its relays and its books."""

    def __init__(self, card=CARD, *, pool=None, books=None, clock=None):
        self.clock = clock or ManualClock(NOW)
        self.pool = pool or Relays()
        self.books = Books() if books is None else books
        self.announcer = Announcer(
            card=card,
            pool=self.pool,
            memory=self.books,
            standing=All(Tier.TRUSTED),
            keys=TIMMY,
            clock=self.clock,
            randomness=SeededRandomness(1),
        )

    async def __aenter__(self):
        self.running = asyncio.create_task(self.announcer.run())
        await self.settled()
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running

    async def settled(self):
        """The heart and the schedule are both asleep."""
        async with asyncio.timeout(10):
            await self.clock.wait_for_sleepers(2)

    async def passes(self, seconds):
        await self.clock.advance(seconds, rounds=60)
        await self.settled()

    async def hears(self, *pings, subscription=announce.SUBSCRIPTION):
        for ping in pings:
            self.announcer.heard(Received(RELAY, subscription, ping))
        await self.clock.advance(0, rounds=100)

    @property
    def pongs(self):
        return self.pool.of(7000)


def ping(*tags, keys=ALICE, at=NOW, kind=7007):
    return signed(*(tags or (P_TIMMY,)), kind=kind, keys=keys, at=at)


def test_the_profile_says_that_this_is_a_bot_and_nothing_that_was_not_configured():
    assert json.loads(announce.profile(CARD).content) == {"name": "Timmy", "about": "Answers.", "bot": True}
    assert json.loads(announce.profile(FULL).content) == {
        "name": "Timmy",
        "about": "Answers.",
        "bot": True,
        "picture": "https://timmy.example/t.png",
        "lud16": "timmy@timmy.example",
        "nip05": "_@timmy.example",
    }


def test_the_relay_list_has_the_tags_of_nip_65():
    assert announce.relay_list([RELAY, OTHER]).tags == (("r", RELAY), ("r", OTHER))


def test_the_list_for_private_messages_has_the_tags_of_nip_17():
    draft = announce.inbox_list([RELAY, OTHER, "wss://third.example", "wss://fourth.example"])
    assert draft.kind == 10_050
    assert draft.tags == (("relay", RELAY), ("relay", OTHER), ("relay", "wss://third.example"))


def test_an_announcement_has_every_name_under_which_clients_look():
    """API-05."""
    draft = announce.handler(FULL, 5050)
    assert (draft.kind, draft.tags) == (31_990, (("d", "timmy-5050"), ("k", "5050"), ("t", "text-generation")))
    assert json.loads(draft.content) == {
        "name": "Timmy",
        "about": "Answers.",
        "picture": "https://timmy.example/t.png",
        "image": "https://timmy.example/t.png",
        "nip90Params": {
            "max_tokens": {"required": False, "values": []},
            "temperature": {"required": False, "values": []},
            "model": {"required": False, "values": ["sonnet", "haiku"]},
        },
        "amount": "flexible",
        "personalized": False,
        "subscription": False,
        "acceptsNutZaps": False,
        "encryptionSupported": True,
        "supportsEncryption": True,
        "lud16": "timmy@timmy.example",
        "nip05": "_@timmy.example",
    }


@pytest.mark.parametrize(
    ("kind", "name", "params"),
    [
        (5050, "Timmy", {"max_tokens", "temperature"}),
        (5001, "Timmy, summaries", {"max_tokens", "temperature", "length"}),
        (5002, "Timmy, translations", {"max_tokens", "temperature", "language"}),
        (5999, "Timmy, kind 5999", {"max_tokens", "temperature"}),
    ],
)
def test_each_kind_is_announced_apart_with_its_own_params(kind, name, params):
    draft = announce.handler(CARD, kind)
    content = json.loads(draft.content)
    assert draft.tags[:2] == (("d", f"timmy-{kind}"), ("k", str(kind)))
    assert (content["name"], content["nip90Params"].keys()) == (name, params)
    assert not {"picture", "image", "lud16", "nip05"} & content.keys()


def test_a_heartbeat_names_an_announcement_and_dies_after_300_s():
    draft = announce.heartbeat(5050, NOW)
    assert draft == announce.Draft(11_998, (("d", "timmy-5050"), ("expiration", str(NOW + 300))))


def test_a_pong_names_the_ping_and_whoever_sent_it():
    asked = ping()
    draft = announce.pong(asked, NOW, Tier.NEW)
    assert draft.tags[:3] == (("status", "pong", draft.content), ("e", asked.id), ("p", ALICE.public_key))
    assert draft.content


def test_a_retirement_names_every_announcement_by_its_address():
    draft = announce.retirement(ME, (5050, 5001))
    assert draft.kind == 5
    assert draft.tags == (("a", f"31990:{ME}:timmy-5050"), ("a", f"31990:{ME}:timmy-5001"), ("k", "31990"))


def test_an_address_that_may_hold_a_key_to_a_relay_is_told_to_nobody():
    card = dataclasses.replace(CARD, direct_messages=True)
    drafts = announce.announcements(card, [RELAY, "wss://paid.example/?token=hush"])
    assert not any("hush" in str(draft) for draft in drafts)
    assert (drafts[1].tags, drafts[2].tags) == ((("r", RELAY),), (("relay", RELAY),))


def test_the_longest_that_can_be_configured_is_within_what_relays_take():
    long = "ä" * 2_048
    card = Card(
        name=long, about=long, kinds=tuple(range(5000, 5064)), models=(long,) * 5, picture=long, lud16=long
    )
    relays = [f"wss://{'r' * 240}{number}.example"[:255] for number in range(64)]
    for draft in announce.announcements(card, relays):
        event = draft.signed(TIMMY, SeededRandomness(1), NOW)
        assert len(event.to_json().encode()) <= 65_536
        assert all(len(tag[1].encode()) <= 1_024 for tag in event.tags if len(tag[0]) == 1)


async def test_at_the_start_each_relay_is_told_everything_once():
    async with World() as world:
        assert world.pool.announced(RELAY) == world.pool.announced(OTHER) == ALL_KINDS
        assert [event.tag("r") for event in world.pool.of(10_002)] == [("r", RELAY)]
        assert world.pool.of(10_002)[0].tag_values("r") == [RELAY, OTHER]
        assert {event.pubkey for event, _ in world.pool.published} == {ME}


async def test_nothing_is_told_twice_within_a_day_and_all_again_after_it():
    async with World() as world:
        await world.passes(DAY_S - 60)
        assert world.pool.announced() == ALL_KINDS
        await world.passes(120)
        assert world.pool.announced() == ALL_KINDS * 2
        first, second = world.pool.of(0)
        assert second.created_at >= first.created_at + DAY_S


async def test_a_beat_is_heard_at_once_and_there_is_never_a_moment_without_a_live_one():
    async with World() as world:
        await world.passes(3_600)
        beats = world.pool.of(11_998)
        assert beats[0].created_at == NOW
        assert all(beat.tag_values("expiration") == [str(beat.created_at + 300)] for beat in beats)
        gaps = [late.created_at - early.created_at for early, late in itertools.pairwise(beats)]
        assert len(gaps) > 10
        assert all(200 < gap < 300 for gap in gaps)


async def test_a_restart_tells_nothing_again():
    books = Books()
    async with World(books=books):
        pass
    async with World(books=books, clock=ManualClock(NOW + 60)) as again:
        assert again.pool.announced() == []
        assert len(again.pool.of(11_998)) == 1


async def test_what_has_changed_is_told_at_the_next_start_even_within_the_same_second():
    books = Books()
    async with World(books=books) as first:
        pass
    async with World(FULL, books=books) as second:
        assert second.pool.of(0)[0].created_at > first.pool.of(0)[0].created_at
        assert "nip05" in second.pool.of(0)[0].content


async def test_a_kind_that_is_served_no_more_is_withdrawn():
    books = Books()
    async with World(books=books):
        pass
    async with World(FULL, books=books) as later:
        assert later.pool.announced() == [0, 10_002, 31_990, 5]
        assert later.pool.of(5)[0].tag_values("a") == [f"31990:{ME}:timmy-5001", f"31990:{ME}:timmy-5002"]


WRITTEN_TO = dataclasses.replace(CARD, direct_messages=True)


async def test_who_takes_private_messages_says_where():
    async with World(WRITTEN_TO) as world:
        assert world.pool.announced() == [0, 10_002, 10_050, 31_990, 31_990, 31_990]
        assert world.pool.of(10_050)[0].tag_values("relay") == [RELAY, OTHER]


async def test_who_takes_none_any_more_lists_no_relay_for_them():
    books = Books()
    async with World(WRITTEN_TO, books=books):
        pass
    async with World(books=books) as later:
        assert later.pool.announced() == [*ALL_KINDS, 10_050]
        assert later.pool.of(10_050)[0].tags == ()


async def test_who_never_took_any_lists_nothing():
    async with World() as world:
        assert world.pool.of(10_050) == []


async def test_a_relay_that_comes_later_is_told_when_it_comes_and_the_others_are_left_alone():
    pool = Relays()
    pool.connected = {RELAY}
    async with World(pool=pool) as world:
        assert (pool.announced(RELAY), pool.announced(OTHER)) == (ALL_KINDS, [])
        pool.connected = {RELAY, OTHER}
        await world.passes(60)
        assert (pool.announced(RELAY), pool.announced(OTHER)) == (ALL_KINDS, ALL_KINDS)


async def test_a_relay_that_took_a_part_is_told_again_but_not_at_once():
    pool = Relays()
    pool.refused = {OTHER: {31_990}}
    async with World(pool=pool) as world:
        await world.passes(500)
        assert pool.announced(OTHER) == ALL_KINDS
        pool.refused = {}
        await world.passes(200)
        assert (pool.announced(RELAY), pool.announced(OTHER)) == (ALL_KINDS, ALL_KINDS * 2)
        await world.passes(3_600)
        assert pool.announced(OTHER) == ALL_KINDS * 2


async def test_a_ledger_that_is_away_stops_neither_announcements_nor_heart():
    books = Books()
    books.errors = [StoreUnavailable("away"), StoreUnavailable("away")]
    async with World(books=books) as world:
        await world.passes(600)
        assert world.pool.announced() == ALL_KINDS
        assert len(world.pool.of(11_998)) == 3


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"relays":3}'])
async def test_a_memory_that_cannot_be_read_is_no_memory(text):
    async with World(books=Books({"announced": text})) as world:
        assert world.pool.announced() == ALL_KINDS


async def test_a_date_far_in_the_future_is_not_followed():
    """A clock that was wrong for a while must not date our events where relays refuse them."""
    assert Announced(newest=NOW + 100_000).next_date(NOW) == NOW
    assert Announced(newest=NOW).next_date(NOW) == NOW + 1


async def test_a_ping_is_answered_with_a_pong():
    asked = ping()
    async with World() as world:
        await world.hears(asked)
        (answer,) = world.pongs
        assert answer.tag("status")[1] == "pong"
        assert answer.tag("trust_tier") == ("trust_tier", "trusted")
        assert (answer.tag_values("e"), answer.tag_values("p")) == ([asked.id], [ALICE.public_key])


@pytest.mark.parametrize(
    "other",
    [
        ping(("p", MALLORY.public_key)),
        ping(kind=7000),
        ping(keys=TIMMY),
        ping(at=NOW - 301),
        ping(at=NOW + 901),
    ],
    ids=["for another", "no ping", "our own", "old", "from the future"],
)
async def test_no_other_event_is_answered(other):
    async with World() as world:
        await world.hears(other)
        assert world.pongs == []


async def test_one_key_is_answered_once_in_ten_seconds():
    async with World() as world:
        await world.hears(*(ping(P_TIMMY, ("n", str(number))) for number in range(20)))
        assert len(world.pongs) == 1
        await world.passes(10)
        await world.hears(ping(at=NOW + 10))
        assert len(world.pongs) == 2


def stranger(number):
    return type(ALICE).from_bytes(bytes([9, *number.to_bytes(2, "big")]) + b"\x01" * 29)


async def test_many_keys_are_answered_no_more_than_five_times_a_second():
    async with World() as world:
        await world.hears(*(ping(keys=stranger(number)) for number in range(40)))
        assert len(world.pongs) == 5


async def test_relays_that_do_not_answer_make_nobody_wait_and_hold_a_bounded_number_of_pings():
    async with World() as world:
        world.pool.gate = asyncio.Event()
        for number in range(100):
            await world.hears(ping(keys=stranger(number)))
            await world.clock.advance(1, rounds=5)
        world.pool.gate.set()
        await world.clock.advance(0, rounds=400)
        assert 5 <= len(world.pongs) <= 40
