"""Where a note stands in a thread, and how it is answered there (NIP-10)."""

import pytest

from tests.timmy_dvm.nostr.kit import ALICE, RELAY, signed
from timmy_dvm.nostr.notes import replied_to, reply_tags, root_of

A, B, C = "0a" * 32, "0b" * 32, "0c" * 32
FROM_A_BOT = ("bot", "answer")


def note(*tags):
    return signed(*tags, kind=1, content="hello")


@pytest.mark.parametrize(
    ("tags", "thread"),
    [
        ([], []),
        ([("e", A, RELAY, "root")], [A]),
        ([("e", B, RELAY, "reply"), ("e", A, RELAY, "root"), ("e", C, RELAY, "mention")], [A, B]),
        ([("e", A), ("e", B), ("e", A)], [A, B]),  # by position, as older clients have it
        ([("e", C, "", "mention")], []),
        ([("e", "rubbish"), ("e",), ("e", A.upper()), ("p", B)], []),
    ],
)
def test_a_note_names_its_thread_in_either_way(tags, thread):
    assert replied_to(note(*tags)) == thread


def test_a_note_that_begins_a_thread_is_its_root():
    first = note()
    assert root_of(first) == first.id
    assert root_of(note(("e", A), ("e", B))) == A
    assert reply_tags(first, RELAY) == (("e", first.id, RELAY, "root"), ("p", ALICE.public_key), FROM_A_BOT)


def test_a_reply_names_the_root_and_what_it_replies_to():
    later = note(("e", A, RELAY, "root"))
    assert reply_tags(later, RELAY) == (
        ("e", A, RELAY, "root"),
        ("e", later.id, RELAY, "reply"),
        ("p", ALICE.public_key),
        FROM_A_BOT,
    )
