import pytest

from tests.timmy_dvm.nostr.kit import NOW, P_TIMMY, RELAY, signed
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.nostr.origin import read_origin, write_origin
from timmy_dvm.nostr.privacy import Scheme


def test_a_request_can_be_answered_from_its_note():
    request = signed(("i", "Grüße", "text"), P_TIMMY)
    btc = BtcPrice.from_usd(60_000, source="test", freshness=Freshness.FALLBACK, at=NOW)
    wishes = {"temperature": "0.7", "ignored": ("top_k",)}
    note = write_origin(request, relay=RELAY, relays=["wss://a.example"], scheme=Scheme.NIP04, btc=btc, **wishes)
    origin, event = read_origin(note)
    assert (origin.temperature, origin.ignored) == ("0.7", ("top_k",))
    assert origin.request == request.to_json()
    assert event.id == request.id
    assert (origin.relay, origin.relays, origin.scheme) == (RELAY, ("wss://a.example",), Scheme.NIP04)
    assert (origin.btc_micro_usd, origin.btc_is_fallback) == (60_000_000_000, True)


def test_the_form_is_fixed():
    """It lies in ledgers: a change of it is a new version, but for a field that is added and may be missing."""
    note = write_origin(signed(), relay=RELAY, relays=[], scheme=Scheme.NONE)
    assert note.startswith('{"door":"nostr","request":"{')
    assert note.endswith(
        '"relay":"wss://relay.example","relays":[],"scheme":"none",'
        '"btc_micro_usd":null,"btc_is_fallback":false,"temperature":null,"ignored":[],"goes_on":false,"version":1}'
    )


def test_a_note_from_before_a_field_was_added_is_read():
    note = write_origin(signed(), relay=RELAY, relays=[], scheme=Scheme.NONE)
    origin, _ = read_origin(note.replace(',"temperature":null,"ignored":[],"goes_on":false', ""))
    assert (origin.temperature, origin.ignored, origin.goes_on) == (None, (), False)


@pytest.mark.parametrize("text", ["", "{}", '{"door":"http"}', "[]", "nonsense", '{"door":5}'])
def test_another_doors_note_is_left_alone(text):
    assert read_origin(text) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"door":"nostr"}',
        '{"door":"nostr","request":"{}","relay":""}',
        write_origin(signed(), relay="", relays=[], scheme=Scheme.NONE).replace('"version":1', '"version":2'),
    ],
)
def test_a_broken_note_of_ours_is_an_error(text):
    with pytest.raises(ValueError, match="note"):
        read_origin(text)
