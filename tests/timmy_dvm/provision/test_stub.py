"""The stub of a node: two seconds on the clock, an address that nobody has, and steps that can be taken."""

import asyncio
import ipaddress
import re

import pytest

from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.provision.stub import CREDENTIALS, OPS, StubProvisioner

NOWHERE = [ipaddress.ip_network(block) for block in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]


async def provisioned(seed):
    clock = ManualClock()
    setting_up = asyncio.create_task(StubProvisioner(clock, SeededRandomness(seed)).provision())
    await asyncio.sleep(0)
    await clock.advance(1.9)
    assert not setting_up.done()
    await clock.advance(0.2)
    return await asyncio.wait_for(setting_up, 5)


@pytest.mark.parametrize("seed", ["a", "b", "c", "d", "e"])
async def test_a_node_is_at_an_address_that_nobody_has(seed):
    node = await provisioned(seed)
    address = ipaddress.ip_address(node.ip)
    assert any(address in block for block in NOWHERE)
    assert address not in {block.network_address for block in NOWHERE} | {
        block.broadcast_address for block in NOWHERE
    }
    assert node.lnbits_url == f"http://{node.ip}:5000"
    assert re.fullmatch(r"timmy-node-[0-9a-f]{8}", node.tailscale_hostname)


async def test_the_next_steps_name_only_files_that_a_node_has():
    node = await provisioned("steps")
    paths = {path for step in node.next_steps for path in re.findall(r"/\S+", step)}
    assert paths == {OPS, CREDENTIALS}
    assert (
        "Monitor Bitcoin sync (takes 1-2 weeks to reach 100%): bash /opt/timmy-node/ops.sh sync" in node.next_steps
    )
