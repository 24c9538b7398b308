"""The Workshop's page: whole, self-contained, under its own policy, and safe from what people say in it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

import timmy_dvm.http
from tests.timmy_dvm.http.watching import served

FOLDER = Path(timmy_dvm.http.__file__).parent / "pages" / "tower"
FILES = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}


class Markup(HTMLParser):
    """What the page is made of: every tag with its attributes, and what stands inside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inside = [], ""
        self._open = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open in ("script", "style"):
            self.inside += data.strip()


PAGE = Markup(FILES["index.html"])


@pytest.fixture
async def http():
    async with served() as house, httpx.AsyncClient(base_url=house.base) as client:
        yield client


async def test_wld_05_the_page_is_there_under_a_strict_policy(http):
    answer = await http.get("/tower/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await http.get("/tower")).headers["location"] == "/tower/"


async def test_wld_06_whatever_the_page_loads_answers(http):
    loaded = [of.get("src") or of["href"] for tag, of in PAGE.tags if tag in ("script", "link", "img")]
    assert loaded
    for path in [
        *loaded,
        *(f"assets/{found}" for text in SCRIPTS.values() for found in re.findall(r'from "\./(.+?)"', text)),
    ]:
        answer = await http.get(f"/tower/{path}")
        assert answer.status_code == 200, path
        assert "default-src" in answer.headers["content-security-policy"]
    for name in ("../index.html", "%2e%2e/tower.js", "nothing.js", "__init__.py"):
        assert (await http.get(f"/tower/assets/{name}")).status_code == 404


async def test_what_a_browser_has_is_not_sent_again(http):
    first = await http.get("/tower/assets/tower.js")
    again = await http.get("/tower/assets/tower.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await http.head("/tower/")).status_code == 200


def test_nothing_comes_from_elsewhere_and_nothing_stands_inline():
    assert PAGE.inside == ""
    for tag, attributes in PAGE.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
    for name, text in FILES.items():
        urls = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", text))
        assert urls <= {"http://www.w3.org/2000/svg"}, name
        assert "@import" not in text
    assert sum(len(text.encode()) for text in FILES.values()) <= 100_000


def test_wld_24_foreign_text_is_only_ever_text():
    for name, text in SCRIPTS.items():
        forbidden = (
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser|srcdoc|setHTML"
        )
        assert not re.search(forbidden, text), name


def test_wld_08_the_socket_is_at_the_pages_own_host():
    script = SCRIPTS["tower.js"]
    assert "location.host" in script
    assert '"wss:" : "ws:"' in script


def test_wld_20_page_chat_knows_the_three_cases():
    said = SCRIPTS["tower.js"].partition("chat({")[2]
    assert [case in said for case in ('case "visitor"', 'case "timmy"', "default:")] == [True] * 3


def test_wld_21_enter_sends_and_then_the_field_is_empty():
    handler = SCRIPTS["tower.js"].partition('addEventListener("submit"')[2]
    assert handler.index("socket.send(") < handler.index('.value = ""')
    (field,) = [attributes for tag, attributes in PAGE.tags if tag == "input"]
    assert field["maxlength"] == "250"


def test_it_can_be_used_without_eyes_or_a_mouse():
    ids = {attributes["id"]: attributes for _, attributes in PAGE.tags if "id" in attributes}
    assert ids["words"]["role"] == "log"
    assert ids["scene"]["role"] == "img"
    assert set(ids["scene"]["aria-labelledby"].split()) <= set(ids)
    assert any(tag == "label" and of.get("for") == "said" for tag, of in PAGE.tags)
    assert ("html", {"lang": "en"}) in PAGE.tags
    assert "prefers-reduced-motion" in FILES["tower.css"]
    assert "prefers-color-scheme" in FILES["tower.css"]


def test_wld_22_the_way_to_pay_is_shown():
    assert any(tag == "a" and of.get("href") == "/api/ui" for tag, of in PAGE.tags)
