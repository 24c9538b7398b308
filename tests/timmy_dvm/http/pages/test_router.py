"""The pages as they are sent: what every answer says to a browser, and that what they name is there."""

import re
from importlib.resources import files

import httpx
import pytest
from fastapi import FastAPI

from timmy_dvm.http.page_headers import SECURITY_HEADERS
from timmy_dvm.http.pages import Bill, Visitors, pages_router

JOB, PAID = "a" * 32, "b" * 32
INVOICE = "lnbcrt230n1" + "qpzry9x8gf2tvdw0s3jn54khce6mua7l" * 8
NPUB = "npub1" + "q" * 58
PATHS = ("/", "/api/ui", "/pool", f"/pay/{JOB}", f"/pay/{PAID}")
EVIL = '"><script>alert(1)</script>'
FILES = files("timmy_dvm.http.pages")


async def bills(job_id):
    return {JOB: Bill(INVOICE, 23), PAID: Bill(None, 0)}.get(job_id)


@pytest.fixture
async def http():
    app = FastAPI()
    relays = ("wss://relay.example", EVIL)
    app.include_router(pages_router(Visitors(NPUB, relays, 500, play_money=False, described=True), bills))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://timmy") as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_is_html_with_every_guard_and_nothing_inline(http, path):
    """WLD-01."""
    page = await http.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert {name: page.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", page.text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.text)
    assert (await http.head(path)).status_code == 200


async def test_cor_01_the_landing_page_is_at_the_root_and_names_us(http):
    """WLD-04, WLD-09."""
    page = (await http.get("/")).text
    assert NPUB in page
    assert "wss://relay.example" in page


async def test_the_pools_page_says_how_to_give_where_a_wallet_elsewhere_can(http):
    assert "give.svg" not in (await http.get("/pool")).text
    assert (await http.get("/pool/give.svg")).status_code == 404
    app = FastAPI()
    told = Visitors(NPUB, (), 500, play_money=False, pool_address="pool@timmy.example", pool_lnurl="LNURL1DP68")
    app.include_router(pages_router(told, bills))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://timmy") as client:
        page = (await client.get("/pool")).text
        assert "<code>pool@timmy.example</code>" in page
        assert 'href="lightning:LNURL1DP68"' in page
        code = await client.get("/pool/give.svg")
        assert (code.status_code, code.headers["content-type"]) == (200, "image/svg+xml")


async def test_cor_02_api_leads_to_the_page_that_asks(http):
    for ask in (http.get, http.head):
        answer = await ask("/api")
        assert (answer.status_code, answer.headers["location"]) == (302, "/api/ui")


async def test_a_value_from_outside_is_escaped(http):
    page = (await http.get("/")).text
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("path", PATHS)
async def test_everything_a_page_names_here_is_there_and_may_be_kept(http, path):
    page = (await http.get(path)).text
    assets = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
    assert assets
    for asset in assets:
        answer = await http.get(asset)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_module_imports_only_its_neighbours_and_they_are_there(http):
    names = {file.name for file in (FILES / "assets").iterdir()}
    for file in (FILES / "assets").iterdir():
        for imported in re.findall(r'(?:from|import) "([^"]+)"', file.read_text()):
            assert imported.removeprefix("./") in names, f"{file.name} imports {imported}"


def test_no_script_knows_a_way_to_markup():
    ways = re.compile(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|srcdoc|DOMParser")
    for file in (FILES / "assets").iterdir():
        assert not ways.search(file.read_text()), file.name


async def test_an_asset_that_a_browser_has_is_not_sent_again(http):
    first = await http.get("/assets/timmy.css")
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-encoding"] == "gzip"
    again = await http.get("/assets/timmy.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = await http.get("/assets/timmy.css", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == first.content


async def test_what_an_older_page_asks_for_is_served_and_not_kept(http):
    answer = await http.get(f"/assets/{'0' * 16}/timmy.css")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


@pytest.mark.parametrize("path", ["/assets/no.css", "/assets/..%2frouter.py", "/assets/0/%2e%2e%2frouter.py"])
async def test_nothing_else_can_be_had(http, path):
    assert (await http.get(path)).status_code == 404


async def test_a_pay_page_shows_the_invoice_before_any_script_runs(http):
    answer = await http.get(f"/pay/{JOB}")
    assert answer.headers["cache-control"] == "no-store"
    assert f'href="lightning:{INVOICE}"' in answer.text
    assert f'src="/pay/{JOB}.svg"' in answer.text
    assert "<strong>23</strong>" in answer.text
    assert "lightning:" not in (await http.get(f"/pay/{PAID}")).text


@pytest.mark.parametrize(("ending", "kind"), [("svg", "image/svg+xml"), ("png", "image/png")])
async def test_the_code_alone_is_a_picture(http, ending, kind):
    answer = await http.get(f"/pay/{JOB}.{ending}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert (await http.get(f"/pay/{PAID}.{ending}")).status_code == 404
    assert (await http.get(f"/pay/{'0' * 32}.{ending}")).status_code == 404


@pytest.mark.parametrize("job_id", ["0" * 32, "A" * 32, "x.y", "%00", "a" * 31, "a" * 300])
async def test_a_job_that_is_none_is_a_kind_page_and_404(http, job_id):
    answer = await http.get(f"/pay/{job_id}")
    assert answer.status_code == 404


async def test_the_page_of_a_job_that_is_none_says_what_to_do(http):
    answer = await http.get(f"/pay/{'0' * 32}")
    assert "There is no such job here." in answer.text


@pytest.mark.parametrize("path", ["/api/ui", "/pool"])
async def test_a_page_is_found_with_a_slash_at_its_end_too(http, path):
    answer = await http.get(f"{path}/")
    assert (answer.status_code, answer.headers["location"]) == (308, path)
