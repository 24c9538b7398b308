"""The HTTP door, put together for `app`: what its routes work with, one router for each resource. No rules."""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from lightning import lnurl
from timmy_dvm.building import admin_token_of, previous_token_secret_of, token_secret_of, tokens_of
from timmy_dvm.claims import Claims
from timmy_dvm.config import Config
from timmy_dvm.gauges import Gauges
from timmy_dvm.http import (
    bootstrap,
    demo,
    dev_pay,
    events,
    giving,
    health,
    identity,
    jobs,
    l402_door,
    metrics,
    node_status,
    prices,
    refunds,
    testkit,
    world,
)
from timmy_dvm.http import sessions as session_routes
from timmy_dvm.http.access import AccessLog
from timmy_dvm.http.addresses import Addresses
from timmy_dvm.http.admins import Admins
from timmy_dvm.http.app import create_app, knowing
from timmy_dvm.http.auth import Callers
from timmy_dvm.http.cors import Cors
from timmy_dvm.http.crowd import Crowd
from timmy_dvm.http.dev_pay import PaidHow, Pay, Receipt
from timmy_dvm.http.giving import POOL_NAME, Giving
from timmy_dvm.http.heads import Heads
from timmy_dvm.http.idempotency import Idempotency
from timmy_dvm.http.limits import Limits
from timmy_dvm.http.logins import Logins
from timmy_dvm.http.node_status import NodeStatus
from timmy_dvm.http.open_places import OpenPlaces
from timmy_dvm.http.pages import Visitors, pages_router
from timmy_dvm.http.pages.bills import bills_of
from timmy_dvm.http.server import Gate, Server, make_server
from timmy_dvm.http.services import Services
from timmy_dvm.http.session_keys import SessionKeys
from timmy_dvm.http.session_work import Look, Sessions
from timmy_dvm.http.streams import Streams
from timmy_dvm.http.watching import Watchers
from timmy_dvm.nostr.hand_in import HandIn
from timmy_dvm.partials import Partials
from timmy_dvm.payments import Payments
from timmy_dvm.prices import PriceSource
from timmy_dvm.relay_door import Ground
from timmy_dvm.solvency import Watchdog


def services_of(ground: Ground, btc_price: PriceSource, partials: Partials, public_url: str) -> Services:
    """What the routes work with; it hears from here on what is written."""
    config, clock, randomness = ground.config, ground.clock, ground.randomness
    watchers = Watchers()
    open_places = OpenPlaces(config.limits.open_jobs_per_address)
    ground.engine.listen(watchers.applied)
    ground.engine.listen(open_places.applied)
    tokens, addresses = tokens_of(config, clock, randomness, public_url), _addresses(config)
    return Services(
        engine=ground.engine,
        store=ground.store,
        policy=ground.policy,
        prices=btc_price,
        clock=clock,
        randomness=randomness,
        partials=partials,
        watchers=watchers,
        callers=Callers(tokens, public_url, clock, addresses),
        logins=Logins(tokens, public_url, clock, randomness),
        addresses=addresses,
        idempotency=Idempotency(ground.store, clock, randomness, addresses),
        open_places=open_places,
        streams=Streams(config.limits.connections),
        network=ground.wallet.network,
        public_url=public_url,
    )


def sessions_of(ground: Ground, services: Services, look: Look) -> Sessions:
    """What the routes of sessions work with; ``look`` reads our wallet's record of an invoice."""
    secret, previous = token_secret_of(ground.config, ground.randomness), previous_token_secret_of(ground.config)
    keys = SessionKeys(secret, ground.clock, previous)
    return Sessions(services=services, keys=keys, look=look, claims=claims_of(ground))


def claims_of(ground: Ground) -> Claims:
    """Takes claims of refunds."""
    return Claims(
        ground.engine,
        ground.store,
        ground.policy,
        ground.clock,
        network=ground.wallet.network,
        secret=token_secret_of(ground.config, ground.randomness),
        previous=previous_token_secret_of(ground.config),
    )


def giving_of(ground: Ground) -> Giving | None:
    """How the pool is given to, by whoever wants; None where our wallet can't commit to what a gift is for."""
    if not ground.wallet.caps.description_hash:
        return None
    places = OpenPlaces(giving.GIFTS_PER_ADDRESS, "gifts")
    ground.engine.listen(places.applied)
    ground.engine.listen(giving.tell)
    return Giving(
        name=lnurl.name_at_home(ground.config.nostr.name),
        public_key=ground.keys.public_key,
        relays=ground.pool.urls,
        places=places,
    )


def routers_of(
    services: Services,
    sessions: Sessions,
    claims: Claims,
    hand_in: HandIn,
    show_health: Callable[[], Awaitable[dict[str, Any]]],
    pay: Pay | None,
    gifts: Giving | None,
) -> list[APIRouter]:
    """All routes, in the order of the API's description."""
    routers = [
        jobs.routes(services),
        refunds.routes(services, claims),
        l402_door.routes(sessions),
        session_routes.routes(sessions),
        bootstrap.routes(services, claims),
        events.routes(services, hand_in),
        identity.routes(services),
        prices.routes(services),
        health.routes(show_health),
        testkit.routes(services),
    ]
    if gifts is not None:
        routers.append(giving.routes(services, gifts))
    if pay is not None:
        routers.append(dev_pay.routes(pay))
    return [knowing(services.callers, routers)]


def pages_of(ground: Ground, services: Services) -> APIRouter:
    """What a visitor with a browser sees. Only a simulated wallet is ever paid with play money."""
    config = ground.config
    # A wallet elsewhere can't pay a simulated one.
    is_open = ground.wallet.caps.description_hash and config.lightning.backend != "simulated"
    pool = lnurl.address_at(POOL_NAME, services.public_url) if is_open else None
    visitors = Visitors(
        npub=ground.keys.npub,
        relays=tuple(ground.pool.urls),
        request_chars=config.limits.request_chars,
        play_money=config.pay_route and config.lightning.backend == "simulated",
        workshop=True,
        described=True,
        pool_address=pool,
        pool_lnurl="" if pool is None else lnurl.encode(lnurl.address_url(pool)),
    )
    return pages_router(visitors, bills_of(services))


def description() -> dict[str, Any]:
    """The port's whole description, the developers' route included; nothing is built or opened for it."""
    absent: Any = _Absent()
    routers = routers_of(absent, absent, absent, absent, absent, _nobody_pays, absent)
    routers += [
        demo.routes(absent, absent, absent),
        world.routes(absent, absent, absent, address_of=absent, origins=frozenset()),
        node_status.routes(absent, absent),
    ]
    return create_app(routers, lambda: "").openapi()


class _Absent:
    """In place of all that routes are given: they use it only when they serve."""

    def __getattr__(self, name: str) -> "_Absent":
        return self


async def _nobody_pays(_: str) -> Receipt:
    return Receipt(PaidHow.UNKNOWN)


@dataclass(frozen=True, slots=True)
class OperatorSide:
    """What only the operator sees: ``show`` is the status. ``new_id`` numbers mistakes of ours, counted there."""

    routers: tuple[APIRouter, ...]
    new_id: Callable[[], str]
    show: node_status.Show


def operator_side(ground: Ground, payments: Payments, watchdog: Watchdog) -> OperatorSide:
    """Status and metrics, which count from here on what is written."""
    config, clock = ground.config, ground.clock
    admins = Admins(admin_token_of(config), is_public=config.is_public)
    status = NodeStatus(config, ground.wallet, ground.pool, payments, watchdog, clock)
    gauges = Gauges(ground.store, ground.pool, payments, watchdog, clock)
    ground.engine.listen(gauges.applied)
    routers = (node_status.routes(status.show, admins), metrics.routes(gauges.show, admins))
    return OperatorSide(routers, gauges.numbered(ground.randomness.new_id), status.show)


def server_of(ground: Ground, routers: Sequence[APIRouter], new_id: Callable[[], str]) -> Server:
    """The port, behind its limits."""
    limits, addresses = ground.config.limits, _addresses(ground.config)
    app = create_app(routers, new_id)
    limited = Limits(app, header_bytes=limits.header_bytes, body_bytes=limits.body_bytes)
    shared = Crowd(Heads(limited), addresses, limits.connections_per_address)
    return make_server(
        AccessLog(Cors(shared, ground.config.http.cors_origins), ground.clock),
        Gate(
            read_s=limits.read_seconds,
            connections=limits.connections,
            per_address=limits.connections_per_address,
            bucket=addresses.peer_bucket,
        ),
        header_bytes=limits.header_bytes,
    )


def _addresses(config: Config) -> Addresses:
    return Addresses([ipaddress.ip_network(text) for text in config.http.trusted_proxies])
