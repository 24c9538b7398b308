"""A kind is a value: what goes in, what is said before it, and what bounds it. One is found by its file alone."""

import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy_dvm.agent.prompts import unfenced
from timmy_dvm.nostr import kinds
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.job_kind import JobKind, Piece, Task
from timmy_dvm.nostr.kinds import KINDS, kind_of

POEM = JobKind(
    number=5_999,
    trade="poems",
    topic="poetry",
    prompt=lambda params: f"Make a {params.get('form', 'poem')} of this.",
    params=("form",),
    longest_input=10,
    longest_output=80,
)


def test_every_file_is_a_kind_and_has_its_test():
    files = {path.stem for path in Path(kinds.__file__).parent.glob("*.py")} - {"__init__"}
    tests = {path.stem for path in (Path(__file__).parent / "kinds").glob("test_*.py")}
    assert {f"test_{name}" for name in files} == tests
    assert len(KINDS) == len(files)


def test_a_new_file_is_enough(monkeypatch):
    monkeypatch.setattr(kinds, "iter_modules", lambda _: [types.SimpleNamespace(name="poem")])
    monkeypatch.setitem(sys.modules, "timmy_dvm.nostr.kinds.poem", types.SimpleNamespace(KIND=POEM))
    assert kinds._found() == {5_999: POEM}
    twice = [types.SimpleNamespace(name="poem")] * 2
    monkeypatch.setattr(kinds, "iter_modules", lambda _: twice)
    with pytest.raises(ValueError, match="claim one number"):
        kinds._found()


def test_a_number_without_a_file_is_served_as_text():
    kind = kind_of(5_123)
    assert kind.task([Piece("Hi")], {}) == Task("Hi")
    assert (kind.number, kind.trade, kind.talks) == (5_123, "kind 5123", True)
    assert kind_of(5_050) is KINDS[5_050]


def test_an_input_longer_than_the_kind_takes_is_refused_with_its_limit():
    assert POEM.task([Piece(" 12345 "), Piece("67890", is_fetched=True)], {}).text.startswith("Make a poem")
    with pytest.raises(Bad, match="has 11 characters; for kind 5999 the limit is 10") as refused:
        POEM.task([Piece("12345"), Piece("678901", is_fetched=True)], {"form": "haiku"})
    assert refused.value.code == "too_long"


@pytest.mark.parametrize(("wished", "limit"), [(None, 80), (50, 50), (80, 80), (900, 80), (0, 0)])
def test_an_answer_is_no_longer_than_the_kind_allows(wished, limit):
    assert POEM.max_tokens(wished) == limit
    assert kind_of(5_050).max_tokens(wished) == wished


@pytest.mark.parametrize("pieces", [[], [Piece("")], [Piece(" \n"), Piece("", is_fetched=True)]])
def test_without_any_input_there_is_no_task_and_no_prompt(pieces):
    assert all(kind.task(pieces, {}) == Task("") for kind in (*KINDS.values(), POEM))


@given(
    number=st.sampled_from(sorted(KINDS)),
    pieces=st.lists(st.builds(Piece, st.text(max_size=40), st.booleans()), min_size=1, max_size=4),
    params=st.dictionaries(st.sampled_from(["length", "language"]), st.text("Greek, 3 линии 質", max_size=60)),
)
def test_the_inputs_are_the_end_of_the_task_whole_and_in_their_order(number, pieces, params):
    task = KINDS[number].task(pieces, params)
    texts = [piece.text.strip() for piece in pieces if piece.text.strip()]
    assert task.preface_chars <= 110
    assert unfenced(task.text[task.preface_chars :]) == "\n\n".join(texts)
