"""`timmy testkit`, as a user types it."""

import re

import pytest

from timmy_dvm import relay_checks


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(relay_checks, "QUIET_S", 0.2)


def test_both_halves_are_run_and_counted_together(timmy, bot):
    """TST-02, TST-18."""
    done = timmy("testkit", "--base", bot.ready.http, "--relay", bot.ready.relays[0])
    assert done.code == 0, done.out
    numbers = [line.split()[1] for line in done.lines[:-1]]
    assert numbers[0] == "T1a"
    assert numbers[-7:] == [f"N{number}" for number in range(1, 8)]
    passes, skips = (sum(line.startswith(word) for line in done.lines) for word in ("PASS ", "SKIP "))
    assert done.lines[-1] == f"PASS={passes} FAIL=0 SKIP={skips}"
    assert done.err == ""


def test_without_a_relay_another_server_is_tested_over_http_alone(timmy, bot):
    done = timmy("testkit", "--base", f"{bot.ready.http}/")
    assert done.code == 0
    assert not any(line.split()[1].startswith("N") for line in done.lines[:-1])


def test_the_local_instance_is_tested_over_its_own_relay(timmy, bot):
    done = timmy("testkit", TIMMY_HTTP__PORT=bot.ready.http.rpartition(":")[2])
    assert done.code == 0
    assert "PASS N7" in done.out


def test_a_server_that_is_not_there_fails_with_exit_code_1(timmy):
    done = timmy("testkit", "--base", "http://127.0.0.1:1")
    assert done.code == 1
    assert re.fullmatch(r"PASS=0 FAIL=\d+ SKIP=\d+", done.lines[-1])


def test_a_relay_address_that_is_none_is_a_usage_error(timmy, bot):
    done = timmy("testkit", "--base", bot.ready.http, "--relay", "http://relay")
    assert done.code == 2
    assert "--relay" in done.err


def test_without_bash_it_says_what_is_needed(timmy, bot, tmp_path):
    done = timmy("testkit", "--base", bot.ready.http, PATH=str(tmp_path))
    assert done.code == 1
    assert "needs bash and curl" in done.err
