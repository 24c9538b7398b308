"""Answers while they grow: whoever listens finds the newest text, and the model waits for nobody."""

import asyncio

import pytest

from timmy_dvm.partials import MAX_CHARS, Partials

JOB = "0" * 32
TIMEOUT_S = 10


async def test_whoever_waits_finds_the_newest_text_and_then_the_end():
    partials = Partials()
    assert partials.running(JOB) is None
    with partials.stream(JOB) as on_text:
        stream = partials.running(JOB)
        assert (stream.version, stream.text) == (0, "")
        waiting = asyncio.create_task(stream.newer(0))
        await asyncio.sleep(0)
        for piece in ("Hel", "lo ", "world"):
            on_text(piece)
        async with asyncio.timeout(TIMEOUT_S):
            version = await waiting
        assert (version, stream.text) == (3, "Hello world")
        assert await stream.newer(1) == 3
        waiting = asyncio.create_task(stream.newer(version))
        await asyncio.sleep(0)
        assert not waiting.done()
    async with asyncio.timeout(TIMEOUT_S):
        assert await waiting is None
    assert await stream.newer(0) is None
    assert (stream.has_ended, stream.text) == (True, "")
    assert partials.running(JOB) is None


async def test_an_answer_that_is_begun_anew_is_empty_again_and_that_is_news():
    partials = Partials()
    with partials.stream(JOB) as on_text:
        stream = partials.running(JOB)
        on_text("Half an ans")
        before = stream.version
        on_text(None)
        assert (await stream.newer(before), stream.text) == (before + 1, "")
        on_text("Whole")
        assert stream.text == "Whole"


async def test_a_run_that_breaks_ends_its_stream_too():
    partials = Partials()
    heard = []

    def breaks():
        with partials.stream(JOB):
            raise ZeroDivisionError

    with partials.listening(heard.append), pytest.raises(ZeroDivisionError):
        breaks()
    assert heard[0].has_ended
    assert partials.running(JOB) is None


async def test_a_run_that_follows_before_the_last_has_left_keeps_its_place():
    partials = Partials()
    with partials.stream(JOB) as first:
        before = partials.running(JOB)
        with partials.stream(JOB) as second:
            second("new")
            first("old")
            assert partials.running(JOB).text == "new"
        assert not before.has_ended
    assert partials.running(JOB) is None


async def test_a_text_without_end_is_held_up_to_a_limit():
    partials = Partials()
    with partials.stream(JOB) as on_text:
        stream = partials.running(JOB)
        for _ in range(100):
            on_text("x" * 1_000)
        version = stream.version
        assert len(stream.text) == MAX_CHARS
        on_text("more")
        on_text("")
        assert (stream.version, len(stream.text)) == (version, MAX_CHARS)


async def test_listeners_hear_of_each_stream_that_begins_until_they_leave():
    partials = Partials()
    heard = []
    with partials.listening(heard.append), partials.stream(JOB):
        assert [stream.job_id for stream in heard] == [JOB]
    with partials.stream(JOB):
        assert len(heard) == 1


async def test_a_listener_may_come_before_the_run_or_in_its_midst():
    partials = Partials()
    early = asyncio.create_task(partials.begun(JOB))
    await asyncio.sleep(0)
    with partials.stream("other"):
        pass
    assert not early.done()
    with partials.stream(JOB) as on_text:
        on_text("Hello")
        async with asyncio.timeout(TIMEOUT_S):
            assert (await early).text == (await partials.begun(JOB)).text == "Hello"
    assert not partials._listeners
