"""Whatever is asked and answered: a relay with strfry's defaults takes all that is said, and nothing is lost."""

import json

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ledger.money import Msats
from relay_client.errors import InvalidPlaintext
from relay_client.event import Event
from tests.strfry_model import refusal
from tests.timmy_dvm.nostr.kit import NOW, P_TIMMY, RELAY, SCHEMES, TIMMY, opened, sealed, signed
from timmy_dvm.clock import SeededRandomness
from timmy_dvm.core.actions import Delivered, Ended, OperationDone, PriceTold, RefundMoved, Refused, Working
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr.answering import split
from timmy_dvm.nostr.origin import write_origin
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.nostr.speaker import NostrSpeaker

JOB = "0123456789abcdef0123456789abcdef"
MAX_PROMPT, MAX_ANSWER = 16_000, 100_000
BOLT11 = f"lnbc90n1p{'x' * 400}"
IGNORED = tuple(f"{number}{'p' * 29}" for number in range(8))
DEL = "\x7f"

EDGES = [1, 1_023, 1_024, 1_025, 9_000, 13_600, 27_300, 38_000, 40_960, 54_000, 59_500, 60_000, MAX_ANSWER]
"""Lengths about which a limit lies, for one of the pieces or another."""
PIECES = ["a", "word and word\n", "😀", "é", '"', "\\", "\n", "\x01", DEL, 'a\x7f😀"\n']


def texts(longest):
    """A few characters of any sort, then one piece over and over."""

    def made(head, piece, length):
        return (head + piece * (length // len(piece) + 1))[:length]

    lengths = st.sampled_from([edge for edge in EDGES if edge <= longest]) | st.integers(1, longest)
    return st.builds(made, st.text(max_size=30), st.sampled_from(PIECES), lengths)


def request_of(prompt, where, scheme):
    """A request as a customer would send it, or a discarded example where no scheme can carry it."""
    if scheme is Scheme.NONE:
        return signed(("i", prompt, "text"), P_TIMMY) if where == "i" else signed(P_TIMMY, content=prompt)
    try:
        content = sealed([["i", prompt, "text"]], scheme.value)
    except InvalidPlaintext:
        assume(False)
    return signed(P_TIMMY, ("encrypted",), content=content)


def said(message, request, scheme):
    """The events that say it. Reading each back proves id and signature."""
    origin = write_origin(request, relay=RELAY, relays=[], scheme=scheme, ignored=IGNORED)
    speaker = NostrSpeaker(TIMMY, SeededRandomness(1), "https://timmy.example/pay")
    new = speaker.speak(message, origin=origin, job_id=JOB, tier=Tier.ELITE, at=NOW)
    return [Event.from_wire(one.json) for one in new]


def delivered(text):
    ledger = {"evalAmountSats": 2, "actualAmountSats": 5, "refunds": [{"id": "x" * 32, "state": "held"}] * 10}
    return Delivered(text=text, truncated=True, ledger=ledger, money_back="9 sats are yours.")


def everything(text):
    """Each sort of message, with that text wherever others have a hand in it."""
    return [
        PriceTold(amount=Msats(9_000), bolt11=BOLT11, payment_hash="ab" * 32, expires_at=NOW + 3_600),
        Working(covered_by="credit", credit=Msats(9_000)),
        delivered(text),
        Ended(code="rejected", sentence=text, money_back="9 sats are yours."),
        Refused(code="bad_invoice", sentence=text),
        RefundMoved(state="sent", sats=9, status="complete", sentence=text),
        OperationDone(body={"op": "me", "why": text}),
    ]


def rejoined(events, scheme):
    """The answer, put together again by the numbers of its parts."""
    parts = {}
    for event in events:
        plain = event.content if scheme is Scheme.NONE else opened(event.content)
        if event.kind == 6050:
            parts[1] = plain.rpartition("\n\n[Part 1 of ")[0] or plain
            continue
        tags = event.tags if scheme is Scheme.NONE else json.loads(plain)
        number = next((int(tag[1]) for tag in tags if tag[0] == "part"), None)
        if number is not None:
            words = plain if scheme is Scheme.NONE else next(tag[1] for tag in tags if tag[0] == "content")
            parts[number] = words
    return "".join(parts[number] for number in sorted(parts))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(prompt=texts(MAX_PROMPT), where=st.sampled_from(["i", "content"]), answer=texts(MAX_ANSWER))
@example(prompt="😀" * MAX_PROMPT, where="content", answer="😀" * MAX_ANSWER)
@example(prompt='"' * MAX_PROMPT, where="content", answer='"' * MAX_ANSWER)
@example(prompt="a" * 1_024, where="i", answer="\n" * MAX_ANSWER)
@example(prompt="a" * 1_025, where="i", answer="\x01" * MAX_ANSWER)
@example(prompt="a" * 1_025, where="i", answer="A")
@example(prompt=DEL, where="i", answer=DEL)
@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_a_relay_with_strfrys_defaults_takes_all_that_is_said(scheme, prompt, where, answer):
    request = request_of(prompt, where, scheme)
    for message in everything(answer):
        refused = [why for event in said(message, request, scheme) if (why := refusal(event.to_json(), NOW))]
        assert refused == [], message


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("prompt", ["a" * 1_024, '"' * 7_000], ids=["short", "long"])
def test_all_the_way_past_the_longest_answer_of_one_event_relays_take_it(scheme, prompt):
    """First the copies go, one after the other, then the answer is split; about each step lies a limit."""
    request = request_of(prompt, "content" if len(prompt) > 1_024 else "i", scheme)
    for length in range(30_000, 67_000, 113):
        refused = [refusal(event.to_json(), NOW) for event in said(delivered("a" * length), request, scheme)]
        assert set(refused) == {None}, length


@pytest.mark.parametrize("scheme", SCHEMES)
@given(answer=texts(MAX_ANSWER))
@settings(max_examples=60)
def test_of_an_answer_nothing_is_lost_but_what_no_relay_can_hash_alike(scheme, answer):
    events = said(delivered(answer), request_of("Hi", "i", scheme), scheme)
    wanted = answer.replace(DEL, "")
    assert rejoined(events, scheme) == wanted or not wanted


def test_a_copy_that_strfry_would_refuse_is_left_out_of_the_result():
    plain = said(delivered("A"), signed(("i", "x", "text"), ("i", DEL, "text")), Scheme.NONE)[0]
    assert plain.tag_values("i") == ["x"]
    assert plain.tag("request") is None
    odd = said(delivered("A"), signed(("i", "x", "text"), content=DEL), Scheme.NONE)[0]
    assert (odd.tag_values("i"), odd.tag("request")) == (["x"], None)


@pytest.mark.parametrize("inputs", [1_989, 1_995, 2_000])
def test_a_request_with_as_many_inputs_as_an_event_may_have_tags_is_answered(inputs):
    request = signed(*[("i", "x")] * inputs)
    result, _ = said(delivered("A"), request, Scheme.NONE)
    assert result.content == "A"
    assert refusal(result.to_json(), NOW) is None


@given(text=st.text(max_size=400), size=st.integers(12, 60))
def test_split_loses_nothing_and_keeps_to_the_size(text, size):
    parts = split(text, size)
    assert "".join(parts) == text
    assert all(0 < len(json.dumps(part, ensure_ascii=False).encode()) <= size for part in parts)
