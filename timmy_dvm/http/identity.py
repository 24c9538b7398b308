"""``/api/identity``: a Nostr key proves itself once and gets a token; and how a key stands here."""

import json
from typing import Final

from fastapi import APIRouter, Request, Response

from ledger.records import Door
from relay_client.errors import InvalidKey
from relay_client.keys import npub, parse_public_key
from timmy_dvm.core.actions import OperationDone
from timmy_dvm.core.facts import Op, QuestionAsked
from timmy_dvm.core.trust import Tier
from timmy_dvm.http.answers import answers
from timmy_dvm.http.auth import unauthorized
from timmy_dvm.http.description import ASKER
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.identity_answers import Challenge, LoggedIn, Me
from timmy_dvm.http.logins import VERIFY_PATH
from timmy_dvm.http.services import Services
from timmy_dvm.http.wire import VerifyWanted, said
from timmy_dvm.views import when

_LOGGED_IN: Final = answers(
    LoggedIn,
    "A token for the key that signed.",
    problems={
        400: "No event, or `pubkey` is not the event's.",
        401: "The event proves nothing, or its challenge has ended or was used.",
    },
)
_ME: Final = answers(Me, "The key as it stands now.", problems={401: "No credential, or one that is none."})


def routes(services: Services) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["identity"])

    @router.post("/api/identity/challenge", responses=answers(Challenge, "A fresh challenge."))
    async def challenge() -> Response:
        """A challenge to be signed within two minutes, good for one login."""
        issued = services.logins.challenge()
        tier = str(Tier.ANONYMOUS)
        return said({"challenge": issued.text, "expiresAt": when(issued.expires_at), "trust_tier": tier})

    @router.post(VERIFY_PATH, responses=_LOGGED_IN)
    async def verify(wanted: VerifyWanted, request: Request) -> Response:
        """A token, good for a day, for the key that signed the challenge in an event of kind 22242 or 27235."""
        _check_claim(wanted)
        pubkey, signed = services.logins.read(json.dumps(wanted.event.model_dump()).encode())
        # Before the challenge is used up: a ledger that is away must not cost one.
        tier = await services.tier_of(pubkey)
        token = services.logins.redeem(pubkey, signed, services.addresses.bucket(request))
        body = {
            "nostr_token": token.text,
            "pubkey": pubkey,
            "npub": npub(pubkey),
            "trust_tier": str(tier),
            "expiresAt": when(token.expires_at),
        }
        return said(body)

    @router.get("/api/identity/me", responses=_ME, openapi_extra=ASKER)
    async def me(request: Request) -> Response:
        """How a key stands: its score, its tier and why, and its free sats of the day. Looking changes nothing."""
        pubkey = await services.asker(request)
        if pubkey is None:
            raise unauthorized("Say who you are: X-Nostr-Token, or Authorization: Nostr … (NIP-98).")
        answer = await services.engine.peek(_question(services, pubkey))
        if not isinstance(answer, OperationDone):
            raise TypeError("how a key stands is answered by its body")
        body = {name: value for name, value in answer.body.items() if name != "op"}
        return said({**body, "trust_tier": str(answer.body["tier"])})

    return router


def _check_claim(wanted: VerifyWanted) -> None:
    """Whoever names a key beside the event must name the event's own [IDN-12]."""
    if wanted.pubkey is None:
        return
    try:
        claimed = parse_public_key(wanted.pubkey)
    except InvalidKey:
        raise Fault(400, "bad_pubkey", "pubkey is a public key: 64 hex digits or npub1…") from None
    if claimed != wanted.event.pubkey:
        raise Fault(400, "pubkey_mismatch", "pubkey is not the event's: leave it out, or name who signed.")


def _question(services: Services, pubkey: str) -> QuestionAsked:
    return QuestionAsked(
        event_id="",
        op=Op.ME,
        door=Door.HTTP,
        pubkey=pubkey,
        npub=npub(pubkey),
        origin="",
        btc=services.prices.current(),
        at=services.now(),
    )
