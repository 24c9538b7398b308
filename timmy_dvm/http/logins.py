"""Logins: a challenge is signed with a Nostr key, and brings a token for it.

Challenges are not stored. Which were used is kept in memory, so each is bound to this process: after a restart
none of an earlier one counts, used or not.
"""

from typing import Final

from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.http.auth import unauthorized
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.once import Full, Once, ShareUsed
from timmy_dvm.http.tokens import InvalidToken, Issued, Tokens
from timmy_dvm.nostr.signed_in import NotSignedIn, login

VERIFY_PATH: Final = "/api/identity/verify"
_RANDOM_BYTES: Final = 32
_PROCESS_BYTES: Final = 16
_MOST_AT_ONCE: Final = 20_000
"""Logins within the two minutes that a challenge lives."""


class Logins:
    """Gives out challenges and tokens.

    Args:
        tokens: signs both.
        public_url: our public address, without a slash at its end; logins are signed for it.
        clock, randomness: for when a challenge ends, and what nobody can guess.
    """

    def __init__(self, tokens: Tokens, public_url: str, clock: Clock, randomness: Randomness) -> None:
        self._tokens = tokens
        self._verify_url = f"{public_url}{VERIFY_PATH}"
        self._clock = clock
        self._randomness = randomness
        self._purpose = f"login:{randomness.token(_PROCESS_BYTES).hex()}"
        self._used = Once(_MOST_AT_ONCE)

    def challenge(self) -> Issued:
        """A text to be signed, good for two minutes and one login."""
        return self._tokens.challenge(self._purpose, self._randomness.token(_RANDOM_BYTES), self._now())

    def read(self, event: bytes) -> tuple[str, str]:
        """The public key (hex) that signed an event, and the challenge in it. Uses nothing up.

        Raises:
            Fault: 401, the event proves nothing.
        """
        try:
            return login(event, verify_url=self._verify_url, now=self._now())
        except NotSignedIn as error:
            raise unauthorized(str(error)) from None

    def redeem(self, pubkey: str, challenge: str, address: str = "") -> Issued:
        """A token for whoever signed this challenge: the first time, and never again.

        Args:
            pubkey: who signed it.
            challenge: of ours.
            address: from where they log in, as limits count.

        Raises:
            Fault: 401, it is none of ours, has ended, or was used; 429 or 503, too many log in just now, of this
                address or of all.
        """
        now = self._now()
        try:
            expires_at = self._tokens.check_challenge(self._purpose, challenge, now)
            is_first = self._used.use(challenge, expires_at, now, address)
        except InvalidToken as error:
            raise unauthorized(str(error)) from None
        except ShareUsed:
            sentence = "Too many log in from your address just now: try again in two minutes."
            raise Fault(
                429, "rate_limited", sentence, {"retryAfterSeconds": 120}, {"Retry-After": "120"}
            ) from None
        except Full:
            sentence = "Too many log in just now: try again in a minute, with a new challenge."
            raise Fault(503, "busy", sentence, {"retryAfterSeconds": 60}, {"Retry-After": "60"}) from None
        if not is_first:
            raise unauthorized("That challenge was used: get a new one with POST /api/identity/challenge.")
        return self._tokens.issue(pubkey, now)

    def _now(self) -> int:
        return int(self._clock.now())
