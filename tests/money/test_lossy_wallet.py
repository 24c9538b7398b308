"""A wallet that often does not know, and news that are lost, doubled and forged: no sat is paid twice or lost."""

import pytest

from lightning.backend import Sent
from tests.money.crowd import UNCLEAR, Crowd

CUSTOMERS = 300


@pytest.fixture(params=["one", "two", "three"])
def crowd(request):
    crowd = Crowd(request.param)
    yield crowd
    crowd.world.close()


def test_no_sat_is_paid_twice_and_each_is_earned_returned_or_owed(crowd):
    """One payment in ten has no clear result, most notices are not what they should be, an hour is dark."""
    world, wallet = crowd.world, crowd.world.wallet
    for number in range(CUSTOMERS):
        wallet.next_outcomes.clear()
        if crowd.chance(10):
            wallet.next_outcomes.append(crowd.one_of(*UNCLEAR))
        wallet.down = CUSTOMERS // 3 <= number < CUSTOMERS // 2
        crowd.comes(crowd.one_of("hint", "twice", "lost", "lost", "listing"))
        crowd.forge_a_notice(number, of_ours=crowd.chance(50))
        crowd.wait(3_600 // (CUSTOMERS // 6))
        crowd.a_payment_is_looked_up(number, crowd.one_of(None, Sent.SUCCEEDED, Sent.FAILED))
        if number % 10 == 0:
            crowd.rules.hold()
    crowd.pays_late()
    crowd.all_ends_well()
    payments = world.wallet.truth.payments.values()
    assert sum(payment.state is Sent.SUCCEEDED for payment in payments) > 10
    came = sum(row.received_msat for row in world.wallet.truth.received.values())
    assert came == crowd.earned_and_returned_and_owed()


def test_it_was_a_bad_day(crowd):
    """What the test above says it does is what happens: payments are in doubt, and news are not told."""
    crowd.world.wallet.next_outcomes.extend(UNCLEAR)
    for _ in UNCLEAR:
        crowd.pay_and_claim_the_change(None, None, 200)
    states = crowd.world.query(lambda db: [row[0] for row in db.execute("SELECT state FROM refunds")])
    assert states.count("in_doubt") == len(UNCLEAR)
