"""How `timmy ask` pays: for now, the simulated wallet of a Timmy that runs for development."""

from typing import Protocol

import httpx

from lightning import bolt11

_TIMEOUT_S = 30


class NotPaid(Exception):
    """The invoice was not paid; the text says why, for a human."""


class Purse(Protocol):
    """Something that pays an invoice for the customer."""

    async def pay(self, invoice: str) -> None:
        """Pay a BOLT11.

        Raises:
            NotPaid: it is not paid, or nobody can say.
        """
        ...


class SimulatedPurse:
    """Pays by telling a Timmy with a simulated wallet that its invoice is settled."""

    def __init__(self, http: str) -> None:
        self._http = http.rstrip("/")

    async def pay(self, invoice: str) -> None:
        """See :meth:`Purse.pay`."""
        payment_hash = bolt11.decode(invoice).payment_hash
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            try:
                answer = await client.post(f"{self._http}/api/dev/stub/pay/{payment_hash}", json={})
            except httpx.HTTPError as error:
                raise NotPaid(f"{self._http} can't be reached to pay the simulated invoice ({error}).") from None
        if answer.is_error:
            raise NotPaid(f"{self._http} did not pay the simulated invoice: {answer.text[:200]}")
