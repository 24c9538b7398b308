"""The description of the port: what it names, that the one in the repository is it, and the page made of it."""

import json
import re
from pathlib import Path

import httpx
import jsonschema_rs
import pytest
from fastapi import APIRouter, Response

from tests.timmy_dvm.http.described import Book
from tests.timmy_dvm.http.door import a_door
from timmy_dvm.http.answers import DevPaid, answers
from timmy_dvm.http.app import create_app
from timmy_dvm.http.description import page_of, text_of
from timmy_dvm.http.page_headers import SECURITY_HEADERS
from timmy_dvm.http.wire import said
from timmy_dvm.http_door import description

KEPT = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document():
    return description()


def test_the_description_in_the_repository_is_current(document):
    """API-01: After a change of a route: `timmy openapi > docs/openapi.json`."""
    assert KEPT.read_text(encoding="utf-8") == text_of(document)


def test_every_answer_of_every_route_has_a_shape(document):
    bare = [
        f"{method} {path} {status}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status, answer in operation["responses"].items()
        for content in answer.get("content", {}).values()
        if not content.get("schema")
    ]
    assert bare == []


def test_every_route_says_what_it_does_and_how_it_fails(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"].endswith("."), (method, path)
            assert {"4XX", "5XX"} <= operation["responses"].keys(), (method, path)
            assert "422" not in operation["responses"], (method, path)


def test_every_shape_is_a_json_schema_that_can_hold_something(document):
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})
        assert schema.get("properties") or schema.get("enum") or schema.get("anyOf"), name


def test_it_names_times_the_cost_ledger_and_the_ways_to_say_who_asks(document):
    """API-01, API-02."""
    shapes = document["components"]["schemas"]
    assert {"createdAt", "completedAt", "pricingBreakdown", "costLedger"} <= shapes["Job"]["properties"].keys()
    assert "totalTokens" in shapes["CostLedger"]["required"]
    assert "completedAt" in shapes["Job"]["required"]
    assert "result" not in shapes["Job"]["required"]
    assert document["components"]["securitySchemes"].keys() == {"nostrToken", "nostrEvent", "macaroon"}
    assert {"nostrToken": []} in document["paths"]["/api/jobs"]["post"]["security"]


def test_the_names_that_the_first_timmy_spelt_in_snake_case_stay(document):
    names = {
        name for schema in document["components"]["schemas"].values() for name in schema.get("properties", {})
    }
    assert {name for name in names if "_" in name} <= {
        "nostr_token",
        "trust_tier",
        "free_tier",
        "absorbed_sats",
        "amount_sats",
        # How a key stands is told in the words relays have it in.
        "trust_score",
        "interaction_count",
        "sats_absorbed_today",
        "daily_budget_sats",
        # A Nostr event's own.
        "created_at",
    }


def test_a_changed_model_makes_another_text(document):
    """API-01."""
    changed = json.loads(text_of(document))
    del changed["components"]["schemas"]["Job"]["properties"]["state"]
    assert text_of(changed) != text_of(document)


async def test_the_port_serves_the_document_and_the_page():
    async with a_door() as door:
        served = (await door.http.get("/openapi.json")).json()
        page = await door.http.get("/docs")
    assert {"/api/jobs", "/api/jobs/{job_id}", "/api/estimate"} <= served["paths"].keys()
    assert page.headers["content-type"].startswith("text/html")
    assert "<code>POST /api/jobs</code>" in page.text
    assert "<script" not in page.text
    rest = {name: value for name, value in SECURITY_HEADERS.items() if name != "Content-Security-Policy"}
    assert {name: page.headers.get(name) for name in rest} == rest
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://", page.text)


def test_the_page_shows_every_route_and_escapes_what_it_shows(document):
    page = page_of(document)
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in page
    hostile = {
        "info": {"description": "<b>"},
        "paths": {"/<i>": {"get": {"description": "<u>", "responses": {"200": {"description": "<s>"}}}}},
    }
    assert not {"<b>", "<i>", "<u>", "<s>"} & set(re.findall(r"<\w+>", page_of(hostile)))


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"ok": True, "paymentHash": "0a" * 32, "trust_tier": "new"}, 200, "alreadyPaid"),
        ({"ok": True, "paymentHash": "0A" * 32, "alreadyPaid": True, "trust_tier": "new"}, 200, "does not match"),
        ({"ok": True, "paymentHash": "0a" * 32, "alreadyPaid": True, "trust_tier": "new", "more": 1}, 200, "more"),
        ({"error": "No."}, 404, "code"),
        ({}, 302, "not described"),
    ],
)
async def test_an_answer_that_is_not_as_described_is_found(body, status, why):
    """API-03: The hook under every test of this door can fail."""
    router = APIRouter()

    @router.get("/thing/{name}", responses=answers(DevPaid, "A thing."))
    async def thing(name: str) -> Response:
        return said(body, status)

    app = create_app([router], lambda: "")
    book = Book(app.openapi())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://timmy") as http:
        answer = await http.get("/thing/one")
    with pytest.raises(AssertionError, match=why):
        book.hold(answer)
