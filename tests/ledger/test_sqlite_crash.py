"""SIGKILL at any moment: what was acknowledged is there, what was not is there whole or not at all."""

import asyncio
import random
import subprocess
import sys

import pytest

from ledger.accounts import POOL
from ledger.audit import audit
from ledger.records import Applied, Replayed
from ledger.sqlite import open_ledger
from tests.ledger.books import paid_in, write

WRITER = """
import asyncio, sys
from ledger.accounts import NODE, POOL
from ledger.entries import Code, transfer
from ledger.money import Msats
from ledger.records import Change, FactRecord, NewAction
from ledger.sqlite import open_ledger

async def write(store, fact_id):
    entry = transfer(fact_id, Code.SETTLED, NODE, POOL, Msats(1))
    action = NewAction(kind="Act", job_id=None, body=fact_id)
    fact = FactRecord(id=fact_id, kind="Test", job_id=None, at=1, body="{}")
    await store.commit(fact, lambda _: Change(entries=(entry,), actions=(action,)))
    print(fact_id, flush=True)

async def main(url, life):
    store = open_ledger(url)
    for number in range(1_000_000):
        await asyncio.gather(*(write(store, f"{life}-{number}-{member}") for member in range(8)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""
LIVES = 12


@pytest.mark.crash
def test_no_acknowledged_commit_is_lost_to_a_kill(tmp_path):
    path = tmp_path / "timmy.db"
    chance = random.Random(7)
    acknowledged = set()
    for life in range(LIVES):
        command = [sys.executable, "-c", WRITER, f"sqlite:///{path}", str(life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(chance.randrange(1, 400)):
                acknowledged.add(process.stdout.readline().strip())
            process.kill()
            acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        assert audit(path) == []
    asyncio.run(all_is_there(path, acknowledged))


async def all_is_there(path, acknowledged):
    store = open_ledger(f"sqlite:///{path}")
    done = {action.body for action in await store.pending()}
    assert acknowledged <= done
    assert (await store.balances())[POOL] == len(done)  # the money and the action of a fact are there together
    for fact_id in sorted(done)[:50]:
        assert await write(store, fact_id=fact_id, entries=(paid_in(POOL, 1),)) == Replayed()
    assert isinstance(await write(store, fact_id="new"), Applied)
    await store.close()
