"""`/api/bootstrap`: a node is ordered, paid and ready; its key is handed out once; else its money comes back."""

import asyncio
import contextlib

import pytest

from ledger.money import msats_from_sats
from tests.timmy_dvm.http.door import ALICE, SECRET, a_door
from timmy_dvm.claims import Claims
from timmy_dvm.core.policy import Policy
from timmy_dvm.http import bootstrap
from timmy_dvm.provision.stub import DELAY_S

TIER = {"trust_tier": "anonymous"}
KEY_32 = "0123456789abcdef" * 2


class Broken:
    """Sets nothing up."""

    async def provision(self):
        raise OSError("no machine")


@contextlib.asynccontextmanager
async def a_counter(**parts):
    def more(services):
        claims = Claims(
            services.engine,
            services.store,
            services.policy,
            services.clock,
            network=services.network,
            secret=SECRET,
        )
        return [bootstrap.routes(services, claims)]

    async with a_door(more=more, **parts) as door:
        yield door


async def ordered(door, **headers):
    answer = await door.http.post("/api/bootstrap", json={}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def shown(door, order):
    answer = await door.http.get(f"/api/bootstrap/{order['bootstrapJobId']}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def reaches(door, order, state):
    """Let the clock go on until the order is in this state; looked at in the ledger, for a look takes the key."""

    async def there():
        await door.house.clock.advance(DELAY_S)
        row = await door.house.store.look(lambda view: view.bootstrap(order["bootstrapJobId"]))
        return row.state == state

    await door.house.until(there)


async def ready(door):
    order = await ordered(door)
    await door.pay(order)
    await reaches(door, order, "ready")
    return order


async def claims(door, order, sats, invoice=None):
    body = {"invoice": invoice or door.house.customer.invoice(msats_from_sats(sats))}
    return await door.http.post(f"/api/bootstrap/{order['bootstrapJobId']}/refund", json=body)


async def test_boo_01_an_order_has_an_id_and_the_invoice_of_the_fee():
    async with a_counter() as door:
        order = await ordered(door)
        assert order["state"] == "awaiting_payment"
        assert order["amountSats"] == 10_000
        assert len(order["bootstrapJobId"]) == 32
        assert order["stubMode"] is True
        assert order["message"]
        assert order["trust_tier"] == "anonymous"
        assert await shown(door, order) == order


async def test_boo_32_the_operator_says_the_fee():
    async with a_counter(policy=Policy(bootstrap_fee=msats_from_sats(77))) as door:
        assert (await ordered(door))["amountSats"] == 77


async def test_boo_04_paid_and_looked_at_by_nobody_it_is_ready():
    async with a_counter() as door:
        order = await ready(door)
        found = await shown(door, order)
        assert found["nodeIp"].startswith(("192.0.2.", "198.51.100.", "203.0.113."))
        assert found["lnbitsUrl"] == f"http://{found['nodeIp']}:5000"
        assert found["tailscaleHostname"]
        assert any("ops.sh sync" in step for step in found["nextSteps"])
        assert found["sshPrivateKey"].startswith("-----BEGIN RSA PRIVATE KEY-----")
        assert (found["paymentHash"], found["bootstrapJobId"]) == (order["paymentHash"], order["bootstrapJobId"])


async def test_boo_08_while_it_is_set_up_that_is_said():
    async with a_counter() as door:
        order = await ordered(door)
        await door.pay(order)

        async def is_provisioned():
            return (await shown(door, order))["state"] == "provisioning"

        await door.house.until(is_provisioned)
        found = await shown(door, order)
        assert "set up" in found["message"]
        assert not {"nodeIp", "sshPrivateKey", "sshKeyNote"} & found.keys()


async def test_boo_09_of_ten_who_look_at_once_one_has_the_key_and_nobody_after_it():
    async with a_counter() as door:
        order = await ready(door)
        looks = await asyncio.gather(*(shown(door, order) for _ in range(10)))
        assert sum("sshPrivateKey" in look for look in looks) == 1
        assert sum("sshKeyNote" in look for look in looks) == 9
        again = await shown(door, order)
        assert again["sshKeyNote"]
        assert "sshPrivateKey" not in again


async def test_boo_11_failed_says_why_and_the_money_is_claimed_with_a_bolt11():
    async with a_counter(provisioner=Broken()) as door:
        order = await ordered(door)
        await door.pay(order)
        await reaches(door, order, "failed")
        found = await shown(door, order)
        assert found["errorMessage"]
        assert found["refundState"] == "pending"
        assert found["claimableSats"] == [10_000]
        answer = await claims(door, order, 10_000)
        assert (answer.status_code, answer.json()) == (
            200,
            {"refundState": "paid", "refundAmountSats": 10_000, **TIER},
        )
        assert list(door.house.customer.received.values()) == [msats_from_sats(10_000)]
        found = await shown(door, order)
        assert (found["refundState"], found["claimableSats"]) == ("paid", [])
        await door.house.dispatch.idle()
        await door.house.books_are_right()


async def test_of_many_claims_at_once_one_is_paid_and_the_same_one_again_has_the_same_answer():
    async with a_counter(provisioner=Broken()) as door:
        order = await ordered(door)
        await door.pay(order)
        await reaches(door, order, "failed")
        answers = await asyncio.gather(*(claims(door, order, 10_000) for _ in range(10)))
        assert sorted({answer.status_code for answer in answers}) == [200, 409]
        assert [a.status_code for a in answers].count(200) == 1
        assert list(door.house.customer.received.values()) == [msats_from_sats(10_000)]
        assert (await claims(door, order, 10_000)).json()["code"] == "nothing_owed"


@pytest.mark.parametrize(
    ("sats", "invoice", "code"), [(9_999, None, "wrong_amount"), (1, "lnbcrt1nonsense", "bad_invoice")]
)
async def test_an_invoice_that_is_none_or_of_another_sum_claims_nothing(sats, invoice, code):
    async with a_counter(provisioner=Broken()) as door:
        order = await ordered(door)
        await door.pay(order)
        await reaches(door, order, "failed")
        answer = await claims(door, order, sats, invoice)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert (await shown(door, order))["claimableSats"] == [10_000]


async def test_what_is_being_set_up_or_ready_owes_nothing():
    async with a_counter() as door:
        order = await ordered(door)
        assert (await claims(door, order, 10_000)).json()["code"] == "nothing_owed"
        await door.pay(order)
        await reaches(door, order, "ready")
        assert (await claims(door, order, 10_000)).status_code == 409


async def test_unpaid_it_expires_and_late_money_is_claimed():
    async with a_counter() as door:
        order = await ordered(door)
        await door.house.clock.advance(661)
        await reaches(door, order, "expired")
        door.house.wallet.settle(order["paymentHash"])

        async def owes():
            return (await shown(door, order)).get("claimableSats") == [10_000]

        await door.house.until(owes)
        assert (await claims(door, order, 10_000)).status_code == 200


async def test_an_order_that_nobody_made_is_not_there():
    async with a_counter() as door:
        for answer in (
            await door.http.get("/api/bootstrap/nothing"),
            await door.http.post("/api/bootstrap/nothing/refund", json={"invoice": "x"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_node")


async def test_the_same_idempotency_key_orders_once():
    async with a_counter() as door:
        one = await ordered(door, **{"Idempotency-Key": KEY_32})
        assert await ordered(door, **{"Idempotency-Key": KEY_32}) == one
        assert await ordered(door) != one


async def test_a_key_that_orders_sees_its_tier():
    async with a_counter() as door:
        order = await ordered(door, **{"X-Nostr-Token": door.token(ALICE)})
        assert order["trust_tier"] == "new"
        assert (await shown(door, order))["trust_tier"] == "new"


async def test_an_address_has_only_so_many_unpaid_orders_and_a_paid_one_leaves_its_place():
    async with a_counter(per_address=1) as door:
        order = await ordered(door)
        answer = await door.http.post("/api/bootstrap", json={})
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_open")
        await door.pay(order)
        await reaches(door, order, "ready")
        await ordered(door)


async def test_without_a_wallet_there_is_no_order_to_pay_and_it_can_be_asked_again():
    async with a_counter() as door:
        door.house.wallet.down = True
        asking = asyncio.create_task(door.http.post("/api/bootstrap", json={}))
        await door.house.until(lambda: door.house.clock.sleepers > 0)
        async with asyncio.timeout(20):
            while not asking.done():
                await door.house.clock.advance(30)
        assert (asking.result().status_code, asking.result().json()["code"]) == (503, "wallet_away")
