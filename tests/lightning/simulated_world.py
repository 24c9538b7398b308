"""The simulated wallet with a clock, dice and a customer around it: the harness of its tests."""

import random

from ledger.money import Msats
from lightning.simulated import OutsideWallet, SimulatedWallet
from tests.lightning.contract import Harness

OPENING = Msats(1_000_000)
SUM = Msats(21_000)


class Clock:
    """Time that goes by when told."""

    def __init__(self):
        self.now = 1_700_000_000.5

    def __call__(self):
        return self.now


class SimulatedHarness(Harness):
    def __init__(self, path=None):
        self.clock = Clock()
        self.dice = random.Random(5)
        self.path = path
        self.backend = self.open()
        self.outside = OutsideWallet(
            self.backend, seed=b"customer", now=self.clock, random_bytes=self.dice.randbytes
        )

    def open(self, balance=OPENING):
        return SimulatedWallet(
            seed=b"bot",
            now=self.clock,
            random_bytes=self.dice.randbytes,
            path=self.path,
            balance_msat=balance,
        )

    def restart(self):
        """As after a kill: nothing of the old object is used, not even closed."""
        self.backend = self.open(balance=Msats(7))
        return self.backend

    async def pay_from_outside(self, bolt11):
        self.outside.pays(bolt11)

    async def outside_invoice(self, amount_msat):
        return self.outside.invoice(Msats(amount_msat))

    def unreachable(self):
        wallet = SimulatedWallet(seed=b"gone", now=self.clock, random_bytes=self.dice.randbytes)
        wallet.down = True
        return wallet

    async def wait(self, seconds):
        self.clock.now += seconds
