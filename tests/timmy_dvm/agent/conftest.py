"""A Claude agent on the real SDK, in front of a Messages API that does what a test tells it."""

import asyncio

import pytest

from tests.anthropic_server import FakeAnthropic
from timmy_dvm.agent.claude import ClaudeAgent
from timmy_dvm.agent.runner import AgentError, Task

KEY = "sk-ant-canary-0123456789"
TASK = Task("What is a relay?", 400)


class Waits(list[float]):
    """Stands in for sleeping: remembers how long, and waits not at all."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def fake():
    async with FakeAnthropic() as server:
        yield server


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def stall_s() -> float:
    return 30


@pytest.fixture
async def agent(fake, waits, stall_s, monkeypatch):
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "PROFILE", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    made = ClaudeAgent(KEY, base_url=fake.url, sleep=waits, jitter=lambda: 1.0, stall_s=stall_s)
    await made.load()
    yield made
    await made.aclose()


async def work_fails(agent: ClaudeAgent, task: Task = TASK, deadline_s: float = 30, **more) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await agent.work(task, deadline_s=deadline_s, **more)
    return caught.value
