"""What Timmy says, event by event: shapes as they are documented, sizes as relays take them, secrets kept."""

import json
from decimal import Decimal

import pytest

from ledger.money import Msats
from ledger.records import EventRole
from relay_client.event import Event
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, RELAY, SCHEMES, TIMMY, opened, sealed, signed
from timmy_dvm.clock import SeededRandomness
from timmy_dvm.core.actions import (
    CreditAdded,
    Delivered,
    Ended,
    OperationDone,
    PriceTold,
    RefundMoved,
    Refused,
    Working,
)
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr.answering import MAX_EVENT_BYTES, MAX_TAG_BYTES
from timmy_dvm.nostr.origin import write_origin
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.nostr.speaker import NostrSpeaker
from timmy_dvm.nostr.targets import ToCustomer, read_targets

JOB = "0123456789abcdef0123456789abcdef"
BTC = BtcPrice.from_usd(100_000, source="test", freshness=Freshness.FRESH, at=NOW)
BOLT11 = "lnbc90n1pexample"
NAMED = "wss://named.example"
REQUEST = signed(("i", "Secret question", "text"), P_TIMMY)
LEDGER = {"evalAmountSats": 2, "actualAmountSats": 5, "totalTokens": 46, "actualCostUsd": Decimal("0.000123")}
E_TAG, P_ALICE = ["e", REQUEST.id, RELAY], ["p", ALICE.public_key]

PRICE = PriceTold(amount=Msats(9_000), bolt11=BOLT11, payment_hash="ab" * 32, expires_at=1_700_058_720)
TOPUP = PriceTold(
    amount=Msats(500_000), bolt11=BOLT11, payment_hash="ab" * 32, expires_at=1_700_058_720, tops_up=True
)
DELIVERED = Delivered(text="Secret answer", truncated=False, ledger=LEDGER, money_back="2 sats came back.")
MESSAGES = {
    "price": PRICE,
    "topup": TOPUP,
    "credit": CreditAdded(added=Msats(500_000), credit=Msats(600_000)),
    "working": Working(covered_by="invoice", credit=Msats(0)),
    "delivered": DELIVERED,
    "rejected": Ended(code="rejected", sentence="Secret reason.", money_back="7 sats are yours."),
    "refused": Refused(code="too_long", sentence="Secret: please shorten it."),
    "refund": RefundMoved(state="sent", sats=7, status="complete", sentence="7 sats were sent back."),
    "operation": OperationDone(body={"op": "refund", "refundState": "pending"}),
}


def encrypted(scheme, *tags):
    return signed(P_TIMMY, ("encrypted",), *tags, content=sealed([["i", "Secret question", "text"]], scheme))


def say(
    message,
    request=REQUEST,
    scheme=Scheme.NONE,
    *,
    tier=Tier.ESTABLISHED,
    base=None,
    job_id=JOB,
    relay=RELAY,
    ignored=(),
    absorbed=None,
):
    """The events, each proved by reading it back."""
    speaker = NostrSpeaker(TIMMY, SeededRandomness(1), base)
    origin = write_origin(request, relay=relay, relays=[NAMED], scheme=scheme, btc=BTC, ignored=ignored)
    new = speaker.speak(message, origin=origin, job_id=job_id, tier=tier, at=NOW, absorbed_sats=absorbed)
    events = [Event.from_wire(one.json) for one in new]
    for one, event in zip(new, events, strict=True):
        assert (one.id, one.job_id) == (event.id, job_id)
        to = ToCustomer(key=request.pubkey, came_from=relay, named=(NAMED,), is_owed=one.role is EventRole.RESULT)
        assert read_targets(one.targets) == to
        assert (event.pubkey, event.created_at) == (TIMMY.public_key, NOW)
    return new, events


def shape(event):
    return [list(tag) for tag in event.tags], event.content


def test_money_due():
    (new,), (event,) = say(PRICE, base="https://timmy.example/pay")
    assert event.kind == 7000
    assert new.role is EventRole.FEEDBACK
    assert shape(event) == (
        [
            ["status", "payment-required", "9 sats (about 1 cent) at most; valid until 14:32 UTC"],
            ["amount", "9000", BOLT11],
            ["payment_hash", "ab" * 32],
            ["expiration", "1700058720"],
            ["trust_tier", "established"],
            E_TAG,
            P_ALICE,
            ["alt", "NIP-90 job feedback: payment-required"],
        ],
        (
            "9 sats (about 1 cent) at most; what is not used comes back. Pay: "
            f"https://timmy.example/pay/{JOB} or lightning:{BOLT11}. Valid until 14:32 UTC."
        ),
    )


def test_work_begins():
    _, (event,) = say(MESSAGES["working"])
    words = "Payment received. Working on it."
    assert event.kind == 7000
    assert shape(event) == (
        [
            ["status", "processing", words],
            ["trust_tier", "established"],
            E_TAG,
            P_ALICE,
            ["alt", "NIP-90 job feedback: processing"],
        ],
        words,
    )


@pytest.mark.parametrize(
    ("message", "is_told"),
    [
        (PRICE, True),
        (Working(covered_by="credit", credit=Msats(9_000)), True),
        (Working(covered_by="invoice", credit=Msats(0)), False),
        (Working(covered_by="begun", credit=Msats(0)), False),
        (DELIVERED, False),
    ],
)
def test_what_changes_nothing_is_told_once_before_money_moves(message, is_told):
    *_, event = say(message, ignored=("top_k", "seed"))[1]
    assert event.content.endswith("Not used here: top_k, seed.") is is_told
    assert event.tag("ignored") == (("ignored", "top_k", "seed") if is_told else None)


def test_the_result_and_then_the_receipt():
    new, (result, receipt) = say(DELIVERED)
    assert [one.role for one in new] == [EventRole.RESULT, EventRole.FEEDBACK]
    assert result.kind == 6050
    assert shape(result) == (
        [
            E_TAG,
            P_ALICE,
            ["status", "success"],
            ["trust_tier", "established"],
            ["alt", "NIP-90 job result"],
            ["i", "Secret question", "text"],
            ["request", REQUEST.to_json()],
        ],
        "Secret answer",
    )
    assert receipt.kind == 7000
    tags, content = shape(receipt)
    assert content == ("Done for 7 sats: 2 to check the request, 5 for the answer (46 tokens). 2 sats came back.")
    assert tags[0] == ["status", "success", content]
    assert tags[1] == [
        "ledger",
        '{"evalAmountSats":2,"actualAmountSats":5,"totalTokens":46,"actualCostUsd":0.000123}',
    ]


@pytest.mark.parametrize(
    ("message", "code", "content"),
    [
        ("rejected", "rejected", "Secret reason. 7 sats are yours. You may change the request and ask again."),
        ("refused", "too_long", "Secret: please shorten it."),
    ],
)
def test_no_answer_is_an_error_with_a_code_and_never_an_invoice(message, code, content):
    _, (event,) = say(MESSAGES[message])
    tags, said = shape(event)
    assert event.kind == 7000
    assert said == content
    assert tags[:2] == [["status", "error", content], ["code", code]]
    assert event.tag("amount") is None


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("complete", "success"),
        ("rejected", "error"),
        ("failed", "error"),
        ("cancelled", "error"),
        ("expired", "error"),
        ("executing", "processing"),
    ],
)
def test_a_refund_that_moved_repeats_the_jobs_last_status(state, status):
    _, (event,) = say(RefundMoved(state="held", sats=7, status=state, sentence="They stay yours."))
    assert event.tag("status") == ("status", status, "They stay yours.")
    assert event.tag("refund") == ("refund", "held", "7")


def test_an_operation_is_answered_with_json_and_is_not_the_jobs_result():
    (new,), (event,) = say(MESSAGES["operation"])
    assert event.kind == 6050
    assert new.role is EventRole.FEEDBACK
    assert json.loads(event.content) == {"op": "refund", "refundState": "pending"}


def test_a_question_of_no_job_is_answered_to_whoever_asked():
    body = {"op": "estimate", "estimatedSats": 13, "btcPriceUsd": Decimal("99999.5")}
    question = signed(P_TIMMY, ("param", "op", "estimate"), ("i", "Secret question", "text"))
    _, (event,) = say(OperationDone(body=body), question, job_id=None)
    tags, content = shape(event)
    assert content == '{"op":"estimate","estimatedSats":13,"btcPriceUsd":99999.5}'
    assert tags == [
        ["e", question.id, RELAY],
        P_ALICE,
        ["status", "success"],
        ["trust_tier", "established"],
        ["alt", "NIP-90 job result"],
    ]


@pytest.mark.parametrize("scheme", [Scheme.NIP04, Scheme.NIP44])
def test_a_question_in_private_is_answered_for_its_key_alone(scheme):
    question = encrypted(scheme)
    _, (event,) = say(OperationDone(body={"op": "me"}), question, scheme, job_id=None)
    assert shape(event)[0] == [["e", question.id, RELAY], P_ALICE, ["encrypted"], ["status", "success"]]
    assert opened(event.content) == '{"op":"me"}'


def test_a_result_is_of_its_requests_kind():
    _, (result, _) = say(DELIVERED, signed(("i", "x"), P_TIMMY, kind=5002))
    assert result.kind == 6002


def test_without_a_relay_or_a_job_there_is_no_hint_and_no_page():
    _, (event,) = say(PRICE, relay="", job_id=None, base="https://timmy.example/pay")
    assert event.tag("e") == ("e", REQUEST.id)
    assert "timmy.example" not in event.content


def test_whoever_has_a_key_is_at_least_new():
    _, (event,) = say(MESSAGES["refused"], tier=Tier.ANONYMOUS)
    assert event.tag("trust_tier") == ("trust_tier", "new")


@pytest.mark.parametrize("origin", ["", '{"door":"http"}', '{"door":"nostr"}'])
def test_what_cannot_be_answered_here_stops_no_commit(origin):
    speaker = NostrSpeaker(TIMMY, SeededRandomness(1))
    for message in MESSAGES.values():
        assert not speaker.speak(message, origin=origin, job_id=JOB, tier=Tier.NEW, at=NOW)


# Encryption: I13.


@pytest.mark.parametrize("scheme", ["nip44", "nip04"])
@pytest.mark.parametrize("name", MESSAGES)
def test_every_answer_to_an_encrypted_request_is_encrypted_in_its_scheme(scheme, name):
    """JOB-21."""
    request = encrypted(scheme, ("i", "Secret beside", "text"))
    _, events = say(MESSAGES[name], request, Scheme(scheme))
    for event in events:
        assert {tag[0] for tag in event.tags} <= {"e", "p", "encrypted", "status", "amount"}
        assert event.tag("encrypted") is not None
        assert "Secret" not in event.to_json()
        assert ("?iv=" in event.content) is (scheme == "nip04")
        assert len(event.tag("status")) == 2
        plain = opened(event.content)
        if event.kind == 7000:
            inside = json.loads(plain)
            assert inside[0][:2] == list(event.tag("status"))
            assert len(inside[0]) == 3
            assert ["trust_tier", "established"] in inside
            assert inside[-1][0] == "content"


def test_an_encrypted_price_shows_its_amount_in_clear_and_its_words_inside():
    _, (event,) = say(PRICE, encrypted("nip44"), Scheme.NIP44)
    assert event.tag("status") == ("status", "payment-required")
    assert event.tag("amount") == ("amount", "9000", BOLT11)
    inside = json.loads(opened(event.content))
    assert ["payment_hash", "ab" * 32] in inside
    assert inside[-1][1].startswith("9 sats")


def test_an_encrypted_result_is_the_plain_answer_encrypted():
    _, (result, _) = say(DELIVERED, encrypted("nip04"), Scheme.NIP04)
    assert opened(result.content) == "Secret answer"


# Sizes.


def bounded(events):
    """What strfry asks of an event by default, with the room we keep."""
    for event in events:
        assert len(event.to_json().encode()) <= MAX_EVENT_BYTES
        assert all(len(value.encode()) <= MAX_TAG_BYTES for tag in event.tags if len(tag[0]) == 1 for value in tag)


def rejoined(events, scheme=Scheme.NONE):
    """The answer as a customer puts it together again."""
    parts = {}
    for event in events:
        if scheme is Scheme.NONE:
            tags, content = event.tags, event.content
        else:
            plain = opened(event.content)
            tags, content = (json.loads(plain), None) if event.kind == 7000 else ([], plain)
            content = dict(tag[:2] for tag in tags)["content"] if content is None else content
        numbers = [tag for tag in tags if tag[0] == "part"]
        if event.kind == 6050:
            parts[1] = content.rpartition("\n\n[Part 1 of ")[0] or content
        elif numbers:
            parts[int(numbers[0][1])] = content
    return "".join(parts[number] for number in sorted(parts))


PROMPT = "p" * 16_000
LONG = {
    "ascii": "word and word\n" * 7_143,
    "one word": "x" * 100_000,
    "quotes": '"' * 100_000,
    "control": "\x01" * 100_000,
    "wide": "☃" * 100_000,
    "mixed": "x" * 50_000 + "\x01" * 50_000,
}


@pytest.mark.parametrize("where", ["i", "content"])
@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_long_prompt_and_a_long_answer_fit_relays_and_lose_nothing(where, text, scheme):
    if scheme is Scheme.NONE:
        request = signed(("i", PROMPT, "text"), P_TIMMY) if where == "i" else signed(P_TIMMY, content=PROMPT)
    else:
        content = sealed([["i", PROMPT, "text"]], scheme.value)
        request = signed(P_TIMMY, ("encrypted",), content=content)
    done = Delivered(text=LONG[text], truncated=False, ledger=LEDGER, money_back="")
    new, events = say(done, request, scheme)
    bounded(events)
    assert rejoined(events, scheme) == LONG[text]
    assert [one.role for one in new].count(EventRole.RESULT) == 1
    assert [event.kind for event in events[-2:]] == [6050, 7000]
    assert all(event.kind == 7000 for event in events[:-2])


def test_the_result_of_a_long_answer_names_its_other_parts():
    done = Delivered(text="x" * 100_000, truncated=False, ledger=LEDGER, money_back="")
    _, (part, result, _) = say(done)
    assert part.tag("status") == ("status", "partial", "part 2 of 2")
    assert part.tag("part") == ("part", "2", "2")
    assert result.tag("part") == ("part", "1", "2")
    assert result.tag("parts") == ("parts", part.id)
    assert result.tag("request") is None


@pytest.mark.parametrize(
    ("answer", "prompt", "has_request", "has_input"),
    [
        (10, 1_000, True, True),
        (10, 1_025, True, False),
        (58_000, 1_000, False, True),
        (59_000, 1_000, False, False),
    ],
)
def test_copies_are_dropped_before_a_text_is_split(answer, prompt, has_request, has_input):
    done = Delivered(text="x" * answer, truncated=False, ledger=LEDGER, money_back="")
    _, (result, _) = say(done, signed(("i", "p" * prompt, "text"), P_TIMMY))
    bounded([result])
    assert (result.tag("request") is not None) is has_request
    assert (result.tag("i") is not None) is has_input


def test_a_request_full_of_inputs_is_not_repeated():
    request = signed(*[("i", "p" * 1_000, "text")] * 100, P_TIMMY)
    _, (result, _) = say(DELIVERED, request)
    bounded([result])
    assert result.tag("i") is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_absurd_answer_is_cut_and_says_so(scheme):
    done = Delivered(text="x" * 3_000_000, truncated=False, ledger=LEDGER, money_back="")
    request = REQUEST if scheme is Scheme.NONE else encrypted(scheme.value)
    _, events = say(done, request, scheme)
    bounded(events)
    assert rejoined(events, scheme).endswith("[The answer is too long for relays and ends here.]")
