"""The watchdog: our books against our wallet, for ever. What it finds short stops payouts and new invoices.

A difference counts when it stands over several looks, for the books and the wallet are never read in one moment.
Results go on being delivered, and look-ups of what is in flight go on, whatever it finds.
"""

from collections.abc import Sequence
from typing import Final

from ledger import accounts
from ledger.money import MAX_MSATS, ZERO, Msats, sats_down
from ledger.records import RefundRecord, RefundState
from ledger.store import Store, StoreUnavailable, View
from lightning.backend import Lightning, Sent
from lightning.errors import LightningError
from timmy_dvm.clock import Clock
from timmy_dvm.core.solvency import Expected, OnItsWay, alarm, expected, shortage, surplus
from timmy_dvm.log import get_logger

EVERY_S: Final = 30
CONFIRM_S: Final = 5
LOOKS: Final = 3
"""So often a difference must show in a row: with the pauses above it is found within 60 s."""
_LOOKED_UP: Final = 50
"""Of more refunds in flight the rest is allowed for, not looked up."""
_IN_FLIGHT: Final = frozenset({RefundState.SENDING, RefundState.IN_DOUBT})
log = get_logger("solvency")


class Watchdog:
    """Compares what the wallet holds with what the books say.

    Args:
        store: the books.
        wallet: ours.
        clock: time.
    """

    def __init__(self, store: Store, wallet: Lightning, clock: Clock) -> None:
        self._store = store
        self._wallet = wallet
        self._clock = clock
        self._alarm = ""
        self._told_surplus = ZERO

    def alarm(self) -> str:
        """Why nothing may be paid out or asked for now; empty while the wallet covers the books."""
        return self._alarm

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(CONFIRM_S if self._alarm else EVERY_S)

    async def look(self) -> None:
        """Look, and look again where something is off; then set the alarm, or take it back."""
        missing, more = Msats(MAX_MSATS), Msats(MAX_MSATS)
        for look in range(LOOKS):
            if look:
                await self._clock.sleep(CONFIRM_S)
            off = await self._differences()
            if off is None:
                return  # what was known stays known: an alarm does not end because nobody answers
            missing, more = min(missing, off[0]), min(more, off[1])
            if not missing and not more:
                break
        self._say(missing, more)

    def _say(self, missing: Msats, more: Msats) -> None:
        told = alarm(missing)
        if told and told != self._alarm:
            log.error(told, action="wallet_short", missing_msat=missing)
        if self._alarm and not told:
            log.warning("the wallet covers the books again", action="wallet_covers")
        self._alarm = told
        if more and more != self._told_surplus:
            log.warning(
                "the wallet holds more than the books say: overpaid invoices, or money of yours that "
                "`timmy books deposit` would book",
                action="wallet_surplus",
                surplus_sats=sats_down(more),
            )
        self._told_surplus = more

    async def _differences(self) -> tuple[Msats, Msats] | None:
        """What is missing in the wallet, and what is in it beyond the books; None where one can't be read."""
        try:
            sends = await self._sends()
            before = await self._expected(sends)
            held = await self._wallet.balance_msat()
            after = await self._expected(await self._sends())
        except (LightningError, StoreUnavailable) as error:
            log.info("books and wallet can't be compared now", action="not_compared", error=str(error))
            return None
        least, most = min(before.least, after.least), max(before.most, after.most)
        expect = Expected(least, most)
        return shortage(expect, held), surplus(expect, held)

    async def _expected(self, sends: Sequence[OnItsWay]) -> Expected:
        def read(view: View) -> Expected:
            node = accounts.as_shown(accounts.NODE, view.balance(accounts.NODE))
            return expected(Msats(node), view.payable(), sends)

        return await self._store.look(read)

    async def _sends(self) -> Sequence[OnItsWay]:
        in_flight = [row for row in await self._store.refunds(open_only=True) if row.state in _IN_FLIGHT]
        return [
            await self._send(row) if number < _LOOKED_UP else _unknown(row) for number, row in enumerate(in_flight)
        ]

    async def _send(self, row: RefundRecord) -> OnItsWay:
        """What has left the wallet for this refund, by the wallet's own record."""
        if row.payment_hash is None:
            return OnItsWay(ZERO, ZERO)
        status = await self._wallet.lookup_payment(row.payment_hash)
        match status.state:
            case Sent.SUCCEEDED if status.fee_msat is not None:
                gone = Msats(row.invoiced + status.fee_msat)
                return OnItsWay(gone, gone)
            case Sent.FAILED:
                return OnItsWay(ZERO, ZERO)
            case _:
                return _unknown(row)


def _unknown(row: RefundRecord) -> OnItsWay:
    return OnItsWay(ZERO, Msats(row.invoiced + row.max_fee))
