"""From a question to its answer and its change, by mouse and by keyboard alone."""

import asyncio

from tests.browser.stand_in import CLAIM, COST, INVOICE, JOB, job, refund

QUESTION = "What is a Lightning channel?"
ANSWER = "A tab between two, settled once."


async def goes_on(tab, stand_in):
    """What happens when an invoice was paid."""
    await tab.reads("#status", "Paid.")
    stand_in.becomes("executing")
    stand_in.writes("A tab between")
    await tab.reads("#answer-text", "A tab between")
    assert await tab.page.get_attribute("#answer-text", "aria-busy") == "true"
    stand_in.becomes("complete", result=ANSWER, costLedger=COST, refund=refund())
    await tab.reads("#answer-text", ANSWER)
    await tab.reads("#cost-lines", "10 sats")
    await tab.reads("#change-lines", "7 sats (change): waiting")
    stand_in.view = job("complete", result=ANSWER, costLedger=COST, refund=refund("sent"))


async def test_by_mouse(tab, stand_in):
    await tab.goto("/api/ui")
    await tab.page.fill("#question", QUESTION)
    await tab.reads("#price", "At most 23 sats, about $0.02")
    await tab.reads("#count", "472 characters left")
    await tab.page.fill("#address", "me@wallet.example")
    await tab.page.click("#ask button")
    await tab.reads("#amount", "23")
    await tab.reads("#countdown", "Can be paid for")
    assert await tab.page.get_attribute("#open-wallet", "href") == f"lightning:{INVOICE['paymentRequest']}"
    assert await tab.page.input_value("#invoice") == INVOICE["paymentRequest"]
    assert await tab.page.evaluate("document.getElementById('code').decode().then(() => true)")
    assert stand_in.asked_for("POST", "/api/jobs") == [
        {"request": QUESTION, "pay": "once", "refundAddress": "me@wallet.example"}
    ]
    await stand_in.listening()
    await tab.page.click("#play-money")
    await goes_on(tab, stand_in)
    await tab.page.fill("#claim-target", "lightning:lnbcrt70n1change")
    await tab.page.click("#claim button")
    await tab.reads("#claim-done", "Your change was sent.")
    await tab.reads("#change-lines", "7 sats (change): sent back.")
    assert stand_in.asked_for("POST", f"/api/jobs/{JOB}/refund") == [
        {"invoice": "lnbcrt70n1change", "claimSecret": CLAIM}
    ]


async def test_by_keyboard_alone(tab, stand_in):
    keys = tab.page.keyboard
    await tab.goto("/api/ui")
    await tab.tabs_to("#question")
    await keys.type(QUESTION)
    await tab.reads("#price", "23 sats")
    await tab.tabs_to("#ask button")
    await keys.press("Enter")
    await tab.sees("#bill")
    await stand_in.listening()
    await tab.tabs_to("#play-money")
    await keys.press("Enter")
    await goes_on(tab, stand_in)
    await tab.tabs_to("#claim-target")
    await keys.type("lnbcrt70n1change")
    await tab.tabs_to("#claim button")
    await keys.press("Enter")
    await tab.reads("#claim-done", "Your change was sent.")


async def test_the_front_door_gives_a_taste_then_the_price_then_the_invoice(tab, stand_in):
    await tab.goto("/")
    await tab.page.fill("#question", QUESTION)
    await tab.page.click("#ask button")
    await tab.reads("#taste-text", "settle it once")
    await tab.reads("#buy-price", "At most 23 sats")
    assert stand_in.asked_for("POST", "/api/jobs") == []
    await tab.page.click("#buy button")
    await tab.reads("#amount", "23")
    assert not await tab.page.is_visible("#taste")


async def test_a_free_answer_is_shown_as_it_is_written(tab):
    told = ('{"text": "A tab"}', '{"text": "A tab at a bar"}', '{"result": "A tab, settled."}')
    body = "".join(f"event: partial\ndata: {data}\n\n" for data in told)
    await tab.page.context.route(
        "**/api/demo?**", lambda route: route.fulfill(body=body, content_type="text/event-stream")
    )
    await tab.goto("/")
    await tab.page.fill("#question", QUESTION)
    await tab.page.click("#ask button")
    await tab.reads("#taste-text", "A tab, settled.")


async def test_without_free_answers_left_the_price_is_still_told(tab, stand_in):
    stand_in.answers["/api/demo"] = (429, {"error": "Five an hour; come back at four.", "code": "rate_limited"})
    await tab.goto("/")
    await tab.page.fill("#question", QUESTION)
    await tab.page.click("#ask button")
    await tab.reads("#taste-status", "Five an hour; come back at four.")
    await tab.reads("#buy-price", "At most 23 sats")


async def test_a_reload_finds_the_job_and_its_change_again(tab, stand_in):
    await tab.goto("/api/ui")
    await tab.page.fill("#question", QUESTION)
    await tab.page.click("#ask button")
    await tab.sees("#bill")
    assert tab.page.url == f"{tab.base}/pay/{JOB}#claim={CLAIM}"
    stand_in.becomes("complete", result=ANSWER, costLedger=COST, refund=refund())
    await tab.page.reload()
    await tab.reads("#answer-text", ANSWER)
    await tab.sees("#claim")


async def test_the_claim_secret_is_sent_to_nobody_before_it_is_used(tab, stand_in):
    asked = []
    tab.page.on(
        "request", lambda request: asked.append((request.url, request.headers.get("referer"), request.post_data))
    )
    stand_in.becomes("complete", result=ANSWER, costLedger=COST, refund=refund())
    await tab.goto(f"/pay/{JOB}#claim={CLAIM}")
    await tab.sees("#claim")
    # Only the browser's own address bar has it: a fragment is never part of what is sent.
    sent = [url.partition("#")[0] for url, _, _ in asked] + [str(rest) for asking in asked for rest in asking[1:]]
    assert not [text for text in sent if CLAIM in text]


async def test_a_receipt_is_made_in_the_browser(tab, stand_in, tmp_path):
    stand_in.becomes("complete", result=ANSWER, costLedger=COST, refund=refund())
    await tab.goto(f"/pay/{JOB}#claim={CLAIM}")
    await tab.sees("#save-receipt")
    before = len(stand_in.asked)
    async with tab.page.expect_download() as saving:
        await tab.page.click("#save-receipt")
    download = await saving.value
    await download.save_as(tmp_path / "receipt.txt")
    saved = await asyncio.to_thread((tmp_path / "receipt.txt").read_text)
    assert download.suggested_filename == f"timmy-{JOB[:8]}.txt"
    for words in (ANSWER, "Quoted: 23 sats", "7 sats (change): waiting", f"/pay/{JOB}#claim={CLAIM}"):
        assert words in saved
    assert len(stand_in.asked) == before


async def test_a_browser_wallet_is_offered_where_there_is_one(tab):
    await tab.page.add_init_script(
        "window.webln = {enable: async () => {}, sendPayment: async (pr) => { window.paid = pr; }}"
    )
    await tab.goto(f"/pay/{JOB}")
    await tab.page.click("#browser-wallet")
    await tab.page.wait_for_function("window.paid")
    assert await tab.page.evaluate("window.paid") == INVOICE["paymentRequest"]


async def test_a_browser_wallet_that_declines_is_no_drama(tab):
    await tab.page.add_init_script(
        "window.webln = {enable: async () => { throw new Error('no'); }, sendPayment: async () => {}}"
    )
    await tab.goto(f"/pay/{JOB}")
    await tab.page.click("#browser-wallet")
    await tab.reads("#trouble", "Nothing was taken")


async def test_the_invoice_can_be_copied(tab):
    await tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=tab.base)
    await tab.goto(f"/pay/{JOB}")
    await tab.sees("#bill")
    await tab.page.click("#copy-invoice")
    await tab.reads("#copied", "Copied.")
    assert await tab.page.evaluate("navigator.clipboard.readText()") == INVOICE["paymentRequest"]
