"""An HTTP server that is only a list of answers."""

import asyncio
from collections.abc import AsyncIterator

import httpx


class _Body(httpx.AsyncByteStream):
    """Bytes as they would come off a socket: once."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


class Answers(httpx.AsyncBaseTransport):
    """Gives the answers in turn, the last one for ever.

    An answer is a response, an exception to raise, None for silence, or a function of the request giving one.
    """

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if callable(answer):
            answer = answer(request)
        match answer:
            case None:
                await asyncio.Event().wait()
                raise AssertionError
            case Exception():
                raise answer
            case httpx.Response(is_stream_consumed=True):
                return httpx.Response(answer.status_code, headers=answer.headers, stream=_Body(answer.content))
            case _:
                return answer
