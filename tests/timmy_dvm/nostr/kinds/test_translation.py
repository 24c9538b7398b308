"""Kind 5002: whatever comes in is asked for in another language, in English for want of a wish."""

import pytest

from timmy_dvm.agent.prompts import fenced
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.job_kind import Piece, Task
from timmy_dvm.nostr.kinds import KINDS
from timmy_dvm.nostr.kinds.translation import KIND


def test_it_is_found_by_its_number():
    assert KINDS[5002] is KIND
    assert (KIND.trade, KIND.topic, KIND.params) == ("translations", "translation", ("language",))
    assert not KIND.talks


@pytest.mark.parametrize(
    ("params", "prompt"),
    [
        ({}, "Translate the following text into English."),
        ({"language": "Ελληνικά", "length": "3 lines"}, "Translate the following text into Ελληνικά."),
    ],
)
def test_the_language_goes_into_the_prompt(params, prompt):
    preface = f"{prompt}\n\n"
    assert KIND.task([Piece("Lang.")], params) == Task(f"{preface}Lang.", len(preface))


def test_what_was_fetched_is_translated_between_its_marks():
    task = KIND.task([Piece("Lang.", is_fetched=True)], {})
    assert task.text == f"Translate the following text into English.\n\n{fenced('Lang.')}"


def test_a_language_that_would_break_the_prompt_is_refused():
    with pytest.raises(Bad, match="language must be one line of at most 60 characters"):
        KIND.task([Piece("Lang.")], {"language": "x" * 61})
