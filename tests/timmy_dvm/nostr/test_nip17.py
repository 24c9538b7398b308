"""A private message is read as a person meant it: a request, a few commands, or nothing that wants an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_client.nip59 import Rumor
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, TIMMY, invoice
from timmy_dvm.core.facts import Op
from timmy_dvm.nostr import nip17
from timmy_dvm.nostr.conversation import Heard
from timmy_dvm.nostr.nip17 import HELP
from timmy_dvm.nostr.nip90 import CancelAsked, JobAsked, NotForUs, Unreadable
from timmy_dvm.nostr.operations import Question, RefundAsked
from timmy_dvm.nostr.privacy import Scheme

ME = TIMMY.public_key
EVENT_ID = "ab" * 32
BOLT11 = invoice()


def rumor(content="", *tags, kind=14, keys=ALICE, at=NOW):
    return Rumor.make(keys.public_key, kind=kind, created_at=at, tags=tags or (P_TIMMY,), content=content)


def read(content="", *tags, not_before=NOW - 3_600, **how):
    return nip17.read(rumor(content, *tags, **how), ME, now=NOW, not_before=not_before)


@pytest.mark.parametrize(
    "text",
    [
        "What is a relay?",
        "test",
        "Hello there, what is a relay?",
        "Help me write a letter",
        "me and my friends: who pays?",
        "Balance a budget of 40 sats",
        "refund policies, compared",
        "Thanks to whom do we have relays?",
        "priceless things",
        f"Who made {BOLT11}?",
        "lnbc1short",
        "何ですか",
        "a" * 100_000,
    ],
)
def test_any_text_is_a_request_for_its_answer(text):
    asked = read(f"\n {text}  ")
    assert isinstance(asked, JobAsked)
    assert (asked.text, asked.addressed) == (text, True)
    assert (asked.bid, asked.model, asked.expires_at, asked.preface_chars) == (None, None, None, 0)
    assert (asked.reply.scheme, asked.reply.relays) == (Scheme.NIP59, ())


@pytest.mark.parametrize(
    "text", ["help", "Help!", "/help", "?", "??", "hi", "Hello", "hey Timmy!", "/start", "info"]
)
def test_who_asks_how_it_works_is_told(text):
    asked = read(text)
    assert isinstance(asked, Unreadable)
    assert (asked.code, asked.sentence, asked.reply.scheme) == ("help", HELP, Scheme.NIP59)


@pytest.mark.parametrize(
    ("text", "op"),
    [("me", Op.ME), ("Me?", Op.ME), ("/balance", Op.BALANCE), (" Balance. ", Op.BALANCE), ("refund", Op.BALANCE)],
)
def test_a_question_about_the_key(text, op):
    asked = read(text)
    assert (type(asked), asked.op, asked.reply.scheme) == (Question, op, Scheme.NIP59)


@pytest.mark.parametrize(
    "text", ["price What is\na relay?", "Price: What is\na relay?", "/price  What is\na relay?"]
)
def test_a_price_is_asked_for_with_the_text(text):
    asked = read(text)
    assert (type(asked), asked.op, asked.text) == (Question, Op.ESTIMATE, "What is\na relay?")


@pytest.mark.parametrize("text", ["What is a relay?", "price What is a relay?"])
def test_what_a_request_may_go_on_from_is_read_with_it(text):
    reply = ("e", EVENT_ID, "wss://relay.example", "reply")
    assert read(text).heard == Heard((), NOW)
    assert read(text, P_TIMMY, reply, at=NOW - 9).heard == Heard((EVENT_ID,), NOW - 9)


@pytest.mark.parametrize(
    "text",
    ["new: What is\na relay?", "NEW :What is\na relay?", "/new What is\na relay?", "price new: What is\na relay?"],
)
def test_who_says_so_begins_anew(text):
    asked = read(text, P_TIMMY, ("e", EVENT_ID))
    assert (asked.text, asked.heard) == ("What is\na relay?", None)


@pytest.mark.parametrize("text", ["New York: where is it?", "new shoes", "new:", "renew: it"])
def test_what_only_begins_like_it_is_said_whole(text):
    assert (read(text).text, read(text).heard) == (text, Heard((), NOW))


def test_a_price_of_nothing_is_told_how_to_ask():
    assert read("price").code == read("Price:").code == "bad_param"


@pytest.mark.parametrize(
    "text",
    [
        BOLT11,
        BOLT11.upper(),
        f"lightning:{BOLT11}",
        f"LIGHTNING:{BOLT11.upper()}\n",
        invoice("bc"),
        invoice("tbs"),
    ],
)
def test_an_invoice_alone_claims_the_refund_of_its_sum(text):
    asked = read(text)
    assert (type(asked), asked.invoice, asked.request_id) == (RefundAsked, text.strip(), None)
    assert asked.reply.scheme is Scheme.NIP59


@pytest.mark.parametrize("text", [f"refund {BOLT11}", f"/Refund: {BOLT11}", f"refund\n{BOLT11}"])
def test_so_does_an_invoice_with_the_word(text):
    assert read(text).invoice == BOLT11
    assert read("refund nonsense").invoice == "nonsense"


@pytest.mark.parametrize(
    "text", ["", "  ", "👍", "🙏🙏", "...", "!", "Thanks!", "thank you.", "OK 👍", "Paid", "\u200b"]
)
def test_a_courtesy_wants_no_answer(text):
    assert read(text) == NotForUs("a courtesy")


@pytest.mark.parametrize("kind", [1, 7, 13, 16, 444, 5050])
def test_reactions_and_other_kinds_are_met_with_silence(kind):
    assert read("+", kind=kind) == NotForUs("no message")


def test_who_sends_a_file_is_told_to_write():
    asked = read("https://files.example/secret.png", kind=15)
    assert (type(asked), asked.code) == (Unreadable, "file")
    assert "files.example" not in asked.sentence


def test_a_deletion_in_a_wrap_cancels():
    assert read("", P_TIMMY, ("e", EVENT_ID), ("e", "junk"), kind=5) == CancelAsked((EVENT_ID,))
    assert read("", P_TIMMY, kind=5) == NotForUs("a deletion of no event")


@pytest.mark.parametrize(
    ("tags", "is_ours"),
    [
        ([P_TIMMY], True),
        ([P_TIMMY, ("p", ALICE.public_key)], True),
        ([("subject", "no receiver at all")], True),
        ([P_TIMMY, ("e", EVENT_ID)], True),
        ([P_TIMMY, ("p", MALLORY.public_key)], False),
        ([("p", MALLORY.public_key)], False),
    ],
)
def test_in_a_group_we_are_silent(tags, is_ours):
    """Everything said there would cost somebody an invoice."""
    assert isinstance(read("What is a relay?", *tags), JobAsked) is is_ours


def test_another_bots_answer_and_our_own_message_are_not_answered():
    assert isinstance(read("What is a relay?", P_TIMMY, ("bot", "answer")), NotForUs)
    assert isinstance(read("What is a relay?", keys=TIMMY), NotForUs)


@pytest.mark.parametrize(
    ("ago", "is_ours"), [(0, True), (3_600, True), (3_601, False), (-900, True), (-901, False)]
)
def test_it_is_the_messages_own_date_that_is_judged(ago, is_ours):
    assert isinstance(read("What is a relay?", at=NOW - ago), JobAsked) is is_ours


def test_what_came_while_we_were_away_is_not_too_old():
    assert isinstance(read("What is a relay?", at=NOW - 80_000, not_before=NOW - 86_400), JobAsked)


@given(st.text(max_size=60), st.sampled_from([5, 7, 14, 15]))
def test_nothing_that_is_written_makes_it_stumble(text, kind):
    try:
        said = rumor(text, kind=kind)
    except ValueError:  # no rumor can hold it
        return
    nip17.read(said, ME, now=NOW, not_before=0)
