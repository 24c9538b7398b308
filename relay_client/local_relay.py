"""The embedded relay: NIP-01, 09, 11, 40 and 42, in memory, on loopback.

It is what `timmy run` uses without a configuration, what `timmy demo` talks over, and what tests talk to.

    async with LocalRelay() as relay:
        ...  # relay.url is ws://127.0.0.1:<a free port>

It believes nobody: every event is proved before it is stored, frames are bounded, memory is bounded, a
reader that does not keep up is cut off. It is for one machine: it refuses to listen elsewhere unless told to,
and refuses web pages of other sites, which could otherwise reach a loopback port through a visitor's browser.
"""

import asyncio
import dataclasses
import hmac
import http
import ipaddress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, assert_never
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from relay_client import wire
from relay_client.dial import CLOSE_TIMEOUT_S, Outside
from relay_client.errors import InvalidEvent, InvalidFilter, InvalidFrame, InvalidRelayUrl
from relay_client.event import MAX_EVENT_BYTES, MAX_TAGS, Event, is_expired
from relay_client.filter import Filter
from relay_client.local_relay_journal import Journal
from relay_client.local_relay_store import MAX_AHEAD_S, EventStore
from relay_client.session import KIND_CLIENT_AUTH

AUTH_WINDOW_S: Final = 600
"""How far an AUTH event's date may be from ours (NIP-42: "within ~10 minutes")."""
_FRAMES_PER_TURN: Final = 64
_WRITE_BUFFER_BYTES: Final = 262_144


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """A bound on everything a client can make the relay hold or do.

    Attributes:
        frame_bytes: a longer message ends its connection.
        connections: at one time.
        subscriptions: of one connection.
        filters: of one subscription.
        limit: stored events sent for one filter.
        events: kept in memory.
        stored_bytes: of all events kept.
        unsent_bytes: waiting for one reader; one that lets more pile up is cut off.
    """

    frame_bytes: int = MAX_EVENT_BYTES + 1_024
    connections: int = 200
    subscriptions: int = 32
    filters: int = 10
    limit: int = 5_000
    events: int = 20_000
    stored_bytes: int = 67_108_864
    unsent_bytes: int = 8_388_608


class _ClaimedId(msgspec.Struct):
    id: str


@dataclasses.dataclass(slots=True, eq=False)
class _Client:
    ws: ServerConnection
    challenge: str
    subscriptions: dict[str, tuple[Filter, ...]] = dataclasses.field(default_factory=dict)
    is_authenticated: bool = False


class LocalRelay:
    """A relay in this process.

    Args:
        host: where to listen; an address of this machine's loopback.
        port: 0 takes a free one.
        public: allow another `host`.
        any_origin: serve web pages of any site, not only of this machine.
        require_auth: serve nobody who has not said who they are (NIP-42).
        limits: bounds.
        journal: a file that keeps the events for the next start; None forgets them.
        outside: clock and randomness.

    Raises:
        ValueError: `host` is not loopback and `public` is not set.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        public: bool = False,
        any_origin: bool = False,
        require_auth: bool = False,
        limits: RelayLimits | None = None,
        journal: Path | None = None,
        outside: Outside | None = None,
    ) -> None:
        if not (public or _is_loopback(host)):
            raise ValueError(f"the embedded relay listens on loopback only; {host} needs to be allowed explicitly")
        self._host = host
        self._port = port
        self._any_origin = any_origin
        self._require_auth = require_auth
        self._limits = limits or RelayLimits()
        self._outside = outside or Outside()
        self._store = EventStore(self._limits.events, self._limits.stored_bytes, self._limits.limit)
        self._journal = None if journal is None else Journal(journal, self._limits.events)
        self._clients: set[_Client] = set()
        self._transports: set[asyncio.Transport] = set()
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """Where it listens, as `ws://host:port`; known after `start`."""
        return f"ws://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"

    def __len__(self) -> int:
        return len(self._store)

    async def start(self) -> None:
        """Read the journal, then listen.

        Raises:
            OSError: the port is taken, or the journal cannot be read.
        """
        if self._journal is not None:
            await asyncio.to_thread(self._load, self._journal)
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            compression=None,
            process_request=self._answer_http,
            close_timeout=CLOSE_TIMEOUT_S,
            create_connection=_tracked_in(self._transports),
            max_size=self._limits.frame_bytes,
            write_limit=_WRITE_BUFFER_BYTES,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Say goodbye to everybody and close, within `CLOSE_TIMEOUT_S`. It may be started again, same port."""
        if self._server is not None:
            self._server.close()
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._server.wait_closed()
            except TimeoutError:
                for transport in self._transports:
                    transport.abort()
                await self._server.wait_closed()
            self._server = None
        if self._journal is not None:
            self._journal.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _load(self, journal: Journal) -> None:
        for event in journal.load():
            self._store.add(event, event.to_json(), self._now())
        journal.rewrite(self._store.texts())

    def _now(self) -> int:
        return int(self._outside.unix_time())

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Serve what is no websocket (NIP-11) and turn away whom we do not want; None lets in."""
        if "application/nostr+json" in request.headers.get("Accept", ""):
            response = connection.respond(http.HTTPStatus.OK, self._description())
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/nostr+json"
            # NIP-11: browsers of any site may read the description.
            for name in ("Origin", "Headers", "Methods"):
                response.headers[f"Access-Control-Allow-{name}"] = "*"
            return response
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            return connection.respond(http.HTTPStatus.OK, f"A Nostr relay: connect a client to {self.url}\n")
        origin = request.headers.get("Origin")
        if origin is not None and not self._any_origin and not _is_page_of_this_machine(origin):
            return connection.respond(http.HTTPStatus.FORBIDDEN, "Pages of other sites are not served.\n")
        if len(self._clients) >= self._limits.connections:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections.\n")
        return None

    def _description(self) -> str:
        limits = self._limits
        description = {
            "name": "Timmy's embedded relay",
            "description": "Events in memory, for one machine.",
            "supported_nips": [1, 9, 11, 40, 42],
            "software": "timmy-dvm",
            "limitation": {
                "max_message_length": limits.frame_bytes,
                "max_subscriptions": limits.subscriptions,
                "max_limit": limits.limit,
                "max_subid_length": wire.MAX_SUBSCRIPTION_ID_CHARS,
                "max_event_tags": MAX_TAGS,
                "auth_required": self._require_auth,
                "payment_required": False,
                "created_at_upper_limit": MAX_AHEAD_S,
            },
        }
        return msgspec.json.encode(description).decode()

    async def _serve(self, ws: ServerConnection) -> None:
        """One client, until it goes."""
        client = _Client(ws, self._outside.entropy(16).hex())
        self._clients.add(client)
        frames = 0
        try:
            if self._require_auth:
                await ws.send(wire.relay_message("AUTH", client.challenge))
            while True:
                frame = await ws.recv(decode=False)
                for text in self._answer(client, frame):
                    await _send(ws, text)
                frames += 1
                if frames % _FRAMES_PER_TURN == 0:
                    await asyncio.sleep(0)  # frames that are here already come without a pause
        except ConnectionClosed:
            return
        finally:
            self._clients.discard(client)

    def _answer(self, client: _Client, frame: bytes) -> list[str]:
        try:
            message = wire.decode_client_message(frame)
        except InvalidFrame as error:
            return [wire.relay_message("NOTICE", f"invalid: {error}")]
        match message:
            case wire.ClientEvent(raw):
                return [self._on_event(client, raw)]
            case wire.ClientReq():
                return self._on_req(client, message)
            case wire.ClientClose(sub_id):
                client.subscriptions.pop(sub_id, None)
                return []
            case wire.ClientAuth(raw):
                return [self._on_auth(client, raw)]
        assert_never(message)

    def _on_event(self, client: _Client, raw: bytes) -> str:
        try:
            event = Event.from_wire(raw)
        except InvalidEvent as error:
            return _refusal(raw, f"invalid: {error}")
        if self._require_auth and not client.is_authenticated:
            return wire.relay_ok_message(event.id, False, "auth-required: say who you are first (NIP-42)")
        text = event.to_json()
        verdict = self._store.add(event, text, self._now())
        if verdict.is_stored and self._journal is not None and self._journal.append(text):
            self._journal.rewrite(self._store.texts())
        if verdict.is_new:
            self._pass_on(event, text)
        return wire.relay_ok_message(event.id, verdict.accepted, verdict.reason)

    def _pass_on(self, event: Event, text: str) -> None:
        """To all who asked, without waiting for any: a slow reader must not hold up a writer."""
        for client in self._clients:
            for sub_id, filters in client.subscriptions.items():
                if any(filter_.matches(event) for filter_ in filters):
                    broadcast((client.ws,), wire.relay_event_message(sub_id, text))
                    if client.ws.transport.get_write_buffer_size() > self._limits.unsent_bytes:
                        client.ws.transport.abort()

    def _on_req(self, client: _Client, req: wire.ClientReq) -> list[str]:
        sub_id = req.subscription
        refusal = self._why_not(client, req)
        if refusal is not None:
            client.subscriptions.pop(sub_id, None)
            return [wire.relay_message("CLOSED", sub_id[: wire.MAX_SUBSCRIPTION_ID_CHARS], refusal)]
        try:
            filters = req.read_filters()
        except InvalidFilter as error:
            client.subscriptions.pop(sub_id, None)
            return [wire.relay_message("CLOSED", sub_id, f"invalid: {error}")]
        client.subscriptions[sub_id] = filters
        stored = self._store.query(filters, self._now())
        texts = [wire.relay_event_message(sub_id, one.text) for one in stored]
        return [*texts, wire.relay_message("EOSE", sub_id)]

    def _why_not(self, client: _Client, req: wire.ClientReq) -> str | None:
        if self._require_auth and not client.is_authenticated:
            return "auth-required: say who you are first (NIP-42)"
        if not 0 < len(req.subscription) <= wire.MAX_SUBSCRIPTION_ID_CHARS:
            return f"invalid: a subscription id has 1 to {wire.MAX_SUBSCRIPTION_ID_CHARS} characters"
        if len(req.filters) > self._limits.filters:
            return f"invalid: at most {self._limits.filters} filters; ask in several subscriptions"
        if req.subscription not in client.subscriptions and (
            len(client.subscriptions) >= self._limits.subscriptions
        ):
            return f"blocked: at most {self._limits.subscriptions} subscriptions; close one first"
        return None

    def _on_auth(self, client: _Client, raw: bytes) -> str:
        """NIP-42: the right kind, now, for this relay, for this connection's challenge."""
        try:
            event = Event.from_wire(raw)
        except InvalidEvent as error:
            return _refusal(raw, f"invalid: {error}")
        challenge = next(iter(event.tag_values("challenge")), "")
        is_ours = (
            event.kind == KIND_CLIENT_AUTH
            and abs(event.created_at - self._now()) <= AUTH_WINDOW_S
            and not is_expired(event, self._now())
            and hmac.compare_digest(challenge.encode(), client.challenge.encode())
            and self._is_me(next(iter(event.tag_values("relay")), ""))
        )
        client.is_authenticated = client.is_authenticated or is_ours
        return wire.relay_ok_message(event.id, is_ours, "" if is_ours else "invalid: this proves nothing to us")

    def _is_me(self, url: str) -> bool:
        try:
            return wire.parse_relay_url(url) == wire.parse_relay_url(self.url)
        except InvalidRelayUrl:
            return False


def _tracked_in(transports: set[asyncio.Transport]) -> type[ServerConnection]:
    """Connections whose sockets stand in that set while they are open, so that stopping can cut them all.

    `websockets` itself waits for clients that connect and say nothing, and for those that read nothing.
    """

    class Tracked(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            transports.add(self.transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.discard(self.transport)
            super().connection_lost(exc)

    return Tracked


async def _send(ws: ServerConnection, text: str) -> None:
    """Send without waiting as long as the socket takes it; an unread answer holds up its own reader only."""
    if ws.transport.get_write_buffer_size() < _WRITE_BUFFER_BYTES:
        broadcast((ws,), text)
    else:
        await ws.send(text)


def _refusal(raw: bytes, reason: str) -> str:
    """OK false with the id the event claims, so that the sender knows which; NOTICE if it claims none."""
    try:
        claimed = msgspec.json.decode(raw, type=_ClaimedId).id
    except (ValueError, RecursionError):
        return wire.relay_message("NOTICE", reason)
    return wire.relay_ok_message(claimed[:64], False, reason)


def _is_page_of_this_machine(origin: str) -> bool:
    try:
        return _is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
