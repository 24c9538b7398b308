"""The node inside a simulated wallet: makes invoices, reads those of others; and a customer who has one. No I/O.

`OutsideWallet` is the customer of the demo and the tests. It shares nothing with the bot's wallet but the
payments that pass between them.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from coincurve import PrivateKey

from ledger.money import MAX_MSATS, MSATS_PER_SAT, Msats
from lightning import bolt11
from lightning.bolt11 import Bolt11Invoice
from lightning.errors import InvalidInvoice, WalletRefused

NETWORK = "bcrt"
_HASH_BYTES = 32
_LONGEST_EXPIRY_S = 366 * 86_400
_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an invoice of ours is to say."""

    amount_msat: Msats
    memo: str
    expiry_s: int
    description_hash: bytes | None = None

    def check(self) -> None:
        """Raise `WalletRefused` for terms no wallet would take, ValueError for a life that is none."""
        if not MSATS_PER_SAT <= self.amount_msat <= MAX_MSATS:
            raise WalletRefused("An invoice asks for at least one sat, and at most all there are.")
        if len(self.memo.encode()) > bolt11.MAX_DESCRIPTION_BYTES:
            raise WalletRefused(f"A memo has at most {bolt11.MAX_DESCRIPTION_BYTES} bytes; shorten it.")
        if not 1 <= self.expiry_s <= _LONGEST_EXPIRY_S:
            raise ValueError("An invoice lives from one second to a year.")
        if self.description_hash is not None and len(self.description_hash) != _HASH_BYTES:
            raise WalletRefused("A description hash is a SHA-256, 32 bytes.")

    def fit(self, invoice: Bolt11Invoice) -> bool:
        """Whether an invoice made earlier says the same."""
        if self.description_hash is None:
            same = invoice.description == self.memo
        else:
            same = invoice.description_hash == self.description_hash.hex()
        return same and (invoice.amount_msat, invoice.expiry) == (self.amount_msat, self.expiry_s)


def check_key(key: str) -> None:
    """Raise ValueError for a key that cannot be one."""
    if not _KEY.fullmatch(key):
        raise ValueError("A key has 1 to 128 characters: letters, digits, dot, underscore, colon, hyphen.")


@dataclass(frozen=True, slots=True)
class Signed:
    """A new invoice and what its maker keeps."""

    bolt11: str
    payment_hash: str
    preimage: str
    expires_at: int


class Node:
    """A key that signs regtest invoices. The same seed is the same node."""

    def __init__(self, seed: bytes, now: Callable[[], float], random_bytes: Callable[[int], bytes]) -> None:
        self._key = PrivateKey(hashlib.sha256(b"simulated lightning node" + seed).digest())
        self._now = now
        self._random_bytes = random_bytes

    @property
    def id(self) -> str:
        """The compressed public key, hex."""
        return self._key.public_key.format().hex()

    def invoice(
        self, amount_msat: Msats | None, description: str, expiry_s: int, description_hash: bytes | None
    ) -> Signed:
        """Sign an invoice; a description hash takes the description's place."""
        preimage = self._random_bytes(_HASH_BYTES)
        payment_hash = hashlib.sha256(preimage).digest()
        made_at = int(self._now())
        text = bolt11.encode(
            self._key,
            network=NETWORK,
            payment_hash=payment_hash,
            payment_secret=self._random_bytes(_HASH_BYTES),
            timestamp=made_at,
            amount_msat=amount_msat,
            description=description if description_hash is None else None,
            description_hash=description_hash,
            expiry=expiry_s,
        )
        return Signed(text, payment_hash.hex(), preimage.hex(), made_at + expiry_s)


def read_payable(text: str, amount_msat: Msats | None) -> tuple[Bolt11Invoice, Msats]:
    """Decode what is to be paid, and how much.

    Raises:
        InvalidInvoice: no invoice, one of another network, or an amount that is missing or contradicts it.
    """
    invoice = bolt11.decode(text)
    if invoice.network != NETWORK:
        raise InvalidInvoice("The invoice is not for the simulated network (regtest); ask for one that is.")
    amount = invoice.amount_msat if amount_msat is None else amount_msat
    if amount is None or amount <= 0 or invoice.amount_msat not in (None, amount):
        raise InvalidInvoice("The amount to pay is missing, or not the invoice's own; give the right one.")
    return invoice, amount


class Settling(Protocol):
    """What a customer needs of the wallet it pays: `SimulatedWallet` has it."""

    payees: "list[OutsideWallet]"

    def settle(self, payment_hash: str, amount_msat: Msats | None = None) -> str:
        """See `SimulatedWallet.settle`."""
        ...


class OutsideWallet:
    """A customer's wallet: pays the bot's invoices, and makes invoices the bot can pay back to.

    Args:
        wallet: the bot's wallet, on the other side.
        seed, now, random_bytes: as for `SimulatedWallet`; use another seed than the bot's.
    """

    def __init__(
        self,
        wallet: Settling,
        *,
        seed: bytes,
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._wallet = wallet
        self._now = now
        self._node = Node(seed, now, random_bytes)
        self._preimages: dict[str, str] = {}
        self.received: dict[str, Msats] = {}
        """What the bot paid to us, by payment hash."""
        wallet.payees.append(self)

    def pays(self, text: str, amount_msat: Msats | None = None) -> None:
        """Pay an invoice of the bot's, as a decent wallet does; ``amount_msat`` to pay more or less than asked.

        Raises:
            InvalidInvoice: it is none, or it has expired.
            WalletRefused: the bot's wallet does not take it.
        """
        invoice, _ = read_payable(text, None)
        if self._now() >= invoice.expires_at:
            raise InvalidInvoice("The invoice has expired; ask for another.")
        self._wallet.settle(invoice.payment_hash, amount_msat)

    def invoice(
        self,
        amount_msat: Msats | None,
        *,
        description: str = "",
        expiry_s: int = 3_600,
        description_hash: bytes | None = None,
    ) -> str:
        """Make a BOLT11 for the bot to pay; None lets it choose the amount."""
        signed = self._node.invoice(amount_msat, description, expiry_s, description_hash)
        self._preimages[signed.payment_hash] = signed.preimage
        return signed.bolt11

    def preimage_of(self, payment_hash: str) -> str | None:
        """The preimage (hex) of an invoice of ours; None for others."""
        return self._preimages.get(payment_hash)

    def receive(self, payment_hash: str, amount_msat: Msats) -> None:
        """Take a payment for an invoice of ours."""
        self.received[payment_hash] = Msats(self.received.get(payment_hash, 0) + amount_msat)
