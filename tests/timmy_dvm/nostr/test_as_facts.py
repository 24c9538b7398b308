import pytest

from ledger.money import Msats
from ledger.records import Door, Mode
from relay_client.pool import Received
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, RELAY, invoice, signed
from timmy_dvm.core.credit_facts import PayoutAsked
from timmy_dvm.core.facts import Op, RefundClaimed, RequestUnreadable
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.nostr import as_facts
from timmy_dvm.nostr.nip90 import JobAsked, Unreadable
from timmy_dvm.nostr.operations import ForgetWanted, Question, RefundAsked, StatusWanted, TopUpWanted
from timmy_dvm.nostr.origin import Reply, read_origin
from timmy_dvm.nostr.privacy import Scheme

BTC = BtcPrice.from_usd(100_000, source="test", freshness=Freshness.FRESH, at=NOW)
REQUEST_ID = "cd" * 32


def received():
    return Received(RELAY, "timmy", signed(P_TIMMY, at=NOW - 5))


def claimed(text):
    asked = RefundAsked(invoice=text, request_id=REQUEST_ID, reply=Reply(Scheme.NIP44))
    return as_facts.claim(received(), asked, refund_id="r" * 32, network="bcrt", at=NOW)


def test_a_job_asked_for():
    came = received()
    asked = JobAsked(
        text="Hi", reply=Reply(Scheme.NIP04, ("wss://a.example",)), bid=5_000, max_tokens=9, model="m"
    )
    fact = as_facts.request(came, asked, job_id="j" * 32, btc=BTC, at=NOW)
    assert fact.id == f"request:{came.event.id}"
    assert (fact.door, fact.mode, fact.pubkey) == (Door.NOSTR, Mode.ONCE, ALICE.public_key)
    assert (fact.text, fact.bid, fact.max_tokens, fact.model, fact.refund_to) == ("Hi", 5_000, 9, "m", None)
    assert (fact.asked_at, fact.at, fact.btc) == (NOW - 5, NOW, BTC)
    assert (fact.addressed, fact.expires_at, fact.preface_chars) == (True, None, 0)
    origin, event = read_origin(fact.origin)
    assert event.id == came.event.id
    assert (origin.relay, origin.relays, origin.scheme) == (RELAY, ("wss://a.example",), Scheme.NIP04)
    assert origin.btc_micro_usd == BTC.micro_usd


def test_what_a_request_says_of_itself_reaches_the_core():
    asked = JobAsked(text="Sum up: Hi", reply=Reply(), addressed=False, expires_at=NOW + 90, preface_chars=8)
    fact = as_facts.request(received(), asked, job_id="j" * 32, btc=BTC, at=NOW)
    assert (fact.addressed, fact.expires_at, fact.preface_chars) == (False, NOW + 90, 8)


@pytest.mark.parametrize(
    ("scheme", "named", "goes_to"),
    [
        (Scheme.NIP59, None, "none"),
        (Scheme.NIP59, "alice@pay.example", "alice@pay.example"),
        (Scheme.NIP44, None, None),
        (Scheme.NONE, None, None),
    ],
)
def test_change_of_a_private_message_never_has_its_authors_profile_asked_for(scheme, named, goes_to):
    asked = JobAsked(text="Hi", reply=Reply(scheme), refund_to=named)
    assert as_facts.request(received(), asked, job_id="j" * 32, btc=BTC, at=NOW).refund_to == goes_to


def test_a_question():
    came = received()
    asked = Question(
        op=Op.ESTIMATE, text="Sum up: Hi", preface_chars=8, max_tokens=9, model="m", reply=Reply(Scheme.NIP44)
    )
    fact = as_facts.question(came, asked, btc=BTC, at=NOW)
    assert fact.id == f"request:{came.event.id}"
    assert (fact.op, fact.door, fact.pubkey, fact.npub) == (
        Op.ESTIMATE,
        Door.NOSTR,
        ALICE.public_key,
        ALICE.npub,
    )
    assert (fact.text, fact.preface_chars, fact.max_tokens, fact.model) == ("Sum up: Hi", 8, 9, "m")
    assert (fact.btc, fact.at, fact.job_id) == (BTC, NOW, None)
    origin, event = read_origin(fact.origin)
    assert (event.id, origin.scheme) == (came.event.id, Scheme.NIP44)


@pytest.mark.parametrize("form", ["{}", "lightning:{}", " {}\n", "LIGHTNING:{}"])
def test_a_refund_claimed_with_a_bolt11(form):
    plain = invoice()
    text = form.format(plain.upper() if "LIGHT" in form else plain)
    fact = claimed(text)
    assert isinstance(fact, RefundClaimed)
    assert (fact.bolt11, fact.payment_hash, fact.amount) == (plain, "01" * 32, 7_000)
    assert (fact.request_event_id, fact.pubkey, fact.rail_ok) == (REQUEST_ID, ALICE.public_key, True)
    assert fact.expires_at == NOW + 600
    assert read_origin(fact.origin)[0].scheme is Scheme.NIP44


def test_an_invoice_for_another_network_is_on_no_rail_of_ours():
    fact = claimed(invoice("bc", None))
    assert isinstance(fact, RefundClaimed)
    assert (fact.rail_ok, fact.amount) == (False, None)


def test_an_invoice_that_names_no_job_is_for_the_keys_balance():
    asked = RefundAsked(invoice=f"lightning:{invoice()}", request_id=None, reply=Reply(Scheme.NIP44))
    came = received()
    fact = as_facts.claim(came, asked, refund_id="r" * 32, network="bcrt", at=NOW, answered=False)
    assert isinstance(fact, PayoutAsked)
    assert fact.id == f"request:{came.event.id}"
    assert (fact.refund_id, fact.pubkey, fact.answered) == ("r" * 32, ALICE.public_key, False)
    assert (fact.bolt11, fact.payment_hash, fact.amount) == (invoice(), "01" * 32, 7_000)
    assert (fact.rail_ok, fact.expires_at, fact.at) == (True, NOW + 600, NOW)
    assert read_origin(fact.origin)[0].scheme is Scheme.NIP44


def test_a_topup_and_its_price_in_dollars():
    came, asked = received(), TopUpWanted(amount=Msats(5_000), reply=Reply(Scheme.NIP44))
    fact = as_facts.topup(came, asked, topup_id="t" * 32, btc=BTC, at=NOW, answered=False)
    assert fact.id == f"request:{came.event.id}"
    assert (fact.topup_id, fact.door, fact.pubkey) == ("t" * 32, Door.NOSTR, ALICE.public_key)
    assert (fact.amount, fact.at, fact.answered) == (5_000, NOW, False)
    origin, event = read_origin(fact.origin)
    assert (event.id, origin.scheme, origin.btc_micro_usd) == (came.event.id, Scheme.NIP44, BTC.micro_usd)


def test_a_wish_to_be_forgotten():
    came = received()
    fact = as_facts.forget(came, ForgetWanted(reply=Reply(Scheme.NIP04)), at=NOW)
    assert (fact.id, fact.pubkey, fact.at) == (f"request:{came.event.id}", ALICE.public_key, NOW)
    assert read_origin(fact.origin)[0].scheme is Scheme.NIP04


def test_an_invoice_that_is_none_is_answered():
    fact = claimed("lnbc-Secret")
    assert isinstance(fact, RequestUnreadable)
    assert fact.code == "bad_invoice"
    assert "Secret" not in fact.sentence


def test_a_request_that_cannot_be_read_is_answered_in_its_scheme():
    asked = Unreadable(code="output", sentence="Ask for text.", reply=Reply(Scheme.NIP44))
    fact = as_facts.unreadable(received(), asked, at=NOW)
    assert (fact.code, fact.sentence, fact.at) == ("output", "Ask for text.", NOW)
    assert read_origin(fact.origin)[0].scheme is Scheme.NIP44


def test_the_work_behind_a_request_reaches_the_core_as_far_as_it_was_committed_to():
    tries = (signed(P_TIMMY, ("nonce", str(n), "5"), at=NOW - 5) for n in range(10_000))
    mined = next(event for event in tries if event.id.startswith("00"))
    for event, bits in ((mined, 5), (received().event, 0)):
        asked = JobAsked(text="Hi", reply=Reply())
        fact = as_facts.request(Received(RELAY, "timmy", event), asked, job_id="j" * 32, btc=BTC, at=NOW)
        assert fact.work_bits == bits


@pytest.mark.parametrize(
    ("asked_in", "told_in"),
    [(Scheme.NONE, Scheme.NIP44), (Scheme.NIP04, Scheme.NIP04), (Scheme.NIP44, Scheme.NIP44)],
)
def test_the_operators_answer_is_encrypted_however_they_asked(asked_in, told_in):
    """DIA-04."""
    came = received()
    fact = as_facts.status(came, StatusWanted(reply=Reply(asked_in)), {"issues": []}, at=NOW)
    origin, _ = read_origin(fact.origin)
    assert (fact.id, fact.body, origin.scheme) == (f"request:{came.event.id}", {"issues": []}, told_in)
