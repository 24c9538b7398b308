"""The whole bot with Claude behind it, through the installed `anthropic` package, and an API that misbehaves.

However the model ends, the customer gets a result or all of the work fee back; never silence.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

import httpx
import pytest

from ledger.audit import audit
from ledger.money import Msats, msats_from_sats
from ledger.records import JobRecord
from ledger.sqlite import open_ledger
from relay_client.keys import Keys, parse_public_key
from tests import anthropic_server as api
from tests.anthropic_server import FakeAnthropic
from tests.flows.live import Errand, asking, edited, running, timmy
from timmy_dvm.agent.claude import DEFAULT_EVAL_MODEL, DEFAULT_WORK_MODEL, MAX_TRIES
from timmy_dvm.agent.prompts import EVAL_SYSTEM
from timmy_dvm.app import App, Ready
from timmy_dvm.building import SIMULATED_BALANCE
from timmy_dvm.config import load
from timmy_dvm.config.example import render_example
from timmy_dvm.config.tables import AnthropicTable
from timmy_dvm.nostr.customer import Order, Said
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.purse import SimulatedPurse
from timmy_dvm.terminal import read_ledger

API_KEY = "sk-ant-canary-0123456789"
LNBITS_KEY = "ca9a5b1d0c3e4f6788990011aabbccdd"
STRAY = "somebody-elses-token"
POOL_SATS = 31_337
EVAL_FEE = msats_from_sats(2)
QUESTION = "What does a data vending machine do for me, how do I pay it, and what comes back if it should fail?"
ACCEPT = api.ok("ACCEPT", input_tokens=150, output_tokens=4)
ANSWER = api.ok("This is the whole answer.", input_tokens=120, output_tokens=6)


def secret_file(folder: Path, name: str, secret: str) -> str:
    file = folder / name
    file.touch(mode=0o600)
    file.write_text(f"{secret}\n")
    return name


def configured(folder: Path, url: str, **more: object) -> Path:
    """The file that `timmy init` writes, after its owner was in it."""
    text = render_example({"agent.backend": "anthropic", "lightning.backend": "simulated"})
    file = folder / "timmy.toml"
    key_file = secret_file(folder, "anthropic.key", API_KEY)
    wanted = {"agent__anthropic__base_url": url, "agent__anthropic__api_key_file": key_file}
    file.write_text(edited(text, **wanted, nostr__relay_port=0, http__port=0, **more))
    return file


@dataclass
class Shop:
    """A serving Timmy in this process, and the fake behind it."""

    ready: Ready
    fake: FakeAnthropic
    folder: Path

    @property
    def public_key(self) -> str:
        return parse_public_key(self.ready.npub)

    @contextlib.asynccontextmanager
    async def sells(self, order: Order | str = QUESTION, keys: Keys | None = None) -> AsyncIterator[Errand]:
        """A job, asked and paid."""
        async with asking(self.ready, order, keys) as errand:
            price = await errand.hears(Said.PRICE)
            await SimulatedPurse(self.ready.http).pay(price.bolt11)
            yield errand

    async def in_the_books(self, errand: Errand) -> "Books":
        """What the ledger says of a job, after checking that all of it adds up."""
        store = open_ledger(f"sqlite:///{self.folder / 'timmy.db'}")
        try:
            (job,) = await store.find_jobs(errand.id)
            balances = await store.balances()
            back = sum(row.amount for row in await store.refunds(open_only=False) if row.job_id == job.id)
            held = sum(balances.get(f"refund:{row.id}", 0) for row in await store.refunds(open_only=True))
        finally:
            await store.close()
        assert not audit(self.folder / "timmy.db")
        assert balances.get(f"job:{job.id}", 0) == 0
        price = await errand.hears(Said.PRICE)
        assert price.amount == job.charge_eval + job.charge_work + back
        return Books(job, Msats(back), Msats(held))


@dataclass
class Books:
    """``back``: all that went back, as rows. ``held``: what the ledger owes for it."""

    job: JobRecord
    back: Msats
    held: Msats


@pytest.fixture
async def fake():
    async with FakeAnthropic() as server:
        yield server


@pytest.fixture
async def shop(fake, tmp_path, monkeypatch):
    monkeypatch.setattr("timmy_dvm.agent.claude.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("timmy_dvm.agent.claude.MAX_PAUSE_S", 0.05)
    async with serving(tmp_path, fake) as made:
        yield made


@contextlib.asynccontextmanager
async def serving(folder: Path, fake: FakeAnthropic, **more: object) -> AsyncIterator[Shop]:
    app = App(load(configured(folder, fake.url, **more), {}))
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(app.run(ready.set_result))
    await asyncio.wait((ready, serving), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        yield Shop(ready.result(), fake, folder)
    finally:
        app.stop()
        await serving


def sats_for(input_tokens: int, output_tokens: int) -> int:
    """The price of work by hand: 3 and 15 dollars a million, 500 micro-dollars, 40 %, 100,000 dollars a coin."""
    dollars = (Decimal(3 * input_tokens + 15 * output_tokens) + 500) / 1_000_000 * Decimal("1.4")
    return int((dollars * 1_000).to_integral_value(ROUND_CEILING))


async def test_a_job_is_judged_and_done_by_streams_and_costs_what_the_api_counted(shop):
    shop.fake.will(
        ACCEPT, api.ok("This is the whole answer.", input_tokens=1_000, cache_read=200, output_tokens=300)
    )
    async with shop.sells() as errand:
        assert (await errand.hears(Said.RESULT)).text == "This is the whole answer."
        receipt = read_ledger(await errand.hears(Said.RECEIPT))
        books = await shop.in_the_books(errand)
    judging, working = shop.fake.requests
    assert judging.body["stream"] is working.body["stream"] is True
    assert judging.body["system"] == EVAL_SYSTEM
    assert judging.body["model"] == "claude-haiku-4-5"
    assert working.body["model"] == "claude-sonnet-4-6"
    assert working.body["messages"] == [{"role": "user", "content": QUESTION}]
    assert working.body["max_tokens"] == books.job.quote.max_output_tokens
    assert "tools" not in working.body

    assert (receipt["actualInputTokens"], receipt["actualOutputTokens"]) == (1_200, 300)
    assert receipt["actualAmountSats"] == sats_for(1_200, 300)
    assert books.job.charge_work == msats_from_sats(sats_for(1_200, 300))
    assert books.job.charge_eval == EVAL_FEE
    assert (books.job.eval_input_tokens, books.job.eval_output_tokens) == (150, 4)


@pytest.mark.parametrize("scheme", [None, Scheme.NIP44])
async def test_the_customers_temperature_and_limit_reach_the_model_and_what_does_not_is_said(shop, scheme):
    shop.fake.will(ACCEPT, api.ok("Warm words."))
    params = {"temperature": "0.7", "max_tokens": "99", "top-k": "50"}
    async with shop.sells(Order(text=QUESTION, provider=shop.public_key, encrypt=scheme, params=params)) as errand:
        assert (await errand.hears(Said.RESULT)).text == "Warm words."
    price = await errand.hears(Said.PRICE)
    assert price.text.endswith(" Not used here: top_k.")
    assert list(price.tag("ignored")) == ["ignored", "top_k"]
    judging, working = shop.fake.requests
    assert "temperature" not in judging.body
    assert (working.body["temperature"], working.body["max_tokens"]) == (0.7, 99)


def test_no_default_model_is_on_its_way_out():
    """The SDK knows which models end; a bot that is started today must not stop on that day."""
    from anthropic.resources.messages.messages import DEPRECATED_MODELS  # late: takes over a second

    table = AnthropicTable()
    assert (table.eval_model, table.work_model) == (DEFAULT_EVAL_MODEL, DEFAULT_WORK_MODEL)
    assert not {table.eval_model, table.work_model} & DEPRECATED_MODELS.keys()


TROUBLE = [
    pytest.param([api.rate_limited()], id="429"),
    pytest.param([api.rate_limited("0.05")], id="429 with retry-after"),
    pytest.param([api.server_error()], id="500"),
    pytest.param([api.overloaded(), api.overloaded()], id="529 twice"),
    pytest.param([api.cut("half an ans")], id="cut stream"),
    pytest.param([api.error_event(text="half an ans")], id="error in the stream"),
]


@pytest.mark.parametrize("step", ["eval", "work"])
@pytest.mark.parametrize("trouble", TROUBLE)
async def test_passing_trouble_is_not_noticed_and_not_paid_for(shop, step, trouble):
    calls = [*trouble, ACCEPT, ANSWER] if step == "eval" else [ACCEPT, *trouble, ANSWER]
    shop.fake.will(*calls)
    async with shop.sells() as errand:
        assert (await errand.hears(Said.RESULT)).text == "This is the whole answer."
        receipt = read_ledger(await errand.hears(Said.RECEIPT))
        books = await shop.in_the_books(errand)
    assert len(shop.fake.requests) == len(calls)
    assert (receipt["actualInputTokens"], receipt["actualOutputTokens"]) == (120, 6)
    assert books.job.charge_work == msats_from_sats(sats_for(120, 6))
    assert books.job.shortfall == 0


LASTING = [
    pytest.param([api.rate_limited()] * MAX_TRIES, "overloaded", id="429 again and again"),
    pytest.param([api.rate_limited("3600")], "overloaded", id="429 with a retry-after beyond the deadline"),
    pytest.param([api.server_error()] * MAX_TRIES, "cannot be reached", id="500"),
    pytest.param([api.overloaded()] * MAX_TRIES, "overloaded", id="529"),
    pytest.param([api.cut("half an ans")] * 2, "cannot be reached", id="cut streams"),
    pytest.param([api.spend_limit()], "spending limit", id="spend limit"),
    pytest.param([api.status(401, "authentication_error")], "operator", id="bad key"),
    pytest.param([api.stall("half an ans")], "cannot be reached", id="stall until the deadline"),
]


@pytest.fixture
def deadline(request, monkeypatch):
    """Short where the API falls silent, so that a slow machine is not taken for a fault elsewhere."""
    if "stall" in request.node.name:
        monkeypatch.setattr("timmy_dvm.runs.EVAL_DEADLINE_S", 1)
        monkeypatch.setattr("timmy_dvm.runs.WORK_DEADLINE_S", 1)


@pytest.mark.parametrize(("calls", "says"), LASTING)
@pytest.mark.usefixtures("deadline")
async def test_when_no_answer_can_be_had_all_of_the_work_fee_comes_back(shop, calls, says):
    shop.fake.will(ACCEPT, *calls)
    async with shop.sells() as errand:
        error = await errand.hears(Said.ERROR)
        books = await shop.in_the_books(errand)
    assert says in error.text
    assert error.tag("code")[1] == "failed"
    assert str(books.job.state) == "failed"
    assert books.job.charge_work == 0
    assert books.job.charge_eval == EVAL_FEE
    assert books.back == books.held == books.job.share_work > 0
    assert f"{books.back // 1_000} sats are yours" in error.text
    assert len(shop.fake.requests) == 1 + len(calls)


@pytest.mark.parametrize(("calls", "says"), LASTING)
@pytest.mark.usefixtures("deadline")
async def test_when_it_cannot_even_be_judged_everything_comes_back(shop, calls, says):
    shop.fake.will(*calls)
    async with shop.sells() as errand:
        error = await errand.hears(Said.ERROR)
        price = await errand.hears(Said.PRICE)
        books = await shop.in_the_books(errand)
    assert says in error.text
    assert str(books.job.state) == "failed"
    assert (books.job.charge_eval, books.job.charge_work) == (0, 0)
    assert books.back == books.held == price.amount
    assert len(shop.fake.requests) == len(calls)


@pytest.mark.parametrize("verdict", [api.refusal(), api.ok("REJECT: That would harm people.")])
async def test_rejected_in_the_eval_only_the_eval_is_paid(shop, verdict):
    shop.fake.will(verdict)
    async with shop.sells() as errand:
        error = await errand.hears(Said.ERROR)
        books = await shop.in_the_books(errand)
    assert error.tag("code")[1] == "rejected"
    assert str(books.job.state) == "rejected"
    assert (books.job.charge_eval, books.job.charge_work) == (EVAL_FEE, 0)
    assert books.back == books.held == books.job.share_work
    assert len(shop.fake.requests) == 1


@pytest.mark.parametrize("refusal", [api.refusal(), api.refusal("I would rather")])
async def test_refused_in_the_work_all_of_the_work_fee_comes_back(shop, refusal):
    shop.fake.will(ACCEPT, refusal)
    async with shop.sells() as errand:
        error = await errand.hears(Said.ERROR)
        books = await shop.in_the_books(errand)
    assert "declined" in error.text
    assert "I would rather" not in error.text
    assert str(books.job.state) == "failed"
    assert (books.job.charge_eval, books.job.charge_work) == (EVAL_FEE, 0)
    assert books.back == books.held == books.job.share_work


async def test_nothing_but_the_request_reaches_the_model(fake, tmp_path, caplog, monkeypatch):
    """Two customers at once, one of them in private, and every secret this house has."""
    caplog.set_level("DEBUG")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", STRAY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    house = Keys.from_bytes(b"\x11" * 32)
    texts = {"alpha": f"alpha-canary {QUESTION}", "beta": f"beta-canary {QUESTION}"}
    settings = {
        "nostr__secret_key_file": secret_file(tmp_path, "house.key", house.to_nsec()),
        "lightning__lnbits__url": "http://127.0.0.1:1",
        "lightning__lnbits__key_file": secret_file(tmp_path, "lnbits.key", LNBITS_KEY),
        "free_tier__pool_start_sats": POOL_SATS,
    }
    async with serving(tmp_path, fake, **settings) as shop:
        provider = parse_public_key(shop.ready.npub)
        assert provider == house.public_key
        private = Order(text=texts["beta"], provider=provider, encrypt="nip44")
        customers = [Keys.from_bytes(b"\x21" * 32), Keys.from_bytes(b"\x22" * 32)]
        async with (
            shop.sells(texts["alpha"], customers[0]) as one,
            shop.sells(private, customers[1]) as other,
        ):
            await one.hears(Said.RECEIPT)
            await other.hears(Said.RECEIPT)
            told = [await one.hears(Said.PRICE), await other.hears(Said.PRICE)]
    assert len(fake.requests) == 4
    people = [house, *customers]
    private_things = [
        *(keys.to_nsec() for keys in people),
        *(keys.npub for keys in people),
        *(keys.public_key for keys in people),
        (b"\x11" * 32).hex(),
        LNBITS_KEY,
        STRAY,
        str(POOL_SATS),
        str(SIMULATED_BALANCE),
        *(price.bolt11 for price in told),
        one.id,
        other.id,
        str(tmp_path),
    ]
    for request in fake.requests:
        raw = request.raw.decode()
        assert [thing for thing in private_things if thing in raw] == []
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        assert raw.count(API_KEY) == 1
        assert [name for name in texts if f"{name}-canary" in raw] in (["alpha"], ["beta"])
        assert set(request.body) <= {"model", "system", "messages", "max_tokens", "stream"}
    for secret in (API_KEY, LNBITS_KEY, house.to_nsec(), "beta-canary"):
        assert secret not in caplog.text


async def test_the_file_that_init_writes_runs_once_its_owner_named_the_key(fake, tmp_path):
    made = await timmy(tmp_path, "init", "--agent", "anthropic", "--wallet", "simulated")
    assert made.returncode == 0, made.stderr
    assert "agent.anthropic.api_key_file: is needed" in made.stdout
    assert (await timmy(tmp_path, "check-config")).returncode == 2
    key_file = secret_file(tmp_path, "anthropic.key", API_KEY)
    file = tmp_path / "timmy.toml"
    file.write_text(
        edited(
            file.read_text(),
            agent__anthropic__base_url=fake.url,
            agent__anthropic__api_key_file=key_file,
            nostr__relay_port=0,
            http__port=0,
        )
    )
    checked = await timmy(tmp_path, "check-config")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert API_KEY not in checked.stdout
    async with running(tmp_path) as bot:
        async with asking(bot.ready, QUESTION) as errand:
            await SimulatedPurse(bot.ready.http).pay((await errand.hears(Said.PRICE)).bolt11)
            assert (await errand.hears(Said.RESULT)).text == "This is the answer."
        assert await bot.stop() == 0, bot.log
        assert API_KEY not in bot.log
    assert (await timmy(tmp_path, "audit")).returncode == 0


async def test_a_key_in_the_environment_alone_costs_nothing_and_the_log_says_how_to_change_that(fake, tmp_path):
    environ = {"ANTHROPIC_API_KEY": API_KEY, "ANTHROPIC_BASE_URL": fake.url, "TIMMY_HTTP__PORT": "0"}
    async with running(tmp_path, **environ) as bot:
        assert "TIMMY_AGENT__BACKEND=anthropic or `timmy init` changes that" in bot.log
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{bot.ready.http}/api/healthz")).json()["agent"] == "offline"
        async with asking(bot.ready, QUESTION) as errand:
            await SimulatedPurse(bot.ready.http).pay((await errand.hears(Said.PRICE)).bolt11)
            assert "without a language model" in (await errand.hears(Said.RESULT)).text
        assert await bot.stop() == 0, bot.log
        assert API_KEY not in bot.log
    assert fake.requests == []
