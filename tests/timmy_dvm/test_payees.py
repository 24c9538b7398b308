"""Where a refund goes is asked for an invoice of exactly its sum, and whatever comes of it is one fact."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from lightning import bolt11, lnurl
from lightning.simulated_node import Node
from tests.lnurl_server import ADDRESS, NAME, an_address, judge_for
from timmy_dvm.clock import SeededRandomness, SystemClock
from timmy_dvm.core.actions import AskForInvoice
from timmy_dvm.core.refund_facts import RefundInvoiced, RefundNotInvoiced
from timmy_dvm.fetching import GuardedFetch, public_https
from timmy_dvm.payees import Payees, ProfilesUnknown, pay_url, why_not_address

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ssrf.json").read_text())
ASKED = AskForInvoice(refund_id="ab" * 16, attempts=2, amount=21_000, address=ADDRESS, pubkey="cd" * 32)


async def nobody(host, port):
    raise OSError(f"{host}:{port} is not looked up here")


class Engine:
    def __init__(self):
        self.handled = []

    async def handle(self, fact, *, done):
        self.handled.append((fact, done))


class Profiles:
    def __init__(self, answer=None):
        self.answer = answer
        self.asked = []

    async def lightning_address(self, pubkey):
        self.asked.append(pubkey)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def service():
    node = Node(b"alice", SystemClock().now, SeededRandomness("alice").token)
    async with an_address(lambda msat, of: node.invoice(msat, "", 600, of).bolt11) as server:
        yield server


@pytest.fixture
def ask(service):
    async def ask(asked=ASKED, profiles=None, network="bcrt", deadline_s=5.0, **_):
        judge = judge_for(public_https(nobody), {NAME: service.port})
        engine = Engine()
        fetch = GuardedFetch(judge, deadline_s=deadline_s)
        await Payees(fetch, profiles or Profiles(), engine, SystemClock(), network).ask(7, asked)
        ((fact, done),) = engine.handled
        assert (fact.refund_id, fact.attempts, done) == (asked.refund_id, asked.attempts, 7)
        return fact

    return ask


async def test_an_address_gives_an_invoice_for_exactly_the_sum(ask, service):
    fact = await ask()
    assert isinstance(fact, RefundInvoiced)
    invoice = bolt11.decode(fact.bolt11)
    assert (invoice.amount_msat, invoice.payment_hash, invoice.expires_at) == (
        21_000, fact.payment_hash, fact.expires_at,
    )  # fmt: skip
    terms, callback = (request.split()[1] for request in service.requests)
    assert terms == "/.well-known/lnurlp/alice"
    assert callback == "/cb?x=1&amount=21000"
    assert all(f"host: {NAME}\r\n" in request.lower() for request in service.requests)


async def test_an_lnurl_is_asked_like_an_address(ask):
    text = lnurl.encode(f"https://{NAME}/.well-known/lnurlp/alice")
    for written in (text, text.lower(), f"lightning:{text}"):
        assert isinstance(await ask(replace(ASKED, address=written)), RefundInvoiced)


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        ("refuses", "refuses the payment"),
        ("wants more", "takes 1000000 to"),
        ("wrong amount", "another sum"),
        ("wrong description", "not its own"),
        ("no invoice", "sent no invoice"),
        ("64 kB", "longer than 65,536 bytes"),
        ("gone", "HTTP 404"),
        ("packed", "comes packed"),
        ("redirected", "redirects are not followed"),
        ("redirected inside", "redirects are not followed"),
    ],
)
async def test_a_bad_answer_is_told_and_asked_again_later(ask, service, mood, says):
    service.mood = mood
    fact = await ask()
    assert isinstance(fact, RefundNotInvoiced)
    assert says in fact.sentence
    assert not fact.lasting


@pytest.mark.parametrize("mood", ["callback inside", "callback by http"])
async def test_a_callback_is_judged_anew_and_one_that_leads_inside_is_never_asked(ask, service, mood):
    service.mood = mood
    fact = await ask()
    assert fact.lasting
    assert len(service.requests) == 1


async def test_an_invoice_for_another_network_is_not_taken(ask):
    assert "another network" in (await ask(network="bc")).sentence


async def test_a_service_that_never_answers_is_not_waited_for(ask, service):
    service.mood = "silent"
    fact = await ask(deadline_s=0.2)
    assert (fact.sentence, fact.lasting) == ("No answer came within 0.2 seconds.", False)


@pytest.mark.parametrize("address", ["alice@127.0.0.1", "alice@localhost", "alice@10.0.0.1", "alice@box.local"])
async def test_an_address_that_is_not_public_is_never_asked(ask, service, address):
    fact = await ask(replace(ASKED, address=address))
    assert (type(fact), fact.lasting, service.requests) == (RefundNotInvoiced, True, [])


async def test_a_host_that_can_not_be_looked_up_now_may_be_there_later(ask):
    fact = await ask(replace(ASKED, address="alice@other.example"))
    assert (fact.lasting, fact.sentence) == (False, "The address can't be reached now.")


async def test_without_a_named_address_the_profile_is_looked_up(ask):
    profiles = Profiles(ADDRESS)
    assert isinstance(await ask(replace(ASKED, address=None), profiles), RefundInvoiced)
    assert profiles.asked == ["cd" * 32]


@pytest.mark.parametrize(
    ("answer", "lasting", "nowhere"),
    [(None, True, True), ("not an address", True, False), (ProfilesUnknown("No relay."), False, False)],
)
async def test_a_profile_that_does_not_help(ask, service, answer, lasting, nowhere):
    fact = await ask(replace(ASKED, address=None), Profiles(answer))
    assert (fact.lasting, fact.nowhere, service.requests) == (lasting, nowhere, [])


def test_what_is_no_address_is_told_so_before_anything_is_asked():
    assert why_not_address("Alice@Pay.Example ") is None
    assert pay_url("lightning:alice@pay.example") == "https://pay.example/.well-known/lnurlp/alice"
    for text in ("alice", "alice@", "lnurl1junk", "lnbc1xyz", "", "a b@c.example"):
        assert why_not_address(text).endswith(".")


@pytest.mark.parametrize("case", VECTORS["urls"], ids=lambda case: ascii(case["url"]))
def test_an_address_that_no_refund_could_ever_reach_is_told_so_at_once(case):
    """vectors/ssrf.json, as an LNURL and, where one can be written, as a Lightning address."""
    assert case["expect"] == "reject"
    assert why_not_address(case["lnurl"]).endswith(".")
    host = urlsplit(case["url"]).netloc.rpartition("@")[2]
    assert why_not_address(f"a@{host}").endswith(".")
