"""Commands are answered in words, and no word of them is meant for a program."""

from decimal import Decimal

import pytest

from tests.timmy_dvm.nostr.kit import RELAY
from timmy_dvm.core.actions import OperationDone
from timmy_dvm.core.giving_back import CLAIM_BY
from timmy_dvm.nostr import plain_words
from timmy_dvm.nostr.origin import Origin

ORIGIN = Origin(request="{}", relay=RELAY, btc_micro_usd=100_000_000_000)
ESTIMATE = {"op": "estimate", "estimatedSats": 23, "evalFeeSats": 2, "workFeeSats": 21, "creditSats": 0}
WAITS = {"amountSats": 40, "claimable": True}
FLIES = {"amountSats": 1, "claimable": False}
WOULD_COST = (
    "That would cost 23 sats (about 2 cents) at most: 2 sats to check it, 21 sats for the answer; what is not "
    "used comes back. {}Send the text without the word price, and it is done."
)
BALANCE = (
    "You have 1 sat of credit.\n"
    "Waiting for you: 40 sats. Send an invoice (BOLT11) for exactly that, and it is paid.\n"
    "On the way to your invoice: 1 sat.\n"
    "There is more; it is shown when some of this is paid."
)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (ESTIMATE, WOULD_COST.format("")),
        (ESTIMATE | {"creditSats": 1}, WOULD_COST.format("Your credit would pay 1 sat of it. ")),
        ({"op": "me", "why": "It is so.", "creditSats": 7}, "It is so. You have 7 sats of credit."),
        ({"op": "balance", "creditSats": 0, "refunds": []}, "You have 0 sats of credit."),
        ({"op": "balance", "creditSats": 1, "refunds": [WAITS, FLIES], "moreRefunds": True}, BALANCE),
        ({"op": "balance", "creditSats": "?", "refunds": "?"}, "You have 0 sats of credit."),
        ({"op": "of another day", "sum": Decimal("0.5")}, '{"op":"of another day","sum":0.5}'),
    ],
)
def test_operations_are_answered_in_words(body, text):
    assert plain_words.operation(OperationDone(body=body), ORIGIN) == text


def test_an_estimate_without_a_bitcoin_price_says_the_sats_alone():
    text = plain_words.operation(OperationDone(body=ESTIMATE), Origin(request="{}", relay=RELAY))
    assert text.startswith("That would cost 23 sats at most:")


def test_an_estimate_of_what_goes_on_says_so():
    origin = Origin(request="{}", relay=RELAY, goes_on=True)
    text = plain_words.operation(OperationDone(body=ESTIMATE), origin)
    assert "This goes on from what was said before" in text


def test_a_sentence_names_the_way_to_claim_that_this_door_has_and_is_cut_where_it_is_too_long():
    assert plain_words.sentence(f"Claim them {CLAIM_BY}.") == "Claim them (send it here)."
    assert len(plain_words.sentence("x" * 9_000)) == 2_001
