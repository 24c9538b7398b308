"""Refusals: each with its code, its reason and what to do next; and what is just within each limit."""

import dataclasses

import pytest

from ledger.money import Msats
from ledger.records import Door, JobState, Mode
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.case import IGNORED, Case
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import RequestUnreadable
from timmy_dvm.core.pricing import estimate_request_cost

BOTH = estimate_request_cost("What is a relay?", "offline", b.POLICY.prices, b.BTC).estimated_sats
PREFACE = "Summarize the following text.\n\n"


def asked(case=None, policy=b.POLICY, **changes):
    return decide(case or Case(), b.asking(**changes), policy)


@pytest.mark.parametrize(
    ("code", "changes", "case", "words"),
    [
        ("empty", {"text": ""}, {}, "put it in an i tag"),
        ("empty", {"text": " \n\t"}, {}, "put it in an i tag"),
        ("empty", {"text": f"{PREFACE}\u200b", "preface_chars": len(PREFACE)}, {}, "put it in an i tag"),
        ("too_long", {"text": "x" * 16_001}, {}, "16001 characters; the limit is 16000"),
        ("too_long", {"text": PREFACE + "x" * 16_001, "preface_chars": len(PREFACE)}, {}, "has 16001 characters"),
        ("too_long", {"text": "x" * 501, "door": Door.HTTP}, {}, "501 characters; the limit is 500"),
        ("bad_param", {"max_tokens": 0}, {}, "whole number above 0"),
        ("bad_param", {"max_tokens": -5}, {}, "whole number above 0"),
        ("expires_too_soon", {"expires_at": b.NOW + 59}, {}, "with a later expiration, or none"),
        ("expires_too_soon", {"expires_at": b.NOW}, {"credit": b.sats(BOTH)}, "with a later expiration, or none"),
        ("rate_limited", {}, {"jobs_last_minute": 20}, "wait a minute"),
        ("too_many_open", {}, {"open_jobs": 3}, "You have 3 unpaid requests"),
        ("too_many_cancelled", {}, {"cancelled_last_hour": 12}, "ask again when their invoices have expired"),
        ("busy", {}, {"open_invoices": 500}, "ask again in 10 minutes"),
        ("busy", {}, {"open_invoices": 500, "identity": b.identity()}, "ask again in 10 minutes"),
        ("busy", {}, {"open_invoices": 1_000, "identity": b.identity(paid_jobs=1)}, "ask again in 10 minutes"),
        ("underbid", {"bid": Msats(BOTH * 1_000 - 1)}, {}, f"{BOTH} sats ({BOTH}000 msat)"),
        ("underbid", {"bid": Msats(BOTH * 1_000 - 1), "mode": Mode.STEPS}, {}, f"{BOTH} sats"),
        ("underbid", {"bid": b.sats(BOTH - 6)}, {"credit": b.sats(5)}, f"{BOTH - 5} sats"),
    ],
)
def test_a_refusal_says_why_and_what_to_do_and_makes_no_job(code, changes, case, words):
    """DEM-09."""
    decision = asked(Case(**case), **changes)
    (tell,) = decision.tells
    assert (tell.message.code, tell.origin) == (code, b.ORIGIN)
    assert words in tell.message.sentence
    assert decision == dataclasses.replace(IGNORED, tells=decision.tells)


@pytest.mark.parametrize(
    ("bits", "case", "door", "told"),
    [
        (0, {}, Door.NOSTR, "pow"),
        (19, {}, Door.NOSTR, "pow"),
        (19, {"identity": b.identity(90)}, Door.NOSTR, "pow"),
        (20, {}, Door.NOSTR, None),
        (33, {}, Door.NOSTR, None),
        (0, {"identity": b.identity(paid_jobs=1)}, Door.NOSTR, None),
        (0, {"credit": Msats(1)}, Door.NOSTR, None),
        (0, {}, Door.HTTP, None),
    ],
)
def test_a_stranger_shows_work_on_relays_and_who_paid_need_not(bits, case, door, told):
    policy = dataclasses.replace(b.POLICY, min_work_bits=20)
    decision = asked(Case(**case), policy, work_bits=bits, door=door)
    assert (decision.new_job is None) == (told is not None)
    if told is None:
        assert asked(Case(**case), work_bits=0, door=door) == asked(
            Case(**case), policy, work_bits=bits, door=door
        )
        return
    (tell,) = decision.tells
    assert (tell.message.code, decision) == (told, dataclasses.replace(IGNORED, tells=(tell,)))
    assert f"20 bits here (NIP-13), and this one shows {bits}" in tell.message.sentence
    silent = asked(Case(**case), policy, work_bits=bits, addressed=False)
    assert silent == IGNORED


@pytest.mark.parametrize(
    ("changes", "case"),
    [
        ({"text": "x" * 16_000}, {}),
        ({"text": PREFACE + "x" * 16_000, "preface_chars": len(PREFACE)}, {}),
        ({"text": "x" * 500, "door": Door.HTTP}, {}),
        ({"max_tokens": 1}, {}),
        ({"model": "offline"}, {}),
        ({}, {"jobs_last_minute": 19}),
        ({}, {"open_jobs": 2}),
        ({"expires_at": b.NOW + 60}, {}),
        ({}, {"cancelled_last_hour": 11}),
        ({}, {"open_invoices": 499}),
        ({}, {"open_invoices": 999, "identity": b.identity(paid_jobs=1)}),
        ({"bid": b.sats(BOTH)}, {}),
        ({"bid": b.sats(1_000_000)}, {}),
        ({"bid": b.sats(BOTH - 5)}, {"credit": b.sats(5)}),
        ({"bid": Msats(1)}, {"credit": b.sats(BOTH)}),
    ],
)
def test_what_is_just_within_the_limits_makes_a_job(changes, case):
    assert asked(Case(**case), **changes).new_job is not None


@pytest.mark.parametrize(
    "text",
    ["\u200b", "\u2060\ufeff\u200d", "\x00\x1b", "\u00a0\u3000", "\u0301\ufe0f", "\u3164", "\u2800", "\U000e0041"],
)
def test_a_text_without_one_visible_character_is_empty(text):
    assert b.told(asked(text=text)) == b.told(asked(text=f" {text}\n{text} ")) == ["Refused empty"]


@pytest.mark.parametrize("text", ["?", "7", "€", "ß", "मैं", "質", "ㅋ", "👋🏽", "\u200b.\u200b", "\u2800x"])
def test_one_visible_character_of_any_script_is_a_request(text):
    assert asked(text=text).new_job.request == text


def test_the_preface_is_part_of_what_is_kept_and_priced():
    with_preface = asked(text=f"{PREFACE}{'x' * 16_000}", preface_chars=len(PREFACE)).new_job
    assert with_preface.request.startswith(PREFACE)
    assert with_preface.quote.work_fee >= asked(text="x" * 16_000).new_job.quote.work_fee


@pytest.mark.parametrize(
    ("changes", "case"),
    [
        ({"text": ""}, {}),
        ({"text": "x" * 16_001}, {}),
        ({"max_tokens": 0}, {}),
        ({"expires_at": b.NOW + 1}, {}),
        ({"bid": Msats(1)}, {}),
        ({}, {"jobs_last_minute": 20}),
        ({}, {"open_jobs": 3}),
        ({}, {"cancelled_last_hour": 12}),
        ({}, {"open_invoices": 1_000}),
    ],
)
def test_who_named_no_provider_is_refused_in_silence(changes, case):
    assert asked(Case(**case), addressed=False, **changes) is IGNORED
    assert len(asked(Case(**case), **changes).tells) == 1


@pytest.mark.parametrize(
    ("identity", "told_at"), [(None, b.NOW + 60), (b.identity(), b.NOW + 60), (b.identity(paid_jobs=1), None)]
)
def test_a_refusal_waits_for_its_turn_but_not_that_of_a_key_that_has_paid(identity, told_at):
    (tell,) = asked(Case(identity=identity), bid=Msats(1), refusal_at=b.NOW + 60).tells
    assert tell.due_at == told_at
    assert asked(Case(identity=identity), refusal_at=b.NOW + 60) == asked(Case(identity=identity))


def test_who_named_no_provider_is_served_like_everybody_else():
    assert asked(addressed=False) == asked()


@pytest.mark.parametrize(("places", "cancelled"), [(1, 4), (3, 12), (10, 40)])
def test_a_key_may_cancel_four_requests_an_hour_for_each_that_it_may_leave_unpaid(places, cancelled):
    policy = dataclasses.replace(b.POLICY, open_jobs_per_key=places)
    assert asked(Case(cancelled_last_hour=cancelled - 1), policy).new_job
    assert b.told(asked(Case(cancelled_last_hour=cancelled), policy)) == ["Refused too_many_cancelled"]


def test_who_pays_from_credit_is_not_held_to_what_was_cancelled():
    case = Case(credit=b.sats(BOTH), cancelled_last_hour=1_000)
    assert asked(case).new_job.state is JobState.EVALUATING


def test_what_nobody_could_read_is_answered_all_the_same():
    fact = RequestUnreadable(event_id=b.EVENT, origin=b.ORIGIN, code="undecryptable", sentence="Why.", at=b.NOW)
    decision = decide(Case(), fact, b.POLICY)
    assert b.told(decision) == ["Refused undecryptable"]
    assert decision.tells[0].origin == b.ORIGIN
