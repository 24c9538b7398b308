"""A Lightning invoice, or an LNURL, as a QR code. Pure.

A BOLT11 in upper case fits the denser alphanumeric mode of QR (BOLT 11 allows it: bech32 has no case), and the
scheme before it lets a phone's camera open a wallet.
"""

import io
from typing import Any

import segno

_QUIET_ZONE = 4
_PIXELS = 8


def svg(payment_request: str) -> bytes:
    """As SVG of any size: black on white whatever the page's colours, for not every scanner reads the reverse."""
    return _saved(payment_request, kind="svg", border=_QUIET_ZONE, light="#fff", omitsize=True, xmldecl=False)


def png(payment_request: str) -> bytes:
    """As PNG, 8 pixels a module."""
    return _saved(payment_request, kind="png", border=_QUIET_ZONE, scale=_PIXELS)


def _saved(payment_request: str, **how: Any) -> bytes:
    written = io.BytesIO()
    segno.make_qr(f"LIGHTNING:{payment_request.upper()}", error="l", boost_error=False).save(written, **how)
    return written.getvalue()
