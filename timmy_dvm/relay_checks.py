"""Tests a running Timmy over a relay, as a customer sees it: the second half of `timmy testkit`.

    N1  a request is answered                  N5  the same request again makes no second job
    N2  its invoice asks for the sum told      N6  a request with a false signature is not served
    N3  the invoice is paid                    N7  an estimate names a price, for nothing
    N4  the result comes, for this request

Each verdict is one asserted fact. What is not served shows by silence: N5 and N6 wait until a later question (N7)
was answered, and a moment more.
"""

import asyncio
import contextlib
import enum
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from lightning import bolt11
from lightning.errors import InvalidInvoice
from relay_client.dial import Outside
from relay_client.event import Event
from relay_client.keys import Keys
from relay_client.pool import RelayPool
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.nostr.customer import Answer, Customer, Order, Said
from timmy_dvm.purse import NotPaid, Purse

CONNECT_S: Final = 10.0
ANSWER_S: Final = 30.0
RESULT_S: Final = 240.0
QUIET_S: Final = 2.0
QUESTION: Final = "What is a data vending machine, and who pays it?"
_MAX_FRAME: Final = 262_144


class Outcome(enum.Enum):
    """How one fact stands."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One fact about a running Timmy."""

    number: str
    outcome: Outcome
    fact: str

    def line(self) -> str:
        """As the script tells its own."""
        return f"{self.outcome.value} {self.number} {self.fact}"


class RelayChecks:
    """Asks one provider on one relay.

    Args:
        relay: where.
        provider: whom, hex.
        purse: pays the invoice; None: nothing can be paid from here.
        tell: hears each verdict.
        clock, randomness: for requests; the customer's key is drawn here and forgotten.
        answer_s: how long silence is not yet an answer.
    """

    def __init__(
        self,
        relay: str,
        provider: str,
        purse: Purse | None,
        tell: Callable[[Verdict], None],
        clock: Clock,
        randomness: Randomness,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._relay = relay
        self._provider = provider
        self._purse = purse
        self._tell = tell
        self._clock = clock
        self._randomness = randomness
        self._answer_s = answer_s
        self._keys = Keys.from_bytes(randomness.token(32))

    async def run(self) -> None:
        """All of them, in order. It raises for nothing that a relay or a provider does."""
        async with self._customer() as asking, self._customer() as inquiring:
            if asking is None or inquiring is None:
                self._say("N1", ok=False, fact=f"{self._relay} can't be reached")
                return
            request = asking.request(Order(text=QUESTION, provider=self._provider))
            async with _Heard.of(asking, request, self._provider) as heard:
                has_result = await self._whole_job(heard, request)
                async with _Forgery.sent(self._relay, _forged(asking, self._provider)) as forgery:
                    if has_result:
                        await asking.repeat(request)
                    estimate = await self._estimate(inquiring)
                    await self._clock.sleep(QUIET_S)
                self._say_of_duplicate(heard, has_result=has_result)
                self._say_of_forgery(forgery, is_alive=estimate is not None)
            self._say("N7", ok=_names_a_price(estimate), fact="an estimate names a price, for nothing")

    async def _whole_job(self, heard: "_Heard", request: Event) -> bool:
        """N1 to N4; whether there was a result."""
        first = await heard.first({Said.PRICE, Said.WORKING, Said.RESULT}, self._answer_s)
        self._say("N1", ok=first is not None, fact="a request is answered")
        if first is None:
            return False
        if first.said is Said.PRICE:
            self._say("N2", ok=_asks_for_what_it_told(first), fact="its invoice asks for the sum that was told")
            if not await self._pay(first):
                self._skip("N4", "the request was not paid")
                return False
        else:
            self._skip("N2", "the pool serves this key: there is no invoice")
            self._skip("N3", "the pool serves this key: there is no invoice")
        result = await heard.first({Said.RESULT}, RESULT_S)
        is_ours = result is not None and request.id in result.event.tag_values("e") and bool(result.text)
        self._say("N4", ok=is_ours, fact="the result comes, for this request")
        return result is not None

    async def _pay(self, price: Answer) -> bool:
        if self._purse is None or price.bolt11 is None:
            self._skip("N3", "nothing can be paid from here: the wallet is not simulated")
            return False
        try:
            await self._purse.pay(price.bolt11)
        except (NotPaid, ValueError) as error:
            self._say("N3", ok=False, fact=f"the invoice is paid ({error})")
            return False
        self._say("N3", ok=True, fact="the invoice is paid")
        return True

    async def _estimate(self, customer: Customer) -> Answer | None:
        order = Order(text=QUESTION, provider=self._provider, params={"op": "estimate"})
        async with _Heard.of(customer, customer.request(order), self._provider) as heard:
            return await heard.first({Said.RESULT, Said.ERROR}, self._answer_s)

    def _say_of_duplicate(self, heard: "_Heard", *, has_result: bool) -> None:
        if not has_result:
            self._skip("N5", "there was no result to compare with")
            return
        results = {answer.event.id for answer in heard.answers if answer.said is Said.RESULT}
        invoices = {answer.bolt11 for answer in heard.answers if answer.bolt11 is not None}
        is_one = len(results) == 1 and len(invoices) <= 1
        self._say("N5", ok=is_one, fact="the same request again makes no second invoice and no second result")

    def _say_of_forgery(self, forgery: "_Forgery", *, is_alive: bool) -> None:
        if not is_alive:
            self._skip("N6", "nothing is answered at all")
            return
        self._say("N6", ok=not forgery.was_answered, fact="a request with a false signature is not served")

    @contextlib.asynccontextmanager
    async def _customer(self) -> AsyncIterator["_Customer | None"]:
        """A customer with a connection of its own; None where the relay can't be reached."""
        outside = Outside(jitter=self._randomness.uniform, entropy=self._randomness.token)
        pool = RelayPool([self._relay], outside=outside)
        async with pool:
            try:
                await pool.wait_connected(timeout_s=CONNECT_S)
            except TimeoutError:
                yield None
                return
            yield _Customer(self._keys, pool, self._clock, self._randomness)

    def _say(self, number: str, *, ok: bool, fact: str) -> None:
        self._tell(Verdict(number, Outcome.PASS if ok else Outcome.FAIL, fact))

    def _skip(self, number: str, why: str) -> None:
        self._tell(Verdict(number, Outcome.SKIP, why))


class _Customer(Customer):
    """One that says the same thing twice."""

    async def repeat(self, request: Event) -> None:
        await self._pool.publish(request)


class _Heard:
    """What was answered to one request, as it comes."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._more = asyncio.Condition()

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, customer: Customer, request: Event, provider: str) -> AsyncIterator["_Heard"]:
        """Publish a request, and hear its answers for as long as the context lasts."""
        heard = cls()
        listening = asyncio.create_task(heard._listen(customer, request, provider))
        try:
            yield heard
        finally:
            listening.cancel()
            # No relay took it: that shows as silence.
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await listening

    async def first(self, wanted: set[Said], within_s: float) -> Answer | None:
        """The first of these; None where none comes in time."""

        def found() -> Answer | None:
            return next((answer for answer in self.answers if answer.said in wanted), None)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._more:
                await self._more.wait_for(lambda: found() is not None)
        return found()

    async def _listen(self, customer: Customer, request: Event, provider: str) -> None:
        async with contextlib.aclosing(customer.ask(request, provider)) as answers:
            async for answer in answers:
                async with self._more:
                    self.answers.append(answer)
                    self._more.notify_all()


@dataclass(slots=True)
class _Forgery:
    """A request with a false signature, and whether anybody answered it."""

    was_answered: bool = False

    @classmethod
    @contextlib.asynccontextmanager
    async def sent(cls, relay: str, wire: dict[str, Any]) -> AsyncIterator["_Forgery"]:
        """Send it over a line of its own, for our own client would not, and listen for as long as it lasts."""
        forgery = cls()
        listening = asyncio.create_task(forgery._listen(relay, wire))
        try:
            yield forgery
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, WebSocketException, TimeoutError):
                await listening

    async def _listen(self, relay: str, wire: dict[str, Any]) -> None:
        async with connect(relay, proxy=None, max_size=_MAX_FRAME, close_timeout=1) as line:
            await line.send(json.dumps(["REQ", "forged", {"#e": [wire["id"]]}]))
            await line.send(json.dumps(["EVENT", wire]))
            async for frame in line:
                if isinstance(frame, str) and frame.lstrip().startswith('["EVENT"'):
                    self.was_answered = True


def _forged(customer: Customer, provider: str) -> dict[str, Any]:
    """A request as good as any, but for its signature."""
    wire: dict[str, Any] = json.loads(customer.request(Order(text=QUESTION, provider=provider)).to_json())
    return {**wire, "sig": wire["sig"][:-2] + ("00" if wire["sig"][-2:] != "00" else "01")}


def _asks_for_what_it_told(price: Answer) -> bool:
    try:
        return price.bolt11 is not None and bolt11.decode(price.bolt11).amount_msat == price.amount
    except InvalidInvoice:
        return False


def _names_a_price(estimate: Answer | None) -> bool:
    if estimate is None or estimate.said is not Said.RESULT:
        return False
    try:
        told = json.loads(estimate.text)
    except (ValueError, RecursionError):
        return False
    sats = told.get("estimatedSats") if isinstance(told, dict) else None
    return isinstance(sats, int) and sats > 0
