"""Hosts are looked up beside the event loop, and a look-up that hangs holds up nobody."""

import asyncio
import threading

import pytest

from timmy_dvm.resolver import LOOKUPS_AT_ONCE, SystemResolver, ask_the_system

TIMEOUT_S = 10


class Slow:
    """A look-up that lasts until it is let go."""

    def __init__(self):
        self.may_end = threading.Event()

    def __call__(self, host, port):
        assert self.may_end.wait(TIMEOUT_S)
        return [f"{host}:{port}"]


async def test_the_system_knows_this_machine():
    assert set(await SystemResolver()("localhost", 443)) <= {"127.0.0.1", "::1"}
    assert ask_the_system("127.0.0.1", 443) == ["127.0.0.1"]


@pytest.mark.parametrize("error", [OSError("no such host"), UnicodeError("label too long")])
async def test_a_host_that_is_not_found_is_an_os_error(error):
    def fails(_host, _port):
        raise error

    with pytest.raises(OSError, match=str(error)):
        await SystemResolver(fails)("nowhere.example", 443)


async def test_a_lookup_that_hangs_keeps_nobody_waiting_and_its_answer_is_dropped():
    slow = Slow()
    resolver = SystemResolver(slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await resolver("slow.example", 443)
    slow.may_end.set()
    async with asyncio.timeout(TIMEOUT_S):
        assert await resolver("next.example", 443) == ["next.example:443"]


async def test_no_more_hosts_are_looked_up_at_once_than_so_many():
    slow = Slow()
    resolver = SystemResolver(slow)
    looking = [asyncio.create_task(resolver(f"{n}.example", 443)) for n in range(LOOKUPS_AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="being looked up"):
        await resolver("one-more.example", 443)
    slow.may_end.set()
    async with asyncio.timeout(TIMEOUT_S):
        assert len(await asyncio.gather(*looking)) == LOOKUPS_AT_ONCE
        assert await resolver("later.example", 443) == ["later.example:443"]


def test_an_answer_that_comes_after_the_loop_has_ended_is_nobodys():
    slow = Slow()

    async def leave():
        looking = asyncio.create_task(SystemResolver(slow)("slow.example", 443))
        await asyncio.sleep(0)
        looking.cancel()

    before = set(threading.enumerate())
    asyncio.run(leave())
    (left,) = set(threading.enumerate()) - before
    slow.may_end.set()
    left.join(TIMEOUT_S)
    assert not left.is_alive()
