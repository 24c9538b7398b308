import msgspec
import pytest

from ledger.money import Msats
from timmy_dvm.core.actions import Delivered, Ended, FreeUse, PriceTold, Working
from timmy_dvm.nostr import words
from timmy_dvm.nostr.origin import Origin

USD = 1_000_000


def origin(usd=None, fallback=False):
    return Origin(request="", relay="", btc_micro_usd=usd and usd * USD, btc_is_fallback=fallback)


@pytest.mark.parametrize(
    ("sats", "usd", "text"),
    [
        (9, None, "9 sats"),
        (1, None, "1 sat"),
        (9, 100_000, "9 sats (about 1 cent)"),
        (1, 100_000, "1 sat (less than 1 cent)"),
        (5, 100_000, "5 sats (about 1 cent)"),
        (250, 100_000, "250 sats (about 25 cents)"),
        (2_100_000_000_000_000, 100_000, "2100000000000000 sats (about 210000000000000 cents)"),
    ],
)
def test_a_price_is_sats_and_about_how_many_cents(sats, usd, text):
    assert words.price(Msats(sats * 1_000), origin(usd)) == text


def test_a_price_by_the_fallback_says_so():
    assert (
        words.price(Msats(9_000), origin(100_000, fallback=True)) == "9 sats (about 1 cent, by a fallback price)"
    )


def told(expires_at=1_700_058_720, credit=0, offered=0):
    return PriceTold(
        amount=Msats(9_000),
        bolt11="lnbc90n1x",
        payment_hash="ab" * 32,
        expires_at=expires_at,
        credit=Msats(credit),
        offered=Msats(offered),
    )


def test_the_request_for_money_begins_with_the_price():
    assert words.money_due(told(), origin(100_000), "https://timmy.example/pay/1") == (
        "9 sats (about 1 cent) at most; what is not used comes back. "
        "Pay: https://timmy.example/pay/1 or lightning:lnbc90n1x. Valid until 14:32 UTC."
    )
    assert words.money_due(told(), origin(), None) == (
        "9 sats at most; what is not used comes back. Pay: lightning:lnbc90n1x. Valid until 14:32 UTC."
    )


def test_the_request_for_money_names_params_that_change_nothing():
    whole = words.money_due(told(), msgspec.structs.replace(origin(), ignored=("top_k", "seed")), None)
    assert whole.endswith(" Valid until 14:32 UTC. Not used here: top_k, seed.")


@pytest.mark.parametrize(("credit", "said"), [(1_000, "1 sat"), (4_000, "4 sats")])
def test_the_request_for_money_tells_the_credit_that_goes_with_it(credit, said):
    whole = words.money_due(told(credit=credit), origin(100_000), None)
    assert whole.startswith(f"9 sats (about 1 cent) at most, with {said} of your credit; what is not used")
    line = words.money_due_line(told(credit=credit), origin(100_000))
    assert line == f"9 sats (about 1 cent) + {said} of credit at most; valid until 14:32 UTC"


def test_without_credit_no_word_is_lost_on_it():
    assert "credit" not in words.money_due(told(), origin(100_000), None)
    assert "credit" not in words.money_due_line(told(), origin(100_000))


def test_what_the_pool_offers_is_told_with_the_price():
    whole = words.money_due(told(offered=20_000), origin(100_000), None)
    assert whole.startswith("9 sats (about 1 cent) at most; the pool offers another 20 sats; what is not used")
    line = words.money_due_line(told(offered=20_000), origin(100_000))
    assert line == "9 sats (about 1 cent) + 20 sats of the pool at most; valid until 14:32 UTC"
    long = words.money_due_line(told(credit=10**18, offered=10**18), origin(100_000))
    assert long == "9 sats at most"


@pytest.mark.parametrize("usd", [None, 1, 100_000, 10**9])
@pytest.mark.parametrize("amount", [1_000, 9_000, 2_100_000_000_000_000_000])
@pytest.mark.parametrize("credit", [0, 1_000, 2_100_000_000_000_000_000])
def test_the_line_is_short_and_without_the_invoice(usd, amount, credit):
    due = msgspec.structs.replace(told(1), amount=Msats(amount), credit=Msats(credit))
    line = words.money_due_line(due, origin(usd, fallback=True))
    assert len(line) <= 80
    assert "lnbc" not in line
    assert line.startswith(f"{amount // 1_000} sat")
    assert (f" {credit // 1_000} sat" in line) is bool(credit)


def test_work_begins_with_the_money_it_uses():
    assert "9 sats" in words.working(Working(covered_by="credit", credit=Msats(8_001)))
    assert words.working(Working(covered_by="invoice", credit=Msats(0))).startswith("Payment received")


FREE = FreeUse(absorbed=Msats(12_000), used=Msats(12_000), budget=Msats(50_000))


ADDS = "the pool adds 12 sats (free: 12 of 50 sats used today). Working on it."


@pytest.mark.parametrize(
    ("covered_by", "credit", "said"),
    [
        ("pool", 0, "free: 12 of 50 sats used today."),
        ("invoice", 0, f"Payment received, {ADDS}"),
        ("credit", 8_000, f"Covered by your credit: 8 sats, {ADDS}"),
    ],
)
def test_what_the_pool_pays_is_told_when_work_begins(covered_by, credit, said):
    assert words.working(Working(covered_by=covered_by, credit=Msats(credit), free=FREE)) == said


@pytest.mark.parametrize(
    ("ledger", "money_back", "said"),
    [
        ({}, "", "Done for free: the pool paid 42 sats (46 tokens)."),
        ({}, "30 sats are yours.", "Done for free: the pool paid 42 sats (46 tokens). 30 sats are yours."),
        (
            {"evalAmountSats": 2, "actualAmountSats": 5},
            "So.",
            "Done for 7 sats: 2 to check the request, 5 for the answer (46 tokens); the pool paid 42 more. So.",
        ),
    ],
)
def test_a_receipt_says_what_the_pool_paid(ledger, money_back, said):
    whole = {"totalTokens": 46, "absorbed_sats": 42} | ledger
    done = Delivered(text="", truncated=False, ledger=whole, money_back=money_back)
    assert words.receipt(done) == said


def test_a_receipt_says_cost_tokens_and_change():
    ledger = {"evalAmountSats": 2, "actualAmountSats": 5, "totalTokens": 46}
    done = Delivered(text="", truncated=True, ledger=ledger, money_back="3 sats came back as credit.")
    assert words.receipt(done) == (
        "Done for 7 sats: 2 to check the request, 5 for the answer (46 tokens). "
        "The answer stops at its token limit. 3 sats came back as credit."
    )


def test_a_receipt_without_change_says_that_too():
    assert words.receipt(Delivered(text="", truncated=False, ledger={}, money_back="")).endswith("no change.")


@pytest.mark.parametrize("code", ["rejected", "failed"])
def test_an_end_without_an_answer_says_why_what_returns_and_what_next(code):
    text = words.ended(Ended(code=code, sentence=" It is spam. ", money_back="7 sats are yours."))
    assert text.startswith("It is spam. 7 sats are yours. You may")


def test_a_sentence_others_had_a_hand_in_is_cut():
    assert len(words.shortened("x" * 100_000)) == words.MAX_SENTENCE_CHARS + 1


def test_a_cancellation_that_came_too_late_is_told_so_without_alarm():
    assert words.working(Working(covered_by="begun", credit=Msats(0))).startswith("Work on this request has begun")
