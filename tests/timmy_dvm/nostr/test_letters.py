"""What Timmy says in private: readable by one person, stored signed, in sizes relays take, and in plain words."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.money import Msats
from ledger.records import EventRole
from relay_client.errors import DecryptionFailed
from relay_client.event import Event
from relay_client.nip59 import Rumor, unwrap
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, RELAY, TIMMY
from timmy_dvm.clock import SeededRandomness
from timmy_dvm.core.actions import (
    Delivered,
    Ended,
    OperationDone,
    PriceTold,
    RefundMoved,
    Refused,
    Working,
)
from timmy_dvm.core.giving_back import CLAIM_BY
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr.origin import read_origin, write_origin
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.nostr.speaker import NostrSpeaker
from timmy_dvm.nostr.targets import ToInbox, read_targets

JOB = "0123456789abcdef0123456789abcdef"
BTC = BtcPrice.from_usd(100_000, source="test", freshness=Freshness.FRESH, at=NOW)
BOLT11 = "lnbc90n1pexample"
ASKED = Rumor.make(ALICE.public_key, kind=14, created_at=NOW - 5, tags=[P_TIMMY], content="Secret question")
LEDGER = {"evalAmountSats": 2, "actualAmountSats": 5, "totalTokens": 46, "actualCostUsd": Decimal("0.000123")}
PRICE = PriceTold(amount=Msats(9_000), bolt11=BOLT11, payment_hash="ab" * 32, expires_at=1_700_058_720)
DELIVERED = Delivered(
    text="Secret answer", truncated=False, ledger=LEDGER, money_back=f"12 sats are yours: claim them {CLAIM_BY}."
)
MESSAGES = {
    "price": PRICE,
    "working": Working(covered_by="invoice", credit=Msats(0)),
    "delivered": DELIVERED,
    "rejected": Ended(code="rejected", sentence="Secret reason.", money_back="7 sats are yours."),
    "refused": Refused(code="too_long", sentence="Secret: please shorten it."),
    "refund": RefundMoved(state="sent", sats=7, status="complete", sentence="7 sats were sent back."),
    "operation": OperationDone(body={"op": "refund", "refundAmountSats": 7}),
}


def say(message, *, base=None, job_id=JOB, seed=1, btc=BTC, goes_on=False):
    """The stored events, and the rumors that Alice finds in them."""
    speaker = NostrSpeaker(TIMMY, SeededRandomness(seed), base)
    origin = write_origin(ASKED, relay=RELAY, relays=[], scheme=Scheme.NIP59, btc=btc, goes_on=goes_on)
    new = speaker.speak(message, origin=origin, job_id=job_id, tier=Tier.ESTABLISHED, at=NOW)
    events = [Event.from_wire(one.json) for one in new]
    rumors = [unwrap(event, ALICE) for event in events]
    for one, event, rumor in zip(new, events, rumors, strict=True):
        assert (one.id, one.job_id) == (event.id, job_id)
        is_owed = isinstance(message, Delivered)
        assert read_targets(one.targets) == ToInbox(key=ALICE.public_key, is_owed=is_owed, message=rumor.id)
    return new, rumors


def texts(message, **how):
    return [rumor.content for rumor in say(message, **how)[1]]


def test_a_message_can_be_answered_from_its_note():
    note = write_origin(ASKED, relay=RELAY, relays=[], scheme=Scheme.NIP59, btc=BTC)
    origin, request = read_origin(note)
    assert request == ASKED
    assert (origin.scheme, origin.relay) == (Scheme.NIP59, RELAY)
    with pytest.raises(ValueError, match="note"):
        read_origin(note.replace("Secret question", "Another question"))


def test_money_due():
    (text,) = texts(PRICE)
    assert text == (
        "9 sats (about 1 cent) at most; what is not used comes back. Pay this invoice, and the answer comes here. "
        "Valid until 14:32 UTC.\n\nlightning:lnbc90n1pexample"
    )


def test_money_due_beside_credit_and_with_a_pay_page():
    (text,) = texts(
        PriceTold(amount=PRICE.amount, credit=Msats(4_000), bolt11=BOLT11, payment_hash="", expires_at=0),
        base="https://timmy.example/pay",
        btc=None,
    )
    assert text.startswith("9 sats at most, with 4 sats of your credit; what is not used comes back.")
    assert text.endswith(f"\n\nlightning:lnbc90n1pexample\n\nhttps://timmy.example/pay/{JOB}")


def test_money_due_for_what_goes_on_says_so_and_how_to_begin_anew():
    (text,) = texts(PRICE, goes_on=True)
    assert "This goes on from what was said before; to begin anew, write new: before your text." in text


def test_the_answer_and_then_the_receipt():
    new, rumors = say(DELIVERED)
    assert [one.role for one in new] == [EventRole.RESULT, EventRole.FEEDBACK]
    answer, receipt = [rumor.content for rumor in rumors]
    assert answer == "Secret answer"
    assert receipt == (
        "Done for 7 sats: 2 to check the request, 5 for the answer (46 tokens). "
        "12 sats are yours: claim them (send it here)."
    )
    assert [rumor.created_at for rumor in rumors] == [NOW, NOW + 1]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (MESSAGES["working"], "Payment received. Working on it."),
        (Working(covered_by="credit", credit=Msats(9_000)), "Covered by your credit: 9 sats. Working on it."),
        (MESSAGES["rejected"], "Secret reason. 7 sats are yours. You may change the request and ask again."),
        (MESSAGES["refused"], "Secret: please shorten it."),
        (MESSAGES["refund"], "7 sats were sent back."),
        (MESSAGES["operation"], "On the way to your invoice: 7 sats."),
        (Refused(code="x", sentence=f"Claim it {CLAIM_BY}."), "Claim it (send it here)."),
        (Ended(code="x", sentence="No.", money_back=f"A {CLAIM_BY}."), "No. A (send it here). You may ask again."),
    ],
)
def test_other_messages(message, text):
    assert texts(message) == [text]


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_every_message_is_for_its_reader_alone_and_says_what_it_answers(message):
    new, rumors = say(message)
    for one, rumor in zip(new, rumors, strict=True):
        event = Event.from_wire(one.json)
        assert (rumor.kind, rumor.pubkey) == (14, TIMMY.public_key)
        assert rumor.tags == (("p", ALICE.public_key), ("e", ASKED.id), ("bot", "answer"))
        assert (event.kind, event.tags) == (1_059, (("p", ALICE.public_key),))
        assert NOW - 172_800 <= event.created_at <= NOW
        assert not [word for word in ("Secret", "sats", TIMMY.public_key, ASKED.id, BOLT11) if word in one.json]
        with pytest.raises(DecryptionFailed):
            unwrap(event, MALLORY)


def test_no_two_wraps_share_a_key_or_a_date():
    events = [Event.from_wire(one.json) for seed in range(20) for one in say(DELIVERED, seed=seed)[0]]
    assert len({event.pubkey for event in events}) == len(events)
    assert len({event.created_at for event in events}) > 35


@pytest.mark.parametrize("char", ["a", "é", "😀", "\x00", '"', "\n"])
def test_an_answer_of_any_length_comes_whole_in_wraps_that_relays_take(char):
    answer = "".join(f"{char * 500} {number}\n" for number in range(60))
    new, rumors = say(Delivered(text=answer, truncated=False, ledger={}, money_back=""))
    parts = rumors[:-1]
    assert len(parts) > 1
    assert "".join(rumor.content.partition("\n")[2] for rumor in parts) == answer
    assert [rumor.content.partition("\n")[0] for rumor in parts] == [
        f"({number}/{len(parts)})" for number in range(1, len(parts) + 1)
    ]
    assert [rumor.created_at for rumor in rumors] == [NOW + nth for nth in range(len(rumors))]
    assert max(len(one.json.encode()) for one in new) <= 60_000
    assert [one.role for one in new].count(EventRole.RESULT) == 1


def test_an_answer_beyond_all_measure_ends_with_a_word_about_it():
    new, rumors = say(Delivered(text="x" * 1_500_000, truncated=False, ledger={}, money_back=""))
    assert len(new) == 33
    assert rumors[31].content.endswith("ends here.]")


@given(st.text(st.characters(), max_size=40))
@settings(max_examples=40)
def test_whatever_the_model_writes_is_said(text):
    """Even what no event can hold: a commit must not fail for it."""
    first = texts(Delivered(text=text, truncated=False, ledger={}, money_back=""))[0]
    assert first == (text.encode("utf-8", "replace").decode() or "(The answer is empty.)")


def test_the_words_for_programs_are_not_told_to_people():
    for message in MESSAGES.values():
        for text in texts(message):
            assert "op refund" not in text
            assert "param" not in text
            with pytest.raises(ValueError, match=r"."):
                json.loads(text)
