"""The testkit's script: against a real Timmy, against servers that are broken on purpose, and its own shape."""

import asyncio
import contextlib
import re
import shutil
import subprocess

import httpx
import pytest

from tests.flows.shop import serving
from tests.timmy_dvm.http.standing_in import StandIn, always_500, at_loopback, instead, limited, without
from timmy_dvm.http.testkit import script_of

SCRIPT = script_of("http://127.0.0.1:1")
BASH = shutil.which("bash")


async def verdicts(base):
    """Every line of a run, by the test's number; the summary under `last`, the exit code under `code`."""
    child = await asyncio.create_subprocess_exec(
        BASH, "-s", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(child.communicate(script_of(base).encode()), 120)
    *lines, last = out.decode().splitlines()
    return {line.split()[1]: line for line in lines} | {"last": last, "code": child.returncode, "lines": lines}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs the kit against a Timmy with a stand-in before it, once for each change."""
    done = {}

    async def run(change):
        async with contextlib.AsyncExitStack() as stack:
            shop = await stack.enter_async_context(serving(tmp_path_factory.mktemp("shop")))
            http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60))
            upstream = shop.ready.http
            base = await stack.enter_async_context(at_loopback(limited(StandIn(upstream, http, change))))
            return await verdicts(base)

    async def once(name, change=None):
        if name not in done:
            done[name] = await run(change)
        return done[name]

    return once


async def test_a_timmy_as_it_is_fails_at_nothing(tmp_path):
    """TST-01, TST-03, TST-09, TST-13."""
    async with serving(tmp_path) as shop:
        async with httpx.AsyncClient(trust_env=False) as http:
            served = await http.get(f"{shop.ready.http}/api/testkit")
        run = await verdicts(shop.ready.http)
    assert served.text == script_of(shop.ready.http)
    assert run["code"] == 0, run["lines"]
    assert re.fullmatch(r"PASS=\d+ FAIL=0 SKIP=\d+", run["last"])
    assert run["T6a"] == "PASS T6a state=complete"
    assert run["T24a"].startswith("PASS T24a")
    assert {number for number in run if number.startswith("T23")} == {f"T23{letter}" for letter in "abcdef"}


async def test_with_every_route_there_every_test_passes(runs):
    """TST-07, TST-08, TST-12, TST-14: T10 is the body of two million bytes."""
    run = await runs("whole")
    assert [line for line in run["lines"] if not line.startswith("PASS ")] == []
    assert run["last"] == f"PASS={len(run['lines'])} FAIL=0 SKIP=0"
    assert {re.sub(r"[a-z]$", "", number) for number in run if number.startswith("T")} == {
        f"T{number}" for number in range(1, 25)
    }


async def test_a_server_that_answers_500_to_all_passes_nothing():
    """TST-03, TST-06."""
    async with at_loopback(always_500) as base:
        run = await verdicts(base)
    assert run["code"] == 1
    assert run["last"].startswith("PASS=0 FAIL=")
    assert [line for line in run["lines"] if line.startswith("PASS")] == []


async def test_where_nobody_answers_nothing_passes():
    run = await verdicts("http://127.0.0.1:1")
    assert run["code"] == 1
    assert run["last"].startswith("PASS=0 FAIL=")


async def test_a_server_whose_answers_lack_what_they_must_have_fails(runs):
    """TST-10, TST-12."""
    forgets = [
        without("POST /api/bootstrap", "paymentHash"),
        without("GET /api/jobs", "actualCostUsd"),
        instead("GET /api/jobs", actualAmountSats=10**9),
        without("GET /api/pool", "nothing"),
        instead("GET /api/healthz", status="no_relay"),
        without("GET /api/demo", "result"),
    ]

    def change(route, body):
        for each in forgets:
            body = each(route, body)
        return body

    run = await runs("forgetful", change)
    assert run["code"] == 1
    failed = {line.split()[1] for line in run["lines"] if line.startswith("FAIL")}
    assert failed == {"T1a", "T7a", "T23b", "T23c", "T23d", "T24a", "T24b"}
    assert "actualCostUsd" in run["T24a"]


async def test_a_server_that_says_another_thing_than_it_did_fails(runs):
    """TST-11, TST-12."""
    lies = [
        instead("GET /api/bootstrap", bootstrapJobId="another"),
        instead("GET /api/jobs", refundState="gone", refundAmountSats=-1, completedAt="yesterday"),
        instead("POST /api/sessions", debitedSats=1),
        instead("POST /api/identity", challenge="always the same"),
        instead("POST /api/jobs", error="No."),
    ]

    def change(route, body):
        for each in lies:
            body = each(route, body)
        return body

    run = await runs("lying", change)
    assert run["code"] == 1
    failed = {line.split()[1] for line in run["lines"] if line.startswith("FAIL")}
    assert failed == {"T8c", "T12b", "T19d", "T21b", "T23e", "T24c", "T24d"}


def test_bash_can_read_it():
    """TST-01."""
    subprocess.run([BASH, "-n"], input=SCRIPT, text=True, check=True)


def test_it_uses_nothing_that_only_gnu_or_a_newer_bash_has():
    """TST-04."""
    for newer in (
        r"head -n -",
        r"date -d",
        r"grep -P",
        r"sed -[a-z]*[rzi]",
        r"\bmapfile\b",
        r"\breadarray\b",
        r"declare -A",
        r"local -[nA]",
        r"\$\{\w+(,,|\^\^|@)",
        r"&>>",
        r"\|&",
        r"\bseq\b",
        r"\bjq\b",
        r"\btimeout\b",
        r"set -[a-z]*u",  # an empty "$@" is an error of old bashes then
    ):
        assert not re.search(newer, SCRIPT), newer


def test_its_tests_are_in_order_and_each_is_told_at_the_head():
    """TST-05, TST-07, TST-17."""
    numbers = [int(number) for number in re.findall(r"^t(\d+)\(\) \{", SCRIPT, re.MULTILINE)]
    assert numbers == list(range(1, 25))
    assert [int(number) for number in re.findall(r"^t(\d+)$", SCRIPT, re.MULTILINE)] == numbers
    head = SCRIPT.splitlines()[:40]
    assert [int(found[1]) for line in head if (found := re.match(r"#   T(\d+) ", line))] == numbers
    for number in numbers:
        letters = re.findall(rf"check T{number}([a-z])", SCRIPT)
        assert letters == sorted(set(letters)), number


def test_no_verdict_is_passed_by_default():
    """TST-06: Only `check` says PASS, and it says so of a command that succeeded."""
    assert len(re.findall(r"\bpassed \"", SCRIPT)) == 1
    assert not re.search(r"check T\w+ .* true$", SCRIPT, re.MULTILINE)


@pytest.mark.parametrize("base", ["http://x'; touch pwned; '", "http://x$(touch pwned)", 'http://x"`touch pwned`'])
def test_whatever_the_address_holds_it_is_only_an_address(base, tmp_path):
    ends = script_of(base).partition("QUESTION=")[0] + 'printf %s "$BASE"\n'
    run = subprocess.run([BASH, "-s"], input=ends, text=True, capture_output=True, cwd=tmp_path, check=True)
    assert run.stdout == base
    assert list(tmp_path.iterdir()) == []
