"""A job of the pool whose Timmy dies at any step: it goes on, and its reservation ends exactly once (FRE-40, I9).

First death before and after every commit and effect, in one process (`lives.py` says how); then
real deaths by SIGKILL, with real relays (`crash_world.py`).
"""

import contextlib
import dataclasses

import pytest

from ledger.audit import audit
from ledger.money import Msats, msats_from_sats
from ledger.records import Applied, Change, FactRecord, IdentityRecord, JobState
from ledger.sqlite import open_ledger
from tests.flows import crash_world, lives
from tests.flows.house import ALICE, QUESTION
from tests.flows.lives import PATIENCE_S, Fate
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.customer import Said

SHARDS = 2
POOL = msats_from_sats(10_000)
ENDS = {"": JobState.COMPLETE, "[fail] ": JobState.FAILED, "[reject] ": JobState.REJECTED}


async def trusts(file, pubkey, at):
    """A ledger that knows the key as trusted."""
    store = open_ledger(f"sqlite:///{file}")
    row = IdentityRecord(pubkey=pubkey, trust_score=60, first_seen=at, last_seen=at)
    fact = FactRecord(id="met", kind="Test", job_id=None, at=at, body="{}")
    assert isinstance(await store.commit(fact, lambda _: Change(identity=row)), Applied)
    await store.close()


async def is_served_once(file, state, lost=0):
    """One reservation, one end, one charge of the pool; the books in order. The job."""
    assert [str(finding) for finding in audit(file)] == []
    store = open_ledger(f"sqlite:///{file}", read_only=True)
    try:
        (job,) = await store.jobs(limit=10)
        books = await store.pool(since=0, limit=100)
        codes = [str(entry.code) for _, entry in (await store.story(job.id)).entries]
    finally:
        await store.close()
    assert job.state is state
    grant = msats_from_sats(job.absorbed_sats)
    assert (grant > 0) is (state is JobState.COMPLETE)
    assert (books.balance, books.reserved, books.granted) == (POOL - grant, 0, grant)
    assert (job.charge_eval, job.charge_work, job.shortfall) == (0, 0, Msats(lost))
    assert codes == ["reserved", *(["settlement"] if grant else []), "released"]
    return job


class World(lives.World):
    """As there, and the customer has earned trust; so nothing is paid and nothing claimed."""

    text = ""

    async def met(self):
        await trusts(self._file, ALICE, int(ManualClock().now()))

    def _request(self):
        return dataclasses.replace(super()._request(), text=self.text + QUESTION)

    async def _ask_pay_and_claim(self, house):
        await house.engine.handle(self._request())
        kind = "Ended" if self.text else "Delivered"
        await house.until(lambda: self._published(kind), PATIENCE_S)

        async def nothing_is_left_to_do():
            return not await house.store.pending()

        await house.until(nothing_is_left_to_do, PATIENCE_S)
        await house.dispatch.idle()

    async def is_settled_once(self):
        lost = 0 if not self.text else msats_from_sats(2)
        await is_served_once(self._file, ENDS[self.text], lost)
        assert self._wallet._state.invoices == {}
        said = [len(self._published(message)) for message in ("Working", "Delivered", "Ended", "PriceTold")]
        assert said == ([1, 0, 1, 0] if self.text else [1, 1, 0, 0])


async def a_life(folder, text, fate):
    folder.mkdir()
    world = World(folder)
    world.text = text
    await world.met()
    await world.live(fate)
    return world


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("text", ENDS)
async def test_dead_at_any_step_the_next_life_ends_the_reservation_once(tmp_path, text, shard):
    whole = Fate()
    await (await a_life(tmp_path / "whole", text, whole)).is_settled_once()
    steps = sorted(whole.steps)
    assert len(steps) >= 20, steps
    for number, deadly in enumerate(steps[shard::SHARDS]):
        fate = Fate(deadly=deadly)
        world = await a_life(tmp_path / str(number), text, fate)
        assert fate.died.is_set(), f"{deadly}: it never came"
        try:
            await world.live(Fate())
            await world.is_settled_once()
        except Exception as error:
            error.add_note(f"dead {deadly}")
            raise


class FreeWorld(crash_world.World):
    """Relays, folder and a customer who has earned trust: nothing is paid and nothing claimed."""

    async def _ask_pay_and_claim(self, *, pays):
        await self._serving.wait()
        heard = set()
        async with contextlib.aclosing(self._customer.ask(self._request, self._keys.public_key)) as answers:
            async for answer in answers:
                heard.add(answer.said)
                assert answer.said is not Said.PRICE
                if Said.ERROR in heard or heard >= {Said.RESULT, Said.RECEIPT}:
                    return


@pytest.fixture
async def world(tmp_path):
    async with crash_world.a_world(tmp_path, FreeWorld) as world:
        await trusts(tmp_path / "timmy.db", world._request.pubkey, int(world._wallet_clock()))
        yield world


@pytest.mark.crash
@pytest.mark.parametrize(
    ("moments", "runs"),
    [
        (("before commit RequestReceived", "after commit RequestReceived"), (1, 1)),
        (("in evaluate", "after commit EvalDone"), (2, 1)),
        (("in work",), (1, 2)),
        (("before commit WorkDone", "after commit WorkDone"), (1, 2)),
    ],
    ids=["when it was heard", "when it was judged", "in its work", "when it was done"],
)
async def test_killed_at_a_free_job_it_goes_on_and_the_pool_pays_once(world, moments, runs):
    ending = await world.story(*moments)
    job = await is_served_once(world.folder / "timmy.db", JobState.COMPLETE)
    assert (job.eval_runs, job.work_runs) == runs
    assert (len(ending.results), ending.prices, ending.wallet.invoices) == (1, frozenset(), {})


@pytest.mark.crash
async def test_killed_three_times_in_the_work_of_a_free_job_its_claim_is_given_back(world):
    """PHA-14."""
    await world.story("in work", "in work", "in work")
    await is_served_once(world.folder / "timmy.db", JobState.FAILED, lost=msats_from_sats(2))
