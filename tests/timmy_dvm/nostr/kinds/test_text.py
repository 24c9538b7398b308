"""Kind 5050: the customer's own words are the prompt, unless there are none."""

from timmy_dvm.agent.prompts import fenced
from timmy_dvm.nostr.job_kind import Piece, Task
from timmy_dvm.nostr.kinds import KINDS
from timmy_dvm.nostr.kinds.text import KIND


def test_it_is_found_by_its_number():
    assert KINDS[5050] is KIND
    assert (KIND.trade, KIND.topic, KIND.params) == ("", "text-generation", ())


def test_what_is_asked_goes_as_it_is_whatever_params_there_are():
    assert KIND.task([Piece(" Who was Ada?\n")], {"language": "Greek", "length": "3 lines"}) == Task(
        "Who was Ada?"
    )


def test_a_question_about_what_was_fetched_needs_no_words_of_ours():
    task = KIND.task([Piece("Is this true?"), Piece("The moon is cheese.", is_fetched=True)], {})
    assert task == Task(f"Is this true?\n\n{fenced('The moon is cheese.')}")


def test_where_all_was_fetched_the_model_is_told_what_to_do_with_it():
    task = KIND.task([Piece(" ", is_fetched=False), Piece("What is a relay?", is_fetched=True)], {})
    preface = "Respond to the following text.\n\n"
    assert task == Task(preface + fenced("What is a relay?"), len(preface))


def test_it_talks():
    assert KIND.talks
