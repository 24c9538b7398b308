"""What the embedded relay keeps, event by event (NIP-01, NIP-09, NIP-40)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_client.event import is_expired
from relay_client.filter import Filter
from relay_client.keys import Keys
from relay_client.local_relay_store import MAX_AHEAD_S, EventStore, KindClass, Verdict, kind_class
from tests.relay_client.kit import KEYS, signed

STRANGER = Keys.from_bytes(b"\x02" * 32)
NOW = 1_700_000_000
ALL = [Filter()]
NEW = Verdict(accepted=True, is_new=True, is_stored=True)


def event(content="", *, ago=0, **fields):
    return signed(content, created_at=NOW - ago, **fields)


def store(*, events=100, size=1_000_000, limit=100):
    return EventStore(events, size, limit)


def add(kept, one, now=NOW):
    return kept.add(one, one.to_json(), now)


def found(kept, *filters, now=NOW):
    return [stored.event.id for stored in kept.query(filters or ALL, now)]


def test_a_new_event_is_stored_and_a_known_one_is_a_duplicate_that_is_accepted():
    kept, one = store(), event()
    assert add(kept, one) == NEW
    verdict = add(kept, one)
    assert (verdict.accepted, verdict.is_new) == (True, False)
    assert verdict.reason.startswith("duplicate:")
    assert found(kept) == [one.id]


@pytest.mark.parametrize(("ahead", "accepted"), [(0, True), (MAX_AHEAD_S, True), (MAX_AHEAD_S + 1, False)])
def test_an_event_may_be_dated_a_little_ahead(ahead, accepted):
    verdict = add(store(), event(ago=-ahead))
    assert verdict.accepted == accepted
    assert accepted or verdict.reason.startswith("invalid:")


@pytest.mark.parametrize(
    ("kind", "class_"),
    [
        (0, KindClass.REPLACEABLE),
        (1, KindClass.REGULAR),
        (3, KindClass.REPLACEABLE),
        (5, KindClass.REGULAR),
        (5050, KindClass.REGULAR),
        (9_999, KindClass.REGULAR),
        (10_000, KindClass.REPLACEABLE),
        (19_999, KindClass.REPLACEABLE),
        (20_000, KindClass.EPHEMERAL),
        (29_999, KindClass.EPHEMERAL),
        (30_000, KindClass.ADDRESSABLE),
        (39_999, KindClass.ADDRESSABLE),
        (40_000, KindClass.REGULAR),
        (65_535, KindClass.REGULAR),
    ],
)
def test_a_kind_is_treated_by_its_range(kind, class_):
    assert kind_class(kind) is class_


def test_an_ephemeral_event_is_passed_on_and_not_kept():
    kept = store()
    assert add(kept, event(kind=20_001)) == Verdict(accepted=True, is_new=True)
    assert len(kept) == 0


def test_the_newer_version_replaces_the_older_whichever_comes_first():
    old, new = event("old", kind=0, ago=9), event("new", kind=0)
    for order in ((old, new), (new, old)):
        kept = store()
        verdicts = [add(kept, one) for one in order]
        assert found(kept) == [new.id]
        assert verdicts[0] == NEW
    assert verdicts[1].accepted is False
    assert verdicts[1].reason.startswith("replaced:")


def test_of_two_versions_of_one_second_the_lower_id_stays():
    first, second = sorted((event("a", kind=0), event("b", kind=0)), key=lambda one: one.id)
    for order in ((first, second), (second, first)):
        kept = store()
        for one in order:
            add(kept, one)
        assert found(kept) == [first.id]


def test_versions_belong_to_a_kind_an_author_and_a_name():
    kept = store()
    others = [
        event(kind=0),
        event(kind=10_002),
        event(kind=0, keys=STRANGER),
        event(kind=30_001, tags=[["d", "a"]]),
        event(kind=30_001, tags=[["d", "b"]]),
        event(kind=30_001),
    ]
    for one in others:
        assert add(kept, one) == NEW
    newest = event("new", kind=30_001, tags=[["d", ""]], ago=-1)  # no `d` and an empty one are the same
    add(kept, newest)
    assert set(found(kept)) == {one.id for one in others[:-1]} | {newest.id}


def test_an_author_deletes_by_id_and_the_event_cannot_come_back():
    kept, one = store(), event()
    add(kept, one)
    deletion = event(kind=5, tags=[["e", one.id]])
    assert add(kept, deletion) == NEW
    assert found(kept) == [deletion.id]
    assert add(kept, one).reason.startswith("blocked:")
    assert found(kept) == [deletion.id]


def test_a_deletion_bars_what_it_names_before_it_comes():
    kept, one = store(), event()
    add(kept, event(kind=5, tags=[["e", one.id]]))
    assert add(kept, one).accepted is False


def test_nobody_deletes_what_is_anothers():
    kept, one = store(), event()
    add(kept, one)
    add(kept, event(kind=5, tags=[["e", one.id], ["a", f"0:{KEYS.public_key}:"]], keys=STRANGER))
    assert one.id in found(kept)
    assert add(store(), one) == NEW


def test_a_deletion_cannot_be_deleted():
    kept, one = store(), event()
    first = event(kind=5, tags=[["e", one.id]])
    add(kept, first)
    add(kept, event(kind=5, tags=[["e", first.id]]))
    assert first.id in found(kept)
    assert add(kept, one).accepted is False


def test_deleting_by_address_takes_all_versions_up_to_then_and_leaves_later_ones():
    kept = store()
    address = f"30001:{KEYS.public_key}:a"
    old, later = (event(str(ago), kind=30_001, tags=[["d", "a"]], ago=ago) for ago in (10, -10))
    add(kept, old)
    add(kept, event(kind=5, tags=[["a", address]]))
    assert old.id not in found(kept)
    assert add(kept, old).reason.startswith("blocked:")
    assert add(kept, later) == NEW
    add(kept, event("again", kind=5, tags=[["a", address]], ago=5))
    assert later.id in found(kept)


@pytest.mark.parametrize("named", ["", "x", "1:2", "x:y:z", "9" * 99 + ":a:b", ":", "::"])
def test_an_address_that_is_none_deletes_nothing(named):
    kept, one = store(), event()
    add(kept, one)
    add(kept, event(kind=5, tags=[["a", named], ["e", named], ["e"], ["a"]]))
    assert one.id in found(kept)


@pytest.mark.parametrize(
    ("value", "expired"),
    [
        (str(NOW - 1), True),
        (str(NOW), True),
        (str(NOW + 1), False),
        ("", False),
        ("soon", False),
        ("-1", False),
        ("1e3", False),
        ("٣", False),
        ("9" * 5_000, False),
    ],
)
def test_an_expired_event_is_refused_and_a_nonsense_date_says_nothing(value, expired):
    one = event(tags=[["expiration", value]])
    assert is_expired(one, NOW) == expired
    assert add(store(), one).accepted == (not expired)


def test_an_event_hides_when_its_time_is_over():
    kept, one = store(), event(tags=[["expiration", str(NOW + 10)]])
    add(kept, one)
    assert found(kept, now=NOW + 9) == [one.id]
    assert found(kept, now=NOW + 10) == []


def test_stored_events_come_newest_first_and_of_one_second_by_id():
    kept = store()
    events = [event(str(n), ago=n // 3) for n in range(12)]
    for one in events:
        add(kept, one)
    assert found(kept) == [one.id for one in sorted(events, key=lambda one: (-one.created_at, one.id))]


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (1, 1), (3, 3), (None, 5), (99, 5)])
def test_a_limit_takes_the_newest(limit, count):
    kept = store(limit=5)
    events = [event(str(n), ago=n) for n in range(10)]
    for one in events:
        add(kept, one)
    assert found(kept, Filter(limit=limit)) == [one.id for one in events[:count]]


def test_an_event_that_two_filters_match_is_found_once():
    kept, one = store(), event()
    add(kept, one)
    assert found(kept, Filter(), Filter(kinds=frozenset({5050})), Filter(ids=frozenset({one.id}))) == [one.id]


def test_what_came_first_goes_first_when_memory_is_full():
    kept = store(events=3)
    events = [event(str(n), ago=-n) for n in range(5)]
    for one in events:
        add(kept, one)
    assert set(found(kept)) == {one.id for one in events[2:]}


def test_bytes_are_bounded_as_well_as_numbers():
    kept = store(size=10_000)
    for n in range(20):
        add(kept, event("x" * 3_000 + str(n)))
    assert 0 < len(kept) <= 3
    assert sum(len(text) for text in kept.texts()) <= 10_000


def test_what_is_barred_by_deletions_is_bounded_too():
    kept = store(events=10)
    add(kept, event(kind=5, tags=[["e", f"{n:064x}"] for n in range(500)]))
    add(kept, event(kind=5, tags=[["a", f"30001:{KEYS.public_key}:{n}"] for n in range(500)]))
    assert len(kept._deleted_ids) <= 10
    assert len(kept._deleted_addresses) <= 10


POOL = [
    *(event(str(n), kind=kind, ago=n) for n in range(3) for kind in (1, 0)),
    *(event(str(n), kind=30_001, tags=[["d", "a"]], ago=n, keys=STRANGER) for n in range(3)),
]
POOL += [event(kind=5, tags=[["e", one.id]], keys=keys) for one in POOL for keys in (KEYS, STRANGER)]


@given(st.lists(st.sampled_from(POOL), max_size=40), st.integers(1, 8))
def test_its_indexes_always_agree_with_a_plain_look_at_every_event(events, most):
    kept = store(events=most)
    for one in events:
        add(kept, one)
    everything = [stored.event for stored in kept.query(ALL, NOW)]
    assert len(kept) == len(everything) <= most
    for wanted in (Filter(kinds=frozenset({0, 5})), Filter(ids=frozenset(one.id for one in POOL[:9]))):
        assert set(found(kept, wanted)) == {one.id for one in everything if wanted.matches(one)}
    assert kept._bytes == sum(len(text) for text in kept.texts())
    assert set(kept._addresses.values()) == {one.id for one in everything if one.kind in (0, 30_001)}
