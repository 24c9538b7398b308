"""What waits around a session: its invoices, made while others act, and how many of them a key has open."""

import asyncio

from tests.timmy_dvm.http.session_door import a_desk
from tests.timmy_dvm.http.test_sessions import told


async def test_a_key_has_few_deposits_and_top_ups_open_and_paying_one_makes_room():
    """As it has few unpaid jobs: through whatever door it asks, they are counted together."""
    async with a_desk() as desk:
        alice = {"X-Nostr-Token": desk.door.token()}
        asked = await desk.asks(500, headers=alice)
        desk.pays(asked["invoice"]["paymentRequest"])
        session = await desk.reaches(asked["sessionId"], "active")
        assert (await desk.fills(session, 300)).status_code == 201
        await desk.door.ask(headers=alice)
        last = await desk.asks(500, headers=alice)
        full = await desk.http.post("/api/sessions", json={"amount_sats": 500}, headers=alice)
        assert (told(full), full.json()["retryAfterSeconds"]) == ((429, "too_many_open"), 60)
        await desk.asks(500)
        desk.pays(last["invoice"]["paymentRequest"])
        other = await desk.reaches(last["sessionId"], "active")
        await desk.asks(500, headers=alice)
        assert told(await desk.fills(other, 300)) == (429, "too_many_open")


async def test_closed_while_its_top_up_is_made_it_says_so_and_what_comes_late_goes_back():
    async with a_desk() as desk:
        session, wallet = await desk.opens(500), desk.house.wallet
        asked, closed, make = asyncio.Event(), asyncio.Event(), wallet.create_invoice
        made = []

        async def slowly(*arguments, **named):
            asked.set()
            await closed.wait()
            made.append(await make(*arguments, **named))
            return made[0]

        wallet.create_invoice = slowly
        filling = asyncio.create_task(desk.fills(session, 300))
        await asked.wait()
        assert (await desk.closes(session)).status_code == 200
        assert told(await filling) == (409, "session_closed")
        closed.set()
        await desk.house.dispatch.idle()
        desk.pays(made[0].bolt11)
        await desk.house.until(lambda: _claimable(desk, session["sessionId"], [495, 297]))
        assert (await desk.shows(session["sessionId"]))["balanceSats"] == 0
        await desk.house.books_are_right()


async def _claimable(desk, session_id, sums):
    return (await desk.shows(session_id))["claimableSats"] == sums
