"""Claude, over the `anthropic` SDK: the only file that imports it, and late, for it takes over a second.

The SDK's own retries are off: they obey any ``retry-after`` and know nothing of a job's deadline. What it
raises is sorted here by status and error type, because a broken stream comes as a plain ``httpx2`` error
and an overload after HTTP 200 as an ``APIStatusError`` with status 200. No exception of the SDK leaves this
file, not even as a cause: it carries the request, and the request carries the key.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from timmy_dvm.agent import prompts
from timmy_dvm.agent.claude_errors import Failure, failure_of, incoherent
from timmy_dvm.agent.runner import AgentError, Answer, OnText, Refused, Task, Turn, Unavailable, Usage, Verdict
from timmy_dvm.core.pricing import estimate_tokens

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import Message, MessageParam
    from anthropic.types import Usage as SdkUsage

DEFAULT_BASE_URL = "https://api.anthropic.com"
DEFAULT_EVAL_MODEL = "claude-haiku-4-5"
DEFAULT_WORK_MODEL = "claude-sonnet-4-6"

MAX_TRIES = 8
MAX_EXECUTIONS = 2
"""A try the model began has been paid for; the contract allows one more."""
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 16.0
CONNECT_S = 5.0
MAX_ANSWER_CHARS = 1_000_000
_MAX_COUNT = 10_000_000


@dataclass(frozen=True, slots=True)
class _Call:
    """One question to the model, the same in every try."""

    model: str
    system: str = field(repr=False)
    text: str = field(repr=False)
    max_tokens: int
    temperature: float | None
    usable: Callable[[str], bool] = field(repr=False)
    on_text: OnText | None = field(default=None, repr=False)
    turns: tuple[Turn, ...] = field(default=(), repr=False)

    @property
    def messages(self) -> "list[MessageParam]":
        """The conversation, which the text ends."""
        said: list[MessageParam] = []
        for turn in self.turns:
            said.append({"role": "user", "content": prompts.clean(turn.request)})
            said.append({"role": "assistant", "content": prompts.clean(turn.answer)})
        return [*said, {"role": "user", "content": self.text}]

    @property
    def estimated_input_tokens(self) -> int:
        """What all of it comes to by our own count."""
        said = (text for turn in self.turns for text in (turn.request, turn.answer))
        return sum(map(estimate_tokens, (self.system, *said, self.text)))


@dataclass(slots=True)
class _Try:
    """What is known of one try while it runs: enough to say what it cost when it is lost."""

    begun: bool = False
    pieces: list[str] = field(default_factory=list, repr=False)
    chars: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    stop_reason: str | None = None
    failure: Failure | None = None

    def begin(self, usage: "SdkUsage | None") -> None:
        self.begun = True
        self.input_tokens = _input_tokens(usage)

    def add(self, piece: str) -> None:
        self.chars += len(piece)
        if self.chars > MAX_ANSWER_CHARS:
            raise ValueError("more text than any output limit allows")
        self.pieces.append(piece)

    def end(self, message: "Message") -> None:
        self.stop_reason = message.stop_reason
        self.input_tokens = _input_tokens(message.usage) or self.input_tokens
        self.output_tokens = _count(message.usage.output_tokens)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def usage(self, call: _Call) -> Usage:
        """The counts of the answer; our own estimate where it gave none.

        A stream that broke off still says 1 output token, the count of its first event.
        """
        complete = self.stop_reason is not None and self.output_tokens > 0
        return Usage(
            call.model,
            self.input_tokens or call.estimated_input_tokens,
            self.output_tokens if complete else estimate_tokens(self.text),
        )


@dataclass(slots=True)
class _Run:
    """All tries of one call."""

    call: _Call
    ends_at: float
    """Time of the event loop by which the call must have ended, in seconds."""
    tries: int = 0
    executions: int = 0
    lost: Usage | None = None
    current: _Try | None = None

    def start(self) -> _Try:
        self.tries += 1
        self.current = _Try()
        return self.current

    def lose(self) -> None:
        """Book the current try as lost."""
        lost, self.current = self.current, None
        if lost is None or not lost.begun:
            return
        self.executions += 1
        cost = lost.usage(self.call)
        before = self.lost or Usage(cost.model, 0, 0)
        self.lost = Usage(
            cost.model,
            before.input_tokens + cost.input_tokens,
            before.output_tokens + cost.output_tokens,
        )


class ClaudeAgent:
    """An ``Agent`` (see ``runner``) on the Messages API.

    Args:
        api_key: the key; it stays in this object and in the ``Authorization`` header.
        base_url: where the API is. Said explicitly, so that no environment variable moves it.
        eval_model, work_model: model names; both need a rate in the price list.
        sleep: waits between tries, in seconds.
        jitter: a number from 0 to 1 for each wait, so that many jobs do not try again in step.
        stall_s: how long the API may be silent before a try is given up, in seconds.

    Raises:
        ValueError: the key is empty or holds white space or anything but ASCII.
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        eval_model: str = DEFAULT_EVAL_MODEL,
        work_model: str = DEFAULT_WORK_MODEL,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = lambda: 0.5,
        stall_s: float = 30.0,
    ) -> None:
        # A stray newline from a key file would come back inside the transport's error message.
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ValueError("the Anthropic API key is empty or damaged; check agent.anthropic.api_key_file")
        self._api_key = api_key
        self._base_url = base_url
        self._eval_model = eval_model
        self._work_model = work_model
        self._sleep = sleep
        self._jitter = jitter
        self._stall_s = stall_s
        self._client: AsyncAnthropic | None = None
        self._loading = asyncio.Lock()
        self._closed = False

    @property
    def eval_model(self) -> str:
        """Name of the model that judges."""
        return self._eval_model

    @property
    def work_model(self) -> str:
        """Name of the model that works when the task names none."""
        return self._work_model

    async def load(self) -> None:
        """Import the SDK and make its client, in a thread; the first call does it if nobody did before."""
        async with self._loading:
            if self._client is None and not self._closed:
                self._client = await asyncio.to_thread(self._make_client)

    async def evaluate(self, task: Task, *, deadline_s: float) -> Verdict:
        """Judge the request (``Agent.evaluate``)."""
        call = _Call(
            self._eval_model,
            system=prompts.EVAL_SYSTEM,
            text=prompts.eval_message(task),
            max_tokens=prompts.EVAL_MAX_OUTPUT_TOKENS,
            temperature=None,
            usable=lambda text: prompts.read_verdict(text) is not None,
        )
        done, lost = await self._run(call, deadline_s)
        verdict = (False, prompts.REFUSED_IN_EVAL)
        if done.stop_reason != "refusal":
            verdict = prompts.read_verdict(done.text) or verdict
        accepted, reason = verdict
        return Verdict(accepted, reason, done.usage(call), wasted=lost)

    async def work(self, task: Task, *, deadline_s: float, on_text: OnText | None = None) -> Answer:
        """Do the request (``Agent.work``)."""
        call = _Call(
            task.model or self._work_model,
            system=prompts.work_system(task),
            text=prompts.clean(task.text),
            max_tokens=task.max_output_tokens,
            temperature=prompts.read_temperature(task.temperature),
            usable=lambda text: bool(text.strip()),
            on_text=on_text,
            turns=task.turns,
        )
        return await self._answer(call, deadline_s)

    async def small_talk(self, said: str, *, deadline_s: float) -> Answer:
        """Say a word or two (``Agent.small_talk``)."""
        call = _Call(
            self._eval_model,
            system=prompts.TALK_SYSTEM,
            text=prompts.clean(said),
            max_tokens=prompts.TALK_MAX_OUTPUT_TOKENS,
            temperature=None,
            usable=lambda text: bool(text.strip()),
        )
        return await self._answer(call, deadline_s)

    async def _answer(self, call: _Call, deadline_s: float) -> Answer:
        done, lost = await self._run(call, deadline_s)
        usage = done.usage(call)
        if done.stop_reason == "refusal":
            raise Refused(detail="stop_reason refusal", usage=_sum(lost, usage))
        truncated = done.stop_reason in ("max_tokens", "model_context_window_exceeded")
        return Answer(done.text, usage, truncated, wasted=lost)

    async def aclose(self) -> None:
        """Close the connections (``Agent.aclose``)."""
        self._closed = True
        if self._client is not None:
            await self._client.close()

    def _make_client(self) -> "AsyncAnthropic":
        import anthropic  # late: takes over a second

        for chatty in ("anthropic", "httpx2", "httpcore2"):
            # At DEBUG they write the customer's words and whatever headers the API sends back.
            logging.getLogger(chatty).setLevel(logging.WARNING)
        return anthropic.AsyncAnthropic(
            api_key=self._api_key,
            base_url=self._base_url,
            max_retries=0,
            timeout=anthropic.Timeout(self._stall_s, connect=CONNECT_S),
            # A redirect would carry a customer's words to an address nobody configured.
            http_client=anthropic.DefaultAsyncHttpxClient(follow_redirects=False),
            open_telemetry=False,
        )

    async def _run(self, call: _Call, deadline_s: float) -> tuple[_Try, Usage | None]:
        """The first usable try, or a refusal, and what the tries before it cost.

        Raises:
            AgentError: there was none within the deadline.
        """
        run = _Run(call, asyncio.get_running_loop().time() + deadline_s)
        try:
            async with asyncio.timeout(deadline_s):
                return await self._try_until_done(run), run.lost
        except TimeoutError:
            run.lose()
        raise Unavailable(f"no answer within {deadline_s:g} s", usage=run.lost)

    async def _try_until_done(self, run: _Run) -> _Try:
        await self.load()
        while True:
            attempt = await self._try_once(run)
            failure = attempt.failure
            if failure is None:
                return attempt
            run.lose()
            if failure.status == 400 and run.call.temperature is not None:  # noqa: PLR2004 - HTTP status
                # Newer models refuse the parameter; an answer without it is better than none.
                run.call = replace(run.call, temperature=None)
                continue
            pause = self._pause_before_next(run, failure)
            if pause is None:
                raise _error_of(failure, run)
            if attempt.pieces and run.call.on_text is not None:
                run.call.on_text(None)
            await self._sleep(pause)

    async def _try_once(self, run: _Run) -> _Try:
        attempt, call = run.start(), run.call
        async with aclosing(self._pieces(call, attempt)) as pieces:
            async for piece in pieces:
                if call.on_text is not None:
                    call.on_text(piece)
        if attempt.failure is None and attempt.stop_reason is None:
            attempt.failure = incoherent("the stream ended early")
        elif attempt.failure is None and attempt.stop_reason != "refusal" and not call.usable(attempt.text):
            attempt.failure = incoherent(f"unusable answer, stop_reason {attempt.stop_reason}")
        return attempt

    async def _pieces(self, call: _Call, attempt: _Try) -> AsyncGenerator[str]:
        """The text of one try as it comes; how it ended stands in ``attempt``."""
        client = self._client
        if client is None or self._closed:
            attempt.failure = Failure(Unavailable, "the agent is closed", again=False)
            return
        stream = client.messages.stream(
            model=call.model,
            system=call.system,
            messages=call.messages,
            max_tokens=call.max_tokens,
            # The only way left: the SDK has no argument for it any more.
            extra_body=None if call.temperature is None else {"temperature": call.temperature},
        )
        try:
            async with stream as events:
                async for event in events:
                    if event.type == "message_start":
                        attempt.begin(getattr(event.message, "usage", None))
                    elif event.type == "text":
                        attempt.add(event.text)
                        yield event.text
                attempt.end(await events.get_final_message())
        except Exception as error:  # noqa: BLE001 - failure_of() raises again whatever is not the upstream's doing
            attempt.failure = failure_of(error)
            attempt.begun |= attempt.failure.maybe_paid

    def _pause_before_next(self, run: _Run, failure: Failure) -> float | None:
        """Seconds to wait before another try; None when there must not be one."""
        spent = run.tries >= MAX_TRIES or run.executions >= MAX_EXECUTIONS
        if not failure.again or spent or self._closed:
            return None
        backoff = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** (run.tries - 1)) * (1 + self._jitter()) / 2
        pause = backoff if failure.retry_after_s is None else failure.retry_after_s
        return pause if pause < run.ends_at - asyncio.get_running_loop().time() else None


def _error_of(failure: Failure, run: _Run) -> AgentError:
    return failure.kind(f"{failure.detail}, {run.tries} tries", usage=run.lost)


def _sum(lost: Usage | None, last: Usage) -> Usage:
    if lost is None:
        return last
    return Usage(last.model, lost.input_tokens + last.input_tokens, lost.output_tokens + last.output_tokens)


def _input_tokens(usage: "SdkUsage | None") -> int:
    """All kinds of input tokens together: the API counts cached ones apart."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(_count(getattr(usage, name, None)) for name in names)


def _count(value: object) -> int:
    """A token count from outside: the SDK does not check the type of what it hands on."""
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else 0
