"""The description of this port: `/openapi.json`, a page for people at `/docs`, and its text for the repository.

`docs/openapi.json` is this document as it stood when it was last written; `timmy openapi --check` compares.
"""

import html
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from timmy_dvm.http.answers import Documented, Problem
from timmy_dvm.http.page_headers import SECURITY_HEADERS

EVERYWHERE: Final[Documented] = {
    "4XX": {"model": Problem, "description": "What was asked can't be done; the sentence says what to do next."},
    "5XX": {"model": Problem, "description": "Not now, or a mistake of ours under an incident number."},
}
"""What any route may answer besides."""
ASKER: Final[dict[str, Any]] = {"security": [{}, {"nostrToken": []}, {"nostrEvent": []}]}
"""Nobody in particular, or a key that says who it is."""
HOLDER: Final[dict[str, Any]] = {"security": [{"macaroon": []}]}
"""Who asks holds a session."""
_SCHEMES: Final[Mapping[str, Any]] = {
    "nostrToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Nostr-Token",
        "description": "What POST /api/identity/verify gave out.",
    },
    "nostrEvent": {
        "type": "http",
        "scheme": "Nostr",
        "description": "NIP-98: `Authorization: Nostr <base64 of a kind 27235 event, signed for this request>`.",
    },
    "macaroon": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "macaroon",
        "description": "A session's macaroon; `Authorization: L402 <macaroon>:<preimage>` does as well.",
    },
}
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_ABOUT: Final = (
    "Timmy is an AI agent that earns its living on Nostr. This is its side port: the same jobs over HTTP, paid "
    "over Lightning. Amounts are whole sats, times ISO 8601 in UTC. An answer that is no success is a "
    "`Problem`: a sentence for people and a stable word for programs."
)
_TITLE: Final = "Timmy over HTTP"
_STYLE: Final = (
    "body{max-width:50rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif}"
    "dt{margin-top:1rem}dd{margin:0 0 0 1rem}code{font-size:1rem;overflow-wrap:anywhere}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#fc6}}"
)
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_JOB: Final = "get /api/jobs/{job_id}"
_PAY: Final = "post /api/dev/stub/pay/{payment_hash}"
_LINKS: Final[Mapping[tuple[str, str], Mapping[str, tuple[str, Mapping[str, str]]]]] = {
    ("post /api/jobs", "201"): {
        "look": (_JOB, {"job_id": "$response.body#/jobId"}),
        "pay": (_PAY, {"payment_hash": "$response.body#/evalInvoice/paymentHash"}),
        "claim": ("post /api/jobs/{job_id}/refund", {"job_id": "$response.body#/jobId"}),
    },
    (_JOB, "200"): {"pay": (_PAY, {"payment_hash": "$response.body#/workInvoice/paymentHash"})},
    ("post /api/events", "202"): {
        "look": ("get /api/events/{event_id}", {"event_id": "$response.body#/eventId"}),
        "pay": (_PAY, {"payment_hash": "$response.body#/evalInvoice/paymentHash"}),
    },
    ("post /api/bootstrap", "201"): {
        "look": ("get /api/bootstrap/{bootstrap_id}", {"bootstrap_id": "$response.body#/bootstrapJobId"}),
        "pay": (_PAY, {"payment_hash": "$response.body#/paymentHash"}),
    },
    ("post /api/sessions", "201"): {
        "look": ("get /api/sessions/{session_id}", {"session_id": "$response.body#/sessionId"}),
        "pay": (_PAY, {"payment_hash": "$response.body#/invoice/paymentHash"}),
    },
}
"""What leads where (OpenAPI links): by route and status of the answer, what it opens and what is taken along."""
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def describe(app: FastAPI) -> None:
    """Have an application describe itself: its document, and the page for people."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
            made.setdefault("components", {})["securitySchemes"] = dict(_SCHEMES)
            _tell_problems_as_json(made)
            _link(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's own way to have another document
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        """All routes, for people."""
        page = page_of(request.app.openapi())
        headers = {**SECURITY_HEADERS, "Content-Security-Policy": _POLICY}
        return Response(page, headers=headers, media_type="text/html")

    app.include_router(router)


def _tell_problems_as_json(document: Mapping[str, Any]) -> None:
    """FastAPI describes problems in the media type of a route's success: a stream's are JSON too."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                if any(content.get("schema") == _PROBLEM for content in answer.get("content", {}).values()):
                    answer["content"] = {"application/json": {"schema": dict(_PROBLEM)}}


def _link(document: Mapping[str, Any]) -> None:
    """Tell what leads where, among the routes that are there."""
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    for (source, status), links in _LINKS.items():
        answer = operations.get(source, {}).get("responses", {}).get(status)
        if answer is not None:
            answer["links"] = {
                name: {"operationId": operations[target]["operationId"], "parameters": dict(parameters)}
                for name, (target, parameters) in links.items()
                if target in operations
            }


def text_of(document: Mapping[str, Any]) -> str:
    """The document as it is kept in the repository: one stable text for one meaning."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def page_of(document: Mapping[str, Any]) -> str:
    """The document as a page: every route with what it does, takes and answers. No script; all text is escaped."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_TITLE}</title>\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{_TITLE}</h1>\n"
        f"<p>{html.escape(document['info'].get('description', '')).replace('`', '')}</p>\n"
        '<p>The whole description, for programs: <a href="/openapi.json">/openapi.json</a>.</p>\n'
        f"<dl>\n{''.join(_routes(document))}</dl></main></body></html>\n"
    )


def _routes(document: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method not in operations:
                continue
            operation = operations[method]
            told = " ".join(str(operation.get("description", operation.get("summary", ""))).split())
            yield f"<dt><code>{method.upper()} {html.escape(path)}</code></dt>\n<dd>{html.escape(told)}"
            for status, answer in operation["responses"].items():
                yield f"<br>{html.escape(str(status))}: {html.escape(answer['description'])}"
            yield "</dd>\n"
