"""What the log says of requests: their routes, and nothing that anybody could use (LOG-01, 05)."""

import contextlib
import io
import json

import httpx
import pytest

from tests.timmy_dvm.http.door import URL, a_door
from timmy_dvm.http.access import AccessLog
from timmy_dvm.http.limits import Limits
from timmy_dvm.log import start_logging, stop_logging


@contextlib.asynccontextmanager
async def logged():
    """A door whose log is written as an operator has it with `-v`; yields the door, a client, and the lines."""
    stream = io.StringIO()

    def lines():
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    async with a_door() as door:
        app = AccessLog(Limits(door.app, header_bytes=8_192, body_bytes=1_024), door.house.clock)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
            handler = start_logging("json", 1, stream)
            try:
                yield door, http, lines
            finally:
                stop_logging(handler)


def told(lines):
    return [(line["fields"]["method"], line["fields"]["route"], line["fields"]["status"]) for line in lines]


async def test_a_request_is_one_line_with_its_route():
    async with logged() as (_, http, lines):
        for path in ("/api/pool", "/api/jobs/0123456789abcdef0123456789abcdef", "/nothing/here", "/api/jobs"):
            await http.get(path)
        await http.post("/api/jobs", content=b"x" * 2_000)
        requests = [line for line in lines() if line["component"] == "access"]
        assert {(line["level"], line["message"], line["action"]) for line in requests} == {
            ("debug", "request", "request")
        }
        assert told(requests) == [
            ("GET", "/api/pool", 200),
            ("GET", "/api/jobs/{job_id}", 404),
            ("GET", "(none)", 404),
            ("GET", "/api/jobs", 405),
            ("POST", "(none)", 413),
        ]
        assert {"method", "route", "status", "ms"} == set().union(*(line["fields"] for line in requests))


async def test_nothing_of_a_whole_job_that_is_a_secret_is_in_the_log():
    async with logged() as (door, http, lines):
        token = door.token()
        asked = await http.post(
            "/api/jobs", json={"request": "a canary in the mine", "pay": "once"}, headers={"X-Nostr-Token": token}
        )
        job = asked.json()
        await door.pay(job["evalInvoice"])
        await door.house.state_is(job["jobId"], "complete")
        await http.get(f"/api/jobs/{job['jobId']}", params={"nostr_token": token})
        await http.get("/api/estimate", params={"request": "a canary in the mine"})
        text = json.dumps(lines())
        for secret in (job["jobId"], job["claimSecret"], token, "canary"):
            assert secret not in text
        assert len(lines()) > 4


@pytest.mark.parametrize("method", ["GE\x1bT", "X" * 5_000])
async def test_a_method_that_is_none_is_not_repeated(method):
    async with logged() as (_, _http, lines):

        async def behind(scope, receive, send):
            await send({"type": "http.response.start", "status": 405, "headers": []})

        async def ignore(message):
            pass

        app = AccessLog(behind, _Clock())
        await app({"type": "http", "method": method, "path": "/"}, None, ignore)
        assert told(lines()) == [("(other)", "(none)", 405)]


class _Clock:
    def monotonic(self):
        return 0.0
