"""The key of a session: a macaroon that names it and one of its invoices; and who shows one (L402).

Nothing is stored to check one: what signs it comes out of the server's secret and the session's id. All macaroons
of a session open it, the deposit's and each top-up's. Present but wrong is 401, always: only who shows nothing at
all, or pays too little, is asked to pay.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request

from lightning import l402
from lightning.l402 import Credential, Identifier, InvalidMacaroon, Macaroon
from timmy_dvm.clock import Clock
from timmy_dvm.http.faults import Fault

_LOCATION: Final = "timmy"
"""The one part of a macaroon that nothing signs, so it is always the same: else it could be altered, and open.
Not our address, which may change while somebody has sats in a session."""
_ID_HEX: Final = 32
"""A session's id is the first half of its token id, and decides the second."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A credential that is ours and in force.

    Attributes:
        session_id: the session it opens.
        payment_hash: the invoice it came with.
        is_paid_for: whether the invoice's preimage stood beside it.
    """

    session_id: str = field(repr=False)
    payment_hash: str
    is_paid_for: bool


class SessionKeys:
    """Makes the macaroons of sessions, and knows them again.

    Args:
        secret: the server's own, at least 32 bytes.
        clock: for caveats that end.
        previous: the secret before that one, whose macaroons count as well while it is being replaced.
    """

    def __init__(self, secret: bytes, clock: Clock, previous: bytes | None = None) -> None:
        secrets = (secret,) if previous is None else (secret, previous)
        self._secrets = tuple(hashlib.sha256(b"timmy sessions:" + each).digest() for each in secrets)
        self._clock = clock

    def macaroon(self, session_id: str, payment_hash: str) -> Macaroon:
        """The key of a session that goes with one of its invoices."""
        token_id = _token_id(session_id)
        identifier = Identifier(payment_hash=payment_hash, token_id=token_id)
        return l402.mint(l402.root_key(self._secrets[0], token_id), identifier, location=_LOCATION)

    def shown(self, request: Request) -> Sequence[Shown] | None:
        """What a request shows; None where it shows no credential of a session at all.

        Raises:
            Fault: 401, one of them is broken, not ours, has ended, or its preimage is another's.
        """
        headers = request.headers.getlist("authorization")
        if not headers:
            return None
        try:
            told = [l402.credentials(header) for header in headers]
            found = [self._judged(each) for each in (credential for some in told for credential in some or ())]
        except InvalidMacaroon as error:
            raise unauthorized(str(error)) from None
        return found or None

    def _judged(self, credential: Credential) -> Shown:
        identifier, macaroon = credential.identifier, credential.macaroon
        if macaroon.location != _LOCATION:
            raise InvalidMacaroon("That macaroon was altered, or is another server's: send it as it was given.")
        roots = [l402.root_key(secret, identifier.token_id) for secret in self._secrets]
        if not any(macaroon.is_signed_with(root) for root in roots):
            raise InvalidMacaroon("That macaroon was not made here, or was altered: send it as it was given.")
        session_id = identifier.token_id[:_ID_HEX]
        if identifier.token_id != _token_id(session_id):
            raise InvalidMacaroon("That macaroon opens no session: ask without it to get a new one.")
        if not macaroon.is_valid_at(int(self._clock.now())):
            raise InvalidMacaroon(
                "That macaroon has ended, or holds what we don't know: take the one it was made of."
            )
        if credential.preimage is not None and not credential.proves_payment():
            raise InvalidMacaroon("That preimage is of another invoice: send the one your payment gave you.")
        return Shown(session_id, identifier.payment_hash, credential.preimage is not None)


def _token_id(session_id: str) -> str:
    return session_id + hashlib.sha256(f"session token:{session_id}".encode()).hexdigest()[:_ID_HEX]


def unauthorized(sentence: str) -> Fault:
    """401, for a credential of a session that is missing or wrong."""
    return Fault(401, "unauthorized", sentence, headers={"WWW-Authenticate": 'Bearer realm="session"'})
