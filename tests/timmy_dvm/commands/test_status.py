"""`timmy status`: beside a running bot, beside a sick one, and without one."""

import json

import pytest

from relay_client.connection import RelayState
from relay_client.pool import RelayStatus
from timmy_dvm.commands import status
from timmy_dvm.http.health import relay_view


@pytest.fixture
def look(bot, timmy):
    def run(*arguments, **environ):
        return timmy("status", "--data-dir", str(bot.folder), *arguments, **environ)

    return run


def port_of(bot):
    return {"TIMMY_HTTP__PORT": bot.ready.http.rpartition(":")[2]}


def test_a_serving_bot_tells_of_itself_its_relays_its_jobs_and_its_books(look, bot):
    done = look(**port_of(bot))
    assert done.code == 0
    assert done.lines[0].startswith(f"serving  {bot.ready.http}  {bot.ready.npub}")
    assert f"relay {bot.ready.relays[0]}  connected" in done.out
    assert "0 executing" in done.out
    assert "pool" in done.lines[-1]


def test_the_same_as_json_with_the_health_route_s_own_answer(look, bot):
    body = json.loads(look("--json", **port_of(bot)).out)
    assert body["health"]["npub"] == bot.ready.npub
    assert body["health"]["relays"][0]["url"] == bot.ready.relays[0]
    assert body["jobs"]["outbox"] == 0
    assert body["booksSats"]["node"] > 0


def test_without_a_bot_it_says_so_and_shows_what_the_ledger_holds(look):
    done = look(TIMMY_HTTP__PORT="1")
    assert done.code == 1
    assert done.lines[0].startswith("no bot at http://127.0.0.1:1 (")
    assert "timmy run" in done.lines[0]
    assert done.lines[-1].startswith("books  ")


def relay(**more):
    told = {
        "url": "wss://evil.example",
        "state": RelayState.PENALISED,
        "connected_since": None,
        "last_event_at": 1_700_000_000.5,
        "reconnects": 3,
        "misbehaviour": 120.0,
        "last_error": "it misbehaved",
    }
    return relay_view(RelayStatus(**{**told, **more}))


def test_a_relay_that_was_dropped_is_named_with_what_it_did():
    line = status._relay({**relay(), "faults": {"forged_event": 12}})
    assert line == (
        "relay wss://evil.example  penalised, 3 reconnects; MISBEHAVES: 12 forged_event (it misbehaved)"
    )


def test_a_relay_that_serves_us_in_part_or_wants_less_of_us_says_so():
    told = relay(state=RelayState.CONNECTED, reconnects=0, last_error=None)
    line = status._relay({**told, "unserved": {"timmy": "restricted: members only"}, "pauseSeconds": 12.4})
    assert line == (
        "relay wss://evil.example  connected; DOES NOT SERVE timmy: restricted: members only; "
        "wants less of us, paused for 12 s"
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [("no_relay", "no relay is connected"), ("no_wallet", "nothing can be paid"), ("new_word", "new_word")],
)
def test_what_stands_in_the_way_comes_first(state, words):
    first = status._told("http://b", {"status": state, "npub": "npub1x"}, "")[0]
    assert first.startswith("NOT SERVING: ")
    assert words in first


def test_a_stranger_s_server_on_our_port_is_no_bot(timmy, bot, monkeypatch):
    monkeypatch.setattr(status.httpx, "get", lambda *_, **__: status.httpx.Response(200, json=["hello"]))
    done = timmy("status", "--data-dir", str(bot.folder))
    assert (done.code, "something else answers there" in done.out) == (1, True)


@pytest.mark.parametrize(
    ("host", "base"),
    [
        (".".join("0000"), "http://127.0.0.1:5050"),
        ("::", "http://[::1]:5050"),
        ("192.0.2.1", "http://192.0.2.1:5050"),
    ],
)
def test_the_bot_is_asked_on_its_own_machine(host, base, tmp_path):
    from timmy_dvm.config import load

    environ = {"TIMMY_HTTP__HOST": host}
    assert status.base_url(load(None, environ, tmp_path)) == base
