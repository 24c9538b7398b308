"""A mistake of ours: answered, numbered, logged, and not shown."""

import logging

import httpx
import pytest
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from ledger.store import StoreUnavailable
from timmy_dvm.core.actions import Refused
from timmy_dvm.engine import Contended
from timmy_dvm.http.app import create_app
from timmy_dvm.http.faults import refused
from timmy_dvm.http.wire import Asked

ID = "0123456789abcdef" * 2


def broken():
    router = APIRouter()

    @router.get("/mistake")
    async def mistake() -> Response:
        raise RuntimeError("the secret is 42")

    @router.get("/away")
    async def away() -> Response:
        raise StoreUnavailable("the ledger /srv/timmy.db can't be used")

    @router.get("/contended")
    async def contended() -> Response:
        raise Contended("the rows around x moved")

    @router.get("/half")
    async def half() -> Response:
        async def pieces():
            yield b"some"
            raise RuntimeError("the secret is 42")

        return StreamingResponse(pieces())

    return router


async def get(path):
    transport = httpx.ASGITransport(create_app([broken()], lambda: ID), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://timmy") as http:
        return await http.get(path)


async def test_a_mistake_has_a_number_in_the_answer_and_in_the_log(caplog):
    with caplog.at_level(logging.ERROR):
        answer = await get("/mistake")
    assert answer.status_code == 500
    assert answer.json() == {
        "error": f"Something went wrong here; the operator finds it under {ID[:16]}. Try again later.",
        "code": "incident",
        "trust_tier": "anonymous",
        "incident": ID[:16],
    }
    (record,) = [record for record in caplog.records if "mistake of ours" in record.getMessage()]
    assert record.exc_info is not None


async def test_a_ledger_that_is_away_is_a_503_without_its_path():
    for path in ("/away", "/contended"):
        answer = await get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "ledger_away")
        assert answer.headers["retry-after"]
        assert "/srv" not in answer.text


async def test_an_answer_that_has_begun_is_broken_off_and_not_made_longer():
    answer = await get("/half")
    assert answer.content == b"some"


def test_a_refusal_of_the_core_has_the_status_of_its_kind():
    statuses = {
        code: refused(Refused(code=code, sentence="Do this.")).status
        for code in ("too_long", "rate_limited", "busy", "not_yours", "unknown_job", "already_sending")
    }
    assert statuses == {
        "too_long": 400,
        "rate_limited": 429,
        "busy": 503,
        "not_yours": 403,
        "unknown_job": 404,
        "already_sending": 409,
    }


class Wanted(Asked):
    amount_sats: int
    name: str = ""


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (
            b'{"amountSats": 5}',
            "application/x-www-form-urlencoded",
            "with the header Content-Type: application/json.",
        ),
        (b"[5]", "application/json", "with the header Content-Type: application/json."),
        (b"", "application/json", "with the header Content-Type: application/json."),
        (b"{}", "application/json", "amountSats: it is missing."),
        (b'{"amountSats": "5"}', "application/json", "amountSats: send a whole number, without quotes."),
        (b'{"amountSats": 1.5}', "application/json", "amountSats: send a whole number, without quotes."),
        (b'{"amountSats": 5, "name": 7}', "application/json", "name: send a text, in quotes."),
    ],
)
async def test_whoever_sends_the_wrong_thing_is_told_what_to_send(body, content_type, says):
    router = APIRouter()

    @router.post("/wanted")
    async def wanted(_: Wanted) -> Response:
        return Response()

    transport = httpx.ASGITransport(create_app([router], lambda: ID))
    async with httpx.AsyncClient(transport=transport, base_url="http://timmy") as http:
        answer = await http.post("/wanted", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_input")
    assert answer.json()["error"].endswith(says)
