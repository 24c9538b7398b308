"""Invoices as pictures: the right kind of file, small, and black on white."""

import struct

from segno import make_qr

from timmy_dvm.http.pages import qr

INVOICE = "lnbcrt230n1" + "qpzry9x8gf2tvdw0s3jn54khce6mua7l" * 8


def test_a_svg_is_black_on_white_and_runs_nothing():
    drawn = qr.svg(INVOICE).decode()
    assert drawn.startswith("<svg")
    assert "#fff" in drawn
    assert "script" not in drawn
    assert "style=" not in drawn
    assert len(drawn) < 10_000


def test_a_png_has_eight_pixels_a_module_and_a_quiet_zone():
    drawn = qr.png(INVOICE)
    modules = make_qr("LIGHTNING:" + INVOICE.upper(), error="l", boost_error=False).symbol_size(border=4)[0]
    assert drawn.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", drawn[16:24]) == (modules * 8, modules * 8)
    assert len(drawn) < 5_000


def test_upper_case_makes_the_code_coarser_and_so_easier_to_scan():
    fine = make_qr("lightning:" + INVOICE, error="l", boost_error=False)
    assert struct.unpack(">I", qr.png(INVOICE)[16:20])[0] < fine.symbol_size(scale=8, border=4)[0]
