"""HEAD tells what GET would, without a body, and nothing that GET hands out once is used up by it."""

import asyncio
import contextlib

import httpx
import pytest
from fastapi import FastAPI

from timmy_dvm.http.heads import READ_BY_HEAD, Heads
from timmy_dvm.http.server import Gate, bind, make_server


@contextlib.asynccontextmanager
async def serving():
    app, listening = FastAPI(), bind("127.0.0.1", 0)
    for path in (*READ_BY_HEAD, "/api/demo"):
        app.get(path)(lambda: "twelve bytes")
    server = make_server(Heads(app), Gate(read_s=60, connections=9, per_address=9), header_bytes=8_192)
    task = asyncio.create_task(server.serve([listening]))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as http:
            yield http
    finally:
        server.should_exit = True
        await task
        listening.close()


async def test_where_reading_changes_nothing_a_head_is_as_long_as_the_answer():
    async with serving() as http:
        for path in sorted(READ_BY_HEAD):
            head, got = await http.head(path), await http.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize(("path", "status"), [("/api/demo", 405), ("/nothing", 404)])
async def test_elsewhere_it_is_refused_as_any_other_way(path, status):
    async with serving() as http:
        assert (await http.head(path)).status_code == status
