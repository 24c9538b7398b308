"""Paying a simulated invoice over a real socket: paid is silent, anything else is a sentence."""

import asyncio
import contextlib

import pytest

from lightning.errors import InvalidInvoice
from tests.timmy_dvm.nostr.kit import invoice
from timmy_dvm.http.app import create_app
from timmy_dvm.http.dev_pay import PaidHow, Receipt, routes
from timmy_dvm.http.server import Gate, bind, make_server
from timmy_dvm.purse import NotPaid, SimulatedPurse

HASH = "01" * 32


@contextlib.asynccontextmanager
async def timmy(how=None):
    """The address of a Timmy whose wallet answers `how` (None: it has no such route), and what it was asked."""
    asked = []

    async def pay(payment_hash):
        asked.append(payment_hash)
        return Receipt(how)

    listening = bind("127.0.0.1", 0)
    gate = Gate(read_s=60, connections=10, per_address=10)
    app = create_app([] if how is None else [routes(pay)], lambda: HASH)
    server = make_server(app, gate, header_bytes=8_192)
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        server.should_exit = True
        await task
        listening.close()


@pytest.mark.parametrize("how", [PaidHow.PAID, PaidHow.ALREADY])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_it_names_the_invoice_by_its_hash_and_paid_is_paid(how, slash):
    async with timmy(how) as (http, asked):
        await SimulatedPurse(http + slash).pay(invoice())
    assert asked == [HASH]


@pytest.mark.parametrize("how", [PaidHow.FAILED, PaidHow.UNKNOWN, None])
async def test_a_refusal_is_passed_on_in_the_others_words(how):
    async with timmy(how) as (http, _):
        with pytest.raises(NotPaid, match=rf"{http} did not pay the simulated invoice: .*\"error\""):
            await SimulatedPurse(http).pay(invoice())


async def test_where_nobody_listens_the_sentence_says_where():
    with contextlib.closing(bind("127.0.0.1", 0)) as taken:
        http = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(NotPaid, match=f"{http} can't be reached"):
        await SimulatedPurse(http).pay(invoice())


async def test_what_is_no_invoice_is_not_sent_anywhere():
    async with timmy(PaidHow.PAID) as (http, asked):
        with pytest.raises(InvalidInvoice):
            await SimulatedPurse(http).pay("lnbc1nonsense")
    assert asked == []
