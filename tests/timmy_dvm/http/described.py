"""Every answer is held against the port's own description: `described(app)` is a response hook of httpx."""

import copy
import re

import httpx
import jsonschema_rs


def described(app):
    """A hook that fails where an answer, its status or one of its fields is not described."""
    book = Book(app.openapi())

    async def hold(response: httpx.Response) -> None:
        if media_type(response) == "application/json":
            await response.aread()
        book.hold(response)

    return hold


def media_type(response):
    return response.headers.get("content-type", "").partition(";")[0]


class Book:
    """An OpenAPI document to hold answers against. What it does not name may not be answered."""

    def __init__(self, document):
        self._document = strict(document)
        self._paths = [
            (re.compile(re.sub(r"\\?\{[^}]*\\?\}", "[^/]+", re.escape(path))), operations)
            for path, operations in document["paths"].items()
        ]
        self._validators = {}

    def hold(self, response):
        request = response.request
        where = f"{request.method} {request.url.path} -> {response.status_code}"
        documented = self._answers_to(request)
        if documented is None:
            return
        answer = documented.get(str(response.status_code)) or documented.get(f"{response.status_code // 100}XX")
        assert answer is not None, f"{where}: this status is not described; say so in its `responses`"
        content = answer.get("content", {})
        if not content:
            return
        assert media_type(response) in content, f"{where}: {media_type(response)} is not described"
        if media_type(response) != "application/json":
            return
        errors = [
            f"{error.instance_path}: {error.message}"
            for error in self._validator(content["application/json"]["schema"]).iter_errors(response.json())
        ]
        assert not errors, f"{where}: not as timmy_dvm/http/answers.py describes it: {errors}"

    def _answers_to(self, request):
        for path, operations in self._paths:
            if path.fullmatch(request.url.path) and request.method.lower() in operations:
                return operations[request.method.lower()]["responses"]
        return None

    def _validator(self, schema):
        key = repr(schema)
        if key not in self._validators:
            whole = {**schema, "components": self._document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return self._validators[key]


def strict(document):
    """The same, where no object may have a field that is not described: clients may ignore those, we may not."""
    document = copy.deepcopy(document)
    for schema in document["components"]["schemas"].values():
        if schema.get("type") == "object" and schema.get("properties"):
            schema.setdefault("additionalProperties", False)
    return document
