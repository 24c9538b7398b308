"""Events that outlive a start, and a file that may be damaged."""

import logging
import os

import pytest

from relay_client.local_relay_journal import Journal
from tests.relay_client.kit import signed


def texts(events):
    return [event.to_json() for event in events]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "relay.jsonl"


def test_what_was_appended_is_loaded_in_order(path):
    events = [signed(str(n)) for n in range(5)]
    journal = Journal(path, 100)
    assert journal.load() == []
    journal.rewrite([])
    for text in texts(events):
        journal.append(text)
    journal.close()
    journal.close()
    assert Journal(path, 100).load() == events


def test_only_its_owner_can_read_it(path):
    journal = Journal(path, 100)
    journal.rewrite([])
    journal.close()
    assert path.stat().st_mode & 0o077 == 0


def test_a_line_cut_off_by_a_crash_is_left_out(path, caplog):
    events = [signed(str(n)) for n in range(3)]
    whole = "".join(text + "\n" for text in texts(events))
    for cut in (1, 50, len(texts(events)[2])):
        path.write_text(whole[: -1 - cut])
        with caplog.at_level(logging.WARNING):
            assert Journal(path, 100).load() == events[:2]
    assert "could not be read" in caplog.text


@pytest.mark.parametrize(
    "damage", [b"\n", b"{}\n", b"\xff\xfe\n", b"\0" * 300_000 + b"\n", b"[" * 100_000 + b"\n"]
)
def test_damage_in_the_middle_costs_only_the_damaged_lines(path, damage):
    first, second = texts([signed("1"), signed("2")])
    path.write_bytes(first.encode() + b"\n" + damage + second.encode() + b"\n")
    assert texts(Journal(path, 100).load()) == [first, second]


def test_a_line_that_was_tampered_with_is_left_out(path):
    path.write_text(signed("true").to_json().replace("true", "lies") + "\n")
    assert Journal(path, 100).load() == []


def test_it_asks_to_be_written_anew_when_it_has_grown_several_times_too_long(path):
    journal = Journal(path, 2)
    journal.rewrite([])
    asked = [journal.append(signed(str(n)).to_json()) for n in range(12)]
    assert asked.index(True) == 8
    journal.rewrite(texts([signed("kept")]))
    assert journal.append(signed("next").to_json()) is False
    journal.close()
    assert [event.content for event in Journal(path, 2).load()] == ["kept", "next"]


def test_a_disk_that_refuses_is_told_and_never_raises(tmp_path, caplog):
    journal = Journal(tmp_path / "missing" / "relay.jsonl", 10)
    assert journal.load() == []
    journal.rewrite(texts([signed()]))
    assert journal.append(signed().to_json()) is False
    assert "cannot be written" in caplog.text
    journal.close()


def test_a_disk_that_begins_to_refuse_ends_the_journal_not_the_relay(path, caplog):
    journal = Journal(path, 10)
    journal.rewrite([])
    readable_only = os.open(path, os.O_RDONLY)
    os.dup2(readable_only, journal._fd)
    os.close(readable_only)
    journal.append(signed().to_json())
    journal.append(signed().to_json())
    assert caplog.text.count("cannot be written") == 1
