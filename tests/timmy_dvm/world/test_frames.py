"""What a watcher may send, and what of it is shown: printable, one line, bounded, whatever came."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy_dvm.world.frames import MAX_TEXT_CHARS, AgentState, NoFrame, Said, encode, one_line, read_message, when


@given(st.text(max_size=3_000))
def test_whatever_is_said_is_shown_on_one_printable_line_of_250(text):
    shown = read_message(json.dumps({"type": "visitor_message", "text": text}))
    assert shown is None or (0 < len(shown) <= MAX_TEXT_CHARS and shown.isprintable())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_nothing_or_no_frame(raw):
    with contextlib.suppress(NoFrame):
        shown = read_message(raw)
        assert shown is None or shown.isprintable()


def test_what_is_no_frame_is_told_what_is():
    with pytest.raises(NoFrame, match="visitor_message"):
        read_message("[]")


@pytest.mark.parametrize("field", ["text", "content", "message"])
def test_the_words_may_stand_in_any_of_three_fields(field):
    assert read_message(json.dumps({"type": "visitor_message", field: " hello\n there "})) == "hello there"


def test_direction_marks_and_control_characters_are_not_shown():
    assert one_line("a\u202eb\u2066c\x00d\u200be", 250) == "a b c d e"


@pytest.mark.parametrize(
    ("text", "shown"), [("x" * 10, "x" * 10), ("x" * 11, "x" * 9 + "…"), ("12345678  901", "12345678…")]
)
def test_a_cut_says_so(text, shown):
    assert one_line(text, 10) == shown


def test_frames_are_spelt_as_the_first_timmy_spelt_them():
    state = json.loads(encode(AgentState(agent_id="gamma", state="working", doing="thinks")))
    assert state == {"type": "agent_state", "agentId": "gamma", "state": "working", "doing": "thinks"}
    said = json.loads(encode(Said(agent_id="visitor", text="<b>")))
    assert said == {"type": "chat", "agentId": "visitor", "text": "<b>"}
    assert when(1_700_000_000.9) == "2023-11-14T22:13:20Z"


def test_frames_can_not_be_changed():
    with pytest.raises(AttributeError):
        Said(agent_id="timmy", text="x").text = "y"
    assert msgspec.structs.fields(Said)
