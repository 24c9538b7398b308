"""Claims of refunds at a door without events (HTTP): by BOLT11, and by LNURL-withdraw (LUD-03). No rules.

The door has proved who asks before it comes here. What is refused is not written down; what is taken is a fact,
and the answer is the refund as it stands, so the same claim again has the same answer and moves nothing.
"""

import dataclasses
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from ledger.money import Msats
from ledger.records import RefundRecord
from ledger.store import Store, View
from lightning import bolt11
from lightning.errors import InvalidInvoice
from timmy_dvm import case_books
from timmy_dvm.clock import Clock
from timmy_dvm.core.actions import Refused
from timmy_dvm.core.case import Case
from timmy_dvm.core.claiming import among, judged, judged_withdrawal, nothing_to_claim
from timmy_dvm.core.facts import RefundClaimed
from timmy_dvm.core.giving_back import withdrawable
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import RefundWithdrawn
from timmy_dvm.core.refunds import CLAIMABLE
from timmy_dvm.engine import Engine

_K1: Final = re.compile(r"([0-9a-f]{32})([0-9a-f]{8})([0-9a-f]{32})", re.ASCII)
"""A refund's id, its version, and our mark on both."""
_MARK_CHARS: Final = 32
_MOVED_ON: Final = Refused(
    code="nothing_owed", sentence="This withdrawal was used before, or the money has moved on."
)
_BUSY: Final = Refused(code="busy", sentence="The books are moving just now: ask once more.")
_Fact = TypeVar("_Fact", RefundClaimed, RefundWithdrawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who claims what of which job.

    Args:
        job_id: as the door was given it.
        invoice: a BOLT11 as it was received.
        pubkey: the key that the door has proved to be the claimant's, hex; None: none.
        by_secret: whether the job's own claim secret was shown.
    """

    job_id: str
    invoice: str
    pubkey: str | None = None
    by_secret: bool = False


class Claims:
    """Takes claims.

    All of them answer with the refund as it stands, or with why nothing has moved; the codes are those of the
    relay door. They raise `StoreUnavailable` and `Contended` as `Engine.handle` does; the same claim may then be
    handed in again.

    Args:
        engine: where facts go.
        store: the books, to look at.
        policy: what the operator decided.
        clock: what time it is.
        network: our wallet's, as BOLT11 writes it.
        secret: of ours, 16 bytes or more: marks the words of withdrawals. Another one makes them all void.
        previous: the one before it, whose words count as well while it is being replaced; None: there is none.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        policy: Policy,
        clock: Clock,
        *,
        network: str,
        secret: bytes,
        previous: bytes | None = None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._policy = policy
        self._clock = clock
        self._network = network
        self._secrets = (secret,) if previous is None else (secret, previous)

    async def claim(self, asked: Claim) -> RefundRecord | Refused:
        """Have a job's refund paid to a BOLT11 for exactly its sum."""
        try:
            invoice = bolt11.decode(asked.invoice)
        except InvalidInvoice as error:
            return Refused(code="bad_invoice", sentence=str(error))
        fact = RefundClaimed(
            event_id=None,
            request_event_id=None,
            job_id=asked.job_id,
            pubkey=asked.pubkey,
            by_secret=asked.by_secret,
            bolt11=_bare(asked.invoice),
            payment_hash=invoice.payment_hash,
            amount=invoice.amount_msat,
            rail_ok=invoice.network == self._network,
            expires_at=invoice.expires_at,
            origin="",
            at=self._now(),
            answered=False,
        )
        found = await self._judged(judged, fact)
        if not isinstance(found, Refused):
            fact = dataclasses.replace(fact, version=found.version)
        return await self._taken(judged, fact, found)

    async def claim_of_node(self, bootstrap_id: str, invoice_text: str) -> RefundRecord | Refused:
        """Have what of the money for a node goes back paid to a BOLT11 for exactly its sum."""
        try:
            invoice = bolt11.decode(invoice_text)
        except InvalidInvoice as error:
            return Refused(code="bad_invoice", sentence=str(error))
        refunds = tuple(await self._store.look(lambda view: view.refunds_of_bootstrap(bootstrap_id)))
        row = among(refunds, invoice.payment_hash, invoice.amount_msat)
        if row is None:
            return nothing_to_claim(Case(refunds=refunds))
        return await self._withdrawn(row.id, row.version, invoice_text, invoice)

    def word_for(self, row: RefundRecord) -> str | None:
        """The one-time word (``k1``) with which a refund may be withdrawn, for who may claim it; None while nobody
        may. Whatever moves the refund makes it void, so it is good for one payment.
        """
        if row.state not in CLAIMABLE:
            return None
        named = f"{row.id}{row.version:08x}"
        return f"{named}{_mark(self._secrets[0], named)}"

    def sum_of(self, row: RefundRecord) -> Msats:
        """Of how much the BOLT11 must be that withdraws a refund."""
        return withdrawable(row, self._policy)

    async def offered(self, k1: str) -> RefundRecord | Refused:
        """What a word withdraws, as the first answer of LUD-03 tells: neither more nor less than its sum."""
        named = self._read(k1)
        if named is None:
            return _MOVED_ON
        row = await self._store.look(lambda view: view.refund(named[0]))
        return _MOVED_ON if row is None or row.version != named[1] or row.state not in CLAIMABLE else row

    async def withdraw(self, k1: str, invoice_text: str) -> RefundRecord | Refused:
        """Have what a word offers paid to a BOLT11 for exactly that sum (LUD-03's callback)."""
        named = self._read(k1)
        if named is None:
            return _MOVED_ON
        try:
            invoice = bolt11.decode(invoice_text)
        except InvalidInvoice as error:
            return Refused(code="bad_invoice", sentence=str(error))
        return await self._withdrawn(*named, invoice_text, invoice)

    async def _withdrawn(
        self, refund_id: str, version: int, invoice_text: str, invoice: bolt11.Bolt11Invoice
    ) -> RefundRecord | Refused:
        fact = RefundWithdrawn(
            refund_id=refund_id,
            version=version,
            bolt11=_bare(invoice_text),
            payment_hash=invoice.payment_hash,
            amount=invoice.amount_msat,
            rail_ok=invoice.network == self._network,
            expires_at=invoice.expires_at,
            at=self._now(),
        )
        return await self._taken(judged_withdrawal, fact, await self._judged(judged_withdrawal, fact))

    async def _taken(
        self,
        judge: Callable[[Case, _Fact, Policy], RefundRecord | Refused],
        fact: _Fact,
        found: RefundRecord | Refused,
    ) -> RefundRecord | Refused:
        if isinstance(found, Refused) or found.payment_hash == fact.payment_hash:
            return found
        await self._engine.handle(fact)
        found = await self._judged(judge, fact)
        # Between the two looks another claim may have been first, and even have failed already.
        return found if isinstance(found, Refused) or found.payment_hash == fact.payment_hash else _BUSY

    async def _judged(
        self, judge: Callable[[Case, _Fact, Policy], RefundRecord | Refused], fact: _Fact
    ) -> RefundRecord | Refused:
        def look(view: View) -> RefundRecord | Refused:
            return judge(case_books.load(view, fact, self._policy), fact, self._policy)

        return await self._store.look(look)

    def _read(self, k1: str) -> tuple[str, int] | None:
        """The refund and its version that a word of ours names; None where it is not ours."""
        found = _K1.fullmatch(k1.lower())
        if found is None:
            return None
        named, mark = found[1] + found[2], found[3]
        if not any(hmac.compare_digest(mark, _mark(secret, named)) for secret in self._secrets):
            return None
        return found[1], int(found[2], 16)

    def _now(self) -> int:
        return int(self._clock.now())


def is_word(k1: str) -> bool:
    """Whether a text could be the word of a withdrawal."""
    return _K1.fullmatch(k1.lower()) is not None


def _mark(secret: bytes, named: str) -> str:
    return hmac.digest(secret, f"lnurl-withdraw:{named}".encode(), "sha256").hex()[:_MARK_CHARS]


def _bare(text: str) -> str:
    return text.strip().lower().removeprefix("lightning:")
