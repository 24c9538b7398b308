"""What can go wrong is said in a sentence, and nothing is lost by it."""

import pytest

from tests.browser.stand_in import COST, JOB, StandIn, refund

QUESTION = "What is a Lightning channel?"


async def asks(tab, text=QUESTION):
    await tab.goto("/api/ui")
    await tab.page.fill("#question", text)
    await tab.page.click("#ask button")


async def test_an_empty_question_is_not_sent(tab, stand_in):
    await asks(tab, "   ")
    await tab.reads("#ask-error", "Write your question first.")
    assert await tab.page.get_attribute("#question", "aria-invalid") == "true"
    assert stand_in.asked_for("POST", "/api/jobs") == []


async def test_a_question_that_is_too_long_is_not_sent_and_characters_count_as_people_count_them(tab, stand_in):
    await asks(tab, "\N{MAGE}" * 500)
    await tab.sees("#bill")
    await asks(tab, "\N{MAGE}" * 501)
    await tab.reads("#ask-error", "That is 1 character too long.")
    await tab.reads("#count", "1 character too many")
    assert len(stand_in.asked_for("POST", "/api/jobs")) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            (400, {"error": "Write a question.", "code": "bad_input"}),
            "Write a question.",
        ),
        ((429, {"error": "Too many open jobs: pay one first.", "code": "too_many_open"}), "Too many open jobs"),
        (
            (503, {"error": "The wallet is away; try again.", "code": "wallet_away"}),
            "The wallet is away",
        ),
        ((500, {"incident": "1234"}), "Something went wrong at Timmy's end."),
        ((429, "<html>"), "That was a lot at once."),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words_or_in_kind_ones(tab, stand_in, answer, told):
    stand_in.answers["/api/jobs"] = answer
    await asks(tab)
    await tab.reads("#ask-error", told)
    assert await tab.page.input_value("#question") == QUESTION


async def test_without_a_line_the_question_is_kept_and_the_second_try_is_the_same_job(tab, stand_in):
    keys = []

    async def fails_once(route):
        keys.append(route.request.headers["idempotency-key"])
        await (route.abort() if len(keys) == 1 else route.continue_())

    await tab.page.context.route("**/api/jobs", fails_once)
    await asks(tab)
    await tab.reads("#ask-error", "Timmy can't be reached.")
    await tab.page.click("#ask button")
    await tab.sees("#bill")
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert len(keys[0]) == 32


async def test_another_address_for_the_change_is_another_order(tab, stand_in):
    keys = []

    async def fails_once(route):
        keys.append(route.request.headers["idempotency-key"])
        await (route.abort() if len(keys) == 1 else route.continue_())

    await tab.page.context.route("**/api/jobs", fails_once)
    await asks(tab)
    await tab.reads("#ask-error", "Timmy can't be reached.")
    await tab.page.fill("#address", "alice@example.com")
    await tab.page.click("#ask button")
    await tab.sees("#bill")
    assert len(set(keys)) == 2


async def test_a_price_that_cannot_be_told_now_keeps_nobody_from_asking(tab, stand_in):
    stand_in.answers["/api/estimate"] = (503, {"error": "No price just now."})
    await asks(tab)
    await tab.sees("#bill")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("failed", "All of the work fee goes back."),
        ("rejected", "Timmy won't do this one."),
        ("expired", "nothing was taken"),
        ("cancelled", "This job was cancelled."),
    ],
)
async def test_every_sad_end_is_told_with_what_happens_to_the_money(tab, stand_in, state, told):
    stand_in.becomes(state, reason="Because of this.", refund=refund("sent", 13, state))
    await tab.goto(f"/pay/{JOB}")
    await tab.reads("#status", told)
    await tab.reads("#status", "Because of this.")
    await tab.reads("#change-lines", "13 sats")
    assert not await tab.page.is_visible("#bill")


async def test_where_events_do_not_come_through_the_page_asks(tab, stand_in):
    stand_in.streams = False
    await tab.goto(f"/pay/{JOB}")
    await tab.sees("#bill")
    stand_in.becomes("complete", result="By asking.", costLedger=COST)
    await tab.reads("#answer-text", "By asking.")


async def test_a_stream_that_breaks_is_taken_up_again(tab, stand_in):
    await tab.goto(f"/pay/{JOB}")
    await tab.sees("#bill")
    stand_in.hangs_up()
    stand_in.becomes("complete", result="After the break.", costLedger=COST)
    await tab.reads("#answer-text", "After the break.")


async def test_who_comes_back_from_their_wallet_sees_at_once_what_happened(tab, stand_in):
    await tab.goto(f"/pay/{JOB}")
    await tab.sees("#bill")
    stand_in.view = StandIn().view | {"state": "executing"}  # said to nobody: the page was frozen
    await tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await tab.reads("#status", "Timmy is at work.")


async def test_a_claim_that_is_refused_says_why_and_can_be_mended(tab, stand_in):
    path = f"/api/jobs/{JOB}/refund"
    stand_in.becomes("complete", result="Done", costLedger=COST, refund=refund())
    stand_in.answers[path] = (
        400,
        {"error": "That is for 8 sats; make one for 7.", "code": "wrong_amount"},
    )
    await tab.goto(f"/pay/{JOB}#claim=c")
    await tab.sees("#claim")
    await tab.page.click("#claim button")
    await tab.reads("#claim-error", "Paste an invoice from your wallet first.")
    await tab.page.fill("#claim-target", "lnbcrt80n1wrong")
    await tab.page.click("#claim button")
    await tab.reads("#claim-error", "make one for 7")
    del stand_in.answers[path]
    await tab.page.fill("#claim-target", "lnbcrt70n1right")
    await tab.page.click("#claim button")
    await tab.reads("#claim-done", "Your change was sent.")


async def test_a_claim_refused_for_now_can_be_made_once_more_with_the_same_invoice(tab, stand_in):
    path, keys = f"/api/jobs/{JOB}/refund", []
    stand_in.becomes("complete", result="Done", costLedger=COST, refund=refund())
    stand_in.answers[path] = (409, {"error": "Another payment is on its way.", "code": "already_sending"})

    async def noted(route):
        keys.append(route.request.headers["idempotency-key"])
        await route.continue_()

    await tab.page.context.route(f"**{path}", noted)
    await tab.goto(f"/pay/{JOB}#claim=c")
    await tab.sees("#claim")
    await tab.page.fill("#claim-target", "lnbcrt70n1right")
    await tab.page.click("#claim button")
    await tab.reads("#claim-error", "Another payment is on its way.")
    del stand_in.answers[path]
    await tab.page.click("#claim button")
    await tab.reads("#claim-done", "Your change was sent.")
    assert len(set(keys)) == 2, "under the old key the refusal is the answer for ever"


async def test_change_without_the_claim_secret_is_shown_and_cannot_be_fetched(tab, stand_in):
    stand_in.becomes("complete", result="Done", costLedger=COST, refund=refund())
    await tab.goto(f"/pay/{JOB}")
    await tab.reads("#change-lines", "with the link that was given")
    assert not await tab.page.is_visible("#claim")


async def test_change_on_its_way_is_followed_until_it_has_arrived(tab, stand_in):
    stand_in.becomes("complete", result="Done", costLedger=COST, refund=refund("owed"))
    await tab.goto(f"/pay/{JOB}")
    await tab.reads("#change-lines", "7 sats (change): on the way back.")
    await stand_in.listening()
    stand_in.becomes("complete", result="Done", costLedger=COST, refund=refund("sent"))
    await tab.reads("#change-lines", "7 sats (change): sent back.")


async def test_a_relay_job_is_followed_live_and_shows_neither_question_nor_answer(tab, stand_in):
    await tab.goto(f"/pay/{JOB}")
    await tab.sees("#bill")
    await stand_in.listening()
    for state, told in (("evaluating", "Paid."), ("executing", "at work"), ("complete", "over Nostr")):
        stand_in.becomes(state)
        await tab.reads("#status", told)
    assert not await tab.page.is_visible("#answer")
    assert not await tab.page.is_visible("#bill")


async def test_the_pools_books_that_cannot_be_read_are_excused(tab, stand_in):
    stand_in.answers["/api/pool"] = (503, {"error": "The ledger is away; look again in a minute."})
    await tab.goto("/pool")
    await tab.reads("#pool-trouble", "The ledger is away")
