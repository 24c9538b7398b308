"""Texts that a model, a stranger or a fault could write: on every page they are read, and never run."""

import json

from tests.browser.stand_in import JOB, refund

_CORE = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<svg onload=window.pwned=1>",
    "<svg><script>window.pwned=1</script></svg>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<body onload=window.pwned=1>",
    "<details open ontoggle=window.pwned=1>x</details>",
    "<input autofocus onfocus=window.pwned=1>",
    "<video><source onerror=window.pwned=1></video>",
    "<a href='javascript:window.pwned=1'>click</a>",
    "<math><mi xlink:href='javascript:window.pwned=1'>x</mi></math>",
    "<style>*{background:url(javascript:window.pwned=1)}</style>",
    "<link rel=stylesheet href='//evil.example/x.css'>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href='//evil.example/'>",
    "<form action='//evil.example'><button>Pay</button></form>",
    "<object data='javascript:window.pwned=1'></object>",
    "<template><script>window.pwned=1</script></template>",
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}",
]
_AROUND = [
    "{}",
    "\"'>{}",
    "</textarea></pre></title></style></script>{}",
    "<!--{}-->",
    "]]>{}<![CDATA[",
    "data: {}\n\nevent: job\ndata: {{}}\n\n",
    "\\u003c{}\\u003e",
    "&lt;{}&gt;&#60;{}",
    "\u202e{}\u2066\u200b\x00",
    "# {}\n\n```html\n{}\n```",
]
TEXTS = [around.format(*([core] * around.count("{}"))) for around in _AROUND for core in _CORE]


async def elements(tab):
    return await tab.page.evaluate("document.querySelectorAll('*').length")


async def ran(tab):
    return await tab.page.evaluate("window.pwned ?? null")


def test_there_are_enough_of_them_and_each_is_another():
    assert len(set(TEXTS)) >= 200


async def test_as_an_answer_and_while_it_is_written(tab, stand_in):
    await tab.goto(f"/pay/{JOB}#claim=c")
    await stand_in.listening()
    stand_in.becomes("executing")
    stand_in.writes("An innocent beginning")
    await tab.reads("#answer-text", "An innocent beginning")
    counted = await elements(tab)
    for text in TEXTS:
        stand_in.writes(text)
        await tab.says("#answer-text", text)
        assert await elements(tab) == counted
    # A refund under way keeps the page listening, so that each may be the last word of a job.
    stand_in.becomes("failed", result="x", reason="x", errorMessage="x", refund=refund("owed", reason="x"))
    await tab.reads("#status", "It did not work out.")
    counted = await elements(tab)
    for text in TEXTS:
        stand_in.becomes("failed", result=text, reason=text, errorMessage=text, refund=refund("owed", reason=text))
        await tab.says("#answer-text", text)
        assert text in await tab.text("#status")
        assert await elements(tab) == counted
    assert await ran(tab) is None


async def test_as_a_refusal(tab, stand_in):
    await tab.goto("/api/ui")
    await tab.page.fill("#question", "What is this?")
    counted = await elements(tab)
    for text in map("\n".join, zip(*[iter(TEXTS)] * 5, strict=True)):  # five in one refusal, to save time
        stand_in.answers["/api/jobs"] = (400, {"error": text, "code": text})
        await tab.page.evaluate("document.getElementById('ask').requestSubmit()")
        await tab.says("#ask-error", text)
        assert await elements(tab) == counted
    assert await ran(tab) is None


async def test_as_a_free_answer(tab, stand_in):
    said = json.dumps("".join(TEXTS))
    stand_in.answers["/api/demo"] = (200, {"result": "".join(TEXTS)})
    await tab.goto("/")
    counted = await elements(tab)
    await tab.page.fill("#question", "What is this?")
    await tab.page.click("#ask button")
    await tab.sees("#taste-text")
    assert json.dumps(await tab.text("#taste-text")) == said
    assert await elements(tab) == counted
    assert await ran(tab) is None


async def test_in_the_pools_books(tab, stand_in):
    text = "".join(TEXTS)
    grant = {"at": text, "tier": text, "grantedSats": text}
    stand_in.answers["/api/pool"] = (
        200,
        {"balanceSats": text, "grants": [grant], "today": [], "entries": [{"at": text}]},
    )
    await tab.goto("/pool")
    await tab.sees("#books")
    assert await tab.page.evaluate("document.querySelectorAll('#grants-table tbody *').length") == 4
    assert await ran(tab) is None


async def test_an_invoice_that_is_none_is_no_link(tab, stand_in):
    stand_in.view["evalInvoice"] = stand_in.view["evalInvoice"] | {"paymentRequest": "javascript:window.pwned=1"}
    await tab.goto(f"/pay/{JOB}")
    await tab.reads("#status", "Pay the invoice")
    assert not await tab.page.is_visible("#bill")
