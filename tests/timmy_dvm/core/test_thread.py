"""What of a thread goes with a request: the newest turns, whole, and never more than was decided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.records import Turn
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.case import IGNORED, Case
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import Op
from timmy_dvm.core.pricing import estimate_input_tokens
from timmy_dvm.core.thread import CUT, MAX_CHARS, MAX_TURNS, bounded

TURNS = (Turn("What is a relay?" * 90, "A server." * 90), Turn("Why?", "To pass on what is published."))
PARENT = "c0" * 16
HALF = MAX_CHARS // 2


def turns(*lengths):
    return [Turn(chr(ord("a") + at) * (length - 1), "!") for at, length in enumerate(lengths)]


def test_a_short_thread_goes_whole_and_in_its_order():
    thread = turns(5, 9, 7)
    assert bounded(thread) == tuple(thread)
    assert bounded([]) == ()


def test_the_oldest_turns_are_left_out_where_there_are_too_many():
    thread = turns(*[5] * (MAX_TURNS + 3))
    assert bounded(thread) == tuple(thread[3:])


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [((HALF, HALF), 2), ((HALF + 1, HALF), 1), ((1, HALF, HALF), 2), ((1, MAX_CHARS, 1), 1), ((MAX_CHARS,), 1)],
)
def test_turns_that_do_not_fit_are_left_out_whole_the_oldest_first(lengths, kept):
    thread = turns(*lengths)
    assert bounded(thread) == tuple(thread[-kept:])


def test_the_newest_turn_always_goes_its_answer_rather_than_its_request():
    (turn,) = bounded([Turn("begin" + "x" * MAX_CHARS + "end", "y" * HALF)])
    assert turn.answer == "y" * HALF
    assert turn.request.startswith("beginx")
    assert turn.request.endswith("xend")
    assert CUT in turn.request
    (turn,) = bounded([Turn("short", "y" * MAX_CHARS)])
    assert turn.request == "short"
    assert len(turn.answer) <= MAX_CHARS - len("short")


_LENGTHS = st.sampled_from([1, 50, HALF - 1, HALF, MAX_CHARS, MAX_CHARS * 2])


@given(st.lists(st.builds(lambda a, b: Turn("q" * a, "a" * b), _LENGTHS, _LENGTHS), max_size=12))
def test_it_never_grows_beyond_its_bounds_and_what_is_left_out_is_the_beginning(thread):
    kept = bounded(thread)
    assert len(kept) <= MAX_TURNS
    assert sum(len(turn.request) + len(turn.answer) for turn in kept) <= MAX_CHARS
    assert bool(kept) == bool(thread)
    assert kept[:-1] == tuple(thread[len(thread) - len(kept) : len(thread) - 1])
    assert bounded(kept) == kept


# What it costs ---------------------------------------------------------------------------------------------------


def asked(case=None, **changes):
    return decide(case or Case(), b.asking(**changes), b.POLICY)


def test_what_was_said_before_is_priced_and_the_job_knows_what_it_follows():
    with_it, alone = asked(Case(turns=TURNS), follows=PARENT).new_job, asked().new_job
    before = estimate_input_tokens("", TURNS) - estimate_input_tokens("")
    assert before * 3 > sum(len(turn.request + turn.answer) for turn in TURNS)
    more = with_it.quote.estimated_cost - alone.quote.estimated_cost
    assert more == pytest.approx(before * 3 * 1.4, abs=1)  # 3 dollars a million, and 40 % on top
    assert with_it.quote.work_fee > alone.quote.work_fee
    assert (with_it.follows, alone.follows) == (PARENT, None)
    assert (with_it.request, with_it.quote.max_output_tokens) == (alone.request, alone.quote.max_output_tokens)


def test_a_thread_that_is_not_there_is_refused_and_not_answered_as_if_it_had_never_been():
    for fact in (b.asking(follows=PARENT), b.question(Op.ESTIMATE, "And why?", follows=PARENT)):
        (tell,) = decide(Case(), fact, b.POLICY).tells
        assert tell.message.code == "no_thread"
        assert "ask anew" in tell.message.sentence
    assert asked(follows=PARENT, addressed=False) == IGNORED


def test_an_estimate_counts_what_was_said_before():
    question = b.question(Op.ESTIMATE, "What is a relay?", follows=PARENT)
    (tell,) = decide(Case(turns=TURNS), question, b.POLICY).tells
    quote = asked(Case(turns=TURNS), follows=PARENT).new_job.quote
    assert b.sats(tell.message.body["workFeeSats"]) == quote.work_fee
