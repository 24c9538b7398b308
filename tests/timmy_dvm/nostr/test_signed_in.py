"""Logins and NIP-98: an event counts for one address, one moment, one request (IDN-11, 12, 23)."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timmy_dvm.nostr.kit import ALICE, NOW
from timmy_dvm.nostr.signed_in import NotSignedIn, http_auth, login

VERIFY = "https://timmy.example/api/identity/verify"
URL = "https://timmy.example/api/jobs?x=1"
BODY = hashlib.sha256(b"{}").hexdigest()


def signed(*tags, kind=22_242, at=NOW, content=""):
    return ALICE.sign(kind=kind, created_at=at, tags=tags, content=content, aux=b"\x01" * 32).to_json().encode()


U, C = ("u", VERIFY), ("challenge", "abc")


@pytest.mark.parametrize(
    "raw",
    [
        signed(U, C),
        signed(U, C, kind=27_235),
        signed(U, content="abc"),
        signed(U, C, at=NOW - 120),
        signed(U, C, at=NOW + 120),
        signed(U, C, content="Sign in to Timmy"),
        signed(U, C, ("method", "POST")),
    ],
)
def test_a_login_says_who_and_which_challenge(raw):
    assert login(raw, verify_url=VERIFY, now=NOW) == (ALICE.public_key, "abc")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        signed(U, C).replace(b"abc", b"abd"),
        signed(U, C, kind=1),
        signed(U, C, at=NOW - 121),
        signed(U, C, at=NOW + 121),
        signed(C),
        signed(U, U, C),
        signed(("u", VERIFY + "/"), C),
        signed(("u", "https://evil.example/api/identity/verify"), C),
        signed(U),
        signed(U, C, C),
        signed(U, ("challenge", "")),
        signed(U, ("challenge",)),
        signed(U, ("challenge", "abc"), ("challenge", "abd")),
    ],
)
def test_any_other_login_is_refused_with_a_sentence(raw):
    with pytest.raises(NotSignedIn, match=r"\w"):
        login(raw, verify_url=VERIFY, now=NOW)


def header(*tags, kind=27_235, at=NOW):
    return base64.b64encode(signed(*tags, kind=kind, at=at)).decode()


HU, HM, HP = ("u", URL), ("method", "POST"), ("payload", BODY)


def read(credential, *, method="POST", payload_hash=BODY):
    return http_auth(credential, url=URL, method=method, payload_hash=payload_hash, now=NOW)


@pytest.mark.parametrize(
    ("credential", "more"),
    [
        (header(HU, HM, HP), {}),
        (header(HU, HM, HP, at=NOW - 60), {}),
        (header(HU, HM, HP, at=NOW + 60), {}),
        (header(HU, ("method", "post"), ("payload", BODY.upper())), {}),
        (header(HU, ("method", "GET")), {"method": "GET", "payload_hash": None}),
    ],
)
def test_nip_98_says_who_sent_a_request(credential, more):
    assert read(credential, **more).pubkey == ALICE.public_key


@pytest.mark.parametrize(
    ("credential", "more"),
    [
        ("", {}),
        ("not base64!", {}),
        ("é", {}),
        ("A" * 2_049, {}),
        (header(HU, HM, HP) + "\n", {}),
        (header(HU, HM, HP).replace("=", ""), {}),
        (base64.b64encode(b"{}").decode(), {}),
        (base64.b64encode(signed(HU, HM, HP, kind=27_235).replace(b"POST", b"PUT ")).decode(), {}),
        (header(HU, HM, HP, kind=22_242), {}),
        (header(HU, HM, HP, at=NOW - 61), {}),
        (header(HU, HM, HP, at=NOW + 61), {}),
        (header(("u", URL.partition("?")[0]), HM, HP), {}),
        (header(("u", "https://evil.example/api/jobs?x=1"), HM, HP), {}),
        (header(HM, HP), {}),
        (header(HU, HU, HM, HP), {}),
        (header(HU, ("method", "GET"), HP), {}),
        (header(HU, HP), {}),
        (header(HU, HM), {}),
        (header(HU, HM, ("payload", "00" * 32)), {}),
        (header(HU, HM, ("payload", "é")), {}),
        (header(HU, HM, HP, HP), {}),
        (header(HU, ("method", "GET"), HP), {"method": "GET", "payload_hash": None}),
    ],
)
def test_any_other_credential_is_refused_with_a_sentence(credential, more):
    with pytest.raises(NotSignedIn, match=r"\w"):
        read(credential, **more)


@given(st.text(max_size=200), st.binary(max_size=200))
def test_nothing_breaks_a_reader(text, raw):
    with pytest.raises(NotSignedIn):
        read(text)
    with pytest.raises(NotSignedIn):
        login(raw, verify_url=VERIFY, now=NOW)
