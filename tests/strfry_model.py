"""What strfry accepts by its defaults: as a judge of texts, and as a relay on loopback that judges so.

Most public relays run strfry. Each rule was read in hoytech/strfry at f8a56a8 (2026-08-20) and, for how it writes
JSON, in taocpp/json; the file stands beside the rule. What strfry takes, others take too: nostr-rs-relay stores
131,072 bytes, and no other relay limits a tag of one letter.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import coincurve
import msgspec

from relay_client import wire
from relay_client.local_relay import LocalRelay, RelayLimits

# strfry.conf
MAX_EVENT_BYTES = 65_536
NEWER_S = 900
OLDER_S = 94_608_000
OLDER_EPHEMERAL_S = 60
MAX_TAGS = 2_000
MAX_TAG_BYTES = 1_024
MAX_FRAME_BYTES = 131_072
MAX_FILTERS = 200
MAX_LIMIT = 500
MAX_TAGS_PER_FILTER = 3
MAX_SUBSCRIPTIONS = 200
# src/constants.h
MAX_SUBSCRIPTION_ID_BYTES = 64
MAX_INDEXED_BYTES = 255
# src/events.cpp, src/EventUtils.h
SHORTEST_EXPIRATION = 100
EPHEMERAL = range(20_000, 30_000)
KIND_DELETION = 5

LIMITS = RelayLimits(
    frame_bytes=MAX_FRAME_BYTES, filters=MAX_FILTERS, limit=MAX_LIMIT, subscriptions=MAX_SUBSCRIPTIONS
)
_SHORT_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED = re.compile(r'[\x00-\x1f\x7f"\\]')
_is_hex = re.compile(r"(?:[0-9a-fA-F]{2})*").fullmatch
_HEX_KEY_CHARS = 64


class Refused(Exception):
    """Why, in strfry's words."""


def refusal(text: str, now: int) -> str | None:
    """Why strfry refuses an event, as its OK says it; None where it takes it. `now` is in Unix seconds."""
    event = msgspec.json.decode(text)
    try:
        _judge(event, now)
    except Refused as why:
        return f"invalid: {why}"
    except KeyError as missing:
        return f"invalid: no {missing}"
    # src/apps/relay/RelayIngester.cpp: NIP-70
    return "blocked: event marked as protected" if any(tag[0] == "-" for tag in event["tags"]) else None


def refusal_of_filters(subscription: str, filters: list[Any]) -> str | None:
    """Why strfry refuses a REQ; None where it takes it."""
    try:
        _judge_request(subscription, filters)
    except Refused as why:
        return f"bad req: {why}"
    return None


def _must(holds: object, why: str) -> None:
    if not holds:
        raise Refused(why)


def _judge(event: Any, now: int) -> None:
    """src/events.cpp: parseAndVerifyEvent, in its order."""
    _must(isinstance(event, dict), "event is not an object")
    expiration = _read(event)
    _check_time(event, expiration, now)
    _check_proof(event)
    known = {name: event[name] for name in ("content", "created_at", "id", "kind", "pubkey", "sig", "tags")}
    _must(len(_written(known).encode()) <= MAX_EVENT_BYTES, "event too large")


def _read(event: dict[str, Any]) -> int:
    """src/events.cpp: nostrJsonToPackedEvent. The expiration, 0 without one."""
    for name in ("id", "pubkey"):
        _must(len(_hex(event[name])) == _HEX_KEY_CHARS, f"unexpected {name} size")
    for name in ("created_at", "kind"):
        _must(_is_unsigned(event[name]), f"event {name} field was not an integer")
    _must(isinstance(event["content"], str), "event content field was not a string")
    tags = event["tags"]
    _must(isinstance(tags, list), "tags field not an array")
    _must(len(tags) <= MAX_TAGS, "too many tags")
    return max((_read_tag(event, tag) for tag in tags), default=0)


def _read_tag(event: dict[str, Any], tag: Any) -> int:
    """A tag's expiration, 0 in all others. Only a name and a first value are looked at."""
    _must(isinstance(tag, list), "tag in tags field was not an array")
    _must(tag, "too few fields in tag")
    name, value = tag[0], tag[1] if len(tag) > 1 else ""
    _must(isinstance(name, str) and isinstance(value, str), "tag val was not a string")
    if len(name.encode()) == 1:
        _must(len(value.encode()) <= MAX_TAG_BYTES, "tag val too large")
    if name in {"e", "p"}:
        _must(len(_hex(value)) == _HEX_KEY_CHARS, f"unexpected size for fixed-size tag: {name}")
    if name == "a" and event["kind"] == KIND_DELETION:
        _must(value.split(":")[1:2] == [event["pubkey"]], "can't delete other user's events")
    if name != "expiration":
        return 0
    _must(re.fullmatch("[0-9]+", value) and int(value) >= SHORTEST_EXPIRATION, "invalid expiration")
    return int(value)


def _check_time(event: dict[str, Any], expiration: int, now: int) -> None:
    """src/events.cpp: verifyEventTimestamp."""
    created_at, is_ephemeral = event["created_at"], event["kind"] in EPHEMERAL
    _must(not is_ephemeral or created_at >= now - OLDER_EPHEMERAL_S, "ephemeral event expired")
    _must(created_at >= now - OLDER_S, "created_at too early")
    _must(created_at <= now + NEWER_S, "created_at too late")
    _must(not 0 < expiration <= now or is_ephemeral, "event expired")


def _check_proof(event: dict[str, Any]) -> None:
    """src/events.cpp: verifyNostrEvent. The id is of the JSON as strfry itself writes it."""
    hashed = _written([0, *(event[name] for name in ("pubkey", "created_at", "kind", "tags", "content"))])
    _must(hashlib.sha256(hashed.encode()).hexdigest() == event["id"], "bad event id")
    key, signature = bytes.fromhex(event["pubkey"]), bytes.fromhex(_hex(event["sig"]))
    try:
        is_signed = coincurve.PublicKeyXOnly(key).verify(signature, bytes.fromhex(event["id"]))
    except ValueError:  # no point of the curve, or no signature's length
        is_signed = False
    _must(is_signed, "bad signature")


def _written(value: Any) -> str:
    """taocpp/json: include/tao/json/internal/escape.hpp. Unlike any other, it escapes DEL (0x7F)."""
    match value:
        case str():
            return f'"{_ESCAPED.sub(_escape, value)}"'
        case list():
            return f"[{','.join(map(_written, value))}]"
        case dict():
            return "{" + ",".join(f"{_written(name)}:{_written(one)}" for name, one in value.items()) + "}"
        case _:
            return str(value)


def _escape(found: re.Match[str]) -> str:
    return _SHORT_ESCAPES.get(found[0]) or f"\\u00{ord(found[0]):02x}"


def _hex(value: Any) -> str:
    _must(isinstance(value, str) and _is_hex(value), "not hex")
    return str(value)


def _is_unsigned(value: Any) -> bool:
    return type(value) is int and value >= 0


def _judge_request(subscription: str, filters: list[Any]) -> None:
    """src/Subscription.h, src/apps/relay/RelayIngester.cpp: ingesterProcessReq."""
    _must(0 < len(subscription.encode()) <= MAX_SUBSCRIPTION_ID_BYTES, "invalid subscription id length")
    _must(filters, "arr too small")
    _must(len(filters) <= MAX_FILTERS, "arr too big")
    for one in filters:
        _judge_filter(one)


def _judge_filter(one: Any) -> None:
    """src/filters.h: NostrFilter."""
    _must(isinstance(one, dict), "provided filter is not an object")
    for name, value in one.items():
        if name in {"since", "until", "limit"}:
            _must(_is_unsigned(value), f"error parsing {name}")
            continue
        _must(name in {"ids", "authors", "kinds"} or name.startswith("#"), f"unrecognised filter item: {name}")
        _must(isinstance(value, list), f"{name} not an array")
        _must(not name.startswith("#") or len(name) == len("#x"), "unindexed tag filter")
        for item in value:
            _judge_item(name, item)
    _must(sum(name.startswith("#") for name in one) <= MAX_TAGS_PER_FILTER, "too many tags in filter")


def _judge_item(name: str, item: Any) -> None:
    """src/filters.h: FilterSetBytes, FilterSetUint."""
    if name == "kinds":
        _must(_is_unsigned(item), "error parsing kinds")
        return
    _must(isinstance(item, str), f"error parsing {name}")
    if name in {"ids", "authors", "#e", "#p"}:
        _must(len(_hex(item)) == _HEX_KEY_CHARS, "filter item too small")
    else:
        _must(len(item.encode()) <= MAX_INDEXED_BYTES, "filter item too large")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a relay would not take, and why."""

    text: str
    why: str


class StrfryRelay(LocalRelay):
    """The embedded relay with strfry's judgement before its own. ``refusals`` is all that it turned away."""

    def __init__(self) -> None:
        super().__init__(limits=LIMITS)
        self.refusals: list[Refusal] = []

    def _on_event(self, client: Any, raw: bytes) -> str:
        text = bytes(raw).decode()
        why = refusal(text, self._now())
        if why is None:
            return super()._on_event(client, raw)
        self.refusals.append(Refusal(text, why))
        return wire.relay_ok_message(str(msgspec.json.decode(raw).get("id", "?"))[:64], False, why)

    def _on_req(self, client: Any, req: wire.ClientReq) -> list[str]:
        filters = [msgspec.json.decode(one) for one in req.filters]
        why = refusal_of_filters(req.subscription, filters)
        if why is None:
            return super()._on_req(client, req)
        self.refusals.append(Refusal(str(filters), why))
        return [wire.relay_message("CLOSED", req.subscription[:MAX_SUBSCRIPTION_ID_BYTES], f"error: {why}")]
