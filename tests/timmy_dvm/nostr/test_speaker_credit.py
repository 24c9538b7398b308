"""What Timmy says of a key's own credit, and what of an operation he does not repeat."""

import json

import pytest

from ledger.money import Msats
from ledger.records import EventRole
from tests.timmy_dvm.nostr.kit import P_TIMMY, RELAY, opened, signed
from tests.timmy_dvm.nostr.test_speaker import BOLT11, E_TAG, P_ALICE, TOPUP, encrypted, say, shape
from timmy_dvm.core.actions import CreditAdded, OperationDone
from timmy_dvm.nostr.privacy import Scheme

PRICE_IN_WORDS = (
    "500 sats (about 50 cents) for your balance here: your next requests use it, and what is left can be taken "
    f"out (op refund). Pay: lightning:{BOLT11}. Valid until 14:32 UTC."
)


def test_a_topup_asks_for_its_money_as_a_job_does_so_that_any_client_pays_it():
    _, (event,) = say(TOPUP, job_id=None, base="https://timmy.example/pay")
    assert event.kind == 7000
    assert shape(event) == (
        [
            ["status", "payment-required", "500 sats for your balance; valid until 14:32 UTC"],
            ["amount", "500000", BOLT11],
            ["payment_hash", "ab" * 32],
            ["expiration", "1700058720"],
            ["trust_tier", "established"],
            E_TAG,
            P_ALICE,
            ["alt", "NIP-90 job feedback: payment-required"],
        ],
        PRICE_IN_WORDS,
    )


def test_a_paid_topup_has_a_receipt_with_the_new_balance():
    (new,), (event,) = say(CreditAdded(added=Msats(500_999), credit=Msats(1_234_567)), job_id=None)
    assert (event.kind, new.role) == (7000, EventRole.FEEDBACK)
    assert event.tag("status")[:2] == ("status", "success")
    assert event.tag("credit") == ("credit", "500", "1234")
    assert event.content.startswith("500 sats were added to your balance: it is 1234 sats now.")


@pytest.mark.parametrize("scheme", [Scheme.NIP04, Scheme.NIP44])
def test_a_topup_in_private_shows_nothing_but_its_amount(scheme):
    question = encrypted(scheme)
    _, (price,) = say(TOPUP, question, scheme, job_id=None)
    assert shape(price)[0] == [
        ["status", "payment-required"],
        ["amount", "500000", BOLT11],
        ["e", question.id, RELAY],
        P_ALICE,
        ["encrypted"],
    ]
    _, (receipt,) = say(CreditAdded(added=Msats(500_000), credit=Msats(1_234_000)), question, scheme, job_id=None)
    assert "1234" not in json.dumps(shape(receipt))
    assert ["credit", "500", "1234"] in json.loads(opened(receipt.content))


def test_what_was_asked_of_an_operation_is_not_repeated_for_it_could_not_be_forgotten_with_a_job():
    question = signed(P_TIMMY, ("param", "op", "estimate"), ("i", "Secret question", "text"))
    (new,), _ = say(OperationDone(body={"op": "estimate"}), question, job_id=None)
    assert "Secret question" not in new.json
