"""Where an event goes survives the ledger, and what older ledgers hold is still understood."""

import pytest

from tests.timmy_dvm.nostr.kit import ALICE
from timmy_dvm.nostr.targets import Configured, ToCustomer, ToInbox, read_targets, write_targets

KEY = ALICE.public_key


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        (Configured(), '{"to":"configured","version":1}'),
        (ToInbox(key=KEY), f'{{"to":"inbox","version":1,"key":"{KEY}","is_owed":false,"message":""}}'),
        (
            ToCustomer(key=KEY, came_from="wss://a.example", is_owed=True),
            f'{{"to":"customer","version":1,"key":"{KEY}","came_from":"wss://a.example","named":[],"is_owed":true}}',
        ),
    ],
    ids=["configured", "inbox", "customer"],
)
def test_the_form_in_ledgers_is_this_for_ever(targets, text):
    assert write_targets(targets) == text
    assert read_targets(text) == targets


def test_a_ledger_from_before_messages_were_named_is_read():
    text = f'{{"to":"inbox","version":1,"key":"{KEY}","is_owed":true}}'
    assert read_targets(text) == ToInbox(key=KEY, is_owed=True)


@pytest.mark.parametrize("text", ["[]", "", '["wss://a.example"]'])
def test_an_older_ledger_means_the_configured_relays(text):
    assert read_targets(text) == Configured()


@pytest.mark.parametrize(
    "text",
    ["{", "null", "{}", '{"to":"moon","version":1}', '{"to":"configured","version":2}',
     '{"to":"inbox","version":1}', '{"to":"inbox","version":1,"key":"npub1"}',
     '{"to":"customer","version":1,"key":7}', "[1]"],
)  # fmt: skip
def test_what_cannot_be_read_is_said_and_not_guessed(text):
    with pytest.raises(ValueError, match="can't be read"):
        read_targets(text)
