"""What the routes of nodes answer, as models for the port's description; see `answers`."""

from typing import Final, Literal

from pydantic import Field

from timmy_dvm.http.answers import (
    Answered,
    Hex32,
    Hex64,
    LedgerRefund,
    RefundMoved,
    RefundStateName,
    Sats,
    answers,
    perhaps,
)

BootstrapStateName = Literal["awaiting_payment", "provisioning", "ready", "failed", "expired"]


class Bootstrap(Answered):
    """An order of a node as it stands."""

    bootstrap_job_id: Hex32
    state: BootstrapStateName
    amount_sats: Sats = Field(description="The fee.")
    payment_hash: Hex64 | None = Field(description="Null where our wallet could make no invoice.")
    payment_request: str | None = Field(description="BOLT11; null as well.")
    stub_mode: bool = Field(description="Whether the node is only pretended.")
    message: str = Field(description="How it stands, and what to do next.")
    node_ip: str = perhaps("Once it is ready.")
    tailscale_hostname: str = perhaps("Once it is ready.")
    lnbits_url: str = perhaps("Once it is ready.")
    ssh_private_key: str = perhaps("PKCS#1 in PEM, in the first answer once it is ready, and never again.")
    ssh_key_note: str = perhaps("Where the key is, in all answers after that one.")
    next_steps: list[str] = perhaps("Once it is ready.")
    error_message: str = perhaps("Why it failed.")
    refund_state: RefundStateName = perhaps("Of what of the money goes back.")
    refund_amount_sats: Sats = perhaps("What went back, or goes.")
    claimable_sats: list[Sats] = perhaps("For how much a BOLT11 must be that claims what is held.")
    refunds: list[LedgerRefund] = perhaps("The same, one by one.")


_UNKNOWN: Final = {404: "There is no such order."}
MADE: Final = answers(
    Bootstrap,
    "The order, with the invoice of its fee.",
    201,
    problems={
        400: "A body that is not as described.",
        401: "A credential that is none, or has ended.",
        409: "The Idempotency-Key was used for another request.",
        413: "The body is too large.",
        429: "Too many unpaid requests wait.",
        503: "No invoice can be made just now.",
    },
)
SHOWN: Final = answers(Bootstrap, "The order.", problems=_UNKNOWN)
CLAIMED: Final = answers(
    RefundMoved,
    "Paid, or on its way.",
    problems={
        **_UNKNOWN,
        400: "The invoice is none, or for another sum.",
        409: "It was claimed before, or there is nothing to claim.",
        413: "The body is too large.",
    },
)
