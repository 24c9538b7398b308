"""What may be used once is used once: also by a clock that goes back, and never without bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy_dvm.http.once import Full, Once, ShareUsed


def test_the_first_use_counts_and_no_other():
    once = Once(10)
    assert once.use("a", 220, 100)
    assert not once.use("a", 220, 219)
    assert once.use("b", 220, 100)


def test_what_has_ended_makes_room():
    once = Once(1)
    assert once.use("a", 200, 100)
    with pytest.raises(Full):
        once.use("b", 210, 100)
    assert once.use("b", 210, 200)


def test_a_full_memory_still_knows_what_it_holds():
    once = Once(1)
    assert once.use("a", 200, 100)
    assert not once.use("a", 200, 100)


def test_one_address_fills_its_share_and_leaves_the_others_theirs():
    once = Once(100, per_address=2)
    assert [once.use(f"a{n}", 200, 100, "192.0.2.1") for n in range(2)] == [True, True]
    with pytest.raises(ShareUsed):
        once.use("a2", 200, 100, "192.0.2.1")
    assert not once.use("a1", 200, 100, "192.0.2.1")
    assert once.use("a2", 300, 100, "192.0.2.2")
    assert once.use("a3", 300, 200, "192.0.2.1"), "what has ended makes room"
    assert dict(once._of_address) == {"192.0.2.1": 1, "192.0.2.2": 1}


def test_a_share_is_a_twentieth_and_in_a_small_memory_twenty():
    assert [Once(most)._per_address for most in (50_000, 100)] == [2_500, 20]


def test_a_clock_that_goes_back_brings_nothing_to_life_again():
    once = Once(10)
    assert once.use("a", 200, 100)
    assert once.use("b", 400, 300)
    assert not once.use("a", 200, 150)


uses = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 50), st.integers(0, 200)), max_size=60)


@given(uses)
def test_nothing_counts_twice_in_any_order_of_uses(steps):
    once, used = Once(4), set()
    for what, life, now in steps:
        key = f"{what}{life}"
        try:
            is_first = once.use(key, 100 + life, now)
        except Full:
            assert len(once._used) == 4
            continue
        assert not (is_first and key in used)
        assert len(once._used) <= 4
        if is_first:
            used.add(key)
