"""L402: macaroons equal to pymacaroons' byte for byte, one challenge that every client reads, no forgery taken."""

import base64
import hashlib
import re

import pymacaroons
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning import l402
from lightning.l402 import Credential, Identifier, InvalidMacaroon, Macaroon

ROOT = b"\x05" * 32
IDS = Identifier("ab" * 32, "cd" * 32)
PREIMAGE = "07" * 32
PAID = Identifier(hashlib.sha256(bytes.fromhex(PREIMAGE)).hexdigest(), "cd" * 32)

keys = st.binary(min_size=1, max_size=64)
identifiers = st.builds(Identifier, *[st.binary(min_size=32, max_size=32).map(bytes.hex)] * 2)
locations = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200)
caveat_lists = st.lists(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=200), max_size=4
)


def oracle(root, identifier, location, caveats):
    theirs = pymacaroons.Macaroon(
        location=location, identifier=identifier, key=root, version=pymacaroons.MACAROON_V2
    )
    for caveat in caveats:
        theirs.add_first_party_caveat(caveat)
    return theirs


@given(keys, identifiers, locations, caveat_lists)
def test_a_macaroon_is_pymacaroons_byte_for_byte_and_each_reads_the_other_s(root, ids, location, caveats):
    ours = l402.mint(root, ids, location=location, caveats=caveats)
    theirs = oracle(root, ids.to_bytes(), location, caveats)
    assert ours.to_text().rstrip("=").replace("+", "-").replace("/", "_") == theirs.serialize()
    read = Macaroon.from_text(theirs.serialize())
    assert (read, read.is_signed_with(root)) == (ours, True)
    assert Identifier.from_bytes(read.identifier) == ids
    verifier = pymacaroons.Verifier()
    verifier.satisfy_general(lambda _: True)
    assert verifier.verify(pymacaroons.Macaroon.deserialize(ours.to_text().rstrip("=")), root)


def test_without_a_location_the_identifier_comes_first():
    macaroon = l402.mint(ROOT, IDS)
    assert macaroon.to_bytes()[:3] == b"\x02\x02\x42"
    assert Macaroon.from_text(macaroon.to_text()) == macaroon


@given(st.data())
def test_no_byte_of_a_macaroon_can_be_changed(data):
    raw = bytearray(l402.mint(ROOT, IDS, caveats=["services=dvm:0"]).to_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        changed = Macaroon.from_text(base64.b64encode(bytes(raw)).decode())
    except InvalidMacaroon:
        return
    assert not changed.is_signed_with(ROOT)


@given(st.binary(max_size=120) | st.binary(max_size=120).map(lambda tail: b"\x02" + tail))
def test_bytes_that_are_no_macaroon_are_refused_and_break_nothing(raw):
    try:
        macaroon = Macaroon.from_text(base64.b64encode(raw).decode())
    except InvalidMacaroon:
        return
    assert not macaroon.is_signed_with(ROOT)


def text_of(raw):
    return base64.b64encode(raw).decode()


WHOLE = l402.mint(ROOT, IDS, caveats=["a=b"]).to_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "not base64!",
        "é",
        "A" * 5_000,
        text_of(b"\x01" + WHOLE[1:]),
        text_of(WHOLE[:-1]),
        text_of(WHOLE + b"\x00"),
        text_of(b"\x02"),
        text_of(b"\x02\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"x" * 40),
        text_of(WHOLE.replace(b"\x02\x03a=b\x00", b"\x02\x03a=b\x04\x01v\x00")),
        text_of(WHOLE.replace(b"\x02\x03a=b\x00", b"\x02\x03a=b\x00" * 17)),
    ],
)
def test_what_is_no_macaroon_of_ours_is_refused(text):
    with pytest.raises(InvalidMacaroon):
        Macaroon.from_text(text)


def test_a_root_key_is_each_token_s_own():
    one, other = (l402.root_key(b"secret", token * 32) for token in ("ab", "cd"))
    assert one != other
    assert l402.mint(one, IDS).is_signed_with(one)
    assert not l402.mint(one, IDS).is_signed_with(other)


@pytest.mark.parametrize(
    ("caveats", "is_valid"),
    [
        ((), True),
        (("services=dvm:0", "color=red", "x"), True),  # others' names are skipped
        (("dvm_valid_until=1001",), True),
        (("dvm_valid_until=1000",), False),
        (("dvm_valid_until=1001", "dvm_valid_until=999"), False),
        (("dvm_valid_until=soon",), False),
        (("dvm_valid_until=",), False),
        (("dvm_valid_until = 2000",), False),
        (("dvm_new_rule=1",), False),  # ours, and not understood
    ],
)
def test_a_caveat_only_narrows(caveats, is_valid):
    assert l402.mint(ROOT, IDS, caveats=caveats).is_valid_at(1_000) is is_valid


def test_the_challenge_is_in_the_form_that_old_and_new_clients_read():
    header = l402.challenge(l402.mint(ROOT, IDS), "lnbcrt1abc")
    text = l402.mint(ROOT, IDS).to_text()
    assert header == f'L402 macaroon="{text}", invoice="lnbcrt1abc", version="0", token="{text}"'
    assert re.search(r'macaroon="(.*?)", invoice="(.*?)"', header).groups() == (text, "lnbcrt1abc")


@pytest.mark.parametrize("scheme", ["L402", "l402", "LSAT", "lsat"])
def test_a_credential_is_read(scheme):
    (credential,) = l402.credentials(f"{scheme} {l402.mint(ROOT, PAID).to_text()}:{PREIMAGE.upper()}")
    assert (credential.identifier, credential.preimage, credential.proves_payment()) == (PAID, PREIMAGE, True)


def test_with_bearer_the_macaroon_stands_alone():
    (credential,) = l402.credentials(f"Bearer {l402.mint(ROOT, PAID).to_text()}")
    assert (credential.preimage, credential.proves_payment()) == (None, False)


def test_several_credentials_are_read_in_their_order():
    one, two = (l402.mint(ROOT, ids).to_text() for ids in (IDS, PAID))
    assert [c.identifier for c in l402.credentials(f"L402 {one}:{PREIMAGE}, {two}:{PREIMAGE}")] == [IDS, PAID]
    assert [c.preimage for c in l402.credentials(f"L402 {one},{two}:{PREIMAGE}")] == [PREIMAGE, PREIMAGE]


def test_another_preimage_proves_nothing():
    assert not Credential(l402.mint(ROOT, PAID), "08" * 32).proves_payment()


@pytest.mark.parametrize("header", ["", "Basic abc", "Nostr abc", "L402", "Digest username=x"])
def test_another_scheme_is_none_of_ours(header):
    assert l402.credentials(header) is None


M = l402.mint(ROOT, IDS).to_text()


@pytest.mark.parametrize(
    "header",
    [
        f"L402 {M}",
        f"L402 {M}:",
        f"L402 {M}:{'0' * 63}",
        f"L402 {M}:{'g' * 64}",
        f"L402 :{PREIMAGE}",
        f"L402 {M}:{PREIMAGE},",
        f"Bearer {M}:{PREIMAGE}",
        "Bearer abc",
        "L402 " + ", ".join([f"{M}:{PREIMAGE}"] * 5),
        "Bearer " + "A" * 20_000,
        f"L402 {M}:{PREIMAGE}:x",
    ],
)
def test_a_broken_credential_is_refused_with_a_sentence(header):
    with pytest.raises(InvalidMacaroon, match=r"\.$"):
        l402.credentials(header)


@pytest.mark.parametrize("raw", [b"", b"\x00" * 65, b"\x00\x01" + b"\x00" * 64, b"\x00" * 67])
def test_a_foreign_identifier_is_refused(raw):
    with pytest.raises(InvalidMacaroon):
        Identifier.from_bytes(raw)


def test_no_repr_shows_a_secret():
    credential = Credential(l402.mint(ROOT, PAID), PREIMAGE)
    shown = repr(credential)
    assert PREIMAGE not in shown
    assert credential.macaroon.signature.hex() not in shown
    assert repr(credential.macaroon.signature) not in shown
