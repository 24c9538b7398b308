"""`timmy ask -c` goes on with the last thread: the same people, and as private as before."""

import asyncio
import json
import stat

import pytest

from relay_client.keys import Keys
from tests.flows.shop import TIMMY, said

MINE = Keys.from_bytes(b"\x05" * 32)


@pytest.fixture
def ask(bot, timmy, tmp_path):
    """`timmy ask` as its user types it, beside the bot of this machine, with a data folder of its own."""

    def run(*arguments, **environ):
        port = bot.ready.http.rpartition(":")[2]
        return timmy("ask", *arguments, "--data-dir", str(tmp_path), TIMMY_HTTP__PORT=port, **environ)

    return run


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "last-thread.json"


def test_c_goes_on_with_the_last_answer_and_the_one_after_it_with_that(ask):
    assert ask("Reverse: abc").out == "cba\n"
    second = ask("-c", "Reverse: def")
    assert second.code == 0, second.err
    assert second.out == "fed\n\n(Before this you asked 1 question; the last was: “Reverse: abc”.)\n"
    third = ask("--continue", "Reverse: ghi")
    assert "asked 2 questions; the last was: “Reverse: def”" in third.out
    anew = ask("Reverse: jkl")
    assert anew.out == "lkj\n"
    assert "“Reverse: jkl”" in ask("-c", "Reverse: x").out


def test_a_text_that_is_too_long_for_a_tag_goes_on_too(ask):
    ask("Reverse: abc")
    long = ask("-c", "Reverse: " + "x" * 2_000)
    assert long.out.startswith("x" * 2_000 + "\n")
    assert "the last was: “Reverse: abc”" in long.out


def test_what_was_private_stays_so(ask, bot):
    secret = "a word nobody else reads"
    ask("--encrypt", "nip44", f"Reverse: {secret}")
    done = ask("-c", "Reverse: it goes on")
    assert f"the last was: “Reverse: {secret}”" in done.out
    events = asyncio.run(said(bot.ready.relays[0]))
    assert not [event for event in events if secret in event.to_json() or "it goes on" in event.to_json()]


def test_only_an_answer_is_remembered_and_not_a_price_or_an_operation(ask, kept):
    ask("Reverse: abc")
    thread = kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert ask("--max-sats", "0", "Reverse: def").code == 3
    assert ask("--param", "op=me").code == 0
    assert ask("[reject] this").code == 1
    assert kept.read_text() == thread
    assert json.loads(thread)["provider"] == TIMMY.public_key


def test_without_a_thread_there_is_nothing_to_go_on_with(ask, kept):
    for content in (None, "junk", "{}"):
        if content is not None:
            kept.write_text(content)
        done = ask("-c", "Hi")
        assert (done.code, done.out) == (1, "")
        assert "There is no thread to go on with: ask something without -c first." in done.err


def test_a_thread_is_of_one_key_and_one_provider(ask, bot):
    ask("Reverse: abc")
    done = ask("-c", "--sec", MINE.to_nsec(), "Hi")
    assert done.code == 1
    assert "The last thread is another key's" in done.err
    done = ask("-c", "--to", MINE.npub, "-r", bot.ready.relays[0], "Hi")
    assert done.code == 1
    assert f"add --to {TIMMY.public_key}" in done.err
    assert ask("-c", "--to", TIMMY.npub, "-r", bot.ready.relays[0], "--http", bot.ready.http, "Hi").code == 0


def test_where_it_cannot_be_kept_the_answer_is_given_all_the_same(ask, kept):
    kept.mkdir()
    assert ask("Reverse: abc").out == "cba\n"
