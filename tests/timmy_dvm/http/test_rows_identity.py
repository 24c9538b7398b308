"""Identities over HTTP, row by row of the requirements, where no other test has the row."""

import asyncio

from ledger.records import Applied, Change, FactRecord, IdentityRecord
from relay_client.keys import Keys
from tests.timmy_dvm.http.door import ALICE, QUESTION, a_door
from timmy_dvm.core.policy import Policy

COLUMNS = {
    "pubkey",
    "trust_score",
    "interaction_count",
    "sats_absorbed_today",
    "absorbed_reset_at",
    "last_seen",
}


async def rows_of(door, statement, *values):
    return await door.house.store._reader.run(lambda connection: connection.execute(statement, values).fetchall())


async def trusts(door, keys: Keys, score: int) -> None:
    """The key has earned this trust."""
    at = door.services.now()
    row = IdentityRecord(pubkey=keys.public_key, trust_score=score, first_seen=at, last_seen=at)
    fact = FactRecord(id="met", kind="Test", job_id=None, at=at, body="{}")
    assert isinstance(await door.house.store.commit(fact, lambda _: Change(identity=row)), Applied)


async def test_idn_01_02_the_ledger_keeps_of_a_key_what_the_first_timmy_kept():
    """The tier is not kept: it follows from the score (money.md 4)."""
    async with a_door() as door:
        await door.ask(headers={"X-Nostr-Token": door.token()})
        names = {row[0] for row in await rows_of(door, "SELECT name FROM pragma_table_info('identities')")}
        assert names >= COLUMNS
        assert len(await rows_of(door, "SELECT 1 FROM identities WHERE pubkey = ?", ALICE.public_key)) == 1


async def test_idn_05_of_twenty_first_requests_at_once_there_is_one_row():
    policy = Policy(open_jobs_per_key=20, jobs_per_key_minute=30)
    async with a_door(per_address=50, policy=policy) as door:
        headers = {"X-Nostr-Token": door.token()}
        await asyncio.gather(*(door.ask(f"x {n}", headers=headers) for n in range(20)))
        assert len(await rows_of(door, "SELECT pubkey FROM identities")) == 1
        assert len(await door.house.store.jobs(limit=50)) == 20


async def test_est_03_a_trusted_key_is_told_that_the_pool_pays():
    async with a_door() as door:
        await trusts(door, ALICE, 60)
        answer = await door.http.get(
            "/api/estimate", params={"request": QUESTION}, headers={"X-Nostr-Token": door.token()}
        )
        told = answer.json()["identity"]
        assert (told["trust_tier"], told["free_tier"]["serve"], told["free_tier"]["chargeSats"]) == (
            "trusted",
            "free",
            0,
        )
        nobody = (await door.http.get("/api/estimate", params={"request": QUESTION})).json()["identity"]
        assert nobody["free_tier"]["serve"] == "gate"


async def test_dem_09_of_fifty_requests_of_a_new_key_no_more_make_invoices_than_it_may_leave_unpaid():
    async with a_door(per_address=100) as door:
        headers = {"X-Nostr-Token": door.token()}
        answers = [
            await door.http.post("/api/jobs", json={"request": f"x {n}"}, headers=headers) for n in range(50)
        ]
        made = [answer for answer in answers if answer.status_code == 201]
        assert len(made) == door.house.policy.open_jobs_per_key
        assert {a.json()["code"] for a in answers if a.status_code != 201} <= {"too_many_open", "rate_limited"}
        ((invoices,),) = [tuple(row) for row in await rows_of(door, "SELECT count(*) FROM invoices")]
        assert invoices == len(made)
