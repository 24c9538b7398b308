import os
import signal
import stat
import subprocess
import sys
import textwrap

import pytest

from lightning.backend import Sent
from lightning.errors import WalletRefused, WalletUnavailable
from lightning.journal import Journal
from lightning.simulated_state import Canceled, InvoiceMade, Opened, Payment, Received

RECORDS = [
    Opened(1_000),
    InvoiceMade("ab" * 32, "cd" * 32, "job-1", 21_000, 1_700_000_600, "lnbcrt210n1..."),
    Received("ab" * 32, 21_000, 1_700_000_001),
    Canceled("ef" * 32),
    Payment("01" * 32, "refund-1", Sent.UNKNOWN, 5_000, 100, None, "é"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "wallet.jsonl"


def written(path):
    journal = Journal(path)
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return path.read_bytes()


def test_what_is_written_reads_back(path):
    written(path)
    assert Journal(path).read() == RECORDS


def test_records_that_belong_together_are_one_line(path):
    Journal(path).append(*RECORDS)
    assert path.read_bytes().count(b"\n") == 1
    assert Journal(path).read() == RECORDS


def test_without_a_path_nothing_is_remembered():
    journal = Journal(None)
    journal.append(*RECORDS)
    assert journal.read() == []
    journal.close()


def test_no_file_yet_is_an_empty_memory_and_reading_makes_none(path):
    assert Journal(path).read() == []
    assert not path.exists()


def test_only_the_owner_may_read_it(path):
    written(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_cut_off_anywhere_it_keeps_every_whole_line_and_goes_on(path):
    text = written(path)
    for cut in range(len(text)):
        path.write_bytes(text[:cut])
        journal = Journal(path)
        whole = RECORDS[: text[:cut].count(b"\n")]
        assert journal.read() == whole
        assert path.read_bytes() == text[:cut], "reading changes nothing"
        journal.append(RECORDS[0])
        journal.close()
        assert Journal(path).read() == [*whole, RECORDS[0]]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"{}",
        b"[{}]",
        b'[{"type":"unheard of"}]',
        b'[{"type":"opened"}]',
        b'[{"type":"opened","balance_msat":"1"}]',
        b'[{"type":"canceled","payment_hash":"\xff"}]',
    ],
)
def test_a_damaged_line_is_an_error_that_names_it(path, line):
    text = written(path).split(b"\n")
    text[2] = line
    path.write_bytes(b"\n".join(text))
    with pytest.raises(WalletRefused, match="Line 3 "):
        Journal(path).read()


def test_a_file_that_cannot_be_read_is_an_unavailable_wallet(tmp_path):
    with pytest.raises(WalletUnavailable, match="Cannot read"):
        Journal(tmp_path).read()


def test_a_write_that_fails_leaves_the_next_one_whole(path, monkeypatch):
    """A full disk takes half a line; the half must not stand before the next whole one."""
    journal = Journal(path)
    journal.append(RECORDS[0])
    write = os.write

    def half(file, data):
        return write(file, data[: len(data) // 2])

    def none_at_all(file, data):
        half(file, data)
        raise OSError(28, "No space left on device")

    for broken, why in ((half, "disk is full"), (none_at_all, "No space left")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", broken)
            with pytest.raises(WalletUnavailable, match=why):
                journal.append(RECORDS[1])
        assert Journal(path).read() == [RECORDS[0]]
    journal.append(RECORDS[2])
    assert Journal(path).read() == [RECORDS[0], RECORDS[2]]


CHILD = """
    import asyncio, os, sys
    from pathlib import Path
    from lightning.simulated import SimulatedWallet

    async def run():
        wallet = SimulatedWallet(
            seed=b"bot", now=lambda: 1_700_000_000.0, random_bytes=os.urandom, path=Path(sys.argv[1])
        )
        for turn in range(10**9):
            invoice = await wallet.create_invoice(21_000, memo="", expiry_s=600, key=f"job-{turn}")
            wallet.settle(invoice.payment_hash)
            print(invoice.payment_hash, flush=True)

    asyncio.run(run())
"""


@pytest.mark.crash
def test_whatever_was_told_before_a_kill_is_still_known_after_it(path):
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path)], stdout=subprocess.PIPE, text=True
    )
    with child:
        told = [child.stdout.readline().strip() for _ in range(300)]
        child.send_signal(signal.SIGKILL)
        told += [line.strip() for line in child.stdout if line.endswith("\n")]
    paid = {record.payment_hash for record in Journal(path).read() if isinstance(record, Received)}
    assert len(told) >= 300
    assert set(told) <= paid
    assert len(paid) <= len(told) + 1, "at most one nobody was told of"
