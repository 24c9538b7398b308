"""`timmy ask` against a serving Timmy: what is where, what it costs, and the exit code of every end."""

import asyncio
import json
import re
import socket
import stat
import subprocess
import sys

import pytest

from lightning import bolt11
from relay_client.keys import Keys, nprofile
from tests.flows.live import environment, running, until
from tests.flows.shop import TIMMY, said
from timmy_dvm.agent.offline import compose
from timmy_dvm.commands import ask as ask_module
from timmy_dvm.commands.demo import QUESTION

STRANGER = Keys.from_bytes(b"\x09" * 32)
MINE = Keys.from_bytes(b"\x05" * 32)


@pytest.fixture
def ask(bot, timmy):
    """`timmy ask` as its user types it, beside the bot of this machine."""

    def run(*arguments, stdin=b"", **environ):
        port = bot.ready.http.rpartition(":")[2]
        return timmy("ask", *arguments, stdin=stdin, TIMMY_HTTP__PORT=port, **environ)

    return run


@pytest.fixture
def job(bot, timmy):
    """The story of the newest job, or of the one with an id, as the bot's operator sees it."""

    def read(name=None):
        folder = ("--data-dir", str(bot.folder))
        newest = name or json.loads(timmy("jobs", "-n", "1", "--json", *folder).out)[0]["jobId"]
        return json.loads(timmy("job", newest, "--json", *folder).out)

    return read


def label(done, name):
    """The text behind a label on stderr."""
    (text,) = re.findall(rf"^ *{name}  (.*)$", done.err, re.MULTILINE)
    return text


def is_taken_back(job):
    """Wait until the bot has heard that the newest request is cancelled."""

    async def is_cancelled():
        return (await asyncio.to_thread(job))["state"] == "cancelled"

    asyncio.run(until(is_cancelled))


@pytest.fixture
def closed_port():
    """A port of this machine on which nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


# --- an answer


def test_the_answer_alone_is_on_stdout_and_price_invoice_and_receipt_are_on_stderr(ask, job):
    done = ask(QUESTION)
    assert done.code == 0, done.err
    assert done.out == compose(QUESTION) + "\n"
    story = job()
    (invoice,) = story["invoices"]
    assert label(done, "price") == f"{invoice['amountSats']} sats"
    assert label(done, "invoice") == f"lightning:{invoice['paymentRequest']}"
    assert label(done, "paid") == f"{invoice['amountSats']} sats"
    assert f"of {story['costLedger']['workAmountSats']} sats" in label(done, "ledger")
    assert story["eventId"] in label(done, "asked")
    assert "\x1b" not in done.err


def test_words_and_stdin_are_one_request(ask, job):
    done = ask("Reverse", "this:", stdin=b"  abc def\n")
    assert (done.code, done.out) == (0, "fed cba\n")
    assert job()["request"] == "Reverse this:\n\nabc def"


def test_stdin_alone_is_a_request(ask):
    done = ask(stdin=b"Reverse: abc")
    assert (done.code, done.out) == (0, "cba\n")


def test_bytes_that_are_no_text_are_asked_as_replacement_characters(ask, job):
    done = ask("Reverse this:", stdin=b"caf\xe9 \xff ok")
    assert (done.code, done.out) == (0, "ko � �fac\n")
    assert job()["request"] == "Reverse this:\n\ncaf� � ok"


def test_q_leaves_the_answer_and_nothing_else(ask):
    done = ask("-q", "Reverse: abc")
    assert (done.code, done.out, done.err) == (0, "cba\n", "")


def test_json_is_one_line_for_each_answering_event_and_nothing_on_stderr(ask, bot):
    """API-04."""
    done = ask("--json", "Reverse: abc")
    assert (done.code, done.err) == (0, "")
    events = [json.loads(line) for line in done.lines]
    fields = {"kind", "id", "pubkey", "status", "content", "tags", "amountMsat", "bolt11", "relay"}
    assert all(set(event) == fields for event in events)
    assert [e["status"] for e in events] == ["payment-required", "processing", "result", "success"]
    assert [e["kind"] for e in events] == [7000, 7000, 6050, 7000]
    price, _, result, _ = events
    assert bolt11.decode(price["bolt11"]).amount_msat == price["amountMsat"]
    assert result["content"] == "cba"
    assert {e["pubkey"] for e in events} == {TIMMY.public_key}
    assert {e["relay"] for e in events} == set(bot.ready.relays)
    assert len({e["id"] for e in events}) == 4


@pytest.mark.parametrize("scheme", ["nip44", "nip04"])
def test_an_encrypted_request_and_its_answer_are_for_two_readers(scheme, ask, bot):
    secret = f"a word of {scheme} that nobody else reads"
    done = ask("--encrypt", scheme, f"Reverse: {secret}")
    assert (done.code, done.out) == (0, f"{secret[::-1]}\n")
    events = asyncio.run(said(bot.ready.relays[0]))
    asked = label(done, "asked").split()[1]
    answers = [event for event in events if asked in event.tag_values("e")]
    assert answers
    assert not any(word in event.to_json() for event in answers for word in (secret, secret[::-1]))
    assert all(event.tag("encrypted") is not None for event in answers)


def test_a_param_and_a_bid_reach_the_provider(ask, job):
    done = ask("--param", "max_tokens=1", "--bid", "900000", "Reverse: abcdefghijklmnopqrstuvwxyz")
    assert done.code == 0, done.err
    assert len(done.out.strip()) < 26
    assert job()["pricingBreakdown"]["maxOutputTokens"] == 1


@pytest.mark.parametrize("to", [TIMMY.npub, TIMMY.public_key], ids=["npub", "hex"])
def test_a_provider_is_named_by_key_and_relay(to, ask, bot):
    done = ask("--to", to, "-r", bot.ready.relays[0], "--http", bot.ready.http, "Reverse: abc")
    assert (done.code, done.out) == (0, "cba\n")


def test_an_nprofile_brings_its_relays(timmy, bot):
    to = nprofile(TIMMY.public_key, bot.ready.relays)
    done = timmy("ask", "--to", to, "--http", bot.ready.http, "Reverse: abc")
    assert (done.code, done.out) == (0, "cba\n")


# --- who asks


def test_without_a_key_one_is_made_once_and_kept_from_others(ask, job, tmp_path):
    assert ask("Reverse: abc").code == 0
    first = job()["pubkey"]
    assert ask("Reverse: abc").code == 0
    assert job()["pubkey"] == first
    (kept,) = tmp_path.rglob("customer.key")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert Keys.from_text(kept.read_text().strip()).public_key == first


def test_the_key_of_the_environment_asks_and_that_of_the_command_line_goes_before_it(ask, job, tmp_path):
    assert ask("Reverse: abc", NOSTR_SECRET_KEY=MINE.to_nsec()).code == 0
    assert job()["pubkey"] == MINE.public_key
    assert ask("Reverse: abc", "--sec", "09" * 32, NOSTR_SECRET_KEY=MINE.to_nsec()).code == 0
    assert job()["pubkey"] == STRANGER.public_key
    assert not list(tmp_path.rglob("customer.key"))


async def test_the_bot_does_not_take_the_users_own_key_and_ask_does(tmp_path):
    """Two programs as on a user's machine: `timmy run`, and `git diff | timmy ask "explain"` beside it."""
    async with running(
        tmp_path, NOSTR_SECRET_KEY=MINE.to_nsec(), TIMMY_HTTP__PORT="0", TIMMY_NOSTR__RELAY_PORT="0"
    ) as bot:
        assert bot.ready.npub != MINE.npub
        asking = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "timmy_dvm", "ask", "--json", "--http", bot.ready.http, "Reverse:",
            cwd=tmp_path, env=environment(tmp_path, NOSTR_SECRET_KEY=MINE.to_nsec()),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(asking.communicate(b"abc"), 60)
        assert (asking.returncode, err) == (0, b"")
        events = [json.loads(line) for line in out.splitlines()]
        assert [event["content"] for event in events if event["status"] == "result"] == ["cba"]
        assert {tag[1] for event in events for tag in event["tags"] if tag[0] == "p"} == {MINE.public_key}
        assert MINE.to_nsec() not in bot.log


# --- money


def test_too_dear_it_is_not_paid_and_taken_back(ask, job, bot):
    done = ask("--max-sats", "3", QUESTION)
    assert (done.code, done.out) == (3, "")
    assert "is more than --max-sats 3; nothing was paid." in label(done, "too dear")
    is_taken_back(job)
    story = job()
    assert story["eventId"] in label(done, "asked")
    (invoice,) = story["invoices"]
    assert invoice["paymentHash"] not in bot.wallet._state.received


def test_without_a_wallet_the_invoice_is_shown_and_what_is_not_paid_in_time_ends_3(ask, job, bot):
    done = ask("--pay", "none", "--timeout", "3", QUESTION)
    assert (done.code, done.out) == (3, "")
    (invoice,) = job()["invoices"]
    assert label(done, "invoice") == f"lightning:{invoice['paymentRequest']}"
    assert label(done, "unpaid") == "No payment was seen in time."
    assert invoice["paymentHash"] not in bot.wallet._state.received


def test_a_wallet_that_cannot_pay_is_said_and_the_request_taken_back(ask, job, bot, closed_port):
    nobody = f"http://127.0.0.1:{closed_port}"
    done = ask("--to", TIMMY.npub, "-r", bot.ready.relays[0], "--http", nobody, QUESTION)
    assert (done.code, done.out) == (3, "")
    assert f"{nobody} can't be reached to pay" in label(done, "unpaid")
    is_taken_back(job)


def test_held_change_is_told_with_how_to_claim_it_and_that_way_works(ask, job, bot):
    done = ask(QUESTION)
    claim = label(done, "claim")
    sats = int(re.search(r"<BOLT11 for exactly (\d+) sats>", claim)[1])
    (refund,) = (r for r in job()["refunds"] if r["state"] == "held")
    assert refund["amountSats"] == sats
    invoice = bot.customer.invoice(refund["amountMsat"])
    words = re.sub("<.*>", invoice, claim).split()
    assert words[:2] == ["timmy", "ask"]
    again = ask(*words[2:])
    assert again.code == 0, again.err
    assert json.loads(again.out)["refundAmountSats"] == sats
    payment_hash = bolt11.decode(invoice).payment_hash
    asyncio.run(until(lambda: bot.customer.received.get(payment_hash) == refund["amountMsat"]))


# --- no answer


def test_what_the_provider_refuses_ends_1_with_its_sentence(ask):
    done = ask("Why? " * 4_000)
    assert (done.code, done.out) == (1, "")
    assert "16" in label(done, "refused")


def test_what_the_model_rejects_ends_1_though_it_was_paid(ask, job):
    done = ask("[reject] " + QUESTION)
    assert (done.code, done.out) == (1, "")
    assert "[reject]" in label(done, "refused")
    assert job()["state"] == "rejected"


def test_a_provider_that_is_silent_ends_4(ask, bot):
    done = ask("--to", STRANGER.npub, "-r", bot.ready.relays[0], "--timeout", "1", "Is anybody there?")
    assert (done.code, done.out) == (4, "")
    assert label(done, "silence") == "No answer within 1 seconds."


def test_where_no_timmy_is_the_sentence_says_how_to_get_one(timmy, closed_port):
    done = timmy("ask", "Hi", TIMMY_HTTP__PORT=str(closed_port))
    assert (done.code, done.out) == (1, "")
    assert f"No Timmy answers at http://127.0.0.1:{closed_port}." in done.err
    assert "`timmy run`" in done.err
    assert len(done.err.splitlines()) == 1


def test_where_no_relay_is_it_says_which(timmy, closed_port, monkeypatch):
    monkeypatch.setattr(ask_module, "LOCAL_S", 0.2)
    done = timmy("ask", "-r", f"ws://127.0.0.1:{closed_port}", "Hi")
    assert (done.code, done.out) == (1, "")
    assert f"No relay can be reached: ws://127.0.0.1:{closed_port}" in done.err


# --- usage


def test_nothing_to_ask_ends_2_with_an_example(timmy):
    for stdin in (b"", b" \n\t\n"):
        done = timmy("ask", stdin=stdin)
        assert (done.code, done.out) == (2, "")
        assert 'There is nothing to ask: timmy ask "Your question".' in done.err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--to", "npub1nobody"),
        ("--to", "nprofile1nobody"),
        ("--to", "Timmy"),
        ("--to", TIMMY.to_nsec()),
        ("--bid", "1.5"),
        ("--bid", "much"),
        ("--bid", "-1"),
        ("--param", "max_tokens"),
        ("--sec", "not a key"),
        ("--sec", "00" * 32),
        ("--relay", "http://127.0.0.1:1"),
        ("--encrypt", "rot13"),
        ("--timeout", "0"),
        ("--max-sats", "-1"),
        ("--pay", "later"),
    ],
)
def test_what_cannot_be_meant_ends_2_and_names_the_option(option, value, ask):
    done = ask(option, value, "Hi")
    assert (done.code, done.out) == (2, "")
    assert (option if option != "--relay" else "wss://host") in done.err
    assert "Traceback" not in done.err
    assert TIMMY.to_nsec() not in done.err


def test_a_key_that_cannot_be_one_is_not_shown(ask):
    wrong = MINE.to_nsec()[:-1]
    for done in (ask("--sec", wrong, "Hi"), ask("Hi", NOSTR_SECRET_KEY=wrong)):
        assert done.code == 2
        assert wrong not in done.err


def test_an_encrypted_request_needs_a_reader(timmy, bot):
    done = timmy("ask", "--encrypt", "nip44", "-r", bot.ready.relays[0], "Hi")
    assert done.code == 2
    assert "--encrypt needs --to" in done.err


@pytest.mark.parametrize(
    ("words", "stdin"),
    [("Hi", b"x" * 60_000), ("", b"x" * 60_001), ("Hi", b"\xff" * 30_000), ("ü" * 30_001, b"")],
)
def test_a_request_that_no_relay_takes_ends_2_before_it_is_asked(words, stdin, timmy):
    done = timmy("ask", words, stdin=stdin)
    assert (done.code, done.out) == (2, "")
    assert "larger than the 60,000 bytes" in done.err
