"""Chains of requests made up from the port's own description, sent to a serving Timmy with a simulated wallet.

`python -m tests.timmy_dvm.http.fuzzed 5000` makes that many, and says how many answers of each kind came.
"""

import asyncio
import contextlib
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.flows.live import PATIENCE_S
from tests.flows.shop import serving

HELD = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
"""What every answer must be: no mistake of ours, and as the description says."""
ENDLESS = r"^/api/jobs/[^/]+/events$"
"""A stream of an unpaid job ends when it is paid; who reads it to its end waits for that."""
SETTINGS = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
LOOSE = {"open_jobs_per_address": 1_000_000, "open_invoices": 1_000_000, "connections_per_address": 100}


@contextlib.contextmanager
def a_shop(folder: Path) -> Iterator[str]:
    """The address of a Timmy that serves in a thread of its own, with wide limits: few answers are 429."""
    ready, over = threading.Event(), asyncio.Event()
    told: list[str] = []

    async def serve() -> None:
        async with serving(folder, limits=LOOSE) as shop:
            told.append(shop.ready.http)
            loops.append(asyncio.get_running_loop())
            ready.set()
            await over.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield told[0]
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(PATIENCE_S)


def once_each(base: str, times: int, *, is_fixed: bool) -> Counter[str]:
    """Send so many requests to every route by itself, those that no chain leads to among them."""
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json").exclude(path_regex=ENDLESS)
    seen: Counter[str] = Counter()
    with requests.Session() as session:
        session.trust_env = False
        for found in schema.get_all_operations():

            @settings(SETTINGS, max_examples=times, derandomize=is_fixed)
            @given(case=found.ok().as_strategy())
            def send(case):
                response = case.call(session=session, timeout=30)
                seen[f"{case.method} {case.path} {response.status_code}"] += 1
                case.validate_response(response, checks=HELD)

            send()
    return seen


def fuzz(base: str, chains: int, steps: int, *, is_fixed: bool) -> Counter[str]:
    """Send chains of up to ``steps`` requests; how often each route answered with what.

    Args:
        base: of a serving Timmy.
        chains: how many at most.
        steps: of one chain.
        is_fixed: the same chains every time.
    """
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json").exclude(path_regex=ENDLESS)
    seen: Counter[str] = Counter()
    session = requests.Session()
    session.trust_env = False

    class Machine(schema.as_state_machine()):
        def get_call_kwargs(self, case):
            return {"session": session, "timeout": 30}

        def validate_response(self, response, case, additional_checks=(), **more):
            seen[f"{case.method} {case.path} {response.status_code}"] += 1
            case.validate_response(response, checks=HELD)

    # A bot that serves answers by the moment, so the same chain may go another way: that alone is no finding.
    with contextlib.closing(session), contextlib.suppress(FlakyStrategyDefinition):
        Machine.run(
            settings=settings(SETTINGS, max_examples=chains, stateful_step_count=steps, derandomize=is_fixed)
        )
    return seen


def main() -> None:
    """Until as many were sent as were asked for."""
    wanted = int(sys.argv[1])
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, a_shop(Path(folder)) as base:
        seen += once_each(base, 50, is_fixed=False)
        while seen.total() < wanted:
            seen += fuzz(base, 100, 20, is_fixed=False)
    for what, times in sorted(seen.items()):
        sys.stdout.write(f"{times:>7,}  {what}\n")
    sys.stdout.write(f"{seen.total():>7,}  requests, none with a 5xx or an answer that is not as described\n")


if __name__ == "__main__":
    main()
