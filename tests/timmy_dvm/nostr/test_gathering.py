"""What a request only names is found, within bounds, and nobody learns what was said to another in private."""

import asyncio
import types

import pytest

from ledger.records import JobState, JobTexts
from ledger.store import StoreUnavailable
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, TIMMY, sealed, signed
from tests.timmy_dvm.nostr.library import REPLY, Pages, World, named
from timmy_dvm.agent.prompts import fenced
from timmy_dvm.core.facts import Op
from timmy_dvm.nostr import gathering
from timmy_dvm.nostr.inputs import EventNamed, PageNamed, Wanted, Words
from timmy_dvm.nostr.kinds import kind_of
from timmy_dvm.nostr.nip90 import JobAsked
from timmy_dvm.nostr.operations import Question

NOTE = signed(kind=1, content="The moon is cheese.", keys=MALLORY)
MINE = signed(kind=1, content="My long question.", keys=ALICE)
HINT = "wss://relay.hint.com"


# Events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "preface"),
    [
        (5001, "Summarize the following text.\n\n"),
        (5002, "Translate the following text into English.\n\n"),
        (5050, "Respond to the following text.\n\n"),
    ],
)
async def test_a_note_is_looked_for_on_our_relays_and_fenced(kind, preface):
    world = World(NOTE)
    found = await world.asks(named(NOTE), kind=kind)
    assert found == JobAsked(text=preface + fenced(NOTE.content), preface_chars=len(preface), reply=REPLY)
    ((filters, urls, timeout_s, enough),) = world.shelf.asked
    assert (filters[0].ids, urls, enough) == ({NOTE.id}, None, 1)
    assert timeout_s == gathering.RELAYS_S


async def test_words_and_events_stay_in_their_order():
    world = World(NOTE, MINE)
    found = await world.asks(Words("First"), named(NOTE), Words(" "), named(MINE), Words("Last"))
    assert found.text == f"First\n\n{fenced(NOTE.content)}\n\n{MINE.content}\n\nLast"
    assert len(world.shelf.asked) == 1


async def test_what_the_customer_published_are_their_own_words():
    found = await World(MINE).asks(named(MINE))
    assert (found.text, found.preface_chars) == (MINE.content, 0)


async def test_relays_that_the_request_names_are_asked_only_for_what_ours_do_not_have():
    world = World(NOTE, others={HINT: [MINE]})
    found = await world.asks(named(NOTE, "wss://unneeded.example"), named(MINE, HINT))
    assert found.text == f"{fenced(NOTE.content)}\n\n{MINE.content}"
    assert [(filters[0].ids, urls) for filters, urls, _, _ in world.shelf.asked] == [
        ({NOTE.id, MINE.id}, None),
        ({MINE.id}, [HINT]),
    ]


async def test_without_relays_of_its_own_timmy_dials_nobody():
    world = World(others={HINT: [NOTE]}, dials=False)
    assert await world.refuses(named(NOTE, HINT)) == "input_not_found"
    assert [urls for _, urls, _, _ in world.shelf.asked] == [None]


async def test_only_what_could_be_public_is_dialled_and_that_seldom():
    world = World()
    private = ["wss://127.0.0.1", "wss://relay.localhost", "wss://relay.example:8443"]
    assert await world.refuses(named(NOTE, *private)) == "input_not_found"
    assert len(world.shelf.asked) == 1
    for number in range(5):
        assert await world.refuses(named(NOTE, f"wss://{number}.relay.com")) == "input_not_found"
    dialled = [urls for _, urls, _, _ in world.shelf.asked if urls is not None]
    assert dialled == [[f"wss://{number}.relay.com"] for number in range(3)]
    await world.clock.advance(10)
    await world.refuses(named(NOTE, HINT))
    assert world.shelf.asked[-1][1] == [HINT]


async def test_no_more_than_three_other_relays_are_asked():
    world = World()
    hints = [f"wss://{number}.relay.com" for number in range(9)]
    assert await world.refuses(named(NOTE, *hints)) == "input_not_found"
    assert world.shelf.asked[1][1] == hints[:3]


async def test_what_is_not_found_is_said_with_what_to_do():
    found = await World().asks(named(NOTE))
    assert found.code == "input_not_found"
    assert "name a relay that has it (wss://…) as third element of the i tag" in found.sentence
    assert NOTE.id[:8] not in found.sentence


async def test_an_event_that_nobody_asked_for_is_not_taken():
    world = World()

    async def query(*_, **__):
        return [MINE]

    world.shelf.query = query
    assert await world.refuses(named(NOTE)) == "input_not_found"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (signed(kind=4, content=sealed("Secret", "nip04")), "input_encrypted"),
        (signed(kind=1059, content=sealed("Secret", "nip44")), "input_encrypted"),
        (signed(kind=1, content="  "), "input_empty"),
    ],
)
async def test_what_is_not_to_be_read_is_refused(event, code):
    assert await World(event).refuses(Words("Look at this:"), named(event)) == code


async def test_another_providers_result_is_an_input():
    result = signed(kind=6050, content="42", keys=MALLORY)
    found = await World(result).asks(Words("Is this right?"), named(result, is_result=True))
    assert found.text == f"Is this right?\n\n{fenced('42')}"
    assert found.follows is None
    assert await World(NOTE).refuses(named(NOTE, is_result=True)) == "not_a_result"


async def test_an_estimate_is_completed_too():
    wanted = Wanted(kind=kind_of(5001), params={}, parts=(named(NOTE),))
    question = Question(op=Op.ESTIMATE, reply=REPLY, wanted=wanted)
    found = await World(NOTE).gatherer.complete(question, ALICE.public_key)
    assert fenced(NOTE.content) in found.text
    assert found.wanted is None


async def test_a_request_that_wants_nothing_is_as_it_was():
    asked = JobAsked(text="Hi", reply=REPLY)
    assert await World().gatherer.complete(asked, ALICE.public_key) is asked


async def test_a_ledger_that_is_away_is_no_answer():
    world = World(NOTE)
    world.books.error = StoreUnavailable("the disk is full; free some space")
    with pytest.raises(StoreUnavailable):
        await world.asks(named(NOTE))


# Pages -----------------------------------------------------------------------------------------------------------


async def test_pages_are_fetched_and_fenced_each_once():
    world = World(pages=Pages(a="Page A", b="Page B"))
    a, b = PageNamed("https://a.example"), PageNamed("https://b.example")
    found = await world.asks(Words("Compare:"), a, b, a)
    assert found.text == f"Compare:\n\n{fenced('Page A')}\n\n{fenced('Page B')}\n\n{fenced('Page A')}"
    assert sorted(world.pages.asked) == [a.url, b.url]
    assert await world.refuses(a, PageNamed("https://c.example")) == "input_not_fetched"


async def test_a_fault_in_fetching_is_not_taken_for_an_answer():
    world = World(pages=Pages())

    async def text_of(_url):
        raise RuntimeError("a fault of ours")

    world.pages.text_of = text_of
    with pytest.raises(RuntimeError):
        await world.asks(PageNamed("https://a.example"))


# Our own answers -------------------------------------------------------------------------------------------------


async def test_words_beside_an_earlier_answer_go_on_with_its_thread():
    world = World()
    answer, request_id, job_id = world.books.answered()
    for name in (named(answer, is_result=True), named(answer), EventNamed(request_id, is_result=True)):
        found = await world.asks(name, Words("And why?"))
        assert (found.text, found.follows) == ("And why?", job_id)
    assert world.shelf.asked == []
    assert world.books.looks == 3


async def test_a_reply_goes_on_with_the_thread_it_replies_to():
    world = World()
    _, _, other_job = world.books.answered(customer=MALLORY)
    receipt, _, job_id = world.books.answered(kind=7000)
    open_price, _, _ = world.books.answered(kind=7000, state=JobState.EXECUTING, is_kept=False)
    others = world.books.events
    other_answer = next(event_id for event_id, row in others.items() if row.job_id == other_job)
    found = await world.asks(Words("And why?"), replies_to=(NOTE.id, other_answer, open_price.id, receipt.id))
    assert (found.text, found.follows) == ("And why?", job_id)
    found = await world.asks(Words("And why?"), replies_to=(NOTE.id, other_answer))
    assert (found.text, found.follows) == ("And why?", None)


async def test_what_the_inputs_name_comes_before_what_is_replied_to():
    world = World()
    first, _, first_job = world.books.answered()
    second, _, _ = world.books.answered()
    found = await world.asks(Words("And why?"), named(first), replies_to=(second.id,))
    assert found.follows == first_job


async def test_only_one_thread_goes_on_and_other_answers_are_inputs():
    world = World()
    first, _, first_job = world.books.answered("One.")
    second, _, _ = world.books.answered("Two.")
    found = await world.asks(named(first), named(second), Words("Compare."))
    assert (found.text, found.follows) == (f"{fenced('Two.')}\n\nCompare.", first_job)


@pytest.mark.parametrize("kind", [5001, 5002])
async def test_in_a_kind_that_does_not_talk_an_earlier_answer_is_an_input(kind):
    world = World()
    answer, _, _ = world.books.answered("Long.", tags=[("encrypted",)])
    found = await world.asks(Words("This:"), named(answer, is_result=True), kind=kind, replies_to=(answer.id,))
    assert found.text.endswith(f"This:\n\n{fenced('Long.')}")
    assert found.follows is None


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (JobState.EXECUTING, "no_answer"),
        (JobState.EVALUATING, "no_answer"),
        (JobState.COMPLETE, "input_gone"),
    ],
)
async def test_a_job_of_ones_own_without_an_answer_can_not_be_followed(state, code):
    world = World()
    answer, request_id, _ = world.books.answered(state=state, is_kept=False)
    for name in (named(answer), EventNamed(request_id, is_result=True)):
        assert await world.refuses(name, Words("And why?")) == code
        assert await world.refuses(name) == code


# What is another's -----------------------------------------------------------------------------------------------


async def test_a_job_of_ones_own_that_was_rejected_can_not_be_followed():
    world = World()
    answer, _, _ = world.books.answered(state=JobState.REJECTED)
    job_id = next(iter(world.books.said))
    world.books.said[job_id] = JobTexts("asked", "", None)
    assert await world.refuses(named(answer), Words("And why?")) == "no_answer"


async def test_anothers_thread_is_never_followed_but_a_public_answer_is_an_input():
    world = World()
    answer, _, _ = world.books.answered("So it is.", customer=MALLORY)
    found = await world.asks(named(answer, is_result=True), Words("And why?"))
    assert (found.text, found.follows) == (f"{fenced('So it is.')}\n\nAnd why?", None)


async def test_anothers_encrypted_answer_is_nobody_elses():
    world = World()
    secret = sealed("So it is.", "nip44")
    answer, request_id, _ = world.books.answered(secret, customer=MALLORY, tags=[("encrypted",)])
    assert await world.refuses(named(answer), Words("And why?")) == "input_encrypted"
    assert await world.refuses(EventNamed(request_id, is_result=True), Words("And why?")) == "input_not_found"


async def test_what_another_had_forgotten_is_gone_even_where_relays_still_have_it():
    world = World()
    answer, request_id, _ = world.books.answered(customer=MALLORY, is_kept=False)
    for name in (named(answer), EventNamed(request_id)):
        assert await world.refuses(name) == "input_gone"
    world.shelf.ours.append(answer)
    del world.books.events[answer.id]
    assert await world.refuses(named(answer)) == "input_gone"


async def test_feedback_of_ours_that_was_forgotten_is_gone():
    world = World()
    price, _, _ = world.books.answered(customer=MALLORY, state=JobState.EXPIRED, kind=7000, is_kept=False)
    assert await world.refuses(named(price)) == "input_gone"


async def test_an_answer_of_ours_that_is_in_no_books_is_read_from_the_relays():
    stray = signed(("e", "ee" * 32), kind=6050, content="So it was.", keys=TIMMY)
    assert fenced("So it was.") in (await World(stray).asks(named(stray))).text


# Bounds ----------------------------------------------------------------------------------------------------------


async def flood(world, count, *, of_one_key=False, addressed=True):
    """So many requests at once, while the relays are silent; what was refused, once the others wait."""
    world.shelf.gate = asyncio.Event()
    keys = [types.SimpleNamespace(public_key="a" if of_one_key else f"{n}") for n in range(count)]
    tasks = [asyncio.create_task(world.asks(named(NOTE), customer=key, addressed=addressed)) for key in keys]
    for _ in range(100):  # nothing here waits for anything but the gate
        await asyncio.sleep(0)
    assert len(world.shelf.asked) + sum(task.done() for task in tasks) == count
    refused = [task.result() for task in tasks if task.done()]
    assert {found.code for found in refused} <= {"busy"}
    return tasks, len(refused)


async def settle(world, tasks):
    world.shelf.gate.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("how", "room"),
    [
        ({}, gathering.AT_ONCE),
        ({"addressed": False}, gathering.AT_ONCE_OPEN),
        ({"of_one_key": True}, gathering.PER_KEY),
    ],
)
async def test_no_more_than_so_many_fetch_at_once_and_the_next_is_told_to_come_again(how, room):
    world = World(NOTE)
    tasks, refused = await flood(world, room + 2, **how)
    assert refused == 2
    answer, _, job_id = world.books.answered()
    assert (await world.asks(named(answer), Words("And why?"))).follows == job_id  # nothing is fetched for this
    await settle(world, tasks)
    assert isinstance(await world.asks(named(NOTE)), JobAsked)
    assert not world.gatherer._fetching


async def test_who_is_cancelled_leaves_its_place():
    world = World(NOTE)
    tasks, _ = await flood(world, gathering.AT_ONCE)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not world.gatherer._fetching
