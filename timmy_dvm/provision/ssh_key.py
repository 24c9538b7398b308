"""The key to a node: RSA of 4,096 bits, made in this process (no `ssh-keygen` is needed)."""

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

BITS: Final = 4_096
_EXPONENT: Final = 65_537


@dataclass(frozen=True, slots=True)
class SshKey:
    """A fresh pair.

    Attributes:
        private: PKCS#1 in PEM; it is handed to its owner once and kept nowhere after that.
        public: the line for ``authorized_keys`` (RFC 4253, section 6.6), without a comment.
    """

    private: str = field(repr=False)
    public: str


def make_ssh_key() -> SshKey:
    """A fresh pair, by the machine's own randomness. It takes about a second of one core: call it in a thread."""
    key = rsa.generate_private_key(public_exponent=_EXPONENT, key_size=BITS)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return SshKey(private.decode(), public.decode())
