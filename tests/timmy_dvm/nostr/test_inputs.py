"""What a request brings is read tag by tag; what it only names is judged before anything of it is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_client.keys import nevent, note
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, TIMMY, sealed, signed
from timmy_dvm.nostr import inputs
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.inputs import EventNamed, PageNamed, Wanted, Words, text_of
from timmy_dvm.nostr.kinds import kind_of
from timmy_dvm.nostr.nip90 import JobAsked, NotForUs, Terms, Unreadable, read
from timmy_dvm.nostr.operations import Question

ID, OTHER_ID = "ab" * 32, "cd" * 32
KINDS = frozenset({5050, 5001, 5002})


def parts(*tags, takes_pages=True):
    return inputs.read_inputs(tags, takes_pages=takes_pages)


def asked(*tags, kind=5050, content="", pages=False, to_us=True):
    event = signed(*tags, *([P_TIMMY] if to_us else []), kind=kind, content=content)
    terms = Terms(kinds=KINDS, pages=pages)
    return read(event, TIMMY, now=NOW, not_before=NOW - 3_600, terms=terms)


# The tags --------------------------------------------------------------------------------------------------------


def test_inputs_of_all_types_are_read_in_their_order():
    tags = [
        ("i", "Sum up:"),
        ("param", "length", "short"),
        ("i", ID, "event", "wss://relay.example"),
        ("input", "text", "and"),
        ("i", OTHER_ID, "JOB"),
        ("param", "prompt", "and"),
        ("i", " https://example.com/a ", "url"),
    ]
    assert parts(*tags) == [
        Words("Sum up:"),
        EventNamed(ID, ("wss://relay.example",)),
        Words("and"),
        EventNamed(OTHER_ID, is_result=True),
        Words("and"),
        PageNamed("https://example.com/a"),
    ]
    assert inputs.has_input(tags)


@pytest.mark.parametrize("tag", [(), ("i",), ("input", "url", "x"), ("param", "length", "5"), ("e", ID), ("",)])
def test_what_is_no_input_is_none(tag):
    assert not inputs.has_input([tag or ("x",)])
    assert parts(tag or ("x",)) == []


@pytest.mark.parametrize(
    ("name", "hint", "relays"),
    [
        (ID, (), ()),
        (ID.upper(), ("",), ()),
        (f" {ID} ", ("wss://One.Example/",), ("wss://one.example",)),
        (note(ID), ("ws://one.example",), ()),
        (f"nostr:{note(ID)}", ("http://169.254.169.254/",), ()),
        (nevent(ID, ["wss://two.example", "wss://one.example"]), ("wss://one.example",), 2),
        (nevent(ID, ["ws://localhost", "rubbish"]), (), ()),
    ],
)
def test_an_event_is_named_in_any_form_with_relays_that_could_be_dialled(name, hint, relays):
    relays = ("wss://one.example", "wss://two.example") if relays == 2 else relays
    assert parts(("i", name, "event", *hint)) == [EventNamed(ID, relays)]


@pytest.mark.parametrize("name", ["", "the last one", ID[:-1], note(ID)[:-1], TIMMY.npub, "naddr1xyz"])
@pytest.mark.parametrize("kind", ["event", "job"])
def test_a_name_that_is_none_is_refused(name, kind):
    with pytest.raises(Bad, match="hex, note1 or nevent1") as refused:
        parts(("i", name, kind))
    assert refused.value.code == "bad_input"


@pytest.mark.parametrize(
    ("tag", "what"),
    [
        (("i", "https://example.com", "url"), "Addresses are not fetched here: put the text itself into"),
        (("i", "x", "hologram"), "not understood"),
    ],
)
def test_what_is_not_taken_is_refused_with_what_to_do(tag, what):
    with pytest.raises(Bad, match=what) as refused:
        parts(tag, takes_pages=False)
    assert refused.value.code == "input_type"


@pytest.mark.parametrize(
    ("tags", "limit"),
    [
        ([("i", f"{number:064x}", "event") for number in range(9)], "At most 8 inputs"),
        ([("i", f"https://example.com/{number}", "url") for number in range(4)], "At most 3 pages"),
    ],
)
def test_not_too_much_is_looked_up_for_one_request(tags, limit):
    with pytest.raises(Bad, match=limit) as refused:
        parts(*tags)
    assert refused.value.code == "too_many_inputs"
    assert len(parts(*tags[1:], *[("i", "words")] * 100)) == len(tags) + 99


def test_relays_to_ask_are_few_however_many_are_named():
    named = [EventNamed(ID, (f"wss://{at}.example", f"wss://{at + 1}.example")) for at in range(5)]
    assert inputs.hints(named) == ("wss://0.example", "wss://1.example", "wss://2.example")
    assert inputs.hints([]) == ()


def test_a_reply_is_likeliest_to_what_is_marked_so():
    ids = [f"{number:064x}" for number in range(9)]
    tags = [
        ("e", ids[0], "", "root"),
        ("e", ids[1]),
        ("e", ids[4], "", "mention"),
        ("e", ids[2], "wss://relay.example", ""),
        ("e", ids[3], "", "reply", "key"),
        ("e", ids[1], ""),
        ("e", "rubbish"),
        ("e",),
        ("p", ids[4]),
    ]
    assert inputs.replies_to(tags) == (ids[3], ids[1], ids[2], ids[0])
    assert len(inputs.replies_to([("e", event_id) for event_id in ids])) == 5
    assert inputs.replies_to([]) == ()


# The request -----------------------------------------------------------------------------------------------------


def wanted(*tags, **how):
    found = asked(*tags, **how)
    assert isinstance(found, JobAsked)
    assert (found.text, found.preface_chars, found.follows) == ("", 0, None)
    return found.wanted


@pytest.mark.parametrize("to_us", [True, False])
@pytest.mark.parametrize("kind", [5001, 5002, 5050])
def test_a_request_that_names_events_is_a_job_whose_text_is_to_be_found(kind, to_us):
    tags = [("i", ID, "event"), ("param", "length", "short")]
    assert wanted(*tags, kind=kind, to_us=to_us) == Wanted(
        kind=kind_of(kind), params={"length": "short"}, parts=(EventNamed(ID),)
    )


def test_a_request_that_brings_its_words_needs_nothing():
    found = asked(("i", "Hi"))
    assert (found.text, found.wanted) == ("Hi", None)


def test_a_reply_is_looked_up_where_the_kind_talks():
    assert wanted(("i", "And why?"), ("e", ID, "", "reply")).replies_to == (ID,)
    assert asked(("i", "Text"), ("e", ID, "", "reply"), kind=5001).wanted is None


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("And why?", 5050, (Words("And why?"),)),
        (" ", 5050, ()),
        ("NIP 90 Text Generation Request", 5050, ()),
        ("NIP-90 Job Request.", 5050, ()),
        ("NIP-90: what does this note get wrong about it?", 5050, 1),
        ("Translate the given input.", 5002, ()),
    ],
)
def test_content_counts_beside_an_event_where_the_kind_talks_and_it_is_no_boilerplate(content, kind, said):
    said = (Words(content),) if said == 1 else said
    assert wanted(("i", ID, "event"), content=content, kind=kind).parts == (*said, EventNamed(ID))


def test_content_does_not_count_beside_words():
    tags = [("i", "And why?", "text"), ("i", ID, "event")]
    assert wanted(*tags, content="Something else").parts == (Words("And why?"), EventNamed(ID))


def test_the_ciphertext_of_an_encrypted_request_is_no_words():
    content = sealed([["i", ID, "event"], ["param", "language", "Greek"]], "nip44")
    found = wanted(("encrypted",), ("e", OTHER_ID), content=content)
    assert (found.parts, found.params) == ((EventNamed(ID),), {"language": "Greek"})
    assert found.replies_to == (OTHER_ID,)


def test_a_page_is_looked_up_only_where_the_operator_lets_us():
    tag = ("i", "https://example.com", "url")
    assert wanted(tag, pages=True).parts == (PageNamed("https://example.com"),)
    assert asked(tag).code == "input_type"
    assert isinstance(asked(tag, to_us=False), NotForUs)


def test_what_is_wrong_with_the_params_is_found_before_anything_is_looked_up():
    found = asked(("i", ID, "event"), ("i", "and"), ("param", "language", "x" * 61), kind=5002)
    assert isinstance(found, Unreadable)
    assert found.code == "bad_param"


def test_an_estimate_may_be_about_what_is_to_be_looked_up():
    found = asked(("i", ID, "event"), ("param", "op", "estimate"), kind=5001)
    assert isinstance(found, Question)
    assert found.wanted.parts == (EventNamed(ID),)


# What was named --------------------------------------------------------------------------------------------------


def judged(event, *, is_result=False):
    return text_of(event, is_result=is_result, now=NOW)


@pytest.mark.parametrize("kind", [1, 30_023, 6050, 5050, 9735])
def test_the_content_of_any_public_event_is_its_text(kind):
    assert judged(signed(kind=kind, content=" A note.\n")) == " A note.\n"


@pytest.mark.parametrize(
    "event",
    [
        *(signed(kind=kind, content="It looks clear.") for kind in (4, 13, 14, 1059, 21_059)),
        signed(("encrypted",), kind=6050, content="It looks clear."),
        signed(kind=6050, content=sealed("Secret", "nip44")),
        signed(kind=1, content=sealed("Secret", "nip04")),
    ],
)
def test_what_is_encrypted_is_not_read(event):
    with pytest.raises(Bad, match="is encrypted, and is not read here") as refused:
        judged(event)
    assert refused.value.code == "input_encrypted"


@pytest.mark.parametrize("kind", [1, 5050, 5999, 7000])
def test_the_result_of_a_job_is_a_result(kind):
    assert judged(signed(kind=6050, content="So."), is_result=True) == "So."
    with pytest.raises(Bad, match="or use type event") as refused:
        judged(signed(kind=kind, content="So."), is_result=True)
    assert refused.value.code == "not_a_result"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (signed(kind=1, content=" \n"), "input_empty"),
        (signed(("expiration", str(NOW)), kind=1, content="Late."), "input_gone"),
    ],
)
def test_what_holds_nothing_or_has_expired_is_refused(event, code):
    with pytest.raises(Bad) as refused:
        judged(event)
    assert refused.value.code == code
    assert refused.value.sentence.endswith("an i tag of type text.")


def test_an_expiration_to_come_or_of_junk_is_none():
    event = signed(("expiration", str(NOW + 1)), ("expiration", "soon"), kind=1, content="A note.")
    assert judged(event) == "A note."


_words = st.sampled_from(
    ["i", "e", "param", "input", "text", "event", "job", "url", "prompt", ID, note(ID), "reply"]
)


@given(tags=st.lists(st.lists(_words | st.text(max_size=9), min_size=1, max_size=5), max_size=12))
def test_nothing_a_stranger_writes_raises_but_what_is_answered(tags):
    tags = [tuple(tag) for tag in tags]
    inputs.replies_to(tags)
    try:
        found = parts(*tags)
    except Bad:
        found = [None]
    assert bool(found) == inputs.has_input(tags)


def test_alice_is_the_customer_here():
    assert signed(P_TIMMY).pubkey == ALICE.public_key
