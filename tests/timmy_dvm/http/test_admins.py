"""Who the operator is: this machine, or the token; and nobody who only looks like it (DIA-03, D17)."""

import pytest
from fastapi import APIRouter, Request, Response

from tests.timmy_dvm.http.door import a_door
from timmy_dvm.config import Secret
from timmy_dvm.http.admins import Admins
from timmy_dvm.http.wire import said

TOKEN = "operator-token-of-this-test"
HERE, THERE = ("127.0.0.1", 40_000), ("203.0.113.9", 40_000)
LOCAL = {"Host": "127.0.0.1:5050"}


def guarded(admins):
    router = APIRouter(include_in_schema=False)

    @router.get("/guarded")
    async def guard(request: Request) -> Response:
        admins.check(request)
        return said({"ok": True})

    return lambda _: [router]


async def status(headers, *, peer=HERE, token=TOKEN, is_public=False):
    admins = Admins(None if token is None else Secret(token), is_public=is_public)
    async with a_door(more=guarded(admins), peer=peer) as door:
        answer = await door.http.get("/guarded", headers=headers)
        if answer.status_code != 200:
            assert answer.json()["code"] == "not_operator"
            assert TOKEN not in answer.text
        return answer.status_code


@pytest.mark.parametrize("host", ["127.0.0.1:5050", "localhost", "localhost:5050", "[::1]:5050", "[::1]"])
@pytest.mark.parametrize("peer", [HERE, ("::1", 40_000)])
async def test_this_machine_is_the_operator(host, peer):
    assert await status({"Host": host}, peer=peer) == 200


async def test_another_machine_is_not():
    assert await status(LOCAL, peer=THERE) == 403


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"])
async def test_a_proxy_on_this_machine_is_not(name):
    assert await status({**LOCAL, name: "127.0.0.1"}) == 403


async def test_with_a_public_address_this_machine_is_anybody():
    assert await status(LOCAL, is_public=True) == 403


@pytest.mark.parametrize("host", ["timmy.example", "127.0.0.1.evil.example", "localhost.evil.example:5050", ""])
async def test_a_name_of_somebody_elses_that_leads_here_is_not_this_machine(host):
    """A page in the operator's own browser could have its own name lead to 127.0.0.1 (DNS rebinding)."""
    assert await status({"Host": host}) == 403


async def test_a_web_page_in_a_browser_on_this_machine_is_not():
    assert await status({**LOCAL, "Origin": "https://app.example"}) == 403


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_token_is_the_operators_from_anywhere(scheme):
    headers = {"Authorization": f"{scheme} {TOKEN}", "X-Forwarded-For": "203.0.113.1"}
    assert await status(headers, peer=THERE, is_public=True) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN.upper()}",
        "Bearer é",
    ],
)
async def test_any_other_token_is_nobodys_also_on_this_machine(authorization):
    for peer in (HERE, THERE):
        assert await status({**LOCAL, "Authorization": authorization.encode()}, peer=peer) == 403


@pytest.mark.parametrize("authorization", ["Bearer ", "Bearer None", "Bearer"])
async def test_where_there_is_no_token_none_opens(authorization):
    assert await status({"Authorization": authorization}, peer=THERE, token=None) == 403


async def test_two_tokens_are_none():
    headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]
    assert await status(headers, peer=THERE) == 403
