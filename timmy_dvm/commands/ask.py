"""`timmy ask`: a real NIP-90 customer. The answer alone on stdout; price, QR, progress and receipt on stderr.

Exit codes: 0 answered, 1 refused or failed, 2 usage, 3 not paid or too dear, 4 no answer in time.
"""

import asyncio
import contextlib
import select
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import click
import httpx
import msgspec

from ledger.money import parse_msats, sats_up
from relay_client.dial import Outside
from relay_client.errors import InvalidEvent, InvalidKey, InvalidPlaintext, InvalidRelayUrl
from relay_client.event import Event
from relay_client.keys import Keys, decode_nprofile, parse_public_key
from relay_client.pool import RelayPool
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.commands.local import LOCAL_S, local_address
from timmy_dvm.commands.local import health as local_health
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.commands.thread import Thread, last_thread, remember
from timmy_dvm.identity import load_or_create_key
from timmy_dvm.nostr.customer import Answer, Customer, Order, Said
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.purse import NotPaid, Purse, SimulatedPurse
from timmy_dvm.terminal import Narrator, held_sats, ledger_line, printable

ANSWERED, REFUSED, USAGE, NOT_PAID, NO_ANSWER = 0, 1, 2, 3, 4
_RECEIPT_S = 3
_LONGEST_REQUEST_BYTES = 60_000
_QUIET_STDIN_S = 2


@dataclass(frozen=True, slots=True)
class Shop:
    """Whom to ask and where. ``http`` is where a simulated wallet is paid; None where there is none."""

    provider: str | None
    relays: Sequence[str]
    http: str | None


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the customer wants it."""

    max_sats: int
    timeout_s: int
    as_json: bool
    has_receipt: bool = True
    """An operation's answer is not followed by one."""
    pays_last: bool = False
    """A top-up is answered at once; what ends it is the receipt of its payment."""


@click.command("ask")
@click.argument("text", nargs=-1)
@click.option(
    "--to", "to", metavar="KEY", help="Provider: npub, hex, nprofile or name@domain. Default: the local one."
)
@click.option("-r", "--relay", "relays", multiple=True, metavar="URL", help="Relay to ask on; repeats.")
@click.option(
    "--sec", envvar="NOSTR_SECRET_KEY", metavar="SECRET", help="Your key, nsec or hex. Default: one is made."
)
@click.option(
    "--pay", type=click.Choice(["simulated", "none"]), help="How to pay. Default: simulated, where that is."
)
@click.option("--http", "http", metavar="URL", help="Web address of the Timmy whose simulated wallet is paid.")
@click.option(
    "--max-sats", type=click.IntRange(0), default=1_000, show_default=True, help="Pay no more than this."
)
@click.option("--bid", metavar="MSAT", help="The most you would pay, told to the provider.")
@click.option("--encrypt", type=click.Choice(["nip44", "nip04"]), help="Keep request and answer private.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A param tag, e.g. max_tokens=200; or op=balance, op=topup with amount_sats=500; repeats.",
)
@click.option("-c", "--continue", "goes_on", is_flag=True, help="Go on with the thread of the last answer.")
@click.option(
    "--timeout", "timeout_s", type=click.IntRange(1), default=300, show_default=True, help="Seconds to wait."
)
@click.option("--json", "as_json", is_flag=True, help="Every answering event as a line of JSON on stdout.")
@shared_options
@click.pass_context
def command(  # one parameter an option: click's way
    context: click.Context, /, shared: Shared, text: Sequence[str], **options: Any
) -> None:
    """Ask a question and pay for the answer. TEXT and what comes on stdin are the request."""
    request = _request_text(text)
    if not request and not options["params"]:
        raise click.UsageError('There is nothing to ask: timmy ask "Your question".', ctx=context)
    context.exit(asyncio.run(_ask(shared, request, options)))


def _request_text(words: Sequence[str]) -> str:
    """The words of the command line and what comes on stdin; bytes that are no text become `�`."""
    parts = [" ".join(words), "" if sys.stdin.isatty() else _from_stdin()]
    text = "\n\n".join(part.strip() for part in parts if part.strip())
    if len(text.encode()) > _LONGEST_REQUEST_BYTES:
        raise click.UsageError(
            f"The request is larger than the {_LONGEST_REQUEST_BYTES:,} bytes that relays take."
        )
    return text.encode(errors="replace").decode()


def _from_stdin() -> str:
    if not select.select([sys.stdin], [], [], _QUIET_STDIN_S)[0]:
        click.echo(
            "   stdin  waiting for the rest of the request; end it with Ctrl-D, or use </dev/null", err=True
        )
    # A closed stdin is the same as an empty one.
    with contextlib.suppress(OSError, ValueError):
        return sys.stdin.buffer.read(_LONGEST_REQUEST_BYTES + 1).decode(errors="replace")
    return ""


async def _ask(shared: Shared, text: str, options: dict[str, Any]) -> int:
    shop = await _shop(shared, options)
    clock, randomness = SystemClock(), SystemRandomness()
    keys = _keys(shared, options["sec"], randomness)
    thread = None
    if options["goes_on"]:
        thread = last_thread(shared, provider=shop.provider, customer=keys.public_key)
    order = _order(text, shop.provider, options, thread)
    is_job = "op" not in order.params
    wishes = Wishes(
        options["max_sats"],
        options["timeout_s"],
        options["as_json"],
        has_receipt=is_job,
        pays_last=order.params.get("op", "").lower() == "topup",
    )
    outside = Outside(jitter=randomness.uniform, entropy=randomness.token)
    try:
        pool = RelayPool(shop.relays, outside=outside)
    except InvalidRelayUrl as error:
        raise click.UsageError(str(error)) from None
    purse = SimulatedPurse(shop.http) if shop.http is not None else None
    narrator = Narrator(quiet=wishes.as_json or shared.verbosity < 0)
    async with pool:
        try:
            await pool.wait_connected(timeout_s=LOCAL_S)
        except TimeoutError:
            raise UserError(f"No relay can be reached: {', '.join(shop.relays)}.") from None
        customer = Customer(keys, pool, clock, randomness)
        request = _signed(customer, order)
        narrator.say("asked", f"event {request.id} on {', '.join(shop.relays)}")
        try:
            async with contextlib.aclosing(customer.ask(request, shop.provider)) as answers:
                conversation = Conversation(answers, purse, narrator, wishes)
                code = await conversation.hold()
        except ConnectionError as error:
            raise UserError(str(error)) from None
        if is_job and (answer := conversation.answer) is not None:
            scheme = order.encrypt or Scheme.NONE
            remember(
                shared,
                Thread(
                    provider=answer.event.pubkey, customer=keys.public_key, result=answer.event.id, scheme=scheme
                ),
            )
        if conversation.declined:
            await customer.cancel(request)
            narrator.say("taken back", "The request was cancelled, so that nobody waits for its payment.")
        return code


def _signed(customer: Customer, order: Order) -> Event:
    try:
        return customer.request(order)
    except (InvalidEvent, InvalidPlaintext) as error:
        raise click.UsageError(f"This can't be asked in one event: {error}.") from None


class Conversation:
    """Follows one request from its price to its receipt."""

    def __init__(
        self, answers: AsyncGenerator[Answer], purse: Purse | None, narrator: Narrator, wishes: Wishes
    ) -> None:
        self._answers = answers
        self._purse = purse
        self._narrator = narrator
        self._wishes = wishes
        self._priced = False
        self.declined = False
        """Whether the price was not paid, and won't be."""
        self.answer: Answer | None = None
        """The result, once it is there."""

    async def hold(self) -> int:
        """Listen until the end; the exit code."""
        try:
            async with asyncio.timeout(self._wishes.timeout_s):
                code = await self._until_result()
        except TimeoutError:
            return self._too_late()
        if code == ANSWERED and self._wishes.has_receipt:
            await self._receipt()
        return code

    async def _until_result(self) -> int:
        async for answer in self._answers:
            self._show(answer)
            match answer.said:
                case Said.PRICE if not self._priced:
                    self._priced = True
                    if (code := await self._pay(answer)) is not None:
                        self.declined = True
                        return code
                case Said.RESULT:
                    self.answer = answer
                    if not self._wishes.as_json:
                        click.echo(printable(answer.text))
                    if not self._wishes.pays_last:
                        return ANSWERED
                case Said.RECEIPT if self._wishes.pays_last:
                    return ANSWERED
                case Said.ERROR:
                    return REFUSED
                case _:
                    pass
        return NO_ANSWER

    async def _pay(self, answer: Answer) -> int | None:
        """Pay what is asked; an exit code where that ends the conversation."""
        if answer.amount is None or sats_up(answer.amount) > self._wishes.max_sats:
            asked = "an unknown sum" if answer.amount is None else f"{sats_up(answer.amount)} sats"
            self._narrator.say(
                "too dear", f"{asked} is more than --max-sats {self._wishes.max_sats}; nothing was paid."
            )
            return NOT_PAID
        if answer.bolt11 is None:
            self._narrator.say("unpaid", "The provider asks for money without an invoice; nothing was paid.")
            return NOT_PAID
        self._narrator.invoice(answer.bolt11)
        if self._purse is None:
            self._narrator.say("pay", "Pay the invoice with any Lightning wallet; this waits for the answer.")
            return None
        try:
            await self._purse.pay(answer.bolt11)
        except (NotPaid, ValueError) as error:
            self._narrator.say("unpaid", str(error))
            return NOT_PAID
        self._narrator.say("paid", f"{sats_up(answer.amount)} sats")
        return None

    async def _receipt(self) -> None:
        """The receipt follows the result at once; it is worth a moment, and no more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RECEIPT_S):
                async for answer in self._answers:
                    self._show(answer)
                    if answer.said is Said.RECEIPT:
                        return

    def _show(self, answer: Answer) -> None:
        if self._wishes.as_json:
            click.echo(msgspec.json.encode(answer.as_json()).decode())
            return
        self._narrator.answer(answer)
        if line := ledger_line(answer):
            self._narrator.say("ledger", line)
        if held := held_sats(answer):
            job = (answer.tag("e") or ("", ""))[1]
            how = f"timmy ask --param op=refund --param job={job} --param invoice=<BOLT11 for exactly {held} sats>"
            self._narrator.say("claim", how)

    def _too_late(self) -> int:
        if self._priced:
            self._narrator.say("unpaid", "No payment was seen in time.")
            return NOT_PAID
        self._narrator.say("silence", f"No answer within {self._wishes.timeout_s} seconds.")
        return NO_ANSWER


def _order(text: str, provider: str | None, options: dict[str, Any], thread: Thread | None) -> Order:
    params = {}
    for param in options["params"]:
        name, found, value = param.partition("=")
        if not found:
            raise click.UsageError(f"--param takes NAME=VALUE, not {param!r}.")
        params[name] = value
    try:
        bid = None if options["bid"] is None else parse_msats(options["bid"])
    except ValueError as error:
        raise click.UsageError(f"--bid: {error}.") from None
    if options["encrypt"] and provider is None:
        raise click.UsageError("--encrypt needs --to: an encrypted request has one reader.")
    scheme = Scheme(options["encrypt"]) if options["encrypt"] else None
    if thread is not None and thread.scheme is not Scheme.NONE:
        scheme = scheme or thread.scheme  # what was private stays so
    return Order(
        text=text,
        provider=provider,
        encrypt=scheme,
        follows=None if thread is None else thread.result,
        bid=bid,
        params=params,
    )


async def _shop(shared: Shared, options: dict[str, Any]) -> Shop:
    """Whom to ask: as told, else the Timmy that runs on this machine."""
    provider, hints = await _provider(options["to"])
    relays = list(options["relays"]) or hints
    if relays and (provider is not None or options["to"] is None):
        simulated = options["http"] if options["pay"] != "none" else None
        return Shop(provider, relays, simulated)
    http = options["http"] or local_address(shared)
    health = await local_health(http)
    own = parse_public_key(health["npub"])
    stub = bool(health.get("stubMode")) and options["pay"] != "none"
    found = [relay["url"] for relay in health["relays"]]
    return Shop(provider or own, relays or found, http if stub else None)


async def _provider(to: str | None) -> tuple[str | None, list[str]]:
    if to is None:
        return None, []
    try:
        if "@" in to:
            return await _nip05(to)
        return decode_nprofile(to) if to.startswith("nprofile1") else (parse_public_key(to), [])
    except InvalidKey as error:
        raise click.UsageError(f"--to: {error}") from None


async def _nip05(address: str) -> tuple[str, list[str]]:
    """The key behind name@domain (NIP-05); redirects are not followed."""
    name, _, domain = address.partition("@")
    url = f"https://{domain}/.well-known/nostr.json"
    async with httpx.AsyncClient(timeout=LOCAL_S, trust_env=False) as client:
        try:
            body = (await client.get(url, params={"name": name})).raise_for_status().json()
            key = parse_public_key(body["names"][name])
            return key, list(body.get("relays", {}).get(key, []))
        except (httpx.HTTPError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{address} could not be looked up ({type(error).__name__}).") from None


def _keys(shared: Shared, secret: str | None, randomness: SystemRandomness) -> Keys:
    if secret is None:
        return load_or_create_key(shared.load().data_dir / "customer.key", randomness)
    try:
        return Keys.from_text(secret)
    except InvalidKey as error:
        raise click.UsageError(f"--sec: {error}") from None
