"""Bodies of this port: what is asked, and the few answers that are not views of the ledger.

Names are camelCase but for the four that the first Timmy spelt in snake case. What is asked is read strictly and
whole; of a text that is missing, empty or none the core says what to do, once for all doors.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from fastapi import Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_TEXT: Final = 65_536
# Dollars are Decimals; programs want numbers.
_json: Final = msgspec.json.Encoder(decimal_format="number").encode


def _text_or_nothing(value: object) -> object:
    return value if isinstance(value, str) else ""


def _whole(value: str) -> str:
    """JSON can spell half a character, which no ledger and no model takes."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half a character: send the text as UTF-8") from None
    return value


RequestText = Annotated[str, BeforeValidator(_text_or_nothing), AfterValidator(_whole), Field(max_length=MAX_TEXT)]
"""The customer's own words; what is no text counts as missing."""
Token = Annotated[str, Field(max_length=512)]


class Asked(BaseModel):
    """What somebody sends."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="ignore", strict=True)


class JobWanted(Asked):
    """``POST /api/jobs``."""

    request: RequestText = Field("", description="What to do, at most 500 characters.")
    nostr_token: Token | None = Field(None, alias="nostr_token", description="In place of X-Nostr-Token.")
    refund_address: Annotated[str, Field(max_length=320)] | None = Field(
        None, description="A Lightning address for the change."
    )
    pay: Literal["steps", "once"] = Field(
        "steps", description="steps: the eval fee first, the work later. once: one invoice for both, as on relays."
    )


class SignedEvent(BaseModel):
    """A Nostr event as NIP-01 writes it; whether it is true is proved later, from these very values."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: list[list[str]]
    content: str
    sig: str


class VerifyWanted(Asked):
    """``POST /api/identity/verify``."""

    event: SignedEvent = Field(
        description="Of kind 22242 or 27235, signed within 120 seconds, with the challenge in a challenge tag (or "
        "as its content) and this route's whole address in a u tag."
    )
    pubkey: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="The key that signed, hex or npub; refused where it is another."
    )


Sats = Annotated[int, Field(alias="amount_sats", description="Whole sats.")]


class CreditWanted(Asked):
    """``POST /api/sessions/{id}/topup``."""

    amount_sats: Sats


class SessionWanted(CreditWanted):
    """``POST /api/sessions``."""

    nostr_token: Token | None = Field(None, alias="nostr_token", description="In place of X-Nostr-Token.")


class NodeWanted(Asked):
    """``POST /api/bootstrap``."""

    nostr_token: Token | None = Field(None, alias="nostr_token", description="In place of X-Nostr-Token.")


class NodeRefundWanted(Asked):
    """``POST /api/bootstrap/{id}/refund``."""

    invoice: Annotated[str, Field(max_length=4_096)] = Field("", description="A BOLT11 for exactly the sum held.")


class SessionRequest(Asked):
    """``POST /api/sessions/{id}/request``."""

    request: RequestText = Field("", description="What to do, at most 500 characters.")


class CloseWanted(Asked):
    """``DELETE /api/sessions/{id}``."""

    invoice: Annotated[str, Field(max_length=4_096)] | None = Field(
        None, description="A BOLT11 for at most `payoutSats`, or for what is claimable of a closed session."
    )
    refund_address: Annotated[str, Field(max_length=320)] | None = Field(
        None, description="A Lightning address for the rest."
    )


def said(body: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer as JSON; nobody but who asked may keep it."""
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(_json(body), status, kept, media_type="application/json")
