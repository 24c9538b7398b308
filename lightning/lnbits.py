"""LNbits as a wallet: HTTP for everything that counts, a websocket only as the bell that says "look now".

One of its wallets is ours, named by its admin key. What LNbits' answers mean is in `lightning.lnbits_wire`, how
they are fetched in `lightning.lnbits_http`, when to look in `lightning.lnbits_bell`. Known limits, all of LNbits:
whole sats, no fee limit of a single payment (its own reserve, by default the larger of 2 sats and 1 %, is the
cap), and overpayment stays invisible.
"""

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

import httpx

from ledger.money import MSATS_PER_SAT, Msats
from lightning import bolt11 as invoices
from lightning import lnbits_wire as wire
from lightning.backend import Caps, Invoice, InvoiceStatus, Paid, PayStatus, Sent, SettledInvoice, check_invoice
from lightning.errors import InvalidInvoice, LightningError, WalletRefused, WalletUnavailable
from lightning.lnbits_bell import LnbitsBell
from lightning.lnbits_http import LnbitsHttp

PAGE_ROWS = 100
"""Rows of a listing page: with the largest memos still well below the longest answer read."""
REWIND_US = 3_600_000_000
"""How far back, in microseconds, a listing goes when rows moved: an hour, for writes and clocks out of order."""
_DESCRIPTION_HASH_BYTES = 32
_PURPOSE = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_TERMS = "timmy_terms"

_T = TypeVar("_T")
_Params = dict[str, str | int]
_SETTLED: _Params = {"status": "success", "amount[gt]": 0}
_log = logging.getLogger(__name__)


class LnbitsWallet:
    """A wallet on LNbits 1.x, by the contract of `lightning.backend.Lightning`.

    Args:
        url: where LNbits answers, ``https://host[:port][/path]``.
        key: the wallet's admin key. It is kept out of the repr, errors and logs.
        network: the BOLT11 prefix of the node behind it: bc, tb, tbs or bcrt.
        timeout_s: the longest a call may take, in seconds; paying has its own.
        poll_s: how often `settled` lists while there is no push, in seconds.
        idle_poll_s: how often it lists although there is push, in seconds.
        backoff_s: the first pause before reconnecting, or after "too many requests"; it doubles.
        clock: UNIX seconds.
        tls: what to trust, for an LNbits with a certificate of its own.
        transport: a way out other than a socket, for the HTTP calls.

    Raises:
        ValueError: the address or the key cannot be one.
    """

    caps = Caps(
        msat=False,
        description_hash=True,
        memo_bytes=128,
        fee_limit=False,
        push=True,
        resume=True,
        preset_preimage=False,
        amountless_pay=False,
        hold=False,
        reports_received=False,
    )

    def __init__(
        self,
        url: str,
        key: str,
        *,
        network: str = "bc",
        timeout_s: float = 10.0,
        poll_s: float = 5.0,
        idle_poll_s: float = 30.0,
        backoff_s: float = 0.5,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.network = network
        self._http = LnbitsHttp(url, key, timeout_s=timeout_s, backoff_s=backoff_s, tls=tls, transport=transport)
        self._poll_s = poll_s
        self._idle_poll_s = idle_poll_s
        self._backoff_s = backoff_s
        self._clock = clock
        self._wallet_id = ""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._bells: set[LnbitsBell] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"LnbitsWallet({self._http!r}, {self.network})"

    async def create_invoice(
        self,
        amount_msat: Msats,
        *,
        memo: str,
        expiry_s: int,
        key: str,
        description_hash: bytes | None = None,
    ) -> Invoice:
        """As the Protocol says. LNbits takes no key of ours as unique, so what it has under the key is read first.

        An empty memo becomes LNbits' site title.
        """
        terms = _check_terms(amount_msat, memo, expiry_s, key, description_hash, memo_bytes=self.caps.memo_bytes)
        body: dict[str, object] = {
            "out": False,  # LNbits' default is to pay
            "unit": "sat",
            "amount": amount_msat // MSATS_PER_SAT,
            "expiry": expiry_s,
            "external_id": key,
            "extra": {_TERMS: terms},
        }
        body |= {"memo": memo} if description_hash is None else {"description_hash": description_hash.hex()}
        async with self._one_at_a_time(f"create {key}"):
            before = await self._created_before(key)
            row = await self._ask(wire.Row, "POST", "payments", body=body) if before is None else before
        if (row.extra or {}).get(_TERMS) != terms:
            raise WalletRefused("LNbits has an invoice of other terms under this key; use a new key.")
        return check_invoice(
            row.bolt11,
            network=self.network,
            amount_msat=amount_msat,
            payment_hash=row.payment_hash,
            expiry_s=expiry_s,
            now=wire.seconds(before.created_at) if before else self._clock(),
            description_hash=description_hash,
        )

    async def lookup_invoice(self, payment_hash: str) -> InvoiceStatus:
        """As the Protocol says. After its expiry, looking makes LNbits give an unpaid invoice up for good."""
        looked_up = await self._look_up(payment_hash)
        if looked_up is None or looked_up.details is None:
            return InvoiceStatus(Paid.UNKNOWN)
        row, paid = looked_up.details, looked_up.paid
        if not row.is_invoice:  # one hash, several rows: LNbits shows the smallest amount
            page = await self._page({"payment_hash": payment_hash, "amount[gt]": 0, "limit": PAGE_ROWS})
            mine = (other for other in page.data if other.is_invoice and other.payment_hash == payment_hash)
            row = next(mine, row)
            paid = row.status is wire.RowStatus.SUCCESS
        return wire.invoice_status(row, paid=paid, now=self._clock())

    async def list_settled(self, cursor: str | None) -> tuple[list[SettledInvoice], str | None]:
        """As the Protocol says; `PAGE_ROWS` a page."""
        rows, after = await self._settled_after(wire.read_cursor(cursor))
        return [wire.settled_invoice(row) for row, _ in rows if _is_settled(row)], str(after)

    async def settled(self, cursor: str | None) -> AsyncIterator[tuple[str, str | None]]:
        """As the Protocol says. A push only rings; every hash given comes from a listing."""
        at = None if cursor is None else wire.read_cursor(cursor)
        bell = LnbitsBell(
            self._http.push_uri,
            self._http.tls,
            poll_s=self._poll_s,
            idle_poll_s=self._idle_poll_s,
            backoff_s=self._backoff_s,
        )
        if self._closed:
            return
        self._bells.add(bell)
        try:
            async with bell:
                failing = False
                while not bell.closed:
                    found = False
                    try:
                        at = await self._end_of_record() if at is None else at
                        rows, at = await self._settled_after(at)
                        failing = False
                    except LightningError as error:
                        rows = []
                        if not failing:
                            _log.warning("listing what LNbits received fails, and is tried again: %s", error)
                        failing = True
                    for row, here in rows:
                        if _is_settled(row):
                            found = True
                            yield row.payment_hash, str(here)
                    if len(rows) < PAGE_ROWS - 1:
                        await bell.next_look(found=found)
        finally:
            self._bells.discard(bell)

    async def pay(
        self,
        bolt11: str,
        *,
        max_fee_msat: Msats,  # noqa: ARG002 -- the Protocol's; LNbits has no limit for one payment (caps.fee_limit)
        key: str,
        timeout_s: float = 30,
        amount_msat: Msats | None = None,
    ) -> PayStatus:
        """As the Protocol says. LNbits itself pays a hash once; what it answers a second time is not believed."""
        invoice = invoices.decode(bolt11)
        if invoice.network != self.network:
            raise InvalidInvoice(f"The invoice is for network {invoice.network}; send one for {self.network}.")
        if invoice.amount_msat is None:
            raise InvalidInvoice("The invoice names no amount, and LNbits cannot pay such; send one that does.")
        if amount_msat is not None and amount_msat != invoice.amount_msat:
            raise InvalidInvoice(
                f"The invoice asks for {invoice.amount_msat} msat, not {amount_msat}; send another."
            )
        # LNbits compares the text with the one it made, so the forms people paste are taken off.
        text = bolt11.strip().lower().removeprefix("lightning:")
        try:
            async with asyncio.timeout(timeout_s), self._one_at_a_time(f"pay {invoice.payment_hash}"):
                return await self._pay(invoice, text, key, timeout_s)
        except TimeoutError:
            return PayStatus(Sent.UNKNOWN, detail=f"LNbits gave no answer within {timeout_s:g} s; look it up.")
        except LightningError as error:
            return PayStatus(Sent.UNKNOWN, detail=str(error))

    async def lookup_payment(self, payment_hash: str) -> PayStatus:
        """As the Protocol says. See `lightning.lnbits_wire.payment_status` for when "failed" counts."""
        recorded = await self._recorded(payment_hash)
        return recorded or PayStatus(Sent.UNKNOWN, detail="LNbits has no payment of ours with this hash.")

    async def balance_msat(self) -> Msats:
        """As the Protocol says. LNbits lets fees push a wallet below zero; that reads as nothing."""
        return Msats(max(0, (await self._wallet()).balance))

    async def aclose(self) -> None:
        """As the Protocol says."""
        self._closed = True
        await asyncio.gather(*(bell.aclose() for bell in self._bells))
        await self._http.aclose()

    async def _pay(self, invoice: invoices.Bolt11Invoice, text: str, key: str, timeout_s: float) -> PayStatus:
        wallet_id = await self._id()
        if invoice.expires_at <= self._clock():
            recorded = await self._recorded(invoice.payment_hash)
            return recorded or PayStatus(Sent.FAILED, detail="The invoice has expired; nothing was sent.")
        refusal = wire.Refusal(0, "LNbits gave no clear answer; look the payment up.")
        try:
            body = {"out": True, "bolt11": text, "external_id": key}
            answer = await self._http.call("POST", "payments", body=body, timeout_s=timeout_s)
            if isinstance(answer, wire.Refusal):
                refusal = answer
            else:
                row = wire.parse(wire.Row, answer)
                ours = wire.is_our_payment(row, payment_hash=invoice.payment_hash, wallet_id=wallet_id)
                if ours and row.status is not wire.RowStatus.FAILED:
                    return wire.payment_status(row, now=self._clock())
        except WalletUnavailable as error:
            refusal = wire.Refusal(0, str(error))
        return wire.refused_payment(refusal, await self._recorded(invoice.payment_hash))

    async def _recorded(self, payment_hash: str) -> PayStatus | None:
        """How our payment with this hash stands in LNbits' record; None if there is none."""
        wallet_id = await self._id()
        looked_up = await self._look_up(payment_hash)
        if looked_up is None or looked_up.details is None:
            return None
        if not wire.is_our_payment(looked_up.details, payment_hash=payment_hash, wallet_id=wallet_id):
            return None
        return wire.payment_status(looked_up.details, now=self._clock())

    async def _look_up(self, payment_hash: str) -> wire.Lookup | None:
        """One row by its hash; None if LNbits has none of ours, and our key is certainly good."""
        if not wire.HASH.fullmatch(payment_hash):
            raise ValueError("A payment hash is 64 lower-case hex digits.")
        answer = await self._http.call("GET", f"payments/{payment_hash}")
        if isinstance(answer, bytes):
            looked_up = wire.parse(wire.Lookup, answer)
            if looked_up.details is None:
                # LNbits tells strangers whether a hash is paid, and takes a wrong key for a stranger's.
                raise _refused(wire.Refusal(401, "no details"))
            return looked_up
        if not answer.is_no_such_payment:
            raise _refused(answer)
        await self._wallet()  # a wrong key gets the same answer
        return None

    async def _created_before(self, key: str) -> wire.Row | None:
        """The first invoice under ``key``. There may be two: after a lost answer LNbits may have been slow."""
        page = await self._page({"external_id": key, "sortby": "time", "direction": "asc", "limit": PAGE_ROWS})
        # LNbits ignores a filter it does not know, without saying so.
        return next((row for row in page.data if row.is_invoice and row.external_id == key), None)

    async def _settled_after(self, at: wire.Cursor) -> tuple[list[tuple[wire.Row, wire.Cursor]], wire.Cursor]:
        """One page of rows after ``at``, each with the cursor behind it, and the cursor behind them all."""
        start = max(0, at.offset - 1)
        rows = await self._settled_page(start)
        if at.offset and rows and rows[0].payment_hash == at.payment_hash:
            rows, start = rows[1:], at.offset
        elif at.offset:
            rows, start = await self._rewound(at)
            at = wire.Cursor()
        placed = [(row, wire.cursor_after(start + count, row)) for count, row in enumerate(rows, 1)]
        return placed, placed[-1][1] if placed else at

    async def _rewound(self, at: wire.Cursor) -> tuple[list[wire.Row], int]:
        """The page from which to read on when rows before the cursor moved, and how many rows stand before it."""
        start = at.offset
        rows: list[wire.Row] = []
        while start > 0:
            start = max(0, start - PAGE_ROWS)
            rows = await self._settled_page(start)
            if rows and wire.microseconds(rows[0].updated_at) < at.at_us - REWIND_US:
                break
        return rows, start

    async def _settled_page(self, start: int) -> list[wire.Row]:
        order: _Params = {"sortby": "updated_at", "direction": "asc", "limit": PAGE_ROWS, "offset": start}
        return (await self._page({**_SETTLED, **order})).data

    async def _end_of_record(self) -> wire.Cursor:
        page = await self._page({**_SETTLED, "sortby": "updated_at", "direction": "desc", "limit": 1})
        return wire.cursor_after(page.total, page.data[0]) if page.data else wire.Cursor()

    async def _page(self, params: _Params) -> wire.Page:
        return await self._ask(wire.Page, "GET", "payments/paginated", params=params)

    async def _wallet(self) -> wire.WalletInfo:
        return await self._ask(wire.WalletInfo, "GET", "wallet")

    async def _id(self) -> str:
        """Our wallet's id, by which its rows are told from others'."""
        if not self._wallet_id:
            found = (await self._wallet()).id
            if found is None:
                raise WalletRefused(
                    "This is the LNbits wallet's invoice key; give its admin key, refunds need it."
                )
            self._wallet_id = found
        return self._wallet_id

    async def _ask(
        self,
        kind: type[_T],
        method: str,
        path: str,
        *,
        params: _Params | None = None,
        body: object = None,
    ) -> _T:
        answer = await self._http.call(method, path, params=params, body=body)
        if isinstance(answer, wire.Refusal):
            raise _refused(answer)
        return wire.parse(kind, answer)

    @asynccontextmanager
    async def _one_at_a_time(self, errand: str) -> AsyncIterator[None]:
        """Calls for the same errand follow each other, so the second sees what the first did."""
        lock = self._locks.setdefault(errand, asyncio.Lock())
        async with lock:
            yield


def _is_settled(row: wire.Row) -> bool:
    return row.is_invoice and row.status is wire.RowStatus.SUCCESS


def _refused(refusal: wire.Refusal) -> LightningError:
    """The error for an answer that is none."""
    if refusal.is_wrong_key:
        return WalletRefused("LNbits does not know our key; copy the admin key of the wallet again.")
    if refusal.is_definite:
        return WalletRefused(f"LNbits refused: {refusal.reason}")
    return WalletUnavailable(f"LNbits answered {refusal.code}: {refusal.reason}; look at its log.")


def _check_terms(
    amount_msat: Msats, memo: str, expiry_s: int, key: str, description_hash: bytes | None, *, memo_bytes: int
) -> str:
    """What a key is bound to, as text; raises what `create_invoice` documents."""
    if amount_msat < MSATS_PER_SAT or amount_msat % MSATS_PER_SAT:
        raise WalletRefused("LNbits makes invoices for whole sats, 1 at least; round up before asking.")
    if len(memo.encode()) > memo_bytes:
        raise WalletRefused(f"The memo is longer than {memo_bytes} bytes; shorten it.")
    if description_hash is not None and len(description_hash) != _DESCRIPTION_HASH_BYTES:
        raise WalletRefused("A description hash has 32 bytes; give the SHA-256 of the description.")
    if expiry_s < 1:
        raise ValueError("An invoice lives at least 1 second.")
    if not _PURPOSE.fullmatch(key):
        raise ValueError("A key has 1 to 128 characters of A-Z a-z 0-9 . _ : and -.")
    told = memo if description_hash is None else f"hash {description_hash.hex()}"
    return f"{amount_msat} msat, {expiry_s} s, {told}"
