"""What the tests of the relay door share: people, their events, and reading what Timmy says to a customer."""

import json

import coincurve

from lightning import bolt11
from relay_client import nip04, nip44
from relay_client.keys import Keys
from timmy_dvm.nostr.privacy import Scheme

NOW = 1_700_000_000
TIMMY = Keys.from_bytes(b"\x01" * 32)
ALICE = Keys.from_bytes(b"\x02" * 32)
MALLORY = Keys.from_bytes(b"\x03" * 32)
RELAY = "wss://relay.example"
P_TIMMY = ("p", TIMMY.public_key)
AUX = b"\x07" * 32
SCHEMES = [Scheme.NONE, Scheme.NIP04, Scheme.NIP44]
"""In which a request by NIP-90 may come; a private message is wrapped whole (NIP-59)."""


def stranger(number):
    """One of many people."""
    return Keys.from_bytes((1_000 + number).to_bytes(32, "big"))


def signed(*tags, kind=5050, content="", keys=ALICE, at=NOW):
    """A true event."""
    return keys.sign(kind=kind, created_at=at, tags=tags, content=content, aux=AUX)


def sealed(tags, scheme, keys=ALICE, to=TIMMY):
    """A JSON array of tags (or any text), encrypted."""
    text = tags if isinstance(tags, str) else json.dumps(tags)
    if scheme == "nip04":
        return nip04.encrypt(text, keys, to.public_key, b"\x05" * 16)
    return nip44.encrypt(text, nip44.conversation_key(keys, to.public_key), b"\x06" * 32)


def opened(content, keys=ALICE, sender=TIMMY):
    """What the customer decrypts."""
    if nip04.is_nip04(content):
        return nip04.decrypt(content, keys, sender.public_key)
    return nip44.decrypt(content, nip44.conversation_key(keys, sender.public_key))


def invoice(network="bcrt", amount=7_000):
    """A BOLT11 of the customer's own wallet."""
    return bolt11.encode(
        coincurve.PrivateKey(b"\x08" * 32),
        network=network,
        payment_hash=b"\x01" * 32,
        payment_secret=b"\x02" * 32,
        timestamp=NOW,
        amount_msat=amount,
        description="refund",
        expiry=600,
    )
