"""A long day at Timmy's: hundreds of customers of every kind, drawn from a seed, with no search behind it."""

from ledger.money import Msats
from ledger.records import InvoiceState
from lightning.simulated import Outcome
from tests.money.machine import FRIEND, PAGE, REGULAR, RELAY, STEPS, STRANGER, Customers
from timmy_dvm.clock import SeededRandomness

UNCLEAR = (Outcome.UNKNOWN, Outcome.UNKNOWN_THEN_SUCCEEDED, Outcome.UNKNOWN_THEN_FAILED, Outcome.LOST)
TOKENS = ((0, 300), (240, 1), (240, 120), (240, 390), (240, 1_700))


class Crowd(Customers):
    """The same customers, who do what a seed says."""

    def __init__(self, seed: str, pool: int = 500) -> None:
        super().__init__()
        self.begin(pool=pool, odd=0, capped=True, usd=100_000)
        self._random = SeededRandomness(seed)

    def one_of(self, *things):
        return things[int(self._random.uniform() * len(things))]

    def chance(self, percent: int) -> bool:
        return self._random.uniform() * 100 < percent

    def jobs(self) -> int:
        return self.world.query(lambda db: db.execute("SELECT count(*) FROM jobs").fetchone()[0])

    def comes(self, news) -> None:
        """One customer, with a job or two in any of the ways there are."""
        who, pick = self.one_of(REGULAR, FRIEND, STRANGER, STRANGER, None), int(self._random.uniform() * 1_000)
        what = self.one_of("pays", "pays", "pays", "claims", "asks", "session", "credit")
        if what == "pays":
            how, percent = self.one_of(RELAY, STEPS, PAGE), self.one_of(100, 100, 150, 50)
            self.ask_and_pay(who, how, percent, news, self.one_of(*TOKENS), self.one_of(0, 2, 2, 2))
        elif what == "claims":
            self.pay_and_claim_the_change(None, None, self.one_of(100, 200))
        elif what == "asks":
            self.ask(who, RELAY, 12, 1, named=self.chance(50))
            self.run_the_model(pick, self.one_of(*TOKENS), accepts=self.chance(75), is_away=self.chance(25))
        elif what == "session":
            self.open_session(who, news, pays=True)
            self.request_in_session(-1, self.one_of(1, 3))
            if self.chance(50):
                self.close_session(pick, self.one_of(None, 40))
        elif who is not None:
            self.top_up(who, 40, news, pays=True)
            if self.chance(50):
                self.pay_credit_out(who, 3, 1)
        self.something_is_done(pick, 4, address_answers=self.chance(80))
        if self.owed() and self.chance(30):
            self.claim(pick, 1, sends=True, dies=None, trouble=None)

    def settles_down(self) -> None:
        """Time goes on until nothing waits; what was paid and never told is found by the listing."""
        self.world.live(self.world.listing())
        while not self.world.rests():
            pass

    def earned_and_returned_and_owed(self) -> int:
        """Where all that came in has gone, by the books: ours, left for a customer, or still a customer's."""

        def told(db):
            posted = "SELECT total(amount_msat) FROM postings JOIN entries ON entries.id = entry JOIN accounts ON "
            posted += "accounts.id = account WHERE "
            of_ours = "name IN ('earned', 'shortfall') OR name = 'pool' OR name LIKE 'reserved:%'"
            ours = db.execute(f"{posted} {of_ours}").fetchone()[0]
            left = db.execute(f"{posted} name = 'node' AND code IN ('sent', 'routing')").fetchone()[0]
            fees = db.execute(f"{posted} name = 'routing_fees'").fetchone()[0]
            owed = "name LIKE 'job:%' OR name LIKE 'customer:%' OR name LIKE 'session:%' OR name LIKE 'refund:%'"
            return ours + left + fees + db.execute(f"{posted} ({owed})").fetchone()[0]

        return int(self.world.query(told)) - self.rules.given

    def pays_late(self) -> None:
        """Somebody pays what has expired."""

        def expired(db):
            return db.execute(
                "SELECT payment_hash, amount_msat FROM invoices WHERE state = ?", (InvoiceState.EXPIRED,)
            ).fetchall()

        for payment_hash, amount in self.world.query(expired)[:1]:
            self.world.wallet.settle(payment_hash, Msats(amount))
        self.world.live(self.world.listing())
