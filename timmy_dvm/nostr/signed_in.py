"""Who stands behind an HTTP request, by an event they signed: a login with a challenge, or NIP-98. Pure.

An event that says who somebody is counts only for the address and the moment it was signed for: elsewhere or
later it is nobody's.
"""

import base64
import binascii
from typing import Final

from relay_client.errors import InvalidEvent
from relay_client.event import Event

KIND_AUTH: Final = 22_242
"""NIP-42's kind: made for challenges, and never published."""
KIND_HTTP_AUTH: Final = 27_235
"""NIP-98."""
LOGIN_WINDOW_S: Final = 120
HTTP_AUTH_WINDOW_S: Final = 60
MAX_HEADER_CHARS: Final = 2_048


class NotSignedIn(Exception):
    """The event does not prove who sent the request; the sentence says what to do."""


def login(raw: bytes, *, verify_url: str, now: int) -> tuple[str, str]:
    """Read the event given to verify.

    Args:
        raw: the event's JSON.
        verify_url: the public address it must name in its ``u`` tag.
        now: Unix seconds.

    Returns:
        The public key (hex), and the challenge that was signed; whether that is one of ours is not known yet.

    Raises:
        NotSignedIn: forged, of another kind, old, for another address, or without a challenge.
    """
    event = _event(raw)
    if event.kind not in (KIND_AUTH, KIND_HTTP_AUTH):
        raise NotSignedIn(f"Sign an event of kind {KIND_AUTH} or {KIND_HTTP_AUTH}.")
    _check_time(event, now, LOGIN_WINDOW_S)
    if _only(event, "u") != verify_url:
        raise NotSignedIn(f"The event's u tag must be {verify_url}.")
    challenge = event.tag_values("challenge") or [event.content]
    if len(challenge) != 1 or not challenge[0]:
        raise NotSignedIn("The event must hold the challenge, once, in a challenge tag or as its content.")
    return event.pubkey, challenge[0]


def http_auth(credential: str, *, url: str, method: str, payload_hash: str | None, now: int) -> Event:
    """Read NIP-98's credential, what follows ``Nostr`` in the Authorization header; returns the event, proved.

    Args:
        credential: base64 of the event's JSON.
        url: the request's own, whole, as others reach it, with its query.
        method: the request's.
        payload_hash: SHA-256 of the body in hex; None where there is no body.
        now: Unix seconds.

    Raises:
        NotSignedIn: it is not what this request needs.
    """
    if len(credential) > MAX_HEADER_CHARS:
        raise NotSignedIn("The event in the Authorization header is far too long.")
    try:
        raw = base64.b64decode(credential, validate=True)
    except (binascii.Error, ValueError):
        raise NotSignedIn("The Authorization header must hold the event's JSON in base64 (NIP-98).") from None
    if base64.b64encode(raw).decode() != credential:
        # Bits that mean nothing would make many headers of one event.
        raise NotSignedIn("The Authorization header must hold the event's JSON in base64 (NIP-98).")
    event = _event(raw)
    if event.kind != KIND_HTTP_AUTH:
        raise NotSignedIn(f"The event in the Authorization header must be of kind {KIND_HTTP_AUTH} (NIP-98).")
    _check_time(event, now, HTTP_AUTH_WINDOW_S)
    if _only(event, "u") != url:
        raise NotSignedIn(f"The event's u tag must be this request's whole address: {url}.")
    if _only(event, "method").upper() != method.upper():
        raise NotSignedIn(f"The event's method tag must be {method}.")
    told = event.tag_values("payload")
    # Without it, whoever sees the header could send other words in the signer's name.
    if [text.lower() for text in told] != ([] if payload_hash is None else [payload_hash]):
        raise NotSignedIn("The event's payload tag must be the SHA-256 of the body, in hex (NIP-98).")
    return event


def _event(raw: bytes) -> Event:
    try:
        return Event.from_wire(raw)
    except InvalidEvent as error:
        raise NotSignedIn(f"That event proves nothing: {error}") from None


def _check_time(event: Event, now: int, window_s: int) -> None:
    if abs(event.created_at - now) > window_s:
        raise NotSignedIn(
            f"The event must have been signed within {window_s} seconds: check the clock, sign again."
        )


def _only(event: Event, name: str) -> str:
    """The value of a tag that stands there once; empty where it doesn't."""
    values = event.tag_values(name)
    return values[0] if len(values) == 1 else ""
