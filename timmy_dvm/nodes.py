"""The step of dispatch that sets a node up: begun once it is paid, and ended in a fact whatever happens.

A process that dies leaves the action in the outbox, and the next start does it again from its beginning: of a
stub nothing is left over. Whoever offers real machines has to find those that a dead process may have made first.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from ledger.bootstrap import BootstrapState
from ledger.store import Store
from timmy_dvm.clock import Clock
from timmy_dvm.core.actions import ProvisionNode
from timmy_dvm.core.bootstrap_facts import NodeFailed, NodeProvisioned
from timmy_dvm.engine import SHORT_ID, Engine, insist
from timmy_dvm.log import get_logger
from timmy_dvm.provision.ssh_key import SshKey, make_ssh_key
from timmy_dvm.provision.stub import Node

_FAILED = "The node could not be set up because of a fault on our side: all that you paid is yours to claim."
_KEYS_AT_ONCE = 1
"""A key takes a second of a core, which all others need too."""
log = get_logger("nodes")


class Provisioner(Protocol):
    """Sets nodes up."""

    async def provision(self) -> Node:
        """A node that is there. Whatever it raises means that there is none."""
        ...


class Nodes:
    """Nodes that were paid for, set up one by one.

    Args:
        store: for the order as it stands.
        engine: where outcomes go.
        clock: what time it is.
        provisioner: sets a node up.
        make_key: makes the key to it, in a thread of its own.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        provisioner: Provisioner,
        make_key: Callable[[], SshKey] = make_ssh_key,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._provisioner = provisioner
        self._make_key = make_key
        self._turn = asyncio.Semaphore(_KEYS_AT_ONCE)

    async def provision(self, action_id: int, wanted: ProvisionNode, *, interrupted: bool) -> None:
        """One node to its fact. ``interrupted``: a process that died had begun it."""
        order = await self._store.look(lambda view: view.bootstrap(wanted.bootstrap_id))
        if order is None or order.state is not BootstrapState.PROVISIONING:
            await self._store.finish(action_id)
            return
        await self._store.mark_started(action_id)
        began = "going on provisioning" if interrupted else "starting provisioning"
        log.info(began, action="provisioning", node=wanted.bootstrap_id[:SHORT_ID])
        outcome = await self._outcome(wanted.bootstrap_id)
        await insist(self._engine, self._clock.sleep, outcome, action_id)

    async def _outcome(self, bootstrap_id: str) -> NodeProvisioned | NodeFailed:
        try:
            async with self._turn:
                key = await asyncio.to_thread(self._make_key)
            node = await self._provisioner.provision()
        except Exception:  # whatever a step raises ends in a refund, not in silence
            log.exception("a node could not be set up", action="node_failed", node=bootstrap_id[:SHORT_ID])
            return NodeFailed(bootstrap_id=bootstrap_id, sentence=_FAILED, at=int(self._clock.now()))
        return NodeProvisioned(
            bootstrap_id=bootstrap_id,
            node_ip=node.ip,
            tailscale_hostname=node.tailscale_hostname,
            lnbits_url=node.lnbits_url,
            ssh_private_key=key.private,
            at=int(self._clock.now()),
        )
