"""The Workshop beside real jobs: what a watcher is told while one goes from bench to bench, and in a storm."""

import json

from ledger import accounts
from ledger.records import Door
from tests.flows.house import QUESTION
from tests.timmy_dvm.world.shop import BOB, CLEAR, SEALED, Script, a_shop, short, told, turns
from timmy_dvm.world.watchers import QUEUE_MAX

PEOPLE = ["alpha", "beta", "gamma", "delta", "timmy"]


async def served(shop, **changes):
    """One job from its request to its end, paid by a customer."""
    job_id = await shop.house.ask(**{"origin": CLEAR, **changes})
    price = await shop.house.priced()
    shop.house.recorder.said.clear()
    shop.house.customer.pays(price.bolt11)
    await shop.house.state_is(job_id, "complete")
    await turns()
    return job_id


async def test_the_first_frame_is_a_snapshot_of_the_five():
    """WLD-11, WLD-12."""
    async with a_shop() as shop:
        (first,) = told(shop.workshop.join("192.0.2.9"))[:1]
        assert first["type"] == "world_state"
        assert [agent["id"] for agent in first["agents"]] == PEOPLE
        assert all(agent["state"] == "idle" and agent["trade"] for agent in first["agents"])
        assert first["visitors"] == 1


async def test_a_job_goes_from_bench_to_bench():
    """WLD-10: watchers are told `agent_state` during a job."""
    async with a_shop() as shop:
        watcher = shop.watch()
        await served(shop)
        frames = told(watcher)
        assert [line for line in short(frames) if line.startswith("parcel")] == [
            "parcel alpha arrived",
            "parcel beta awaiting_eval_payment",
            "parcel gamma evaluating",
            "parcel delta settled",
            "parcel None complete",
        ]
        assert len({frame["label"] for frame in frames if frame["type"] == "parcel"}) == 1
        lines = short(frames)
        assert lines.index("alpha=working") < lines.index("gamma=working") < lines.index("delta=working")
        assert lines.index("gamma=working") < lines.index("gamma=idle")
        assert {"(job:arrived)", "(payment:received)", "(job:complete)"} <= set(lines)
        assert any(line.startswith("timmy:") for line in lines)
        after = shop.workshop.snapshot()
        assert (after.parcels, after.more, after.sealed) == ((), 0, 0)
        assert {agent.state for agent in after.agents} == {"idle"}


async def test_nothing_of_a_customer_is_shown():
    """No id, key, hash, text or sum of a job is in any frame."""
    async with a_shop() as shop:
        watcher = shop.watch()
        job_id = await served(shop)
        job = await shop.house.job(job_id)
        texts = await shop.store.texts(job_id)
        said = json.dumps(told(watcher)) + json.dumps([str(shop.workshop.snapshot())])
        for secret in (
            job_id,
            job_id[:8],
            job.event_id[:8],
            job.pubkey[:8],
            QUESTION[:20],
            texts.result[:20],
            "msat",
        ):
            assert secret not in said


async def test_of_an_encrypted_job_it_is_told_that_there_is_one_and_nothing_else():
    async with a_shop() as shop:
        watcher = shop.watch()
        await served(shop, origin=SEALED)
        assert short(told(watcher)) == ["(job:sealed)", "counts", "counts"]
        assert shop.workshop.snapshot().sealed == 0


async def test_a_note_that_says_nothing_of_encryption_counts_as_sealed_on_relays_and_open_over_http():
    async with a_shop() as shop:
        for origin, door, sealed in (("", Door.NOSTR, 1), ("{", Door.NOSTR, 2), ("", Door.HTTP, 2)):
            await shop.house.ask(origin=origin, door=door, pubkey=None if door is Door.HTTP else "b" * 64)
            assert shop.workshop.snapshot().sealed == sealed


async def test_unpaid_requests_do_not_fill_the_benches():
    async with a_shop() as shop:
        for count in range(30):
            await shop.house.ask(origin=CLEAR, pubkey=f"{count:064x}")
        shown = shop.workshop.snapshot()
        assert len(shown.parcels) == 12
        assert shown.more == 18
        assert shown.agents[1].doing == "waits for 30 payments"
        watcher = shop.watch()
        await served(shop, pubkey=accounts.POOL.ljust(64, "f"))
        assert "parcel gamma evaluating" in short(told(watcher))


async def test_in_a_storm_steps_are_left_out_and_then_the_whole_picture_comes():
    async with a_shop() as shop:
        watcher = shop.watch()
        for count in range(200):
            await shop.house.ask(origin=CLEAR, pubkey=f"{count:064x}")
        assert not watcher.lost.is_set()
        told(watcher)
        await shop.clock.advance(2)
        (last,) = told(watcher)[-1:]
        assert last["type"] == "world_state"
        assert len(last["parcels"]) + last["more"] == 200


async def test_a_mistake_in_the_picture_is_no_customers_affair():
    async with a_shop() as shop:
        shop.scene.committed = lambda *_: 1 / 0
        await served(shop)


async def test_who_does_not_read_is_given_up_and_holds_up_nobody():
    async with a_shop(Script()) as shop:
        slow, quick = shop.watch(), shop.watch(BOB)
        for _ in range(QUEUE_MAX + 10):
            shop.workshop.talk_begins()
            told(quick)
        assert slow.lost.is_set()
        assert not quick.lost.is_set()


async def test_of_a_thousand_watchers_so_many_are_let_in():
    async with a_shop(at_most=50) as shop:
        joined = [shop.workshop.join(f"192.0.2.{number}") for number in range(1_000)]
        assert sum(watcher is not None for watcher in joined) == 50
        assert shop.workshop.snapshot().visitors == 50
        shop.workshop.leave(joined[0])
        assert shop.workshop.join(BOB) is not None


async def test_the_diary_keeps_the_newest_and_a_missing_ledger_stops_nothing():
    """LOG-04: the table is bounded in the ledger itself."""
    async with a_shop() as shop:
        await shop.store.note_world_events([(count, f"event:{count}") for count in range(1_500)])
        kept = await shop.store.world_events(5_000)
        assert len(kept) == 1_000
        assert kept[0] == (1_499, "event:1499")
        await served(shop)
        await shop.diary.write()
        assert "job:complete" in [kind for _, kind in await shop.store.world_events(20)]
