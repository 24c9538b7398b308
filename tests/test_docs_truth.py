"""What README and ARCHITECTURE say is run, drawn and counted here, so it can't grow old."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.shop import serving
from timmy_dvm.core.transitions import drawn

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
CHANGING = (
    (r"npub1[a-z0-9]{58}", "<npub>"),
    (r"lnbcrt[a-z0-9]+", "<invoice>"),
    (r"ws://127\.0\.0\.1:\d+", "<relay>"),
    (r"event [0-9a-f]{16}…", "event <id>…"),
)
"""What is new in every run: keys, invoices, ports, ids."""


def between(text, name):
    """The lines between a pair of markers."""
    return text.split(f"<!-- {name} -->\n", 1)[1].split(f"<!-- /{name} -->", 1)[0].strip("\n")


def settled(text):
    for pattern, name in CHANGING:
        text = re.sub(pattern, name, text)
    return [line.rstrip() for line in text.splitlines()]


def test_the_demo_says_what_the_readme_shows():
    shown = between(README, "demo").removeprefix("```\n").removesuffix("\n```")
    # One stream, as on a terminal: the answer goes to stdout, all else to stderr.
    program = [sys.executable, "-m", "timmy_dvm", "demo"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TERM": "dumb"}
    run = subprocess.run(
        program,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        cwd=ROOT,
        env=environment,
    )
    assert run.returncode == 0, run.stdout
    assert settled(run.stdout.strip("\n")) == settled(shown)


def test_the_state_diagrams_are_those_of_the_tables():
    assert between(ARCHITECTURE, "states") == drawn()


@pytest.mark.parametrize("package", ["relay_client", "ledger", "lightning", "timmy_dvm"])
def test_the_code_map_names_every_module(package):
    code_map = ARCHITECTURE.split("## Code map", 1)[1].split("\n## ", 1)[0]
    folders_named_whole = {"core", "nostr", "http", "agent", "config", "commands", "migrations", "world"}
    for path in (ROOT / package).rglob("*.py"):
        inside = path.relative_to(ROOT / package)
        if path.name != "__init__.py" and inside.parts[0] not in folders_named_whole:
            assert re.search(rf"[`/]{re.escape(path.name)}`", code_map), (
                f"{package}/{inside} is not in the code map"
            )


def test_every_package_the_project_asks_for_has_its_reason():
    project = (ROOT / "pyproject.toml").read_text()
    asked = re.findall(
        r'^  "([a-z0-9-]+)[><=]', project.split("dependencies = [", 1)[1].split("]", 1)[0], re.MULTILINE
    )
    reasons = ARCHITECTURE.split("### Dependencies", 1)[1]
    assert asked
    assert [name for name in asked if name not in reasons] == []


def test_every_command_the_readme_names_exists():
    from timmy_dvm.cli import COMMANDS

    named = set(re.findall(r"\btimmy ([a-z-]+)", README)) - {"dvm"}
    assert named <= set(COMMANDS), named - set(COMMANDS)


async def test_the_lines_for_the_http_port_do_what_the_readme_says(tmp_path):
    estimate, ask, pay, look, follow = between(README, "http").strip("`").strip().splitlines()
    async with serving(tmp_path) as shop:
        http = {"http://127.0.0.1:5050": shop.ready.http}
        price = json.loads(await said(estimate, http))
        asked = json.loads(await said(ask, http))
        assert asked["evalInvoice"]["amountSats"] == price["estimatedSats"]
        names = {**http, "JOB_ID": asked["jobId"], "PAYMENT_HASH": asked["evalInvoice"]["paymentHash"]}
        assert json.loads(await said(pay, names))["ok"] is True
        told = await said(follow, names)  # until the job is over
        assert "event: job\nid: end" in told
        assert json.loads(await said(look, names))["state"] == "complete"


async def said(line, names):
    """What a line prints, with the reader's own values in it."""
    for name, value in names.items():
        line = line.replace(name, value)
    shell = await asyncio.create_subprocess_exec("sh", "-c", line, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(shell.communicate(), 20)
    return out.decode()
