"""What can go wrong with a wallet or an invoice, sorted by who must act.

    LightningError
    ├── WalletUnavailable   the wallet cannot be reached or answers nonsense: try again later
    ├── WalletRefused       the wallet will never do this: the operator or the caller changes something
    └── InvalidInvoice      a text is not a BOLT11 invoice we accept: whoever sent it makes a new one
                            (also a ValueError)

A payment's result is never an error: `Lightning.pay` answers `Sent.UNKNOWN` where nobody can know.
"""


class LightningError(Exception):
    """Base of all errors of this package; its text is a sentence for a human."""


class WalletUnavailable(LightningError):
    """The wallet cannot be reached, timed out, or answered something that makes no sense.

    Says nothing about whether the request took effect.
    """


class WalletRefused(LightningError):
    """The wallet answered a definite no: wrong credentials, an amount out of its range, not supported."""


class InvalidInvoice(LightningError, ValueError):
    """The text is not an invoice by BOLT 11, or not one for this network, amount or purpose."""
