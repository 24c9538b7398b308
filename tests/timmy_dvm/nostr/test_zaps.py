"""Zap requests as NIP-57 wants them, and the receipt of one that is paid; the NIP's own rules, one by one."""

import dataclasses
import json

import pytest

from relay_client.event import Event
from tests.timmy_dvm.nostr.kit import ALICE, AUX, MALLORY, NOW, P_TIMMY, TIMMY, signed
from timmy_dvm.clock import SeededRandomness
from timmy_dvm.core.actions import Donated
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr.speaker import NostrSpeaker
from timmy_dvm.nostr.targets import Configured, ToCustomer, read_targets
from timmy_dvm.nostr.zaps import MAX_CHARS, InvalidZap, read_comment, read_note, read_zap, receipt, write_note

EVENT = "e1" * 32
RELAYS = ("relays", "wss://one.example", "wss://two.example")
AMOUNT = ("amount", "21000")
WHOLE = (P_TIMMY, ("e", EVENT), AMOUNT, RELAYS, ("lnurl", "lnurl1xyz"))


def asked(*tags, content="", kind=9734, keys=ALICE):
    return signed(*tags, kind=kind, content=content, keys=keys).to_json()


def read(text, amount=21_000):
    return read_zap(text, amount=amount, public_key=TIMMY.public_key)


def test_a_zap_request_that_keeps_to_the_rules_is_read_as_it_was_sent():
    text = asked(*WHOLE, content="Thanks!")
    zap = read(text)
    assert (zap.text, zap.request.pubkey, zap.zapped_event) == (text, ALICE.public_key, EVENT)
    assert zap.relays == RELAYS[1:]


@pytest.mark.parametrize(
    "tags",
    [
        (P_TIMMY, RELAYS),
        (P_TIMMY,),
        (P_TIMMY, RELAYS, ("P", TIMMY.public_key)),
        (P_TIMMY, RELAYS, ("a", f"31990:{TIMMY.public_key}:timmy-5050")),
        (P_TIMMY, RELAYS, ("a", f"30023:{ALICE.public_key}:with:colons")),
    ],
)
def test_what_the_nip_leaves_open_may_be_left_out_or_be_there(tags):
    assert read(asked(*tags)).request.kind == 9734


BROKEN = {
    "no signature": asked(*WHOLE).replace(ALICE.public_key, MALLORY.public_key),
    "not JSON": "{",
    "no object": "[]",
    "empty object": "{}",
    "another kind": asked(*WHOLE, kind=9735),
    "no tags": asked(),
    "no p": asked(RELAYS, AMOUNT),
    "two p": asked(P_TIMMY, P_TIMMY, RELAYS),
    "a p without a key": asked(P_TIMMY, ("p",), RELAYS),
    "another's p": asked(("p", ALICE.public_key), RELAYS),
    "two e": asked(P_TIMMY, ("e", EVENT), ("e", EVENT)),
    "an e that is none": asked(P_TIMMY, ("e", "xyz")),
    "an e without a value": asked(P_TIMMY, ("e",)),
    "an a that is none": asked(P_TIMMY, ("a", "timmy-5050")),
    "an a without a key": asked(P_TIMMY, ("a", "31990:me:timmy-5050")),
    "two P": asked(P_TIMMY, ("P", TIMMY.public_key), ("P", TIMMY.public_key)),
    "another's P": asked(P_TIMMY, ("P", ALICE.public_key)),
    "another amount": asked(P_TIMMY, ("amount", "21001")),
    "an amount in sats": asked(P_TIMMY, ("amount", "21")),
    "two amounts": asked(P_TIMMY, AMOUNT, AMOUNT),
    "an amount without a value": asked(P_TIMMY, ("amount",)),
    "far too long": asked(P_TIMMY, ("relays", *("wss://relay.example" for _ in range(MAX_CHARS // 20)))),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_breaks_a_rule_is_refused_with_a_sentence(text):
    with pytest.raises(InvalidZap) as refused:
        read(text)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("content", "tags", "named"),
    [
        ("#donor", (), True),
        ("for the wizard #Donor please", (), True),
        ("", (), False),
        ("thanks", (), False),
        ("I am no #donors' friend", (), False),
        ("#donor", (("anon",),), False),
        ("#donor", (("anon", "x"),), False),
    ],
)
def test_a_giver_is_named_only_by_the_zaps_own_word(content, tags, named):
    zap = read(asked(*WHOLE, *tags, content=content))
    assert zap.donor == (ALICE.public_key if named else None)


def test_a_receipt_is_ours_and_holds_what_the_nip_wants():
    text = asked(*WHOLE, ("k", "5050"), ("a", f"31990:{TIMMY.public_key}:timmy-5050", "wss://hint.example"))
    made = receipt(read(text), "lnbcrt210n1", keys=TIMMY, aux=AUX, at=NOW + 5)
    event = Event.from_wire(made.json)
    assert (event.kind, event.pubkey, event.created_at, event.content) == (9735, TIMMY.public_key, NOW + 5, "")
    assert event.tags == (
        P_TIMMY,
        ("e", EVENT),
        ("a", f"31990:{TIMMY.public_key}:timmy-5050"),
        ("k", "5050"),
        ("P", ALICE.public_key),
        ("bolt11", "lnbcrt210n1"),
        ("description", text),
    )
    assert (made.id, made.job_id) == (event.id, None)
    assert read_targets(made.targets) == ToCustomer(key=ALICE.public_key, named=RELAYS[1:], is_owed=True)


def test_a_zap_that_names_no_relay_is_told_to_ours():
    made = receipt(read(asked(P_TIMMY)), "lnbc1", keys=TIMMY, aux=AUX, at=NOW)
    assert read_targets(made.targets) == Configured()


def test_what_is_kept_of_a_gift_comes_back():
    zap = read(asked(*WHOLE, content="Thanks!"))
    assert read_note(write_note(zap=zap, comment="ignored")) == zap
    assert read_comment(write_note(zap=zap)) == "Thanks!"
    assert (read_note(write_note(comment="Hi")), read_comment(write_note(comment="Hi"))) == (None, "Hi")
    assert write_note() == ""


@pytest.mark.parametrize(
    "text", ["", "{}", '{"door":"nostr"}', "[]", '{"door":"gift","zap":"{}"}', '{"door":"gift"}']
)
def test_another_doors_note_is_no_zap(text):
    assert read_note(text) is None
    assert read_comment(text) == ""


GIFT = Donated(amount=21_000, received=21_000, bolt11="lnbcrt210n1")


@pytest.mark.parametrize(
    ("received", "note", "said"),
    [
        (21_000, write_note(zap=read(asked(*WHOLE))), 1),
        (25_000, write_note(zap=read(asked(*WHOLE))), 1),
        (20_999, write_note(zap=read(asked(*WHOLE))), 0),
        (0, write_note(zap=read(asked(*WHOLE))), 0),
        (21_000, write_note(comment="Hi"), 0),
        (21_000, "", 0),
    ],
)
def test_a_receipt_is_signed_only_for_a_zap_that_was_paid_in_full(received, note, said):
    speaker = NostrSpeaker(TIMMY, SeededRandomness(1))
    gift = Donated(amount=GIFT.amount, received=received, bolt11=GIFT.bolt11)
    events = speaker.speak(gift, origin=note, job_id=None, tier=Tier.NEW, at=NOW)
    assert [json.loads(event.json)["kind"] for event in events] == [9735] * said


def test_a_zap_is_a_value():
    zap = read(asked(*WHOLE))
    with pytest.raises(dataclasses.FrozenInstanceError):
        zap.text = ""
