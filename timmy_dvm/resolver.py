"""The machine's own way to look a host up, for `outbound`: in threads that may be left behind.

A look-up can't be called off, and one of a stranger's making may last for half a minute. In the event loop's own
threads it would keep others waiting for theirs, and the process from ending.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final

LOOKUPS_AT_ONCE: Final = 16
"""Look-ups going on, those nobody waits for any more counted in; one more fails at once."""


def ask_the_system(host: str, port: int) -> Sequence[str]:
    """The IP addresses of a host, each once, best first (RFC 6724). Blocks.

    Raises:
        OSError: it has none, or nobody answers.
    """
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


class SystemResolver:
    """An `outbound.Resolver`.

    Args:
        look_up: blocks; called in a thread.
    """

    def __init__(self, look_up: Callable[[str, int], Sequence[str]] = ask_the_system) -> None:
        self._look_up = look_up
        self._going_on = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Look a host up. Give it a deadline; cancelling leaves the thread to end by itself.

        Raises:
            OSError: as the system raises it, or too many look-ups are going on.
        """
        if not self._going_on.acquire(blocking=False):
            raise OSError(f"{LOOKUPS_AT_ONCE} hosts are being looked up already; try again later")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()
        thread = threading.Thread(target=self._in_thread, args=(loop, answer, host, port), daemon=True)
        thread.start()
        return await answer

    def _in_thread(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: "asyncio.Future[Sequence[str]]",
        host: str,
        port: int,
    ) -> None:
        found: Sequence[str] = ()
        failure: OSError | None = None
        try:
            found = self._look_up(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that IDNA can't encode
            failure = error if isinstance(error, OSError) else OSError(f"no such host: {error}")
        finally:
            self._going_on.release()

        def tell() -> None:
            if answer.done():
                return  # nobody waits for it any more
            if failure is None:
                answer.set_result(found)
            else:
                answer.set_exception(failure)

        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell)
