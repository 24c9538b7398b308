"""What the ledger knows, read out of one SQLite transaction: the :class:`~ledger.store.View` and more.

Synchronous: it runs in the thread of the connection it is given, whether that transaction writes or only reads.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ledger import accounts
from ledger.answers import AnswerRecord
from ledger.bootstrap import BootstrapRecord
from ledger.credit import TopUpRecord, Unfinished
from ledger.entries import Code, Entry, Posting
from ledger.money import Msats
from ledger.queries import named_queries
from ledger.records import (
    IdentityRecord,
    InvoiceRecord,
    JobRecord,
    JobState,
    JobTexts,
    NewEvent,
    PendingAction,
    RefundRecord,
    Turn,
)
from ledger.reservations import Donor, Grant, PoolBooks, PoolMove, TierUse
from ledger.sessions import SessionRecord
from ledger.spending import ModelUse
from ledger.sqlite_bootstrap import bootstrap_from
from ledger.sqlite_rows import (
    action_from,
    event_from,
    fact_from,
    identity_from,
    invoice_from,
    job_from,
    refund_from,
    topup_from,
)
from ledger.sqlite_sessions import session_from
from ledger.store import Delivery, Story

T = TypeVar("T")

SQL: Final = named_queries("queries.sql")
_PREFIX: Final = re.compile(r"[0-9a-f]{4,64}")
_NONE: Final = JobTexts("", "", None)
_FORGOTTEN: Final = JobTexts("", "", None, forgotten=True)


class SqliteView:
    """See :class:`ledger.store.View` and the reading half of :class:`ledger.store.Store`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def job(self, job_id: str) -> JobRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(job_from, "job", id=job_id)

    def job_of_event(self, event_id: str) -> JobRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(job_from, "job_of_event", event_id=event_id)

    def newest_jobs_of(self, pubkey: str, limit: int) -> Sequence[JobRecord]:
        """See :class:`ledger.store.View`."""
        return self._all(job_from, "newest_jobs_of_key", pubkey=pubkey, limit=limit)

    def targets_of(self, job_id: str) -> Sequence[str]:
        """See :class:`ledger.store.View`."""
        return self._all(lambda row: str(row["targets"]), "targets_of_job", job_id=job_id)

    def texts(self, job_id: str) -> JobTexts:
        """See :class:`ledger.store.View`."""
        texts = self._one(lambda row: JobTexts(*row), "texts", job_id=job_id)
        return texts or (_NONE if self.job(job_id) is None else _FORGOTTEN)

    def event(self, event_id: str) -> NewEvent | None:
        """See :class:`ledger.store.View`."""
        return self._one(event_from, "event", id=event_id)

    def thread(self, job_id: str, limit: int) -> Sequence[Turn]:
        """See :class:`ledger.store.View`."""
        return self._all(lambda row: Turn(*row), "thread", job_id=job_id, limit=limit)

    def invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(invoice_from, "invoice", payment_hash=payment_hash)

    def open_invoice_of(self, job_id: str) -> InvoiceRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(invoice_from, "open_invoice_of_job", job_id=job_id)

    def refund(self, refund_id: str) -> RefundRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(refund_from, "refund", id=refund_id)

    def refunds_of(self, job_id: str) -> Sequence[RefundRecord]:
        """See :class:`ledger.store.View`."""
        return self._all(refund_from, "refunds_of_job", job_id=job_id)

    def open_refunds_of(self, pubkey: str, limit: int) -> Sequence[tuple[str | None, RefundRecord]]:
        """See :class:`ledger.store.View`."""
        return self._all(
            lambda row: (row["event_id"], refund_from(row)), "open_refunds_of_key", pubkey=pubkey, limit=limit
        )

    def run_waits(self, job_id: str) -> bool:
        """See :class:`ledger.store.View`."""
        return bool(self._number("run_waits", job_id=job_id))

    def payouts_of(self, pubkey: str) -> Sequence[RefundRecord]:
        """See :class:`ledger.store.View`."""
        return self._all(refund_from, "open_payouts_of_key", pubkey=pubkey)

    def topup(self, topup_id: str) -> TopUpRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(topup_from, "topup", id=topup_id)

    def topup_of_event(self, event_id: str) -> TopUpRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(topup_from, "topup_of_event", event_id=event_id)

    def topup_of_invoice(self, payment_hash: str) -> TopUpRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(topup_from, "topup_of_invoice", payment_hash=payment_hash)

    def waiting_topups_of(self, pubkey: str, limit: int) -> Sequence[tuple[TopUpRecord, InvoiceRecord | None]]:
        """See :class:`ledger.store.View`."""
        waiting = self._all(topup_from, "waiting_topups_of_key_listed", pubkey=pubkey, limit=limit)
        return tuple((topup, self.invoice(topup.payment_hash or "")) for topup in waiting)

    def session(self, session_id: str) -> SessionRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(session_from, "session", id=session_id)

    def deposit_of(self, session_id: str) -> TopUpRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(topup_from, "deposit_of_account", account=accounts.session(session_id))

    def open_topup_of(self, session_id: str) -> TopUpRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(topup_from, "open_topup_of_account", account=accounts.session(session_id))

    def open_topups_of_sessions(self, pubkey: str) -> int:
        """See :class:`ledger.store.View`."""
        return self._number("waiting_session_topups_of_key", pubkey=pubkey)

    def refunds_of_session(self, session_id: str) -> Sequence[RefundRecord]:
        """See :class:`ledger.store.View`."""
        return self._all(refund_from, "refunds_of_session", session_id=session_id)

    def bootstrap(self, bootstrap_id: str) -> BootstrapRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(bootstrap_from, "bootstrap", id=bootstrap_id)

    def bootstrap_of_invoice(self, payment_hash: str) -> BootstrapRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(bootstrap_from, "bootstrap_of_invoice", payment_hash=payment_hash)

    def refunds_of_bootstrap(self, bootstrap_id: str) -> Sequence[RefundRecord]:
        """See :class:`ledger.store.View`."""
        return self._all(refund_from, "refunds_of_bootstrap", bootstrap_id=bootstrap_id)

    def unfinished_of(self, pubkey: str) -> Unfinished:
        """See :class:`ledger.store.View`."""
        leaving = sum(refund.amount for refund in self.payouts_of(pubkey))
        return Unfinished(
            jobs=self._number("unended_jobs_of_key", pubkey=pubkey),
            topups=self._number("unended_topups_of_key", pubkey=pubkey),
            owed=Msats(self._number("owed_to_key", pubkey=pubkey) + leaving),
            payable_until=self._number("payable_until_of_key", pubkey=pubkey) or None,
        )

    def remembered_jobs_of(self, pubkey: str) -> int:
        """See :class:`ledger.store.View`."""
        return self._number("remembered_jobs_of_key", pubkey=pubkey)

    def payment_is_known(self, payment_hash: str) -> bool:
        """See :class:`ledger.store.View`."""
        return bool(self._number("payment_is_known", payment_hash=payment_hash))

    def balance(self, account: str) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("balance", account=account))

    def payable(self) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("payable"))

    def refund_fees_since(self, since: int) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("refund_fees_since", since=since))

    def free_answers_since(self, since: int) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("free_answers_since", since=since))

    def model_use_since(self, since: int) -> ModelUse:
        """See :class:`ledger.store.View`."""
        work, tokens_in, tokens_out = self._connection.execute(SQL["model_use_since"], {"since": since}).fetchone()
        return ModelUse(
            work_micro_usd=work,
            eval_input_tokens=tokens_in,
            eval_output_tokens=tokens_out,
            given_away=self.free_answers_since(since),
        )

    def fee_caps_in_flight(self) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("fee_caps_in_flight"))

    def identity(self, pubkey: str) -> IdentityRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(identity_from, "identity", pubkey=pubkey)

    def reserved_of(self, pubkey: str) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("reserved_of_key", pubkey=pubkey))

    def offered_to(self, pubkey: str) -> Msats:
        """See :class:`ledger.store.View`."""
        unpaid = self._number("offered_to_key", pubkey=pubkey)
        return Msats(unpaid + self._number("offered_in_sessions_of_key", pubkey=pubkey))

    def drew_before(self, pubkey: str) -> bool:
        """See :class:`ledger.store.View`."""
        return bool(self._number("drew_before", pubkey=pubkey))

    def last_paid_success(self, pubkey: str) -> JobRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(job_from, "last_job_that_raised", pubkey=pubkey)

    def last_trouble(self, pubkey: str) -> JobRecord | None:
        """See :class:`ledger.store.View`."""
        return self._one(job_from, "last_job_that_lowered", pubkey=pubkey)

    def granted_to(self, pubkey: str) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("granted_to_key", pubkey=pubkey))

    def fees_kept_of(self, pubkey: str) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("fees_kept_of_key", pubkey=pubkey))

    def drawn_by_tier(self, tier: str, since: int) -> Msats:
        """See :class:`ledger.store.View`."""
        return Msats(self._number("drawn_by_tier", tier=tier, since=since))

    def open_jobs_of(self, pubkey: str) -> int:
        """See :class:`ledger.store.View`."""
        jobs = self._number("waiting_jobs_of_key", pubkey=pubkey)
        return jobs + self._number("waiting_topups_of_key", pubkey=pubkey)

    def jobs_since(self, pubkey: str, since: int) -> int:
        """See :class:`ledger.store.View`."""
        jobs = self._number("jobs_of_key_since", pubkey=pubkey, since=since)
        return jobs + self._number("topups_of_key_since", pubkey=pubkey, since=since)

    def cancelled_since(self, pubkey: str, since: int) -> int:
        """See :class:`ledger.store.View`."""
        jobs = self._number("cancelled_jobs_of_key_since", pubkey=pubkey, since=since)
        return jobs + self._number("given_up_topups_of_key_since", pubkey=pubkey, since=since)

    def open_invoices(self) -> int:
        """See :class:`ledger.store.View`."""
        waiting = sum(map(self._number, ("waiting_jobs", "waiting_topups", "waiting_bootstraps")))
        return max(waiting, self._number("payable_invoices"))

    def open_donations(self) -> int:
        """See :class:`ledger.store.View`."""
        return self._number("waiting_donations")

    def is_key_used(self, key: str) -> bool:
        """See :class:`ledger.store.View`."""
        return bool(self._number("is_key_used", key=key))

    # What the Store reads beyond a decision's needs.

    def pending(self) -> Sequence[PendingAction]:
        """See :class:`ledger.store.Store`."""
        return self._all(action_from, "outbox")

    def find_jobs(self, text: str) -> Sequence[JobRecord]:
        """See :class:`ledger.store.Store`. Anything but a hex prefix finds nothing."""
        first = text.lower()
        if not _PREFIX.fullmatch(first):
            return ()
        return self._all(job_from, "jobs_by_prefix", first=first, last=first + "g")

    def jobs(self, limit: int, states: Sequence[JobState]) -> Sequence[JobRecord]:
        """See :class:`ledger.store.Store`."""
        if not states:
            return self._all(job_from, "newest_jobs", limit=limit)
        return self._all(job_from, "newest_jobs_in_states", limit=limit, states=json.dumps(states))

    def paying_keys(self, limit: int) -> Sequence[str]:
        """See :class:`ledger.store.Store`."""
        return self._all(lambda row: str(row["pubkey"]), "paying_keys", limit=limit)

    def texts_or_none(self, job_id: str) -> JobTexts | None:
        """The texts as :class:`ledger.store.Store` answers them: None where there is no such job."""
        return None if self.job(job_id) is None else self.texts(job_id)

    def every_open_invoice(self) -> Sequence[InvoiceRecord]:
        """See :class:`ledger.store.Store`, ``open_invoices``."""
        return self._all(invoice_from, "open_invoices")

    def due(self) -> Sequence[tuple[int, str]]:
        """See :class:`ledger.store.Store`."""
        return self._all(lambda row: (row["due_at"], row["id"]), "jobs_due")

    def refunds(self, *, open_only: bool) -> Sequence[RefundRecord]:
        """See :class:`ledger.store.Store`."""
        return self._all(refund_from, "open_refunds" if open_only else "refunds")

    def balances(self) -> dict[str, Msats]:
        """See :class:`ledger.store.Store`."""
        return dict(self._all(lambda row: (row["name"], Msats(row["balance_msat"])), "balances"))

    def pool(self, since: int, limit: int) -> PoolBooks:
        """See :class:`ledger.store.Store`."""
        return PoolBooks(
            balance=self.balance(accounts.POOL),
            reserved=Msats(self._number("pool_reserved")),
            granted=Msats(self._number("pool_granted")),
            today=self._all(lambda row: TierUse(*row), "pool_use_since", since=since),
            grants=self._all(lambda row: Grant(*row), "newest_grants", limit=limit),
            moves=self._all(lambda row: PoolMove(*row), "newest_pool_moves", limit=limit),
            donors=self._all(lambda row: Donor(*row), "newest_donors", limit=limit),
        )

    def setting(self, key: str) -> str | None:
        """See :class:`ledger.store.Store`."""
        return self._one(lambda row: str(row["value"]), "setting", key=key)

    def world_events(self, limit: int) -> Sequence[tuple[int, str]]:
        """See :class:`ledger.store.Store`."""
        return self._all(lambda row: (row["at"], row["type"]), "world_events", limit=limit)

    def answer(self, key: str) -> AnswerRecord:
        """What is noted under a key that was noted."""
        row = self._connection.execute(SQL["answer"], {"key": key}).fetchone()
        return AnswerRecord(*row)

    def story(self, job_id: str) -> Story | None:
        """See :class:`ledger.store.Store`."""
        job = self.job(job_id)
        if job is None:
            return None
        return Story(
            job=job,
            texts=self.texts(job_id),
            facts=self._all(fact_from, "facts_of_job", job_id=job_id),
            entries=self._all(self._entry, "entries_of_job", job_id=job_id),
            invoices=self._all(invoice_from, "invoices_of_job", job_id=job_id),
            refunds=tuple(self.refunds_of(job_id)),
            events=tuple((event, self._deliveries(event)) for event in self._events_of(job_id)),
        )

    def _entry(self, row: sqlite3.Row) -> tuple[int, Entry]:
        postings = self._all(lambda line: Posting(*line), "postings_of_entry", row=row["id"])
        return row["at"], Entry(row["entry_id"], Code(row["code"]), postings, row["reason"])

    def _events_of(self, job_id: str) -> tuple[NewEvent, ...]:
        return self._all(event_from, "events_of_job", job_id=job_id)

    def _deliveries(self, event: NewEvent) -> tuple[Delivery, ...]:
        return self._all(lambda row: Delivery(*row), "deliveries", event_id=event.id)

    def _one(self, make: Callable[[sqlite3.Row], T], name: str, **parameters: object) -> T | None:
        row = self._connection.execute(SQL[name], parameters).fetchone()
        return None if row is None else make(row)

    def _all(self, make: Callable[[sqlite3.Row], T], name: str, **parameters: object) -> tuple[T, ...]:
        return tuple(make(row) for row in self._connection.execute(SQL[name], parameters).fetchall())

    def _number(self, name: str, **parameters: object) -> int:
        """The one number a query answers, 0 where it finds no row."""
        row = self._connection.execute(SQL[name], parameters).fetchone()
        return 0 if row is None else int(row[0])
