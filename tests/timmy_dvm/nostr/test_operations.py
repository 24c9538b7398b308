"""`param op` as customers write it: questions, claims, top-ups, being forgotten, and what is not offered."""

import pytest

from ledger.money import Msats
from tests.timmy_dvm.nostr.kit import NOW, P_TIMMY, TIMMY, sealed, signed
from timmy_dvm.core.facts import Op
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.nip90 import NotForUs, Terms, Unreadable, read
from timmy_dvm.nostr.operations import ForgetWanted, Question, RefundAsked, TopUpWanted, read_operation
from timmy_dvm.nostr.origin import Reply
from timmy_dvm.nostr.privacy import Scheme


def asked(*tags, kind=5050, content="", to=P_TIMMY):
    terms = Terms(kinds=frozenset({5050, 5001}), models=("m",))
    event = signed(*tags, *([to] if to else []), kind=kind, content=content)
    return read(event, TIMMY, now=NOW, not_before=NOW, terms=terms)


def op(name):
    return ("param", "op", name)


@pytest.mark.parametrize("name", ["me", "balance"])
@pytest.mark.parametrize("written", [str, str.upper, lambda name: f" {name} "])
def test_a_question_about_oneself_needs_no_more_than_its_name(name, written):
    assert asked(op(written(name))) == Question(op=Op(name), reply=Reply())


def test_how_a_key_stands_is_told_under_the_old_name_too():
    """IDN-13."""
    assert asked(op("identity.me")) == asked(op("me"))


ESTIMATES = {
    "an input": ([("i", "Hi", "text")], "", {"text": "Hi"}),
    "content alone": ([], " Hi ", {"text": "Hi"}),
    "nothing": ([], "", {"text": ""}),
    "wishes": (
        [("i", "Hi"), ("param", "max_tokens", "9"), ("param", "model", "m")],
        "",
        {"text": "Hi", "max_tokens": 9, "model": "m"},
    ),
    "what no estimate needs": (
        [("i", "Hi"), ("bid", "1"), ("param", "refund", "none"), ("expiration", str(NOW + 5))],
        "",
        {"text": "Hi"},
    ),
}


@pytest.mark.parametrize("shape", ESTIMATES)
def test_an_estimate_is_of_the_text_a_job_would_have(shape):
    tags, content, read_as = ESTIMATES[shape]
    assert asked(op("estimate"), *tags, content=content) == Question(op=Op.ESTIMATE, reply=Reply(), **read_as)


def test_an_estimate_of_another_kind_is_of_the_text_the_model_would_get():
    question = asked(op("estimate"), ("i", "Long"), kind=5001)
    assert question.text == "Summarize the following text.\n\nLong"
    assert question.text[question.preface_chars :] == "Long"


UNPRICED = {
    "an address": ([("i", "https://example.com", "url")], "input_type"),
    "a picture": ([("i", "Hi"), ("output", "image/png")], "output"),
    "tokens in words": ([("i", "Hi"), ("param", "max_tokens", "many")], "bad_param"),
}


@pytest.mark.parametrize("shape", UNPRICED)
def test_what_could_not_be_asked_for_has_no_estimate(shape):
    tags, code = UNPRICED[shape]
    assert asked(op("estimate"), *tags).code == code
    assert asked(*tags).code == code


@pytest.mark.parametrize("scheme", [Scheme.NIP04, Scheme.NIP44])
@pytest.mark.parametrize("mark", [[("encrypted",)], []])
def test_a_question_in_private_is_answered_in_private(scheme, mark):
    content = sealed(
        [["param", "op", "estimate"], ["i", "A private question that is long enough", "text"]], scheme
    )
    text = "A private question that is long enough"
    assert asked(*mark, content=content) == Question(op=Op.ESTIMATE, text=text, reply=Reply(scheme))


@pytest.mark.parametrize("written", ["500", " 500 ", "0500"])
def test_a_topup_says_how_many_sats(written):
    found = asked(op("topup"), ("param", "amount_sats", written))
    assert found == TopUpWanted(amount=Msats(500_000), reply=Reply())


@pytest.mark.parametrize(
    "amount", [(), ("",), ("0.5",), ("-5",), ("1e3",), ("5 sats",), ("١٢",), ("1_000",), ("9" * 13,)]
)
def test_a_topup_without_a_whole_number_of_sats_is_told_what_is_missing(amount):
    found = asked(op("topup"), *[("param", "amount_sats", value) for value in amount])
    assert isinstance(found, Unreadable)
    assert found.code == "bad_param"
    assert "amount_sats" in found.sentence


def test_how_many_sats_is_for_the_core_to_judge():
    assert asked(op("topup"), ("param", "amount_sats", "0")).amount == 0
    assert asked(op("topup"), ("param", "amount_sats", "9" * 12)).amount == Msats(999_999_999_999_000)


def test_a_refund_that_names_no_job_is_of_the_keys_balance():
    of_balance = RefundAsked(invoice="lnbc1", request_id=None, reply=Reply())
    assert asked(op("refund"), ("param", "invoice", "lnbc1")) == of_balance
    assert asked(op("refund"), ("param", "invoice", "lnbc1"), ("param", "job", "")) == of_balance


@pytest.mark.parametrize("params", [[], [("param", "job", "ab" * 32)], [("param", "invoice", "")]])
def test_a_refund_without_an_invoice_is_told_what_is_missing(params):
    found = asked(op("refund"), *params)
    assert (found.code, "param invoice" in found.sentence) == ("bad_param", True)


def test_to_be_forgotten_needs_no_more_than_its_name():
    assert asked(op("forget")) == ForgetWanted(reply=Reply())


@pytest.mark.parametrize("name", ["estimate", "me", "balance", "refund", "topup", "forget", "launch"])
def test_a_question_to_nobody_is_met_with_silence(name):
    assert isinstance(asked(op(name), ("i", "Hi"), to=None), NotForUs)


def test_what_is_not_offered_is_answered_with_what_is():
    found = asked(op("x"))
    assert isinstance(found, Unreadable)
    assert found.code == "unknown_op"
    for offered in (*Op, "refund", "topup", "forget"):
        assert offered in found.sentence


def test_a_word_of_a_strangers_own_is_not_repeated():
    with pytest.raises(Bad) as bad:
        read_operation({"op": "sing-me-a-song"}, Reply())
    assert "song" not in bad.value.sentence


def test_without_an_operation_it_is_a_job():
    assert read_operation({"invoice": "lnbc1"}, Reply()) is None
