"""Keys on disk: made once, closed to others from the first byte, never overwritten."""

import os
import stat
import threading

import pytest

from relay_client.keys import Keys
from timmy_dvm.clock import SeededRandomness, SystemRandomness
from timmy_dvm.config import ConfigError
from timmy_dvm.identity import load_or_create_key, load_or_create_token, write_secret


class Scripted:
    """Randomness that gives what it was told to."""

    def __init__(self, *tokens):
        self._tokens = list(tokens)

    def token(self, n):
        return self._tokens.pop(0)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o000, 0o277])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_new_key_is_closed_to_others_whatever_the_umask(tmp_path):
    keys = load_or_create_key(tmp_path / "nostr.key", SystemRandomness())
    assert mode_of(tmp_path / "nostr.key") == 0o600
    assert load_or_create_key(tmp_path / "nostr.key", Scripted()).public_key == keys.public_key
    assert list(tmp_path.iterdir()) == [tmp_path / "nostr.key"]


def test_the_file_holds_an_nsec_and_hex_is_read_too(tmp_path):
    keys = load_or_create_key(tmp_path / "a" / "nostr.key", SeededRandomness(1))
    assert (tmp_path / "a" / "nostr.key").read_text() == keys.to_nsec() + "\n"
    assert mode_of(tmp_path / "a") == 0o700
    write_secret(tmp_path / "hex", "01" * 32)
    assert load_or_create_key(tmp_path / "hex", Scripted()).public_key == Keys.from_hex("01" * 32).public_key


def test_bytes_that_are_no_key_are_thrown_again(tmp_path):
    keys = load_or_create_key(tmp_path / "k", Scripted(b"\0" * 32, b"\xff" * 32, b"\x01" * 32))
    assert keys.public_key == Keys.from_hex("01" * 32).public_key


@pytest.mark.parametrize("text", ["nonsense", "00" * 32, ""])
def test_a_file_without_a_key_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "k"
    write_secret(path, text)
    with pytest.raises(ConfigError) as caught:
        load_or_create_key(path, SystemRandomness())
    assert str(path) in str(caught.value)
    assert not text or text not in str(caught.value)
    assert path.read_text() == text + "\n"


def test_a_key_open_to_others_is_refused(tmp_path):
    path = tmp_path / "k"
    write_secret(path, "01" * 32)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_create_key(path, SystemRandomness())


def test_writing_never_overwrites(tmp_path):
    write_secret(tmp_path / "k", "first")
    write_secret(tmp_path / "k", "second")
    assert (tmp_path / "k").read_text() == "first\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "k"]


def test_of_many_that_race_all_get_the_same_key(tmp_path):
    start, found = threading.Barrier(8), []

    def race():
        start.wait(timeout=10)
        found.append(load_or_create_key(tmp_path / "k", SystemRandomness()).public_key)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_token_has_256_bits_and_stays(tmp_path):
    token = load_or_create_token(tmp_path / "token.secret", SystemRandomness())
    assert len(bytes.fromhex(token.reveal())) == 32
    assert load_or_create_token(tmp_path / "token.secret", Scripted()) == token
    assert mode_of(tmp_path / "token.secret") == 0o600


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"):
        load_or_create_key(tmp_path / "file" / "k", SystemRandomness())
