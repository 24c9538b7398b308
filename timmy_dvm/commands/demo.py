"""`timmy demo`: the main job from end to end, in one process, in a folder of its own that is gone afterwards.

Everything is real but the sats and the model: a relay on a socket, signed events, BOLT11 invoices, a ledger on
disk with its books checked at the end.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import click

from ledger.audit import audit
from ledger.money import Msats, msats_from_sats, sats_up
from lightning.simulated import SimulatedWallet
from lightning.simulated_node import OutsideWallet
from relay_client.dial import Outside
from relay_client.keys import Keys
from relay_client.pool import RelayPool
from timmy_dvm.app import App, Ready
from timmy_dvm.building import SIMULATED_BALANCE
from timmy_dvm.clock import SystemClock, SystemRandomness
from timmy_dvm.commands.options import Shared, UserError, shared_options
from timmy_dvm.config import Config, load
from timmy_dvm.nostr.customer import Answer, Customer, Order, Said
from timmy_dvm.purse import SimulatedPurse
from timmy_dvm.terminal import Narrator, held_sats, ledger_line, printable

QUESTION = (
    "I overpaid a vending machine once and never saw the rest again. How is that with you: "
    "what exactly am I charged, and how do I get back what I overpaid?"
)
_PATIENCE_S = 60


@click.command("demo")
@click.argument("question", default=QUESTION)
@shared_options
def command(shared: Shared, question: str) -> None:
    """Show one whole job: request, price, invoice, payment, result, real cost, change. No key, no network."""
    if shared.verbosity > 0:
        shared.start_logging()
    asyncio.run(_demo(question))


async def _demo(question: str) -> None:
    with tempfile.TemporaryDirectory(prefix="timmy-demo-") as folder:
        environment = {
            "TIMMY_HTTP__PORT": "0",
            "TIMMY_NOSTR__RELAY_PORT": "0",
            # Given, so that nobody is warned to keep a file that is gone in a minute.
            "TIMMY_HTTP__TOKEN_SECRET": SystemRandomness().token(32).hex(),
        }
        config = load(None, environment, Path(folder))
        stage = Stage(config)
        try:
            async with asyncio.timeout(_PATIENCE_S), _serving(stage.app) as ready:
                await stage.play(ready, question)
        except TimeoutError:
            raise UserError(
                "The demo did not end within a minute; `timmy demo -v` shows where it stands."
            ) from None
        findings = audit(Path(folder) / "timmy.db")
        stage.narrator.say("audit", "the books are in order" if not findings else f"{findings}")
        if findings:
            raise UserError("The books are not in order: this is a fault; please report it.")


@contextlib.asynccontextmanager
async def _serving(app: App) -> AsyncIterator[Ready]:
    """A running Timmy, stopped at the end."""
    told: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(app.run(told.set_result))
    await asyncio.wait((told, running), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
        raise UserError("The demo ended before it began.")
    try:
        yield told.result()
    finally:
        app.stop()
        await running


class Stage:
    """Timmy, a customer with a wallet of their own, and somebody who tells what happens."""

    def __init__(self, config: Config) -> None:
        self._clock = SystemClock()
        self._randomness = SystemRandomness()
        self._wallet = SimulatedWallet(
            seed=b"timmy",
            now=self._clock.now,
            random_bytes=self._randomness.token,
            path=config.data_dir / "simulated-wallet.jsonl",
            balance_msat=SIMULATED_BALANCE,
        )
        self._customers = OutsideWallet(
            self._wallet, seed=b"customer", now=self._clock.now, random_bytes=self._randomness.token
        )
        self.app = App(config, clock=self._clock, randomness=self._randomness, wallet=self._wallet)
        self.narrator = Narrator()

    async def play(self, ready: Ready, question: str) -> None:
        """One job, and the way its change comes back."""
        say = self.narrator.say
        say("timmy", f"{ready.npub}")
        say("relay", ", ".join(ready.relays))
        keys = Keys.from_bytes(self._randomness.token(32))
        say("you", keys.npub)
        provider = self.app.public_key
        async with RelayPool(ready.relays, outside=Outside(entropy=self._randomness.token)) as pool:
            await pool.wait_connected()
            customer = Customer(keys, pool, self._clock, self._randomness)
            say("request", question)
            request = customer.request(Order(text=question, provider=provider))
            paid = Msats(0)
            receipt: Answer | None = None
            async with contextlib.aclosing(customer.ask(request, provider)) as answers:
                async for answer in answers:
                    self.narrator.answer(answer)
                    if answer.said is Said.PRICE and answer.bolt11 and answer.amount:
                        self.narrator.invoice(answer.bolt11)
                        await SimulatedPurse(ready.http).pay(answer.bolt11)
                        paid = answer.amount
                        say("paid", f"{sats_up(paid)} sats")
                    elif answer.said is Said.RESULT:
                        click.echo(f"\n{printable(answer.text)}\n")
                    elif answer.said is Said.RECEIPT:
                        receipt = answer
                        break
                    elif answer.said is Said.ERROR:
                        raise UserError(f"Timmy refused: {answer.text}")
            if receipt is None:
                raise UserError("The relay was lost before the receipt came.")
            say("ledger", ledger_line(receipt))
            await self._change(customer, provider, request.id, receipt)

    async def _change(self, customer: Customer, provider: str, request_id: str, receipt: Answer) -> None:
        """Claim the change with an invoice of the customer's own wallet, as the receipt says."""
        held = held_sats(receipt)
        if not held:
            return
        invoice = self._customers.invoice(msats_from_sats(held), description="change")
        params = {"op": "refund", "job": request_id, "invoice": invoice}
        claim = customer.request(Order(text="", provider=provider, params=params))
        self.narrator.say("claim", f"an invoice of your own for {held} sats")
        async with contextlib.aclosing(customer.ask(claim, provider)) as answers:
            async for answer in answers:
                if answer.said is Said.ERROR:
                    raise UserError(f"Timmy refused the claim: {answer.text}")
                if answer.said is Said.RESULT:
                    break
        while not self._customers.received:
            await self._clock.sleep(0.02)
        back = sats_up(Msats(sum(self._customers.received.values())))
        self.narrator.say("change", f"{back} sats arrived in your wallet")
