"""``/api/bootstrap``: a Bitcoin node for a fee. Ordered, looked at; its money claimed back where there is none.

Whoever knows an order's id holds it: it can't be guessed. Looking changes nothing but the one thing that the
first who looks at a node that is ready gets its key.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from ledger.bootstrap import BootstrapRecord, BootstrapState
from ledger.money import sats_down, sats_up
from ledger.records import Applied, RefundRecord
from ledger.store import View
from timmy_dvm.claims import Claims
from timmy_dvm.core.actions import Refused
from timmy_dvm.core.bootstrap_facts import BootstrapAsked
from timmy_dvm.core.refunds import CLAIMABLE, IN_FLIGHT, shown_state
from timmy_dvm.http.bootstrap_answers import CLAIMED, MADE, SHOWN
from timmy_dvm.http.description import ASKER
from timmy_dvm.http.faults import Fault, refused
from timmy_dvm.http.idempotency import Seed
from timmy_dvm.http.jobs import INVOICE_S
from timmy_dvm.http.refunds import PAID_S
from timmy_dvm.http.services import Services
from timmy_dvm.http.session_work import REFUSED_BEFORE, no_invoice, why
from timmy_dvm.http.watching import Watch
from timmy_dvm.http.wire import NodeRefundWanted, NodeWanted, said
from timmy_dvm.provision.stub import next_steps

BootstrapId = Annotated[str, Path(max_length=64)]
_MESSAGES: Final = {
    BootstrapState.AWAITING_PAYMENT: "Pay the invoice: the node is set up as soon as it is paid.",
    BootstrapState.PROVISIONING: "The fee is paid and the node is being set up: look again in a moment.",
    BootstrapState.READY: "The node is ready: do what nextSteps says.",
    BootstrapState.FAILED: "There is no node: errorMessage says why.",
    BootstrapState.EXPIRED: "The invoice was not paid in time: order again with POST /api/bootstrap.",
}
_CLAIM: Final = "What claimableSats names is yours: send a BOLT11 for exactly that sum to the refund route."
_KEY_NOTE: Final = (
    "The private key was handed out with the first answer after the node was ready, and is kept nowhere."
)


@dataclass(frozen=True, slots=True)
class Books:
    """An order as it stands."""

    order: BootstrapRecord
    refunds: tuple[RefundRecord, ...]


def routes(services: Services, claims: Claims) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["nodes"])

    @router.post("/api/bootstrap", status_code=201, responses=MADE, openapi_extra=ASKER)
    async def start(wanted: NodeWanted, request: Request) -> Response:
        """Order a Bitcoin node: 201 with the invoice of its fee."""
        pubkey = await services.asker(request, wanted.nostr_token)

        async def work(seed: Seed) -> Response:
            books = await _ordered(services, pubkey, services.addresses.bucket(request), seed)
            return said(await _shown(services, books), 201)

        return await services.idempotency.answer(request, pubkey, work)

    @router.get("/api/bootstrap/{bootstrap_id}", responses=SHOWN)
    async def show(bootstrap_id: BootstrapId) -> Response:
        """An order as it stands. The first answer of a node that is ready holds its private key."""
        books = await found(services, bootstrap_id)
        if books.order.payment_hash is None and books.order.state is BootstrapState.AWAITING_PAYMENT:
            books = await _invoiced(services, bootstrap_id) or books
        view = await _shown(services, books)
        if books.order.state is BootstrapState.READY:
            view |= await _key(services, books.order)
        return said(view)

    @router.post("/api/bootstrap/{bootstrap_id}/refund", responses=CLAIMED)
    async def claim(bootstrap_id: BootstrapId, wanted: NodeRefundWanted, request: Request) -> Response:
        """Have what is held of an order's money paid to a BOLT11 for exactly its sum."""
        books = await found(services, bootstrap_id)

        async def work(_: Seed) -> Response:
            row = await _claimed(services, claims, bootstrap_id, wanted.invoice)
            tier = str(await services.tier_of(books.order.pubkey))
            paid = {"refundState": shown_state((row,)), "refundAmountSats": sats_down(row.sendable)}
            return said({**paid, "trust_tier": tier})

        return await services.idempotency.answer(request, bootstrap_id, work)

    return router


def _read(view: View, bootstrap_id: str) -> Books | None:
    order = view.bootstrap(bootstrap_id)
    return None if order is None else Books(order, tuple(view.refunds_of_bootstrap(bootstrap_id)))


async def found(services: Services, bootstrap_id: str) -> Books:
    """An order by its id.

    Raises:
        Fault: 404, there is none.
    """
    books = await services.store.look(lambda view: _read(view, bootstrap_id))
    if books is None:
        raise Fault(
            404, "unknown_node", "There is no such order: check its id, or order with POST /api/bootstrap."
        )
    return books


async def _ordered(services: Services, pubkey: str | None, address: str, seed: Seed) -> Books:
    """An order that was made, with its invoice.

    Raises:
        Fault: it is refused, or our wallet makes no invoice just now.
    """
    for attempt in range(REFUSED_BEFORE):
        bootstrap_id = seed.id(f"bootstrap-{attempt}")
        fact = BootstrapAsked(bootstrap_id=bootstrap_id, pubkey=pubkey, at=services.now())
        services.open_places.take(address, bootstrap_id)
        try:
            books = await _made(services, fact)
        except BaseException:
            services.open_places.leave(bootstrap_id)
            raise
        if books is None:
            services.open_places.leave(bootstrap_id)
            continue  # this id was used, and refused: the key is tried again
        if books.order.state is not BootstrapState.AWAITING_PAYMENT:
            services.open_places.leave(bootstrap_id)
        return books
    raise Fault(409, "refused_before", "This was refused many times: take a fresh Idempotency-Key.")


async def _made(services: Services, fact: BootstrapAsked) -> Books | None:
    """The order, with its invoice; None where this very fact was refused before."""
    outcome, messages = await services.engine.ask(fact)
    if isinstance(outcome, Applied) and outcome.change.bootstrap is None:
        raise refused(why(messages))
    return await _invoiced(services, fact.bootstrap_id)


async def _invoiced(services: Services, bootstrap_id: str) -> Books | None:
    """An order once our wallet has made its invoice; None where there is no such order.

    Raises:
        Fault: our wallet makes none just now.
    """
    with services.watchers.watching(bootstrap_id) as watch:
        try:
            async with asyncio.timeout(INVOICE_S):
                while (books := await services.store.look(lambda view: _read(view, bootstrap_id))) is not None:
                    if books.order.payment_hash is not None:
                        return books
                    if books.order.state is not BootstrapState.AWAITING_PAYMENT:
                        raise no_invoice()
                    await watch.change()
        except TimeoutError:
            raise no_invoice() from None
    return None


async def _shown(services: Services, books: Books) -> dict[str, object]:
    order = books.order
    view: dict[str, object] = {
        "bootstrapJobId": order.id,
        "state": str(order.state),
        "amountSats": sats_up(order.amount),
        "paymentHash": order.payment_hash,
        "paymentRequest": order.payment_request,
        "stubMode": True,
        "message": _MESSAGES[order.state],
        "trust_tier": str(await services.tier_of(order.pubkey)),
    }
    if order.state is BootstrapState.READY and order.node_ip is not None:
        view |= {
            "nodeIp": order.node_ip,
            "tailscaleHostname": order.tailscale_hostname,
            "lnbitsUrl": order.lnbits_url,
            "nextSteps": next_steps(order.node_ip),
        }
    if order.error_message is not None:
        view["errorMessage"] = order.error_message
    if books.refunds:
        view |= _goes_back(books.refunds)
    if view.get("claimableSats"):
        view["message"] = f"{_MESSAGES[order.state]} {_CLAIM}"
    return view


def _goes_back(refunds: tuple[RefundRecord, ...]) -> dict[str, object]:
    claimable = [sats_down(row.sendable) for row in refunds if row.state in CLAIMABLE]
    return {
        "refundState": shown_state(refunds),
        "refundAmountSats": sum(sats_down(row.amount) for row in refunds),
        "claimableSats": claimable,
        "refunds": [
            {"amountSats": sats_down(row.amount), "state": str(row.state), "reason": row.reason} for row in refunds
        ],
    }


async def _key(services: Services, order: BootstrapRecord) -> dict[str, object]:
    """The private key to whoever is first, and to all others where it went."""
    key = None if order.ssh_key_delivered else await services.store.take_ssh_key(order.id)
    return {"sshKeyNote": _KEY_NOTE} if key is None else {"sshPrivateKey": key}


async def _claimed(services: Services, claims: Claims, bootstrap_id: str, invoice: str) -> RefundRecord:
    with services.watchers.watching(bootstrap_id) as watch:
        row = await claims.claim_of_node(bootstrap_id, invoice)
        if isinstance(row, Refused):
            raise refused(row)
        try:
            async with asyncio.timeout(PAID_S):
                return await _settled(services, row, watch)
        except TimeoutError:
            return await _now(services, row)  # it is on its way, and the order tells when it has arrived


async def _settled(services: Services, row: RefundRecord, watch: Watch) -> RefundRecord:
    while (row := await _now(services, row)).state in IN_FLIGHT:
        await watch.change()
    return row


async def _now(services: Services, row: RefundRecord) -> RefundRecord:
    newest = await services.store.look(lambda view: view.refund(row.id))
    return row if newest is None else newest
