"""Money on its way back: who may claim what, what it may cost us, what a payment's outcome does (money.md 5)."""

import dataclasses

import pytest

from ledger.money import ZERO, Msats
from ledger.records import JobState, RefundState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core import claiming, giving_back, refunds
from timmy_dvm.core.case import IGNORED, Case
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import PayResult

COMPLETE = b.job(JobState.COMPLETE, charge_eval=b.sats(2), charge_work=b.sats(79), pool_credit=b.sats(7))
NO_FEE_LIMIT = dataclasses.replace(b.POLICY, wallet_limits_fees=False)


def books(*rows, **changes) -> Case:
    """A finished job with these refunds, and plenty of our own in the wallet."""
    return Case(**{"job": COMPLETE, "refunds": rows, "refund": rows[0], "ours": b.sats(1_000), **changes})


def claimed(case, policy=b.POLICY, **changes):
    return decide(case, dataclasses.replace(b.claim(), **changes), policy)


# Who may claim what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "changes", "case"),
    [
        ("unknown_job", {}, {"job": None}),
        ("not_yours", {"pubkey": b.STRANGER}, {}),
        ("not_yours", {}, {"job": dataclasses.replace(COMPLETE, pubkey=None)}),
        ("wrong_network", {"rail_ok": False}, {}),
        ("expires_too_soon", {"expires_at": b.NOW + 119}, {}),
        ("expires_too_soon", {"expires_at": b.NOW - 1}, {}),
        ("own_invoice", {}, {"hash_is_ours": True}),
        ("used_invoice", {}, {"hash_is_used": True}),
        ("wrong_amount", {"amount": Msats(21_001)}, {}),
        ("wrong_amount", {"amount": Msats(20_999)}, {}),
        ("wrong_amount", {"amount": b.sats(42)}, {}),
        ("wrong_amount", {"amount": ZERO}, {}),
        ("wrong_amount", {"amount": None}, {}),
    ],
)
def test_a_claim_is_refused_with_a_sentence_and_nothing_moves(code, changes, case):
    decision = claimed(books(b.refund(), **case), **changes)
    (tell,) = decision.tells
    assert (tell.message.code, tell.origin) == (code, b.CLAIM)
    assert tell.message.sentence.endswith(".")
    assert decision.refunds == decision.entries == decision.actions == ()


def test_a_claim_that_would_be_one_error_too_many_is_refused_in_silence_and_a_good_one_is_paid():
    assert claimed(books(b.refund()), amount=b.sats(22), answered=False) is IGNORED
    assert claimed(Case(job=COMPLETE), answered=False) is IGNORED
    assert claimed(books(b.refund()), answered=False) == claimed(books(b.refund()))


def test_a_wrong_amount_is_told_the_sums_that_are_held():
    two = (b.refund(), b.refund(amount=50, id="3d" * 16))
    decision = claimed(books(*two), amount=b.sats(22))
    assert decision.tells[0].message.sentence == "Send an invoice for exactly 21 or 50 sats."


# A claim that names no job: its sum says which refund is meant ---------------------------------------------------


def claimed_by_sum(rows, *, of_job=(), **changes):
    """What the ledger loads for such a claim, decided on."""
    fact = b.claim(request_event_id=None, **changes)
    claims = tuple((b.EVENT, row) for row in rows)
    row = claiming.meant(claims, fact)
    case = Case(job=COMPLETE, refunds=(*of_job, row), ours=b.sats(1_000)) if row else Case()
    return decide(dataclasses.replace(case, claims=claims), fact, b.POLICY)


def test_a_claim_without_a_job_takes_the_oldest_refund_of_that_sum():
    rows = (b.refund(amount=50, id="aa" * 16), b.refund(id="bb" * 16), b.refund(id="cc" * 16))
    decision = claimed_by_sum(rows)
    assert [(row.id, row.state) for row in decision.refunds] == [("bb" * 16, RefundState.SENDING)]
    assert b.told(decision) == ["OperationDone"]


def test_a_claim_without_a_job_passes_over_what_is_in_flight():
    rows = (b.refund(RefundState.SENDING, id="aa" * 16), b.refund(RefundState.OWED, id="bb" * 16))
    assert [row.id for row in claimed_by_sum(rows).refunds] == ["bb" * 16]


@pytest.mark.parametrize(
    ("rows", "code", "sentence"),
    [
        ((), "nothing_owed", "Nothing waits for you here"),
        ((b.refund(RefundState.SENDING),), "already_sending", "on its way"),
        ((b.refund(RefundState.IN_DOUBT),), "already_sending", "on its way"),
        ((b.refund(amount=50),), "wrong_amount", "exactly 50 sats."),
        ((b.refund(amount=50), b.refund(amount=7), b.refund(amount=50)), "wrong_amount", "exactly 50 or 7 sats."),
        ((b.refund(RefundState.SENDING), b.refund(amount=7)), "wrong_amount", "exactly 7 sats."),
    ],
)
def test_a_claim_without_a_job_that_meets_nothing_is_told_what_there_is(rows, code, sentence):
    decision = claimed_by_sum(rows)
    (tell,) = decision.tells
    assert (tell.message.code, tell.origin) == (code, b.CLAIM)
    assert sentence in tell.message.sentence
    assert decision.refunds == decision.actions == ()


@pytest.mark.parametrize("changes", [{"amount": None}, {"rail_ok": False}, {"expires_at": b.NOW}])
def test_a_claim_without_a_job_is_judged_like_any_other(changes):
    amount = changes.pop("amount", 21)
    decision = claimed_by_sum((b.refund(),), amount=amount, **changes)
    assert decision.refunds == ()
    assert b.told(decision)[0].startswith("Refused ")


def test_a_claim_without_a_job_that_would_be_one_error_too_many_is_met_with_silence():
    assert claimed_by_sum((), answered=False) is IGNORED


def test_a_job_without_refunds_owes_nothing():
    assert b.told(claimed(Case(job=COMPLETE))) == ["Refused nothing_owed"]


@pytest.mark.parametrize("state", JobState)
def test_before_its_job_has_ended_nothing_can_be_claimed_and_the_customer_is_told_to_wait(state):
    is_ended = b.job(state).ended_at is not None
    (tell,) = claimed(Case(job=b.job(state))).tells
    assert tell.message.code == ("nothing_owed" if is_ended else "not_ended")
    assert ("yours to claim when it has" in tell.message.sentence) is not is_ended
    assert tell.origin == b.CLAIM


def test_an_invoice_that_lives_just_long_enough_is_taken():
    assert claimed(books(b.refund()), expires_at=b.NOW + 120).refunds[0].state is RefundState.SENDING


def test_a_claim_writes_the_one_payment_hash_before_anything_is_sent():
    decision = claimed(books(b.refund(note="old trouble")))
    (row,) = decision.refunds
    assert (row.state, row.payment_hash, row.bolt11, row.attempts, row.note) == (
        RefundState.SENDING, b.FRESH, b.BOLT11, 1, "",
    )  # fmt: skip
    action = decision.actions[0].action
    assert (action.payment_hash, action.bolt11, action.attempts, action.max_fee) == (b.FRESH, b.BOLT11, 1, 3_000)
    assert decision.tells[0].origin == b.CLAIM
    assert decision.tells[0].message.body == {
        "op": "refund", "refundState": "pending", "refundAmountSats": 21, "state": "sending",
    }  # fmt: skip
    assert decision.entries == ()


def test_of_two_equal_sums_the_second_claim_takes_the_second():
    first = b.refund(RefundState.SENDING)
    second = b.refund(id="3d" * 16)
    decision = claimed(books(first, second), payment_hash="0d" * 32)
    assert [row.id for row in decision.refunds] == [second.id]


def test_a_claim_while_a_retry_waits_takes_over_and_the_retry_finds_nothing_to_do():
    """A new BOLT11 replaces one that failed for certain; the old pause then ends without effect."""
    (sending,) = claimed(books(b.refund(RefundState.OWED)), payment_hash="0d" * 32).refunds
    assert (sending.payment_hash, sending.attempts) == ("0d" * 32, 2)
    for state in (RefundState.SENDING, RefundState.OWED):
        row = dataclasses.replace(sending, state=state)
        assert decide(books(row), b.again(1), b.POLICY).refunds == ()


# What it may cost us ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "row", "case", "msat"),
    [
        ("three sats a payment", {}, {}, 3_000),
        ("what we kept from the job", {"kept_fee_room": b.sats(2)}, {}, 2_000),
        ("nothing kept, nothing spent", {"kept_fee_room": ZERO}, {}, 0),
        ("what is left of the day", {}, {"fees_today": b.sats(199)}, 1_000),
        ("the day is used up", {}, {"fees_today": b.sats(200)}, 0),
        ("more than the day was used", {}, {"fees_today": b.sats(230)}, 0),
        ("what is ours in the wallet", {}, {"ours": Msats(1_500)}, 1_500),
        ("nothing of the wallet is ours", {}, {"ours": b.sats(-9)}, 0),
    ],
)
def test_our_fee_keeps_to_each_of_its_limits(limit, row, case, msat):
    decision = claimed(books(b.refund(**row), **case))
    assert decision.refunds[0].max_fee == msat, limit


@pytest.mark.parametrize(
    ("other", "sats"),
    [
        (b.refund(RefundState.SENT, fee=b.sats(3), id="3d" * 16), 2),
        (b.refund(RefundState.SENDING, id="3d" * 16), 2),
        (b.refund(RefundState.IN_DOUBT, id="3d" * 16), 2),
        (b.refund(RefundState.OWED, id="3d" * 16), 3),
        (b.refund(RefundState.HELD, id="3d" * 16), 3),
    ],
)
def test_what_we_kept_from_a_job_is_there_once_for_all_its_refunds(other, sats):
    decision = claimed(books(b.refund(), other))
    assert decision.refunds[0].max_fee == b.sats(sats)


def test_a_retry_weighs_the_fee_anew():
    row = b.refund(RefundState.OWED)
    (sending,) = decide(books(row, fees_today=b.sats(199)), b.again(), b.POLICY).refunds
    assert (sending.max_fee, sending.attempts, sending.payment_hash, sending.due_at) == (b.sats(1), 2, b.OUT, None)


@pytest.mark.parametrize(("amount", "msat"), [(1, 2_000), (200, 2_000), (201, 2_010), (1_000, 10_000)])
def test_a_wallet_without_a_limit_per_payment_is_capped_by_its_own_reserve(amount, msat):
    """One percent and at least 2 sats: that much may be spent, whatever we would have liked."""
    row = b.refund(amount=amount)
    decision = claimed(books(row), NO_FEE_LIMIT, amount=row.amount)
    assert decision.refunds[0].max_fee == msat


@pytest.mark.parametrize("case", [{"ours": Msats(1_999)}, {"fees_today": Msats(198_001)}])
def test_where_the_reserve_is_not_there_a_claim_has_to_wait(case):
    decision = claimed(books(b.refund(), **case), NO_FEE_LIMIT)
    assert b.told(decision) == ["Refused fee_reserve"]
    assert decision.refunds == ()


@pytest.mark.parametrize("case", [{"ours": Msats(1_999)}, {"fees_today": Msats(198_001)}])
def test_where_the_reserve_is_not_there_a_retry_is_held_and_the_customer_hears_of_it(case):
    row = b.refund(RefundState.OWED)
    decision = decide(books(row, **case), b.again(), NO_FEE_LIMIT)
    (held,) = decision.refunds
    assert (held.state, held.payment_hash, held.bolt11, held.max_fee) == (RefundState.HELD, None, None, ZERO)
    assert b.told(decision) == ["RefundMoved"]
    assert decision.actions == ()


# What a payment's outcome does -----------------------------------------------------------------------------------


def test_a_sent_refund_is_booked_with_its_cost_apart():
    decision = decide(books(b.refund(RefundState.SENDING)), b.out(PayResult.SUCCEEDED, fee=2), b.POLICY)
    assert b.moves(decision) == ["refund>node 21", "routing_fees>node 2"]
    assert decision.refunds[0].fee == b.sats(2)
    moved = decision.tells[0].message
    assert (moved.state, moved.sats, moved.status) == ("sent", 21, "complete")
    assert moved.sentence == "21 sats were sent back to your invoice."


def test_unknown_is_not_failed_and_its_hash_is_looked_up():
    decision = decide(books(b.refund(RefundState.SENDING)), b.out(PayResult.UNKNOWN), b.POLICY)
    assert decision.entries == ()
    (do,) = decision.actions
    assert (do.due_at, do.action.payment_hash, do.action.since) == (b.NOW + 5, b.OUT, b.NOW)
    assert do.action.resend_until == b.NOW + 600
    assert decision.refunds[0].payment_hash == b.OUT


def test_the_first_failure_of_a_round_is_told_with_what_the_customer_may_do_and_the_next_are_not():
    told = {}
    for attempts in range(1, 7):
        row = b.refund(RefundState.SENDING, attempts=attempts)
        told[attempts] = decide(books(row), b.out(PayResult.FAILED, attempts=attempts), b.POLICY).tells
    assert [attempts for attempts, tells in told.items() if tells] == [
        1,
        5,
        6,
    ]  # the fifth ends a round: it is held
    first = told[1][0].message
    assert (first.state, first.sats, first.status) == ("owed", 21, "complete")
    assert first.sentence.startswith(
        "21 sats could not be sent to your invoice yet. They go out again in a minute, or"
    )
    assert "send a new invoice for exactly that sum" in first.sentence


def test_a_failure_keeps_the_wallets_words_to_a_length():
    fact = dataclasses.replace(b.out(PayResult.FAILED), detail="x" * 5_000)
    (row,) = decide(books(b.refund(RefundState.SENDING)), fact, b.POLICY).refunds
    assert row.note == "x" * 200


def test_two_rounds_of_tries_never_share_the_id_of_a_retry():
    """Were tries counted from 1 again, the second round's retries would be taken for the first's and never run."""
    row, ids, sends = b.refund(), [], []
    for claim in range(2):
        (row,) = claimed(books(row), amount=row.sendable, payment_hash=f"{claim:064x}").refunds
        while row.state is not RefundState.HELD:
            fact = b.out(PayResult.FAILED, attempts=row.attempts, payment_hash=row.payment_hash)
            sends.append(fact.id)
            (row,) = decide(books(row), fact, b.POLICY).refunds
            if row.state is RefundState.OWED:
                ids.append(b.again(row.attempts).id)
                (row,) = decide(books(row), b.again(row.attempts), b.POLICY).refunds
    assert len(ids) == len(set(ids)) == 8
    assert len(sends) == len(set(sends)) == 10


def test_a_refund_whose_job_nobody_knows_moves_without_a_word():
    decision = decide(books(b.refund(RefundState.SENDING), job=None), b.out(PayResult.SUCCEEDED), b.POLICY)
    assert decision.tells == ()
    assert decision.refunds[0].state is RefundState.SENT


def test_a_payment_in_doubt_without_its_bolt11_is_left_alone():
    row = b.refund(RefundState.SENDING, bolt11=None)
    assert decide(books(row), b.out(PayResult.UNKNOWN), b.POLICY).refunds == ()


# What goes back --------------------------------------------------------------------------------------------------


def give_back(left, from_credit=0, pubkey=b.KEY, cause="end", reason="change"):
    job = dataclasses.replace(COMPLETE, pubkey=pubkey)
    return giving_back.give_back(
        job, Msats(left), from_credit=Msats(from_credit), reason=reason, cause=cause, at=b.NOW, policy=b.POLICY
    )


@pytest.mark.parametrize(
    ("left", "from_credit", "pubkey", "rows"),
    [
        (0, 0, b.KEY, []),
        (21_000, 0, b.KEY, ["held 21 change"]),
        (10_000, 0, b.KEY, ["held 10 change"]),
        (9_999, 0, b.KEY, ["credited 9 change"]),
        (9_000, 0, None, ["held 9 change"]),
        (999, 0, b.KEY, []),
        (21_000, 21_000, b.KEY, ["credited 21 credit"]),
        (21_000, 50_000, b.KEY, ["credited 21 credit"]),
        (21_000, 5_000, b.KEY, ["credited 5 credit", "held 16 change"]),
        (21_000, 5_000, None, ["held 21 change"]),
    ],
)
def test_what_came_from_credit_and_small_change_is_credit_and_the_rest_is_held(left, from_credit, pubkey, rows):
    back = give_back(left, from_credit, pubkey)
    assert [f"{r.state} {b.in_sats(r.amount)} {r.reason}" for r in back.refunds] == rows
    moved = sum(-e.postings[0].amount for e in back.entries if e.postings[0].account.startswith("job:"))
    assert moved == left


def test_one_cause_makes_the_same_ids_and_two_make_others():
    ids = [[row.id for row in give_back(21_500, 5_000, cause=cause).refunds] for cause in ("end", "end", b.HASH)]
    assert ids[0] == ids[1]
    assert set(ids[0]).isdisjoint(ids[2])
    assert all(len(id_) == 32 for id_ in ids[0])
    entries = [{entry.id for entry in give_back(21_500, cause=cause).entries} for cause in ("end", b.HASH)]
    assert entries[0].isdisjoint(entries[1])


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([], "not_applicable"),
        (["sent"], "paid"),
        (["credited", "sent"], "paid"),
        (["paid_elsewhere"], "paid"),
        (["sent", "held"], "pending"),
        (["owed"], "pending"),
        (["sending"], "pending"),
        (["in_doubt"], "pending"),
    ],
)
def test_what_refund_state_shows(states, shown):
    assert refunds.shown_state(tuple(b.refund(RefundState(state)) for state in states)) == shown


def test_mistakes_of_ours_are_named_before_money_moves():
    with pytest.raises(ValueError, match="without a BOLT11"):
        decide(books(b.refund(RefundState.OWED, bolt11=None)), b.again(), b.POLICY)
    with pytest.raises(ValueError, match="only a key has credit"):
        giving_back.credited(b.refund(pubkey=None))
