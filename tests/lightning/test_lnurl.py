"""Lightning addresses and LNURL, both sides (LUD-01, 03, 06, 16)."""

import hashlib
import json

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import Msats
from lightning import bolt11, lnurl
from lightning.lnurl import InvalidLnurl, PayTerms

KEY = PrivateKey(b"\x07" * 32)
METADATA = '[["text/plain","Sats for Alice"],["text/identifier","alice@example.com"]]'
TERMS = PayTerms(
    callback="https://pay.example.com/cb?id=7", least=Msats(1_000), most=Msats(1_000_000), metadata=METADATA
)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("alice@example.com", "https://example.com/.well-known/lnurlp/alice"),
        (" Alice@Example.COM\n", "https://example.com/.well-known/lnurlp/alice"),
        ("a.b-c_d+tag@x.example", "https://x.example/.well-known/lnurlp/a.b-c_d+tag"),
    ],
)
def test_an_address_says_where_its_terms_are_asked(address, url):
    assert lnurl.address_url(address) == url


@pytest.mark.parametrize(
    "address",
    [
        "",
        "alice",
        "@example.com",
        "alice@",
        "a@b@c.example",
        "alice@exa mple.com",
        "alice@example.com/x",
        "../x@e.example",
        "..@example.com",
        "alice@example.com:81",
        "al/ice@example.com",
        "älice@example.com",
        "alice@exämple.com",
        "alice@[::1]",
        "a" * 65 + "@example.com",
        "a@" + "b" * 254,
        "alice@example.com?x",
        "a%2f@example.com",
        "alice\x00@x.example",
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(address):
    with pytest.raises(InvalidLnurl, match=r"name@example.com"):
        lnurl.address_url(address)


@given(st.text(max_size=60))
def test_an_address_never_leads_elsewhere_than_its_host(text):
    try:
        url = lnurl.address_url(text)
    except InvalidLnurl:
        return
    assert url.startswith(f"https://{text.strip().lower().partition('@')[2]}/.well-known/lnurlp/")


@given(st.from_regex(r"https://[a-z]{1,20}\.example/[a-z0-9?=&]{0,60}", fullmatch=True))
def test_an_lnurl_is_its_url(url):
    text = lnurl.encode(url)
    assert text == text.upper()
    assert lnurl.decode(text) == lnurl.decode(f"lightning:{text.lower()}") == url


@pytest.mark.parametrize(
    "text",
    ["", "lnurl1", "https://x.example", "LNURL1DP68GURN8GHJ7", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"],
)
def test_what_is_no_lnurl_is_refused(text):
    with pytest.raises(InvalidLnurl):
        lnurl.decode(text)


def answer(**told):
    whole = {
        "tag": "payRequest",
        "callback": TERMS.callback,
        "minSendable": 1_000,
        "maxSendable": 1_000_000,
        "metadata": METADATA,
    }
    return json.dumps({name: value for name, value in {**whole, **told}.items() if value is not None}).encode()


def test_terms_are_read_and_an_extra_field_does_no_harm():
    assert lnurl.read_terms(answer(allowsNostr=True, minSendable=1_000.0)) == TERMS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"<html>",
        b"{}",
        b'{"status":"ERROR","reason":"no such user"}',
        b'{"status":"error"}',
        b"[" * 70_000,
        b'{"a":' * 9_000,
        answer(tag="withdrawRequest"),
        answer(tag=None),
        answer(callback=None),
        answer(callback=7),
        answer(metadata=None),
        answer(metadata=[["text/plain", "x"]]),
        answer(minSendable=0),
        answer(minSendable=-1),
        answer(minSendable="1000"),
        answer(minSendable=True),
        answer(minSendable=1.5),
        answer(maxSendable=999),
        answer(maxSendable=None),
        answer(x="y" * 70_000),
    ],
)
def test_terms_that_are_none_are_refused(body):
    with pytest.raises(InvalidLnurl):
        lnurl.read_terms(body)


def test_a_refusal_s_own_words_are_not_repeated():
    with pytest.raises(InvalidLnurl) as raised:
        lnurl.read_terms(b'{"status":"ERROR","reason":"pay lnbc1 instead"}')
    assert "lnbc1" not in str(raised.value)


@pytest.mark.parametrize(
    ("callback", "url"),
    [
        ("https://pay.example.com/cb", "https://pay.example.com/cb?amount=5000"),
        ("https://pay.example.com/cb?id=7", "https://pay.example.com/cb?id=7&amount=5000"),
        ("https://pay.example.com/cb?id=7#part", "https://pay.example.com/cb?id=7&amount=5000"),
    ],
)
def test_the_sum_is_added_to_the_callback(callback, url):
    terms = PayTerms(callback=callback, least=Msats(1), most=Msats(10_000), metadata="[]")
    assert lnurl.ask_url(terms, Msats(5_000)) == url


@pytest.mark.parametrize("amount", [0, 999, 1_000_001])
def test_a_sum_that_is_not_taken_is_not_asked_for(amount):
    with pytest.raises(InvalidLnurl, match="1 to 1000 sats"):
        lnurl.ask_url(TERMS, Msats(amount))


def test_a_callback_that_is_no_url_is_refused():
    with pytest.raises(InvalidLnurl):
        lnurl.ask_url(PayTerms(callback="https://[::1", least=Msats(1), most=Msats(9), metadata=""), Msats(5))


def invoice(amount=5_000, metadata=METADATA, network="bcrt", description=None):
    return bolt11.encode(
        KEY,
        network=network,
        payment_hash=b"\x01" * 32,
        payment_secret=b"\x02" * 32,
        timestamp=1_700_000_000,
        amount_msat=None if amount is None else Msats(amount),
        description=description,
        description_hash=None if description else hashlib.sha256(metadata.encode()).digest(),
    )


def sent(text):
    return json.dumps({"pr": text, "routes": []}).encode()


def test_an_invoice_is_taken_that_is_exactly_what_was_asked():
    assert lnurl.read_invoice(sent(invoice()), TERMS, Msats(5_000), "bcrt").payment_hash == "01" * 32


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"pr":null}',
        b'{"pr":"lnbc1"}',
        b'{"status":"ERROR","pr":"x"}',
        sent(invoice(amount=5_001)),
        sent(invoice(amount=4_000)),
        sent(invoice(amount=None)),
        sent(invoice(metadata="other")),
        sent(invoice(network="bc")),
        sent(invoice(description="Sats for Alice")),
    ],
)
def test_another_invoice_is_refused(body):
    with pytest.raises(InvalidLnurl):
        lnurl.read_invoice(body, TERMS, Msats(5_000), "bcrt")


@given(st.binary(max_size=300))
def test_no_answer_breaks_a_reader(body):
    for read in (lnurl.read_terms, lambda b: lnurl.read_invoice(b, TERMS, Msats(5_000), "bcrt")):
        with pytest.raises(InvalidLnurl):
            read(body)


def test_what_we_say_as_a_server_our_own_client_understands():
    ours = PayTerms(
        callback="https://timmy.example/cb",
        least=Msats(1_000),
        most=Msats(9_000),
        metadata=lnurl.metadata_of("Für Timmy", "timmy@timmy.example"),
    )
    assert lnurl.read_terms(json.dumps(lnurl.pay_terms(ours)).encode()) == ours
    text = invoice(metadata=ours.metadata)
    assert lnurl.read_invoice(json.dumps(lnurl.pay_invoice(text)).encode(), ours, Msats(5_000), "bcrt")
    with pytest.raises(InvalidLnurl):
        lnurl.read_terms(json.dumps(lnurl.refused("not now")).encode())


def test_a_withdrawal_is_for_one_sum_exactly():
    told = lnurl.withdraw_terms(callback="https://t.example/w", k1="ab", amount=Msats(7_000), description="Change")
    assert (told["tag"], told["minWithdrawable"], told["maxWithdrawable"]) == ("withdrawRequest", 7_000, 7_000)
    assert lnurl.done() == {"status": "OK"}


@pytest.mark.parametrize("name", ["Tim the Wizard", "Тимми", "", "_", "..", "x" * 65, "a@b", "a\n"])
def test_what_can_not_stand_before_the_at_is_no_name_at_home(name):
    assert lnurl.name_at_home(name) is None


@pytest.mark.parametrize(("name", "shown"), [("Timmy", "timmy"), ("tim.my_2-x", "tim.my_2-x")])
def test_a_name_of_ours_is_the_first_part_of_an_address(name, shown):
    assert lnurl.name_at_home(name) == shown
    assert lnurl.address_url(f"{shown}@timmy.example").endswith(f"/{shown}")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://t.example", "pool@t.example"),
        ("https://T.example:8443/", "pool@t.example:8443"),
        ("https://me:secret@t.example", "pool@t.example"),
        ("https://t.example/timmy", None),
        ("http://t.example", None),
        ("", None),
    ],
)
def test_our_own_address_is_where_a_wallet_elsewhere_finds_it(url, address):
    assert lnurl.address_at("pool", url) == address


def test_our_terms_say_what_may_come_along():
    terms = lnurl.PayTerms(callback="https://a.example/cb", least=Msats(1_000), most=Msats(2_000), metadata="[]")
    assert lnurl.pay_terms(terms)["commentAllowed"] == 0
    assert "allowsNostr" not in lnurl.pay_terms(terms)
    told = lnurl.pay_terms(terms, comment_chars=9, nostr_pubkey="ab" * 32)
    assert (told["commentAllowed"], told["allowsNostr"], told["nostrPubkey"]) == (9, True, "ab" * 32)
