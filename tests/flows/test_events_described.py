"""A signed request handed in over HTTP is answered as the description says, and so is looking at it later."""

import httpx

from tests.flows.shop import TIMMY, fresh_keys, serving, signed
from tests.timmy_dvm.http.described import Book
from timmy_dvm.http_door import description

KIND_TEXT = 5050


async def test_what_is_answered_to_an_event_is_described(tmp_path):
    book = Book(description())
    keys = fresh_keys()
    question = [("i", "What is a data vending machine?", "text")]
    request = signed(keys, KIND_TEXT, question, to=TIMMY.public_key)
    estimate = signed(keys, KIND_TEXT, [*question, ("param", "op", "estimate")], to=TIMMY.public_key)
    async with serving(tmp_path) as shop, httpx.AsyncClient(trust_env=False, base_url=shop.ready.http) as http:
        taken = await http.post("/api/events", content=request.to_json())
        again = await http.post("/api/events", content=request.to_json())
        looked = await http.get(f"/api/events/{request.id}")
        noted = await http.post("/api/events", content=estimate.to_json())
        refused = await http.post("/api/events", content=request.to_json().replace(request.sig[:8], "0" * 8))
        job = await http.get(f"/api/jobs/{taken.json()['jobId']}")
    answers = (taken, again, looked, noted, refused, job)
    assert [answer.status_code for answer in answers] == [202, 202, 200, 202, 400, 200]
    for answer in answers:
        book.hold(answer)
    assert again.json()["jobId"] == taken.json()["jobId"]
    assert noted.json()["jobId"] is None
