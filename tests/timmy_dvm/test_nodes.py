"""A node is begun once it is paid and ends in one fact, whatever its provisioner does."""

import logging

import pytest

from ledger.records import NewAction
from ledger.sqlite import open_ledger
from tests.ledger.books import applied
from tests.ledger.store_contract_bootstrap import NODE, at, in_state
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.actions import ProvisionNode
from timmy_dvm.core.bootstrap_facts import NodeFailed, NodeProvisioned
from timmy_dvm.nodes import Nodes
from timmy_dvm.provision.ssh_key import SshKey
from timmy_dvm.provision.stub import Node

A_NODE = Node(ip="192.0.2.7", tailscale_hostname="node", lnbits_url="http://192.0.2.7:5000", next_steps=())
WANTED = ProvisionNode(bootstrap_id=NODE)


class Engine:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list = []

    async def handle(self, fact, *, done=None):
        self.told.append((fact, done))


class Provisioner:
    """Makes a node, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.begun = 0

    async def provision(self) -> Node:
        self.begun += 1
        if self.error is not None:
            raise self.error
        return A_NODE


def a_key() -> SshKey:
    return SshKey("private", "public")


def no_key() -> SshKey:
    raise RuntimeError("no randomness")


@pytest.fixture
async def store():
    store = open_ledger("sqlite:///:memory:")
    yield store
    await store.close()


async def outcome(store, state, provisioner, make_key=a_key, *, interrupted=False):
    """What the engine is told, and whether the action is still in the outbox."""
    await in_state(store, state)
    made = await applied(store, actions=(NewAction(kind="ProvisionNode", job_id=None, body="{}"),))
    engine = Engine()
    step = Nodes(store, engine, ManualClock(), provisioner, make_key)
    await step.provision(made.actions[0].id, WANTED, interrupted=interrupted)
    return engine.told, await store.pending()


async def test_a_node_that_is_there_is_told_with_its_key(store):
    told, pending = await outcome(store, "provisioning", Provisioner())
    ((fact, done),) = told
    assert isinstance(fact, NodeProvisioned)
    assert (fact.node_ip, fact.ssh_private_key, done) == ("192.0.2.7", "private", pending[0].id)
    assert pending[0].started


@pytest.mark.parametrize(
    ("error", "make_key"), [(OSError("no machine"), a_key), (None, no_key)], ids=["no machine", "no key"]
)
async def test_boo_20_whatever_a_step_raises_is_a_failure_and_says_nothing_of_it(store, error, make_key):
    ((fact, _),), _ = await outcome(store, "provisioning", Provisioner(error), make_key)
    assert isinstance(fact, NodeFailed)
    assert "machine" not in fact.sentence
    assert "randomness" not in fact.sentence


@pytest.mark.parametrize("state", ["awaiting_payment", "ready", "failed", "expired"])
async def test_what_is_not_to_be_set_up_is_not(store, state):
    provisioner = Provisioner()
    told, pending = await outcome(store, state, provisioner)
    assert (told, list(pending), provisioner.begun) == ([], [], 0)
    assert str((await at(store)).state) == state


@pytest.mark.parametrize(("interrupted", "words"), [(False, "starting"), (True, "going on")])
async def test_boo_05_the_log_says_once_that_it_starts(store, caplog, interrupted, words):
    """LOG-03."""
    with caplog.at_level(logging.INFO):
        await outcome(store, "provisioning", Provisioner(), interrupted=interrupted)
    told = [one.getMessage() for one in caplog.records if one.name == "timmy.nodes"]
    assert told == [f"{words} provisioning"]
