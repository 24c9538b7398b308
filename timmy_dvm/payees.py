"""Asks the address a refund goes to for an invoice (LNURL-pay: LUD-06, LUD-16), and hands the answer on as a fact.

Asking moves nothing, so a process that dies over it simply asks again. Both URLs of a service are judged, the one
the customer named and the callback it names itself, which may be on another host.
"""

import asyncio
from typing import Final, Protocol

import msgspec

from ledger.money import Msats
from lightning import lnurl
from lightning.bolt11 import Bolt11Invoice
from lightning.lnurl import InvalidLnurl
from timmy_dvm.clock import Clock
from timmy_dvm.core.actions import AskForInvoice
from timmy_dvm.core.refund_facts import RefundInvoiced, RefundNotInvoiced
from timmy_dvm.engine import SHORT_ID, Engine
from timmy_dvm.fetching import Fetch, FetchFailed
from timmy_dvm.log import get_logger
from timmy_dvm.outbound import why_not_dial

_AT_ONCE: Final = 8
"""Addresses asked at a time: slow ones keep only each other waiting."""
_SCHEMES: Final = frozenset({"https"})
log = get_logger("payees")


class Profiles(Protocol):
    """Where a key says that it takes sats."""

    async def lightning_address(self, pubkey: str) -> str | None:
        """The address in a key's profile, not judged yet; None where it names none.

        Raises:
            ProfilesUnknown: nobody could be asked.
        """
        ...


class ProfilesUnknown(Exception):
    """No profile can be looked up now; the text says why."""


def why_not_address(text: str) -> str | None:
    """Judge the text of an address as a customer wrote it: name@host, or an LNURL; nothing is looked up.

    A host that nobody outside could mean (this machine, a private network) is refused here, while its owner still
    looks, and again at each dial: a name may lead there only later.

    Returns:
        None where it can be asked, else a sentence that says what is wrong with it.
    """
    try:
        url = pay_url(text)
    except InvalidLnurl as error:
        return str(error)
    return why_not_dial(url, _SCHEMES)


def pay_url(text: str) -> str:
    """Where the terms of an address are asked: a Lightning address, or an LNURL's text; not judged yet.

    Raises:
        InvalidLnurl: it is neither.
    """
    bare = text.strip().lower().removeprefix("lightning:")
    return lnurl.decode(bare) if bare.startswith("lnurl1") else lnurl.address_url(bare)


class Payees:
    """The step of dispatch that asks for a refund's invoice.

    Args:
        fetch: the only way to a stranger's address.
        profiles: where keys say that they take sats.
        engine: where the answer goes.
        clock: what time it is.
        network: our wallet's, as BOLT11 writes it: bc, tb, tbs or bcrt.
    """

    def __init__(self, fetch: Fetch, profiles: Profiles, engine: Engine, clock: Clock, network: str) -> None:
        self._fetch = fetch
        self._profiles = profiles
        self._engine = engine
        self._clock = clock
        self._network = network
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def ask(self, action_id: int, wanted: AskForInvoice) -> None:
        """Ask for an invoice of exactly the refund's sum. Whatever comes of it is a fact."""
        async with self._places:
            fact = await self._answer(wanted)
        if isinstance(fact, RefundNotInvoiced):
            log.info(
                "a refund's address gave no invoice",
                action="no_refund_invoice",
                refund=wanted.refund_id[:SHORT_ID],
                why=fact.sentence,
            )
        await self._engine.handle(fact, done=action_id)

    async def _answer(self, wanted: AskForInvoice) -> RefundInvoiced | RefundNotInvoiced:
        try:
            address = wanted.address or await self._profiles.lightning_address(wanted.pubkey or "")
        except ProfilesUnknown as error:
            return self._none(wanted, str(error))
        if address is None:
            return self._none(wanted, "The profile names no Lightning address.", lasting=True, nowhere=True)
        try:
            url = pay_url(address)
        except InvalidLnurl as error:
            return self._none(wanted, str(error), lasting=True)
        try:
            text, invoice = await self._invoice(url, Msats(wanted.amount))
        except InvalidLnurl as error:
            return self._none(wanted, str(error))
        except FetchFailed as error:
            return self._none(wanted, str(error), lasting=error.lasting)
        return RefundInvoiced(
            refund_id=wanted.refund_id,
            attempts=wanted.attempts,
            bolt11=text,
            payment_hash=invoice.payment_hash,
            expires_at=invoice.expires_at,
            at=int(self._clock.now()),
        )

    async def _invoice(self, url: str, amount: Msats) -> tuple[str, Bolt11Invoice]:
        terms = lnurl.read_terms((await self._fetch(url, lnurl.MAX_ANSWER_BYTES)).body)
        body = (await self._fetch(lnurl.ask_url(terms, amount), lnurl.MAX_ANSWER_BYTES)).body
        invoice = lnurl.read_invoice(body, terms, amount, self._network)
        return _pr.decode(body).pr.strip().lower().removeprefix("lightning:"), invoice

    def _none(
        self, wanted: AskForInvoice, sentence: str, *, lasting: bool = False, nowhere: bool = False
    ) -> RefundNotInvoiced:
        return RefundNotInvoiced(
            refund_id=wanted.refund_id,
            attempts=wanted.attempts,
            sentence=sentence,
            lasting=lasting,
            nowhere=nowhere,
            at=int(self._clock.now()),
        )


class _Pr(msgspec.Struct):
    """What `lnurl.read_invoice` has read and found good."""

    pr: str


_pr: Final = msgspec.json.Decoder(_Pr)
