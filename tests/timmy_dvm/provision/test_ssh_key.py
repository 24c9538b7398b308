"""The key to a node: its size, its two forms, and that it shows itself to nobody."""

import base64
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_public_key

from timmy_dvm.provision.ssh_key import make_ssh_key


@pytest.fixture(scope="module")
def key():
    return make_ssh_key()


def test_the_private_half_is_pkcs1_and_opens_with_the_public_one(key):
    assert key.private.startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    private = load_pem_private_key(key.private.encode(), password=None)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 4_096
    assert load_ssh_public_key(key.public.encode()) == private.public_key()


def test_the_modulus_is_a_number_above_zero_on_the_wire(key):
    """RFC 4251, section 5: an mpint whose high bit is set is preceded by a zero byte."""
    name, blob = key.public.split()
    wire = base64.b64decode(blob)
    fields = []
    while wire:
        size = int.from_bytes(wire[:4], "big")
        fields.append(wire[4 : 4 + size])
        wire = wire[4 + size :]
    assert (name, fields[0]) == ("ssh-rsa", b"ssh-rsa")
    assert (fields[2][0], len(fields[2])) == (0, 513)


def test_it_does_not_show_its_private_half(key):
    assert "PRIVATE" not in repr(key)


def test_no_two_are_alike(key):
    assert make_ssh_key().public != key.public


@pytest.mark.peer
def test_ssh_keygen_reads_both_halves(key, tmp_path):
    keygen = shutil.which("ssh-keygen")
    assert keygen, "ssh-keygen is needed for this one (Debian, Ubuntu: apt install openssh-client)"
    (tmp_path / "node.pub").write_text(key.public)
    shown = subprocess.run([keygen, "-l", "-f", tmp_path / "node.pub"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("4096 ")
