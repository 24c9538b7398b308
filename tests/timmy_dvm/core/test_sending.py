"""A refund that goes to an address by itself, is withdrawn, or becomes credit instead (money.md 5)."""

import dataclasses

import pytest

from ledger import accounts
from ledger.money import ZERO, Msats
from ledger.records import JobState, RefundState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core import claiming
from timmy_dvm.core.actions import AskForInvoice, PayRefund, RetryRefund
from timmy_dvm.core.case import IGNORED, Case
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import PayResult
from timmy_dvm.core.giving_back import PROFILE, give_back
from timmy_dvm.core.refund_facts import CreditWished, RefundInvoiced, RefundNotInvoiced, RefundWithdrawn

ADDRESS = "alice@example.com"
FRESH = "fa" * 32
COMPLETE = b.job(JobState.COMPLETE, charge_eval=b.sats(2), charge_work=b.sats(79), pool_credit=b.sats(7))
ASKS_PROFILES = dataclasses.replace(b.POLICY, asks_profiles=True)
NO_FEE_LIMIT = dataclasses.replace(b.POLICY, wallet_limits_fees=False)


def owed(state=RefundState.OWED, **changes):
    bare = {"payment_hash": None, "bolt11": None, "max_fee": ZERO, "attempts": 0, "target": ADDRESS}
    return b.refund(state, **(bare | changes))


def books(*rows, **changes) -> Case:
    return Case(**{"job": COMPLETE, "refunds": rows, "refund": rows[0], "ours": b.sats(1_000), **changes})


def invoiced(attempts=0, **changes):
    fact = RefundInvoiced(
        refund_id=b.REFUND,
        attempts=attempts,
        bolt11="lnbcfresh",
        payment_hash=FRESH,
        expires_at=b.NOW + 600,
        at=b.NOW,
    )
    return dataclasses.replace(fact, **changes)


def refused(attempts=0, *, lasting=False, nowhere=False):
    return RefundNotInvoiced(
        refund_id=b.REFUND, attempts=attempts, sentence="It is away.", lasting=lasting, nowhere=nowhere, at=b.NOW
    )


def back(refund_to=None, left=21_000, policy=b.POLICY, **job):
    row = dataclasses.replace(COMPLETE, refund_to=refund_to, **job)
    return give_back(
        row, Msats(left), from_credit=ZERO, reason="change", cause="end", at=b.NOW, policy=policy
    )  # fmt: skip


# Where it goes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "policy", "key", "state", "target"),
    [
        (ADDRESS, b.POLICY, b.KEY, RefundState.OWED, ADDRESS),
        (ADDRESS, ASKS_PROFILES, b.KEY, RefundState.OWED, ADDRESS),
        (ADDRESS, b.POLICY, None, RefundState.OWED, ADDRESS),
        (None, ASKS_PROFILES, b.KEY, RefundState.OWED, PROFILE),
        (None, b.POLICY, b.KEY, RefundState.HELD, None),
        (None, ASKS_PROFILES, None, RefundState.HELD, None),
        ("none", ASKS_PROFILES, b.KEY, RefundState.HELD, None),
        ("None", ASKS_PROFILES, b.KEY, RefundState.HELD, None),
    ],
)
def test_change_goes_to_the_named_address_else_to_the_profile_else_it_is_held(wish, policy, key, state, target):
    returned = back(wish, policy=policy, pubkey=key)
    (row,) = returned.refunds
    assert (row.state, row.target, row.payment_hash) == (state, target, None)
    asks = [do.action for do in returned.actions]
    address = None if target == PROFILE else target
    question = AskForInvoice(refund_id=row.id, attempts=0, amount=21_000, address=address, pubkey=key)
    assert asks == ([question] if target else [])
    assert ADDRESS not in returned.sentence
    assert returned.sentence.startswith("21 sats ")


def test_below_ten_sats_a_known_key_has_credit_whatever_it_named():
    (row,) = back(ADDRESS, 9_999).refunds
    assert (row.state, row.target, back(ADDRESS, 9_999).actions) == (RefundState.CREDITED, None, ())


def test_a_job_that_ends_asks_in_the_very_commit_that_owes():
    job = b.job(JobState.EXECUTING, work_runs=1, eval_passed=True, refund_to=ADDRESS)
    decision = decide(b.around(job, 102), b.answer(79), b.POLICY)
    assert [do.action.address for do in decision.actions] == [ADDRESS]
    assert decision.refunds[0].state is RefundState.OWED
    assert "21 sats go back to the address you named." in decision.tells[-1].message.money_back


def test_money_that_comes_late_goes_to_the_named_address_too():
    job = b.job(JobState.EXPIRED, refund_to=ADDRESS)
    decision = decide(b.around(job, 0, invoice=b.invoice(102)), b.seen(None), b.POLICY)
    assert [type(do.action) for do in decision.actions] == [AskForInvoice]
    assert decision.refunds[0].reason == "late"


# An invoice comes, or none ---------------------------------------------------------------------------------------


def test_an_invoice_is_paid_with_its_one_hash_written_first():
    decision = decide(books(owed()), invoiced(), b.POLICY)
    (row,) = decision.refunds
    assert (row.state, row.payment_hash, row.attempts, row.target) == (RefundState.SENDING, FRESH, 1, ADDRESS)
    pay = PayRefund(refund_id=b.REFUND, payment_hash=FRESH, bolt11="lnbcfresh", max_fee=3_000, attempts=1)
    assert [do.action for do in decision.actions] == [pay]
    assert decision.entries == decision.tells == ()


@pytest.mark.parametrize(
    ("fact", "case"),
    [
        (invoiced(expires_at=b.NOW + 119), {}),
        (invoiced(), {"hash_is_ours": True}),
        (invoiced(), {"hash_is_used": True}),
        (refused(), {}),
    ],
)
def test_an_invoice_that_is_no_use_is_asked_for_again_after_a_pause(fact, case):
    decision = decide(books(owed(), **case), fact, b.POLICY)
    (row,) = decision.refunds
    assert (row.state, row.attempts, row.target, row.due_at) == (RefundState.OWED, 1, ADDRESS, b.NOW + 60)
    assert [(do.action, do.due_at) for do in decision.actions] == [
        (RetryRefund(refund_id=b.REFUND, attempts=1), b.NOW + 60)
    ]
    assert b.told(decision) == ["RefundMoved"]
    assert "to the address you named yet" in decision.tells[0].message.sentence


def test_five_tries_with_four_pauses_and_then_it_is_held_and_still_knows_where_to():
    row, pauses, told = owed(), [], []
    for number in range(5):
        decision = decide(books(row), refused(number), b.POLICY)
        (row,) = decision.refunds
        told += b.told(decision)
        pauses += [do.due_at - b.NOW for do in decision.actions]
        if decision.actions:
            again = decide(books(row), b.again(number + 1), b.POLICY)
            assert [do.action.attempts for do in again.actions] == [number + 1]
            assert again.refunds == ()
    assert (row.state, row.attempts, row.target) == (RefundState.HELD, 5, ADDRESS)
    assert pauses == [60, 600, 3_600, 21_600]
    assert told == ["RefundMoved", "RefundMoved"]


@pytest.mark.parametrize("limits", ["the day is used up", "nothing is ours"])
def test_a_wallet_without_a_fee_limit_sends_only_what_its_reserve_is_there_for(limits):
    case = {"fees_today": b.sats(200)} if limits == "the day is used up" else {"ours": Msats(1_999)}
    (row,) = decide(books(owed(), **case), invoiced(), NO_FEE_LIMIT).refunds
    assert (row.state, row.payment_hash) == (RefundState.HELD, None)


def test_an_address_that_can_not_be_used_is_told_at_once_and_not_asked_again():
    decision = decide(books(owed()), refused(lasting=True), b.POLICY)
    assert (decision.refunds[0].state, decision.refunds[0].target) == (RefundState.HELD, ADDRESS)
    assert decision.actions == ()
    assert b.told(decision) == ["RefundMoved"]


def test_a_profile_without_an_address_leaves_it_to_be_claimed_without_another_word():
    decision = decide(books(owed(target=PROFILE)), refused(lasting=True, nowhere=True), ASKS_PROFILES)
    assert (decision.refunds[0].state, decision.refunds[0].target) == (RefundState.HELD, None)
    assert decision.tells == decision.actions == ()


@pytest.mark.parametrize("fact", [invoiced(), refused(), refused(lasting=True)])
@pytest.mark.parametrize(
    "row",
    [
        owed(attempts=1),
        owed(target=None),
        *(owed(state=state) for state in RefundState if state not in (RefundState.OWED, RefundState.HELD)),
    ],
    ids=lambda row: f"{row.state} {row.attempts} {row.target}",
)
def test_an_answer_nobody_waits_for_any_more_changes_nothing(fact, row):
    assert decide(books(row), fact, b.POLICY) is IGNORED
    assert decide(Case(), fact, b.POLICY) is IGNORED


def test_a_claim_takes_over_from_the_address_for_good():
    (row,) = decide(books(owed()), b.claim(), b.POLICY).refunds
    assert (row.state, row.target, row.attempts) == (RefundState.SENDING, None, 1)
    assert decide(books(row), invoiced(), b.POLICY) is IGNORED


def test_what_failed_for_certain_is_followed_by_a_fresh_invoice():
    sent = owed(state=RefundState.SENDING, payment_hash=b.OUT, bolt11=b.BOLT11, attempts=1)
    failed = decide(books(sent), b.out(PayResult.FAILED), b.POLICY)
    (row,) = failed.refunds
    again = decide(books(row), b.again(1), b.POLICY)
    assert [type(do.action) for do in again.actions] == [AskForInvoice]
    (row,) = decide(books(row), invoiced(1), b.POLICY).refunds
    assert (row.payment_hash, row.attempts) == (FRESH, 2)


def test_the_operator_may_have_a_held_one_tried_again_and_it_stays_held_until_it_is_sent():
    held = owed(state=RefundState.HELD, attempts=5)
    again = decide(books(held), b.again(5), b.POLICY)
    assert [do.action.attempts for do in again.actions] == [5]
    failed = decide(books(held), refused(5), b.POLICY)
    assert (failed.refunds[0].state, failed.refunds[0].attempts) == (RefundState.HELD, 6)
    assert failed.actions == ()
    assert decide(books(held), invoiced(5), b.POLICY).refunds[0].state is RefundState.SENDING


def test_the_customer_hears_where_it_went_and_never_which_address_it_was():
    row = owed(state=RefundState.SENDING, payment_hash=b.OUT, bolt11=b.BOLT11, attempts=1)
    for target, place in ((ADDRESS, "the address you named"), (PROFILE, "your profile's Lightning address")):
        case = books(dataclasses.replace(row, target=target))
        (tell,) = decide(case, b.out(PayResult.SUCCEEDED), b.POLICY).tells
        assert tell.message.sentence == f"21 sats were sent back to {place}."


# Credit instead --------------------------------------------------------------------------------------------------

WISH = CreditWished(event_id="c7" * 32, request_event_id=b.EVENT, pubkey=b.KEY, origin=b.CLAIM, at=b.NOW)


def test_all_that_is_held_becomes_credit_at_the_customers_wish():
    rows = (b.refund(), owed(id="3d" * 16), b.refund(RefundState.SENT, id="4d" * 16))
    decision = decide(books(*rows, credit=b.sats(4)), WISH, b.POLICY)
    assert [(row.id, row.state, row.target) for row in decision.refunds] == [
        (b.REFUND, RefundState.CREDITED, None), ("3d" * 16, RefundState.CREDITED, None),
    ]  # fmt: skip
    assert [entry.postings[1] for entry in decision.entries] == [
        dataclasses.replace(entry.postings[1], account=accounts.customer(b.KEY), amount=21_000)
        for entry in decision.entries
    ]
    assert decision.tells[0].message.body == {
        "op": "refund", "refundState": "paid", "refundAmountSats": 42, "state": "credited", "creditSats": 46,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "fact", "case"),
    [
        ("unknown_job", {}, {"job": None}),
        ("not_yours", {"pubkey": b.STRANGER}, {}),
        ("already_sending", {}, {"refunds": (b.refund(RefundState.SENDING),)}),
        ("already_sending", {}, {"refunds": (b.refund(RefundState.IN_DOUBT),)}),
        ("nothing_owed", {}, {"refunds": (b.refund(RefundState.SENT),)}),
    ],
)
def test_a_wish_for_credit_is_refused_with_a_sentence(code, fact, case):
    wish = dataclasses.replace(WISH, **fact)
    decision = decide(books(b.refund(), **case), wish, b.POLICY)
    assert b.told(decision) == [f"Refused {code}"]
    assert decision.refunds == decision.entries == ()
    silent = dataclasses.replace(wish, answered=False)
    assert decide(books(b.refund(), **case), silent, b.POLICY) is IGNORED


# Withdrawn -------------------------------------------------------------------------------------------------------

DRAWN = RefundWithdrawn(
    refund_id=b.REFUND, version=1, bolt11=b.BOLT11, payment_hash=b.FRESH, amount=b.sats(21), rail_ok=True,
    expires_at=b.NOW + 600, at=b.NOW,
)  # fmt: skip


def test_a_withdrawal_is_sent_and_has_used_its_word_up():
    decision = decide(books(b.refund()), DRAWN, b.POLICY)
    (row,) = decision.refunds
    assert (row.state, row.payment_hash, row.target) == (RefundState.SENDING, b.FRESH, None)
    moved_on = books(dataclasses.replace(row, version=2))
    assert decide(moved_on, dataclasses.replace(DRAWN, payment_hash="0c" * 32), b.POLICY) is IGNORED


@pytest.mark.parametrize(("held", "kept", "due"), [(500, 5, 495), (500, 0, 495), (2, 0, 2)])
def test_the_rest_of_a_session_pays_its_own_way_when_it_is_withdrawn(held, kept, due):
    """Swept with its way kept aside, come back after it failed, or too small for any way."""
    row = dataclasses.replace(b.refund(amount=held), job_id=None, session_id="5e" * 16, kept_for_way=b.sats(kept))
    drawn = dataclasses.replace(DRAWN, amount=b.sats(due))
    (sending,) = decide(books(row, job=None), drawn, b.POLICY).refunds
    assert (sending.invoiced, sending.max_fee) == (b.sats(due), b.sats(held - due))
    assert sending.state is RefundState.SENDING
    for wrong in (b.sats(due + 1), b.sats(due - 1), None):
        told = claiming.judged_withdrawal(books(row, job=None), dataclasses.replace(drawn, amount=wrong), b.POLICY)
        assert told.code == "wrong_amount"


@pytest.mark.parametrize(
    ("code", "fact", "case"),
    [
        ("nothing_owed", {"version": 0}, {}),
        ("nothing_owed", {}, {"refund": None}),
        ("already_sending", {}, {"refund": b.refund(RefundState.SENDING)}),
        ("wrong_amount", {"amount": b.sats(22)}, {}),
        ("wrong_amount", {"amount": None}, {}),
        ("wrong_network", {"rail_ok": False}, {}),
        ("expires_too_soon", {"expires_at": b.NOW + 119}, {}),
        ("own_invoice", {}, {"hash_is_ours": True}),
        ("used_invoice", {}, {"hash_is_used": True}),
    ],
)
def test_a_withdrawal_is_refused_for_what_a_claim_is(code, fact, case):
    drawn = dataclasses.replace(DRAWN, **fact)
    there = books(b.refund(), **case)
    assert decide(there, drawn, b.POLICY) is IGNORED
    assert claiming.judged_withdrawal(there, drawn, b.POLICY).code == code
