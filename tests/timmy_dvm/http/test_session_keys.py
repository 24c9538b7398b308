"""Macaroons of sessions: ours open what they name, and of ten thousand that were altered none opens anything."""

import base64
import random

import pytest
from starlette.requests import Request

from lightning import l402
from timmy_dvm.clock import ManualClock
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.session_keys import SessionKeys

SESSION, HASH = "5e" * 16, "0a" * 32
CLOCK = ManualClock()
KEYS = SessionKeys(b"s" * 32, CLOCK)
MACAROON = KEYS.macaroon(SESSION, HASH)


def request(*headers: str) -> Request:
    told = [(b"authorization", header.encode("latin-1")) for header in headers]
    return Request({"type": "http", "headers": told})


def opens(text: str) -> bool:
    try:
        return KEYS.shown(request(f"Bearer {text}")) is not None
    except Fault as fault:
        return fault.status != 401


def test_what_we_made_opens_its_session_with_each_of_its_invoices():
    for payment_hash in (HASH, "0b" * 32):
        (shown,) = KEYS.shown(request(f"Bearer {KEYS.macaroon(SESSION, payment_hash).to_text()}"))
        assert (shown.session_id, shown.payment_hash, shown.is_paid_for) == (SESSION, payment_hash, False)


def test_of_ten_thousand_that_were_altered_none_opens_anything():
    draw = random.Random(7)
    raw = MACAROON.to_bytes()
    accepted = 0
    for _ in range(10_000):
        data = bytearray(raw)
        match draw.randrange(5):
            case 0:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            case 1:
                del data[draw.randrange(len(data))]
            case 2:
                data.insert(draw.randrange(len(data) + 1), draw.randrange(256))
            case 3:
                at = draw.randrange(len(data))
                data[at : at + 32] = draw.randbytes(32)
            case _:
                at, to = draw.randrange(len(data)), draw.randrange(len(data))
                data[at], data[to] = data[to], data[at]
        accepted += bytes(data) != raw and opens(base64.b64encode(bytes(data)).decode())
    assert accepted == 0
    assert opens(MACAROON.to_text())


def test_not_one_character_of_it_can_be_another():
    """Its location too, which nothing signs."""
    text = MACAROON.to_text()
    for at, good in enumerate(text):
        for other in "AQgw+/=.":
            assert other == good or not opens(f"{text[:at]}{other}{text[at + 1 :]}"), (at, other)


@pytest.mark.parametrize(
    "macaroon",
    [
        SessionKeys(b"t" * 32, CLOCK).macaroon(SESSION, HASH),
        l402.mint(b"", l402.Identifier(HASH, SESSION * 2)),
        MACAROON.narrowed("dvm_valid_until=1"),
        MACAROON.narrowed("dvm_other=1"),
    ],
)
def test_another_servers_a_forged_one_and_one_that_has_ended_open_nothing(macaroon):
    assert not opens(macaroon.to_text())


def test_a_token_id_that_is_no_sessions_opens_nothing_though_it_is_signed():
    secret = KEYS._secrets[0]
    token_id = SESSION * 2
    macaroon = l402.mint(l402.root_key(secret, token_id), l402.Identifier(HASH, token_id))
    assert not opens(macaroon.to_text())


def test_narrowed_by_what_holds_or_is_not_ours_it_opens_on():
    later = int(CLOCK.now()) + 60
    assert opens(MACAROON.narrowed(f"dvm_valid_until={later}").narrowed("services=dvm:0").to_text())


def test_of_another_scheme_nothing_is_shown():
    assert KEYS.shown(request()) is None
    assert KEYS.shown(request("Nostr abc")) is None
    assert KEYS.shown(request("Basic abc")) is None


def test_several_may_be_shown_and_each_has_to_be_right():
    other = KEYS.macaroon("5f" * 16, HASH).to_text()
    both = KEYS.shown(request(f"Bearer {MACAROON.to_text()},{other}"))
    assert [each.session_id for each in both] == [SESSION, "5f" * 16]
    with pytest.raises(Fault):
        KEYS.shown(request(f"Bearer {MACAROON.to_text()},x"))


def test_who_shows_a_macaroon_shows_no_secret_by_accident():
    (shown,) = KEYS.shown(request(f"Bearer {MACAROON.to_text()}"))
    assert SESSION not in repr(shown)


def test_a_macaroon_of_the_secret_before_counts_while_that_is_being_replaced():
    """Who holds one holds sats: a new secret must not lock its owner out."""
    told = request(f"Bearer {MACAROON.to_text()}")
    rotated = SessionKeys(b"n" * 32, CLOCK, b"s" * 32)
    assert rotated.shown(told)[0].session_id == SESSION
    assert rotated.macaroon(SESSION, HASH).to_text() != MACAROON.to_text()
    with pytest.raises(Fault, match="not made here"):
        SessionKeys(b"n" * 32, CLOCK).shown(told)
