"""Gift wraps: what is wrapped its reader alone can open, with others' programs too; and no lie gets through."""

import itertools
import json
import os

import nostr_sdk as sdk
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_client import nip44
from relay_client.errors import DecryptionFailed, InvalidEvent, InvalidGiftWrap, InvalidKey, InvalidPlaintext
from relay_client.event import Event, UnverifiedEvent
from relay_client.keys import Keys
from relay_client.nip59 import (
    KIND_EPHEMERAL_GIFT_WRAP,
    KIND_GIFT_WRAP,
    KIND_SEAL,
    MAX_RUMOR_BYTES,
    Rumor,
    unwrap,
    wrap,
)
from tests.peer_writer import Writer

ALICE, BOB, EVE, ONCE = (Keys.from_bytes(bytes([number]) * 32) for number in (1, 2, 3, 4))
NOW = 1_800_000_000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
NOTHING = object()


def counting():
    """Bytes that differ with each call, and are the same in each run."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def said(content="Good morning.", *, keys=ALICE, kind=14, tags=(("p", BOB.public_key),), at=NOW):
    return Rumor.make(keys.public_key, kind=kind, created_at=at, tags=tags, content=content)


def wrapped(rumor=None, *, author=ALICE, reader=BOB, **how):
    how = {"sealed_at": NOW - 5, "wrapped_at": NOW - 9, "entropy": counting()} | how
    return wrap(rumor or said(), author, reader.public_key, **how)


def encrypted(text, author, reader):
    return nip44.encrypt(text, nip44.conversation_key(author, reader.public_key), os.urandom(32))


def sealed(rumor_json, *, author=ALICE, kind=KIND_SEAL, tags=()):
    """A seal around any text, whether it is a rumor or not."""
    content = encrypted(rumor_json, author, BOB)
    return author.sign(kind=kind, created_at=NOW, tags=tags, content=content, aux=bytes(32))


def around(seal_json, *, kind=KIND_GIFT_WRAP):
    """A wrap around any text, whether it is a seal or not."""
    content = encrypted(seal_json, ONCE, BOB)
    return ONCE.sign(kind=kind, created_at=NOW, tags=[("p", BOB.public_key)], content=content, aux=bytes(32))


def fields(rumor, **changed):
    """A rumor's JSON with some fields changed, or left out."""
    told = json.loads(rumor.to_json()) | changed
    return json.dumps({name: value for name, value in told.items() if value is not NOTHING})


def test_what_is_wrapped_its_reader_opens():
    rumor = said(tags=[("p", BOB.public_key), ("subject", "é \u2028 😀")])
    assert unwrap(wrapped(rumor), BOB) == rumor


@given(TEXT, st.integers(0, 65_535))
@settings(max_examples=30)
def test_any_text_and_kind_comes_back_as_it_was(content, kind):
    rumor = said(content, kind=kind)
    assert unwrap(wrapped(rumor), BOB) == rumor


def test_relays_see_the_reader_a_date_and_a_key_used_once():
    event = wrapped()
    assert (event.kind, event.created_at, event.tags) == (KIND_GIFT_WRAP, NOW - 9, (("p", BOB.public_key),))
    assert ALICE.public_key not in event.to_json()
    assert event.pubkey not in (ALICE.public_key, BOB.public_key)
    assert wrapped(entropy=os.urandom).pubkey != wrapped(entropy=os.urandom).pubkey


def test_a_seal_is_dated_as_told_and_has_no_tags():
    outer = nip44.decrypt(wrapped().content, nip44.conversation_key(BOB, wrapped().pubkey))
    seal = Event.from_wire(outer)
    assert (seal.kind, seal.pubkey, seal.created_at, seal.tags) == (KIND_SEAL, ALICE.public_key, NOW - 5, ())
    assert "Good morning" not in outer


def test_one_who_keeps_nothing_is_written_to_as_well():
    event = wrapped(kind=KIND_EPHEMERAL_GIFT_WRAP)
    assert event.kind == KIND_EPHEMERAL_GIFT_WRAP
    assert unwrap(event, BOB) == said()


def test_one_may_write_to_oneself():
    assert unwrap(wrapped(reader=ALICE), ALICE) == said()


def test_nobody_else_opens_it():
    for keys in (ALICE, EVE):
        with pytest.raises(DecryptionFailed):
            unwrap(wrapped(), keys)


def test_the_longest_rumor_fits_into_what_relays_take_and_one_byte_more_is_refused():
    room = MAX_RUMOR_BYTES - len(said("").to_json())
    event = wrapped(said("x" * room))
    assert 50_000 < len(event.to_json()) <= 56_000
    assert unwrap(event, BOB).content == "x" * room
    with pytest.raises(InvalidPlaintext):
        wrapped(said("x" * (room + 1)))


def test_only_its_author_seals_a_rumor():
    with pytest.raises(ValueError, match="own author"):
        wrapped(said(keys=EVE))


def test_a_wrap_has_one_of_two_kinds():
    with pytest.raises(ValueError, match="1059 or 21059"):
        wrapped(kind=1)


def test_what_is_no_key_is_not_written_to():
    with pytest.raises(InvalidKey):
        wrap(said(), ALICE, "f" * 64, sealed_at=NOW, wrapped_at=NOW, entropy=os.urandom)


@pytest.mark.parametrize("changed", [{"created_at": -1}, {"kind": 65_536}, {"tags": [()]}, {"content": "\ud800"}])
def test_what_could_not_be_read_is_not_made(changed):
    with pytest.raises(InvalidEvent):
        Rumor.make(ALICE.public_key, **({"kind": 14, "created_at": NOW} | changed))


def test_a_rumor_with_a_false_id_does_not_exist():
    rumor = said()
    with pytest.raises(InvalidEvent, match="id"):
        Rumor("0" * 64, rumor.pubkey, rumor.created_at, rumor.kind, rumor.tags, rumor.content)


@pytest.mark.parametrize("left_out", [{"id": NOTHING}, {"id": None}, {"sig": ""}, {"sig": None}, {"more": 1}])
def test_a_rumor_is_read_as_clients_write_it(left_out):
    assert unwrap(around(sealed(fields(said(), **left_out)).to_json()), BOB) == said()


def test_a_disappearing_message_may_say_on_its_seal_when_it_ends():
    seal = sealed(said().to_json(), tags=[("expiration", str(NOW + 60))])
    assert unwrap(around(seal.to_json()), BOB) == said()


@pytest.mark.parametrize("kind", [1, 13, 14])
def test_what_is_no_gift_wrap_is_not_opened(kind):
    with pytest.raises(InvalidGiftWrap, match="no gift wrap"):
        unwrap(around(sealed(said().to_json()).to_json(), kind=kind), BOB)


@pytest.mark.parametrize(
    "content",
    ["", "junk", "A" * 200, "A" * 200_000, wrapped().content[:-4] + "AAAA", encrypted("{}", ALICE, EVE)],
    ids=["empty", "short", "zeros", "huge", "altered", "for another"],
)
def test_a_wrap_that_does_not_decrypt(content):
    event = UnverifiedEvent("0" * 64, ONCE.public_key, NOW, KIND_GIFT_WRAP, (), content, "0" * 128)
    with pytest.raises(DecryptionFailed):
        unwrap(event, BOB)


SEAL = sealed(said().to_json())
FALSE_SEALS = {
    "no JSON": "hello",
    "an array": "[]",
    "deep": "[" * 40_000,
    "a rumor without its seal": said().to_json(),
    "another kind": sealed(said().to_json(), kind=1).to_json(),
    "a wrap in a wrap": wrapped().to_json(),
    "tagged": sealed(said().to_json(), tags=[("p", BOB.public_key)]).to_json(),
    "another's name": SEAL.to_json().replace(ALICE.public_key, EVE.public_key),
    "another date": SEAL.to_json().replace(str(NOW), str(NOW + 1)),
    "another id": SEAL.to_json().replace(SEAL.id, "0" * 64),
    "no signature": SEAL.to_json().replace(SEAL.sig, "0" * 128),
    "another content": SEAL.to_json().replace(SEAL.content, sealed("{}").content),
}


@pytest.mark.parametrize("text", FALSE_SEALS.values(), ids=FALSE_SEALS)
def test_what_holds_no_true_seal_is_refused(text):
    with pytest.raises(InvalidGiftWrap):
        unwrap(around(text), BOB)


def test_a_seal_for_another_reader_is_not_opened():
    content = encrypted(said().to_json(), ALICE, EVE)
    seal = ALICE.sign(kind=KIND_SEAL, created_at=NOW, tags=(), content=content, aux=bytes(32))
    with pytest.raises(DecryptionFailed):
        unwrap(around(seal.to_json()), BOB)


FALSE_RUMORS = {
    "no JSON": "hello",
    "nothing": "{}",
    "another's": said(keys=EVE).to_json(),
    "another's, without an id": fields(said(keys=EVE), id=NOTHING),
    "another's name": fields(said(), pubkey=EVE.public_key),
    "a false id": fields(said(), id="0" * 64),
    "an id that is none": fields(said(), id="x"),
    "signed": ALICE.sign(kind=14, created_at=NOW, tags=(), content="hello", aux=bytes(32)).to_json(),
    "signed by whoever": fields(said(), sig="0" * 128),
    "a date before all dates": fields(said(), created_at=-1),
    "a date that is no number": fields(said(), created_at=str(NOW)),
    "a kind beyond all kinds": fields(said(), kind=70_000),
    "an empty tag": fields(said(), tags=[[]]),
    "too many tags": fields(said(), tags=[["t"]] * 2_001),
    "no content": fields(said(), content=NOTHING),
}


@pytest.mark.parametrize("text", FALSE_RUMORS.values(), ids=FALSE_RUMORS)
def test_what_holds_no_true_rumor_is_refused(text):
    with pytest.raises(InvalidGiftWrap):
        unwrap(around(sealed(text).to_json()), BOB)


def test_who_seals_what_another_wrote_is_found_out():
    """The one lie that NIP-59 warns of: anybody can wrap up a rumor with your name in it."""
    with pytest.raises(InvalidGiftWrap, match="another author"):
        unwrap(around(sealed(said().to_json(), author=EVE).to_json()), BOB)


@pytest.mark.parametrize("text", FALSE_RUMORS.values(), ids=FALSE_RUMORS)
def test_no_error_repeats_what_was_sent(text):
    with pytest.raises(InvalidGiftWrap) as caught:
        unwrap(around(sealed(text).to_json()), BOB)
    told = str(caught.value)
    assert not [word for word in ("secret", "Good morning", ALICE.public_key, EVE.public_key) if word in told]


@pytest.mark.peer
def test_nostr_sdk_opens_ours():
    event, rumor = wrapped(entropy=os.urandom), said()
    signer = sdk.Keys.parse((b"\x02" * 32).hex())
    opened = sdk.UnwrappedGift.from_gift_wrap(signer, sdk.Event.from_json(event.to_json()))
    assert opened.sender().to_hex() == ALICE.public_key
    assert Rumor.from_wire(opened.rumor().as_json()) == rumor


@pytest.mark.peer
def test_we_open_what_nostr_sdk_wraps():
    signer = sdk.Keys.parse((b"\x01" * 32).hex())
    event = sdk.nip17_make_private_msg(signer, sdk.PublicKey.parse(BOB.public_key), "Good morning.")
    rumor = unwrap(Event.from_wire(event.as_json()), BOB)
    assert (rumor.pubkey, rumor.kind, rumor.content) == (ALICE.public_key, 14, "Good morning.")


@pytest.mark.peer
async def test_nostr_tools_and_we_open_each_others():
    async with Writer(b"\x01" * 32) as writer:
        theirs = await writer.wrap(BOB.public_key, "Good morning, é 😀")
        rumor = unwrap(Event.from_wire(json.dumps(theirs["wrap"])), BOB)
        assert rumor == Rumor.from_wire(json.dumps(theirs["rumor"]))
        assert (rumor.pubkey, rumor.kind, rumor.content) == (ALICE.public_key, 14, "Good morning, é 😀")
        ours = said("And to you!", keys=BOB, tags=[("p", ALICE.public_key), ("e", rumor.id, "", "reply")])
        answer = wrapped(ours, author=BOB, reader=ALICE, entropy=os.urandom)
        opened = await writer.open(answer.to_json())
        assert Rumor.from_wire(json.dumps(opened["rumor"])) == ours


@pytest.mark.peer
async def test_nostr_tools_opens_our_longest():
    async with Writer(b"\x02" * 32) as writer:
        rumor = said("x" * (MAX_RUMOR_BYTES - len(said("").to_json())))
        opened = await writer.open(wrapped(rumor, entropy=os.urandom).to_json())
        assert opened["rumor"]["content"] == rumor.content
