"""What a refund's address answers comes over real TLS from the address that was judged, and from no other."""

import json
import ssl
from pathlib import Path

import pytest

from tests.timmy_dvm.test_web import PUBLIC, Detour, Names, Site, certificate, detour, site
from timmy_dvm.clock import SystemClock
from timmy_dvm.core.actions import AskForInvoice
from timmy_dvm.core.refund_facts import RefundNotInvoiced
from timmy_dvm.fetching import FetchFailed, GuardedFetch, Wanted, Why, public_https
from timmy_dvm.payees import Payees

__all__ = ["Detour", "Site", "certificate", "detour", "site", "ssl"]
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ssrf.json").read_text())


def fetch_by(names, detour, **how):
    return GuardedFetch(public_https(names), transport=detour, **how)


async def test_a_document_comes_over_tls_from_the_judged_address(detour, site):
    names = Names([PUBLIC], ["127.0.0.1"])
    document = await fetch_by(names, detour)("https://ok.example/json", 100)
    assert (document.body, document.kind, detour.dialled) == (b'{"a": 1}', "application/json", [PUBLIC])
    assert names.asked == [("ok.example", 443)]
    assert "host: ok.example\r\n" in site.requests[0].lower()


@pytest.mark.parametrize(
    ("url", "why", "wanted"),
    [
        ("https://other.example/", Why.UNREACHABLE, Wanted()),
        ("https://ok.example/elsewhere", Why.MOVED, Wanted()),
        ("https://ok.example/missing", Why.STATUS, Wanted()),
        ("https://ok.example/packed", Why.PACKED, Wanted()),
        ("https://ok.example/picture", Why.KIND, Wanted(takes=lambda kind: kind == "text/plain")),
        ("https://ok.example/endless", Why.TOO_LONG, Wanted()),
        ("https://ok.example/nonsense", Why.UNREACHABLE, Wanted()),
        ("https://ok.example/silent", Why.LATE, Wanted()),
        ("http://ok.example/", Why.UNFIT, Wanted()),
    ],
    ids=lambda value: value.split("/")[-1] or value if isinstance(value, str) else "",
)
async def test_what_is_not_to_be_had_says_why_and_whether_that_lasts(detour, url, why, wanted):
    with pytest.raises(FetchFailed) as caught:
        await fetch_by(Names(), detour, deadline_s=1.0)(url, 1_000, wanted)
    assert (caught.value.why, caught.value.lasting) == (why, why is Why.UNFIT)


class Engine:
    def __init__(self):
        self.facts = []

    async def handle(self, fact, *, done):
        self.facts.append(fact)


class NoProfiles:
    async def lightning_address(self, pubkey):
        return None


async def asked(address, names, detour):
    engine = Engine()
    payees = Payees(fetch_by(names, detour), NoProfiles(), engine, SystemClock(), "bcrt")
    wanted = AskForInvoice(refund_id="ab" * 16, attempts=0, amount=21_000, address=address, pubkey=None)
    await payees.ask(1, wanted)
    (fact,) = engine.facts
    assert isinstance(fact, RefundNotInvoiced)
    return fact


@pytest.mark.parametrize("row", VECTORS["urls"], ids=lambda row: ascii(row["url"]))
async def test_an_lnurl_that_leads_inside_is_never_dialled(detour, row):
    fact = await asked(row["lnurl"], Names(["127.0.0.1"]), detour)
    assert (fact.lasting, detour.dialled) == (True, [])


@pytest.mark.parametrize("address", VECTORS["addresses"])
async def test_a_lightning_address_whose_host_leads_inside_is_never_dialled(detour, address):
    if VECTORS["addresses"][address]["expect"] == "accept":
        await asked("alice@ok.example", Names([address]), detour)
        assert detour.dialled == [address]
        return
    for answers in ([address], [PUBLIC, address]):
        assert (await asked("alice@ok.example", Names(answers), detour)).lasting
    assert detour.dialled == []
