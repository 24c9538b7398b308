"""Amounts: integer millisatoshi and micro-dollars. Pure, and imports nothing of ours.

Inside Timmy every amount is an integer in msat; whole sats appear only on invoices and in HTTP answers.
There is no sats type on purpose: a sum of two NewTypes is a plain ``int``, so mypy would not catch
``Msats + Sats``. A function that rounds says in its name which way.
"""

import re
from typing import NewType

Msats = NewType("Msats", int)
"""Millisatoshi, 1/1000 sat; never a float, never negative on the wire."""

MicroUsd = NewType("MicroUsd", int)
"""Millionths of a US dollar: what the model and the machine cost us."""

MSATS_PER_SAT = 1_000
MAX_MSATS = Msats(21_000_000 * 100_000_000 * MSATS_PER_SAT)
"""All bitcoin there will ever be. No honest amount is larger."""

ZERO = Msats(0)

_AMOUNT = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def msats_from_sats(sats: int) -> Msats:
    """The exact amount in msat of a whole number of sats."""
    return Msats(sats * MSATS_PER_SAT)


def sats_up(msats: Msats) -> int:
    """Whole sats, rounded up: what an invoice must ask so that it covers ``msats``."""
    return -(-msats // MSATS_PER_SAT)


def sats_down(msats: Msats) -> int:
    """Whole sats, rounded down: what can be paid out of ``msats``."""
    return msats // MSATS_PER_SAT


def parse_msats(text: str) -> Msats:
    """Read an msat amount as it comes in a ``bid`` or ``amount`` tag (NIP-90).

    Accepts ASCII digits only, without sign, leading zero, separator or exponent, from 1 to all
    bitcoin there is. ``int()`` would take ``100_000`` and full-width digits, both seen signed in the wild.

    Raises:
        ValueError: the text is anything else.
    """
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise ValueError("not an amount in msat: digits only, without sign, leading zero or separator")
    amount = int(text)
    if amount > MAX_MSATS:
        raise ValueError("more than all bitcoin there is")
    return Msats(amount)
