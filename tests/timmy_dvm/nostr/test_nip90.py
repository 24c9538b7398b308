"""Requests as they come in the wild, one row a shape; and what must be met with silence."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_client.errors import InvalidEvent
from relay_client.event import Event
from relay_client.keys import Keys, note
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, TIMMY, sealed, signed
from timmy_dvm.nostr.nip90 import (
    MAX_CANCELS,
    OTHER_REQUESTS,
    CancelAsked,
    JobAsked,
    NotForUs,
    Terms,
    Unreadable,
    read,
)
from timmy_dvm.nostr.operations import RefundAsked
from timmy_dvm.nostr.origin import Reply
from timmy_dvm.nostr.privacy import Scheme

VECTORS = Path(__file__).parents[2] / "vectors"
KINDS = frozenset({5050, 5001, 5002})
STRANGER = "85c20d3760ef4e1976071a569fb363f4ff086ca907669fb95167cdc5305934d1"
BOILERPLATE = "NIP 90 Text Generation Request"


def asked(event, *, now=NOW, not_before=NOW - 3600, models=(), open_jobs=True, keys=TIMMY):
    terms = Terms(kinds=KINDS, open_jobs=open_jobs, models=models)
    return read(event, keys, now=now, not_before=not_before, terms=terms)


PROMPTS = {
    "i of type text": ([("i", "Hi", "text")], "", "Hi"),
    "i of type prompt": ([("i", "Hi", "prompt")], "", "Hi"),
    "i of type TEXT": ([("i", "Hi", "TEXT")], "", "Hi"),
    "i without a type": ([("i", "Hi")], "", "Hi"),
    "i with relay and marker": ([("i", "Hi", "text", "wss://r.example", "m")], "", "Hi"),
    "i with an empty type": ([("i", "Hi", "", "wss://r.example")], "", "Hi"),
    "param prompt": ([("param", "prompt", "Hi")], "", "Hi"),
    "input text": ([("input", "text", "Hi")], "", "Hi"),
    "content alone": ([], "  Hi\n", "Hi"),
    "boilerplate beside an i": ([("i", "Hi", "text")], BOILERPLATE, "Hi"),
    "several inputs": ([("i", "One", "text"), ("i", " Two ", "text"), ("i", "", "text")], "", "One\n\nTwo"),
    "input and param prompt": ([("param", "prompt", "Sum up:"), ("i", "Text")], "", "Sum up:\n\nText"),
    "an i without data": ([("i",)], "Hi", "Hi"),
    "junk tags": (
        [("i", "Hi"), ("p",), ("relays",), ("bid",), ("param",), ("output",), ("",), ("x", "y")],
        "",
        "Hi",
    ),
    "a client's tag": ([("i", "Hi"), ("client", "noogle"), ("t", "bitcoin")], "", "Hi"),
}


@pytest.mark.parametrize("shape", PROMPTS)
@pytest.mark.parametrize("to_us", [True, False])
def test_a_prompt_is_found_wherever_clients_put_it(shape, to_us):
    tags, content, text = PROMPTS[shape]
    found = asked(signed(*tags, *([P_TIMMY] if to_us else []), content=content))
    assert isinstance(found, JobAsked)
    assert found.text == text
    assert found.reply == Reply()


@pytest.mark.parametrize(
    ("others", "is_ours"),
    [
        ([P_TIMMY], True),
        ([("p", STRANGER), P_TIMMY], True),
        ([P_TIMMY, ("p", STRANGER)], True),
        ([("p", TIMMY.npub)], True),
        ([("p", TIMMY.public_key.upper())], True),
        ([("p", STRANGER)], False),
        ([("p", STRANGER), ("p", "rubbish")], False),
    ],
)
def test_one_of_many_providers_is_enough_to_be_asked(others, is_ours):
    found = asked(signed(("i", "Hi"), *others))
    assert isinstance(found, JobAsked if is_ours else NotForUs)


def test_open_jobs_are_the_operators_choice_and_known_as_such():
    request = signed(("i", "Hi"))
    assert asked(request) == JobAsked(text="Hi", reply=Reply(), addressed=False)
    assert isinstance(asked(request, open_jobs=False), NotForUs)
    assert asked(signed(("i", "Hi"), P_TIMMY), open_jobs=False).addressed


FOREIGN = {
    "a CI bot": ([("cmd", "make test"), ("secret", "x")], ""),
    "a CI bot with an input": ([("i", "repo", "text"), ("cmd", "make")], ""),
    "a table query": ([("param", "table", "events"), ("param", "filter", "{}")], "query"),
    "a table query in tags": ([("table", "events"), ("filter", "{}")], "query"),
    "nothing at all": ([], ""),
    "an empty prompt": ([("i", " ", "text")], ""),
    "an address to fetch": ([("i", "https://example.com", "url")], ""),
    "text and an address": ([("i", "Hi", "text"), ("i", "https://example.com", "url")], ""),
    "an image": ([("i", "Hi"), ("output", "image/png")], ""),
    "a bid that is none": ([("i", "Hi"), ("bid", "ecash")], ""),
    "an operation": ([("param", "op", "refund")], ""),
    "encrypted for nobody": ([("encrypted",)], "A" * 200),
    "a ciphertext for somebody": ([], sealed([["i", "Hi"]], "nip44")),
}


@pytest.mark.parametrize("shape", FOREIGN)
def test_an_open_request_that_makes_no_sense_here_is_met_with_silence(shape):
    tags, content = FOREIGN[shape]
    assert isinstance(asked(signed(*tags, content=content)), NotForUs)


UNREADABLE = {
    "an address to fetch": ([("i", "https://example.com", "url")], "input_type"),
    "text and an address": ([("i", "Hi", "text"), ("i", "https://example.com", "url")], "input_type"),
    "an event without an id": ([("i", "the last one", "event", "wss://r.example")], "bad_input"),
    "a type of its own": ([("i", "x", "hologram")], "input_type"),
    "a CI bot": ([("cmd", "make test"), ("secret", "x")], "not_text"),
    "a table query": ([("param", "table", "events")], "not_text"),
    "an image": ([("i", "Hi"), ("output", "image/png")], "output"),
    "a bid with separators": ([("i", "Hi"), ("bid", "100_000")], "bad_bid"),
    "max_tokens in words": ([("i", "Hi"), ("param", "max_tokens", "many")], "bad_param"),
    "an unknown operation": ([("param", "op", "launch")], "unknown_op"),
    "a top-up of nothing": ([("param", "op", "topup")], "bad_param"),
    "a claim without an invoice": ([("param", "op", "refund"), ("param", "job", "00" * 32)], "bad_param"),
    "a claim for nonsense": (
        [("param", "op", "refund"), ("param", "invoice", "lnbc1"), ("param", "job", "mine")],
        "bad_param",
    ),
    "encrypted rubbish": ([("encrypted",)], "not_decrypted"),
}


@pytest.mark.parametrize("shape", UNREADABLE)
def test_whoever_addresses_us_learns_what_to_do(shape):
    tags, code = UNREADABLE[shape]
    found = asked(signed(*tags, P_TIMMY))
    assert isinstance(found, Unreadable)
    assert found.code == code
    assert found.sentence.endswith(".")
    assert "example.com" not in found.sentence


def test_a_prompt_of_ours_may_be_blank_and_is_then_judged_by_the_core():
    found = asked(signed(P_TIMMY))
    assert isinstance(found, JobAsked)
    assert not found.text


@pytest.mark.parametrize(
    ("kind", "text", "preface"),
    [(5001, "Long", "Summarize the following text.\n\n"), (5001, "", ""), (5050, "Long", "")],
)
def test_the_words_we_put_before_a_text_are_told_apart(kind, text, preface):
    found = asked(signed(("i", f" {text}\n"), P_TIMMY, kind=kind))
    assert (found.text, found.preface_chars) == (preface + text, len(preface))


def test_reply_relays_are_few_and_could_be_dialled():
    private = ("relays", "ws://192.168.0.1", "rubbish", "wss://One.Example/", "wss://one.example")
    found = asked(
        signed(("i", "Hi"), private, ("relay", "wss://two.example"), ("relays", "wss://3.ex", "wss://4.ex"))
    )
    assert isinstance(found, JobAsked)
    assert found.reply.relays == ("wss://one.example", "wss://two.example", "wss://3.ex")


@pytest.mark.parametrize(
    ("age", "not_before", "is_taken"),
    [
        (0, NOW - 3600, True),
        (3600, NOW - 3600, True),
        (3601, NOW - 3600, False),
        (80_000, NOW - 86_400, True),  # it came while we were away
        (-900, NOW - 3600, True),
        (-901, NOW - 3600, False),
    ],
)
def test_old_and_future_requests_are_ignored(age, not_before, is_taken):
    found = asked(signed(("i", "Hi"), P_TIMMY, at=NOW - age), not_before=not_before)
    assert isinstance(found, JobAsked if is_taken else NotForUs)


@pytest.mark.parametrize(
    ("expiration", "is_taken"),
    [
        (str(NOW), False),
        (str(NOW - 1), False),
        (str(NOW + 1), True),
        ("soon", True),
        ("-1", True),
        ("9" * 40, True),
    ],
)
def test_an_expired_request_is_ignored(expiration, is_taken):
    found = asked(signed(("i", "Hi"), P_TIMMY, ("expiration", expiration)))
    assert isinstance(found, JobAsked if is_taken else NotForUs)


@pytest.mark.parametrize("to_us", [True, False])
@pytest.mark.parametrize(
    ("expirations", "expires_at"),
    [
        ([], None),
        ([NOW + 90], NOW + 90),
        ([NOW + 90, NOW + 60], NOW + 60),
        (["soon", NOW + 60], NOW + 60),
        ([-1], None),
    ],
)
def test_the_soonest_expiration_of_a_request_goes_with_it(expirations, expires_at, to_us):
    tags = [("expiration", str(value)) for value in expirations]
    assert asked(signed(("i", "Hi"), *([P_TIMMY] if to_us else []), *tags)).expires_at == expires_at


@pytest.mark.parametrize("kind", sorted(OTHER_REQUESTS - KINDS))
def test_a_kind_in_use_but_not_served_is_answered_where_it_names_us(kind):
    found = asked(signed(("i", "Secret"), P_TIMMY, ("relays", "wss://one.example"), kind=kind))
    sentence = f"Requests of kind {kind} are not served here. Served are: 5001, 5002, 5050."
    assert found == Unreadable(
        code="kind_not_served", sentence=sentence, reply=Reply(relays=("wss://one.example",))
    )


@pytest.mark.parametrize(
    "event",
    [
        signed(("i", "Hi"), kind=5100),
        signed(("i", "Hi"), ("p", STRANGER), kind=5100),
        signed(("i", "Hi"), P_TIMMY, ("expiration", str(NOW)), kind=5100),
        signed(("i", "Hi"), P_TIMMY, kind=5100, at=NOW - 3_601),
        signed(("i", "Hi"), P_TIMMY, kind=5100, keys=TIMMY),
        signed(("i", "Hi"), P_TIMMY, keys=TIMMY),
        signed(("i", "Hi"), P_TIMMY, kind=5999),
        signed(("i", "Hi"), P_TIMMY, kind=7000),
    ],
)
def test_other_kinds_are_met_with_silence_unless_they_ask_us_and_now(event):
    assert isinstance(asked(event), NotForUs)


def test_what_is_encrypted_in_a_kind_we_do_not_serve_is_not_even_tried(monkeypatch):
    monkeypatch.setattr("timmy_dvm.nostr.nip90.decrypt", lambda *_: pytest.fail("decrypted"))
    found = asked(signed(P_TIMMY, ("encrypted",), content=sealed([["i", "x"]], "nip44"), kind=5100))
    assert found.code == "kind_not_served"


def test_a_refund_is_claimed_for_a_job_named_in_any_form():
    request_id = "ab" * 32
    for name in (request_id, note(request_id)):
        tags = [("param", "op", "refund"), ("param", "invoice", "lnbc1x"), ("param", "job", name)]
        found = asked(signed(*tags, P_TIMMY))
        assert found == RefundAsked(invoice="lnbc1x", request_id=request_id, reply=Reply())


def test_a_cancellation_names_events_and_not_too_many():
    ids = [f"{number:064x}" for number in range(50)]
    found = asked(signed(("e", "rubbish"), ("e",), *[("e", id_) for id_ in ids], ("e", ids[0]), kind=5))
    assert found == CancelAsked(tuple(ids[:MAX_CANCELS]))
    assert isinstance(asked(signed(("a", "30023:x:y"), kind=5)), NotForUs)


# Encryption.


@pytest.mark.parametrize("scheme", ["nip44", "nip04"])
@pytest.mark.parametrize("tagged", [("encrypted",), ("encrypted", "1"), None])
def test_an_encrypted_request_is_read_by_either_scheme(scheme, tagged):
    inside = [
        ["i", "Secret", "text"],
        ["param", "max_tokens", "9"],
        ["bid", "5000"],
        ["relays", "wss://in.example"],
    ]
    tags = [P_TIMMY, *([tagged] if tagged else [])]
    found = asked(signed(*tags, content=sealed(inside, scheme)))
    reply = Reply(Scheme(scheme), ("wss://in.example",))
    assert found == JobAsked(text="Secret", reply=reply, max_tokens=9, bid=5000)


def test_input_beside_an_encrypted_one_is_ignored_but_the_rest_in_clear_counts():
    content = sealed([["i", "Secret", "text"]], "nip44")
    clear = [
        ("i", "Public", "text"),
        ("param", "max_tokens", "1"),
        ("bid", "7000"),
        ("relays", "wss://out.example"),
    ]
    found = asked(signed(P_TIMMY, ("encrypted", "1"), *clear, content=content))
    assert found == JobAsked(text="Secret", reply=Reply(Scheme.NIP44, ("wss://out.example",)), bid=7000)


BROKEN = {
    "not a ciphertext": ("hello", Scheme.NIP44),
    "nothing": ("", Scheme.NIP44),
    "for another key": (sealed([["i", "x"]], "nip44", to=Keys.from_bytes(b"\x09" * 32)), Scheme.NIP44),
    "damaged": (sealed([["i", "x"]], "nip44")[:-8] + "AAAAAAA=", Scheme.NIP44),
    "damaged NIP-04": ("AAAA?iv=" + "A" * 22 + "==", Scheme.NIP04),
    "no array": (sealed("Secret, but no tags", "nip44"), Scheme.NIP44),
    "an object": (sealed('{"i":"Secret"}', "nip44"), Scheme.NIP44),
    "empty tags": (sealed("[[]]", "nip44"), Scheme.NIP44),
    "numbers in tags": (sealed('[["param","max_tokens",5]]', "nip44"), Scheme.NIP44),
    "too many tags": (sealed(json.dumps([["i", ""]] * 2_001), "nip44"), Scheme.NIP44),
    "half a surrogate pair": (sealed('[["i","\\ud800"]]', "nip44"), Scheme.NIP44),
    "deep": (sealed("[" * 10_000, "nip44"), Scheme.NIP44),
}


@pytest.mark.parametrize("shape", BROKEN)
def test_a_broken_encrypted_request_is_answered_and_names_nothing(shape):
    content, scheme = BROKEN[shape]
    found = asked(signed(P_TIMMY, ("encrypted",), ("i", "Public", "text"), content=content))
    assert isinstance(found, Unreadable)
    assert found.code == "not_decrypted"
    assert found.reply.scheme is scheme
    assert "Secret" not in found.sentence


def test_an_encrypted_request_for_others_is_not_even_tried(monkeypatch):
    monkeypatch.setattr("timmy_dvm.nostr.nip90.decrypt", lambda *_: pytest.fail("decrypted"))
    content = sealed([["i", "x"]], "nip44")
    assert isinstance(asked(signed(("p", STRANGER), ("encrypted",), content=content)), NotForUs)


def test_an_error_inside_an_encrypted_request_is_answered_in_its_scheme():
    found = asked(signed(P_TIMMY, ("encrypted",), content=sealed([["i", "x"], ["bid", "ecash"]], "nip04")))
    assert isinstance(found, Unreadable)
    assert (found.code, found.reply.scheme) == ("bad_bid", Scheme.NIP04)


# The wild.


@pytest.mark.parametrize("case", json.loads((VECTORS / "nip90_events.json").read_text())["events"])
def test_real_events_are_read(case):
    raw = json.dumps(case["event"])
    if case["independent_check"] != "valid":
        with pytest.raises(InvalidEvent):
            Event.from_wire(raw)
        return
    event = Event.from_wire(raw)
    found = asked(event, now=event.created_at, not_before=0)
    if event.kind == 5050:
        assert found.text == "What is a data vending machine?"
        assert len(found.reply.relays) == 3
    else:
        # The summary is open and wants an event looked up; the others are of kinds that are not served.
        assert isinstance(found, JobAsked if event.kind == 5001 else NotForUs)


_words = st.sampled_from(
    ["i", "p", "param", "input", "bid", "output", "relays", "expiration", "encrypted", "op", "refund", "text",
     "url", "prompt", "max_tokens", "job", "invoice", "model", "length", TIMMY.public_key, "5", "e", ""]
) | st.text(max_size=20)  # fmt: skip


@given(
    tags=st.lists(st.lists(_words, min_size=1, max_size=5), max_size=12),
    content=st.text(max_size=200) | st.just(sealed([["i", "x"]], "nip04")),
    kind=st.sampled_from([5, 5001, 5002, 5050, 5100]),
    to_us=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_nothing_a_stranger_signs_raises(tags, content, kind, to_us):
    event = signed(*tags, *([P_TIMMY] if to_us else []), kind=kind, content=content)
    found = asked(event)
    assert isinstance(found, JobAsked | RefundAsked | CancelAsked | Unreadable | NotForUs)
    if to_us and kind != 5 and not any(tag[0] == "expiration" for tag in tags):
        assert not isinstance(found, NotForUs)


def test_alice_is_not_timmy():
    assert isinstance(asked(signed(("i", "Hi"), P_TIMMY), keys=ALICE), NotForUs)
