"""What must be true of the money after every step, told from the rows and from what the world really did.

Nothing of the product's own arithmetic is used: prices are worked out here once more, in fractions; balances are
the sums of postings; what came and went is the wallet's own memory; the rest is plain SQL.
"""

import math
import sqlite3
from collections import Counter, defaultdict
from fractions import Fraction

from ledger.audit import QUERIES, audit
from lightning.backend import Sent
from tests.money.world import OPENING, World

SAT = 1_000
DAY = 86_400
EVAL_FEE = 2 * SAT
MODEL_RATES = (3, 15)
"""Micro-dollars for a token of input and of output."""
INFRASTRUCTURE = 500
MARGIN = Fraction(140, 100)
PROMPT_TOKENS = 230
TIERS = ((80, 400), (240, 800), (16_000, 1_600))
OPEN_REFUNDS = ("owed", "held", "credited")

NOTHING_MAY_ANSWER = {
    "an entry balances": """
        SELECT entry, sum(amount_msat) FROM postings GROUP BY entry HAVING sum(amount_msat) <> 0""",
    "a balance is what was posted": """
        SELECT name, balance_msat, total(amount_msat) FROM accounts LEFT JOIN postings ON account = accounts.id
        GROUP BY accounts.id HAVING balance_msat <> total(amount_msat)""",
    "amounts are whole msat": """
        SELECT entry, typeof(amount_msat) FROM postings WHERE typeof(amount_msat) <> 'integer'""",
    "what we owe was never below nothing": """
        SELECT name, now FROM (
            SELECT name, sum(amount_msat) OVER (PARTITION BY account ORDER BY entry) AS now
            FROM postings JOIN accounts ON accounts.id = account
            WHERE name = 'pool' OR name LIKE '%:%'
        ) WHERE now < 0""",
    "a reservation is made once, ends once, and leaves nothing": """
        SELECT name, sum(amount_msat > 0), sum(amount_msat) FROM postings JOIN accounts ON accounts.id = account
        JOIN jobs ON name = 'reserved:' || jobs.id
        GROUP BY account, ended_at HAVING sum(amount_msat > 0) <> 1
            OR (ended_at IS NOT NULL) <> (sum(amount_msat) = 0)""",
    "who ended holds nothing": """
        SELECT name, balance_msat FROM accounts JOIN jobs ON name IN ('job:' || jobs.id, 'reserved:' || jobs.id)
        WHERE ended_at IS NOT NULL AND balance_msat <> 0""",
    "no more goes back than was owed": """
        SELECT name, sum(max(0, amount_msat)), -sum(min(0, amount_msat))
        FROM postings JOIN accounts ON accounts.id = account WHERE name LIKE 'refund:%' GROUP BY account
        HAVING -sum(min(0, amount_msat)) > sum(max(0, amount_msat))""",
    "no more goes back of a job than came for it": """
        SELECT name, sum(amount_msat) FROM postings JOIN accounts ON accounts.id = account
        WHERE name LIKE 'job:%' GROUP BY account HAVING sum(amount_msat) < 0""",
    "a payment is credited once": """
        SELECT entry_id, count(*) FROM entries WHERE code = 'settled' GROUP BY entry_id HAVING count(*) > 1""",
    "what is credited was settled": """
        SELECT entry_id FROM entries LEFT JOIN invoices ON 'settled:' || payment_hash = entry_id
        WHERE code = 'settled' AND state IS NOT 'settled'""",
    "a day's routing fees are bounded": """
        SELECT entries.at / 86400, sum(-amount_msat) FROM entries JOIN postings ON entry = entries.id
        JOIN accounts ON accounts.id = account WHERE name = 'routing_fees' GROUP BY entries.at / 86400
        HAVING sum(-amount_msat) > 200000""",
}


def price(tokens: tuple[int, int], btc_micro_usd: int) -> int:
    """What a work step costs, in msat of whole sats rounded up."""
    used = sum(number * rate for number, rate in zip(tokens, MODEL_RATES, strict=True))
    micro_usd = (used + INFRASTRUCTURE) * MARGIN
    return SAT * max(1, math.ceil(micro_usd * 100_000_000 / btc_micro_usd))


def estimate(text: str) -> tuple[int, int]:
    """The most tokens an answer to a text may use."""
    longest = next(tokens for length, tokens in TIERS if len(text) <= length)
    return PROMPT_TOKENS + math.ceil(len(text) / 3), longest


class Rules:
    """All promises, held against one world; it remembers what each key's trust must be."""

    def __init__(self, world: World, scores: dict[str, int], budgets: dict[int, int], pool: int) -> None:
        self.world = world
        self.scores = dict(scores)
        self.seen = dict.fromkeys(scores, world.now)
        self.most = dict(scores)
        self._budgets = sorted(budgets.items(), reverse=True)
        self.given = pool
        self._judged: set[str] = set()
        self.again: dict[str, int] = {}
        """What came once more for a hash that was credited, as no good node takes it: the watchdog warns."""

    def hold(self) -> None:
        """Raise AssertionError with the first rule that is broken."""
        self.world.query(self._look)

    def all_is_told(self) -> None:
        """The faults are over and nothing waits: every job has ended, and all that came is booked."""
        self.world.query(self._at_rest)

    def _at_rest(self, db: sqlite3.Connection) -> None:
        assert [str(finding) for finding in audit(db)] == []
        assert db.execute("SELECT id, state FROM jobs WHERE ended_at IS NULL").fetchall() == []
        flying = "SELECT id, state FROM refunds WHERE state NOT IN ('sent', 'credited', 'held', 'paid_elsewhere')"
        assert db.execute(flying).fetchall() == []
        booked = dict(db.execute("SELECT payment_hash, received_msat FROM invoices WHERE state = 'settled'"))
        for payment_hash, row in self.world.wallet.truth.received.items():
            more = self.again.get(payment_hash, 0)
            assert booked.get(payment_hash, 0) + more == row.received_msat, (
                f"{payment_hash} came and is booked nowhere"
            )
        balances = dict(db.execute("SELECT name, balance_msat FROM accounts"))
        assert -balances["node"] + sum(self.again.values()) == self.world.wallet.truth.balance_msat

    def _look(self, db: sqlite3.Connection) -> None:
        for name, query in (*NOTHING_MAY_ANSWER.items(), *QUERIES.items()):
            broken = [tuple(row) for row in db.execute(query)]
            assert not broken, f"{name}: {broken}"
        balances = dict(db.execute("SELECT name, balance_msat FROM accounts"))
        assert sum(balances.values()) == 0, balances
        self._what_came_and_went_is_booked(db, balances)
        self._nobody_is_paid_twice(db)
        jobs = [dict(row) for row in db.execute("SELECT * FROM jobs ORDER BY row")]
        moved = _settled(db)
        for job in jobs:
            self._the_price_is_right(db, job)
            if job["ended_at"] is not None:
                self._conserved(db, job, moved[job["id"]])
        self._the_pool_is_what_it_was_given_and_did_not_grant(db, balances, moved, jobs)
        self._trust_follows_its_table(db, jobs, moved)
        self._no_budget_is_exceeded(db)

    def _what_came_and_went_is_booked(self, db, balances) -> None:
        """`node` is what the wallet's own memory says of what our books know to have come and gone."""
        truth = self.world.wallet.truth
        came = gone = 0
        for payment_hash, received in db.execute(
            "SELECT payment_hash, received_msat FROM invoices WHERE state = 'settled'"
        ):
            assert payment_hash in truth.received, f"{payment_hash} was credited, and nobody paid it"
            assert truth.received[payment_hash].received_msat == received + self.again.get(payment_hash, 0)
            came += received
        for (payment_hash,) in db.execute("SELECT payment_hash FROM refunds WHERE state = 'sent'"):
            sent = truth.payments[payment_hash]
            assert sent.state is Sent.SUCCEEDED
            gone += sent.amount_msat + sent.fee_msat
        assert -balances["node"] == OPENING + came - gone, "our books and our wallet tell different things"

    def _nobody_is_paid_twice(self, db) -> None:
        """No payment leaves before its record, and of a refund one payment at most is not known to have failed."""
        payments = self.world.wallet.truth.payments
        rows = list(
            db.execute(
                "SELECT refunds.id, refunds.state, payments.payment_hash FROM payments "
                "JOIN refunds ON refunds.row = payments.refund"
            )
        )
        unrecorded = payments.keys() - {payment_hash for _, _, payment_hash in rows}
        assert not unrecorded, f"paid before it was recorded: {unrecorded}"
        alive = Counter(
            (refund, state) for refund, state, payment_hash in rows
            if payment_hash in payments and payments[payment_hash].state is not Sent.FAILED
        )  # fmt: skip
        for (refund, state), number in alive.items():
            assert number == 1, f"refund {refund} left {number} times"
            assert state not in OPEN_REFUNDS, f"refund {refund} is {state}, and its payment did not fail"

    def _the_price_is_right(self, db, job) -> None:
        (text,) = db.execute("SELECT request FROM job_texts WHERE job = ?", (job["row"],)).fetchone()
        assert job["eval_fee_msat"] == EVAL_FEE
        assert job["work_fee_msat"] == price(estimate(text), job["btc_price_usd"]), (
            "the price is not the estimate's"
        )
        job["cost"] = 0
        if job["state"] == "complete":
            job["cost"] = price(self.world.model.worked[text], job["btc_price_usd"])

    def _conserved(self, db, job, moved) -> None:
        """Customer + pool + shortfall = cost, the pool pays of the cost what was reserved for it and no more."""
        verdict = EVAL_FEE if job["eval_passed"] is not None else 0
        charge, grant, short = moved["job"], moved["reserved"], moved["shortfall"]
        told = f"{job['state']} job: charge {charge}, grant {grant}, short {short}, cost {verdict} + {job['cost']}"
        assert charge + grant + short == verdict + job["cost"], told
        assert charge <= job["share_eval_msat"] + job["share_work_msat"], told
        held = db.execute("SELECT reserved_msat FROM reservations WHERE job = ?", (job["row"],)).fetchone()
        whole = job["session_id"] is not None or (job["door"], job["mode"]) == ("nostr", "once")
        covered = (verdict if whole else 0) + job["cost"]
        expected = min(covered, held[0] if held else 0) if job["state"] == "complete" else 0
        assert grant == expected, f"{told}; the pool owed {expected}"
        kept = charge if job["session_id"] else charge - min(charge, verdict)
        job["pool_credit"] = kept // 10 // SAT * SAT
        job["charge"], job["charge_work"] = charge, charge - min(charge, verdict)

    def _the_pool_is_what_it_was_given_and_did_not_grant(self, db, balances, moved, jobs) -> None:
        dust = db.execute(
            "SELECT total(amount_msat) FROM postings JOIN entries ON entry = entries.id JOIN accounts ON "
            "account = accounts.id WHERE code = 'dust' AND name = 'pool'"
        ).fetchone()[0]
        # What the wallet took for an invoice that names the pool, whoever asked for it.
        gifts = db.execute("SELECT payment_hash FROM invoices WHERE account = 'pool' AND state = 'settled'")
        truth = self.world.wallet.truth.received
        came = sum(truth[each].received_msat - self.again.get(each, 0) for (each,) in gifts)
        credited = came + sum(job.get("pool_credit", 0) for job in jobs)
        granted = sum(each["reserved"] for each in moved.values())
        reserved = sum(balance for name, balance in balances.items() if name.startswith("reserved:"))
        assert balances.get("pool", 0) + reserved + granted == self.given + credited + dust, "the pool is off"

    def _trust_follows_its_table(self, db, jobs, moved) -> None:
        """Decay first, then what the end of a job changes; nothing else moves a score."""
        last = dict(db.execute("SELECT job, max(row) FROM facts WHERE job IS NOT NULL GROUP BY job"))
        ended = [job for job in jobs if job["ended_at"] is not None and job["id"] not in self._judged]
        for job in sorted(ended, key=lambda job: last[job["row"]]):
            self._judged.add(job["id"])
            if job["nostr_pubkey"] is None or job["state"] in ("expired", "cancelled"):
                continue
            paid = 2 if job["charge"] >= 100 * SAT else 1
            change = {"complete": paid if job["charge_work"] else 0, "rejected": -5, "failed": -1}[job["state"]]
            self._moves(job["nostr_pubkey"], change, job["ended_at"])
        for pubkey, score in db.execute("SELECT pubkey, trust_score FROM identities"):
            assert score == self.scores.get(pubkey, 0), (
                f"trust of {pubkey[:4]} is {score}, not {self.scores[pubkey]}"
            )

    def _moves(self, pubkey: str, change: int, at: int) -> None:
        away = (at - self.seen.get(pubkey, at)) // DAY
        decayed = max(0, self.scores.get(pubkey, 0) - max(0, away - 30))
        self.scores[pubkey] = min(100, max(0, decayed + change))
        self.seen[pubkey] = max(at, self.seen.get(pubkey, at))
        self.most[pubkey] = max(self.most.get(pubkey, 0), self.scores[pubkey])

    def _no_budget_is_exceeded(self, db) -> None:
        """What a key was granted in a day, and what is set aside for it, is within the widest budget it had."""
        drawn: defaultdict[tuple[str, int], int] = defaultdict(int)
        held: Counter[str] = Counter()
        for pubkey, reserved, granted, ended_at in db.execute(
            "SELECT nostr_pubkey, reserved_msat, granted_msat, ended_at FROM reservations"
        ):
            if ended_at is None:
                held[pubkey] += reserved
            else:
                drawn[pubkey, ended_at // DAY] += granted
        for (pubkey, _), granted in drawn.items():
            assert granted <= self._budget(pubkey), f"{pubkey[:4]} was granted {granted} in a day"
        for pubkey, reserved in held.items():
            assert reserved <= self._budget(pubkey), f"for {pubkey[:4]} {reserved} are set aside"

    def _budget(self, pubkey: str) -> int:
        return next(budget for score, budget in self._budgets if self.most.get(pubkey, 0) >= score)


def _settled(db: sqlite3.Connection) -> defaultdict[str, Counter]:
    """By job: what its settlement took from its account, from the pool, and from ourselves."""
    moved: defaultdict[str, Counter] = defaultdict(Counter)
    for entry_id, name, amount in db.execute(
        "SELECT entry_id, name, amount_msat FROM entries JOIN postings ON entry = entries.id "
        "JOIN accounts ON accounts.id = account WHERE code = 'settlement'"
    ):
        job_id = entry_id.removeprefix("settlement:")
        moved[job_id][name.partition(":")[0]] -= amount
    return moved
