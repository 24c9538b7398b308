import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.files import LedgerLocked, lock_ledger, path_of, prepare_file
from ledger.store import StoreUnavailable


def test_a_url_names_a_file_or_memory():
    assert path_of("sqlite:///timmy.db") == Path("timmy.db")
    assert path_of("sqlite:////var/lib/timmy/timmy.db") == Path("/var/lib/timmy/timmy.db")
    assert path_of("sqlite:///a b?c#d%20.db") == Path("a b?c#d%20.db")
    assert path_of("sqlite:///:memory:") is None


@pytest.mark.parametrize(
    "url", ["", "timmy.db", "sqlite://timmy.db", "sqlite:///", "postgresql://h/d", "sqlite:///a\0b"]
)
def test_another_url_is_refused_with_what_it_should_be(url):
    with pytest.raises(ValueError, match="must be sqlite:///path"):
        path_of(url)


def test_the_file_and_its_new_folders_are_for_this_user_alone(tmp_path):
    path = tmp_path / "a" / "b" / "timmy.db"
    before = os.umask(0o022)
    try:
        prepare_file(path)
        prepare_file(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == path.parent.parent.stat().st_mode & 0o777 == 0o700


def test_a_place_where_no_file_can_be_says_what_to_look_at(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"check ledger\.url"):
        prepare_file(tmp_path / "file" / "timmy.db")


def test_the_second_to_run_on_a_ledger_is_refused_by_the_name_of_the_first(tmp_path):
    path = tmp_path / "timmy.db"
    with lock_ledger(path), pytest.raises(LedgerLocked, match=f"process {os.getpid()}.* runs on .*timmy.db"):
        lock_ledger(path)
    lock_ledger(path).close()


def test_a_holder_that_has_not_said_who_it_is_still_holds(tmp_path):
    descriptor = os.open(tmp_path / "timmy.db.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(LedgerLocked, match="process unknown"):
        lock_ledger(tmp_path / "timmy.db")
    os.close(descriptor)


@pytest.mark.crash
def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    path = tmp_path / "timmy.db"
    holds = (
        "import pathlib, sys; from ledger.files import lock_ledger\n"
        "lock = lock_ledger(pathlib.Path(sys.argv[1])); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holds, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LedgerLocked, match=f"process {holder.pid}"):
            lock_ledger(path)
        holder.kill()
        holder.wait(10)
        lock_ledger(path).close()
