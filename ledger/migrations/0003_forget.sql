-- A key has credit that it fills, takes out and draws on, and may have its texts forgotten; a job that was paid for
-- can be taken back until its first run. Why each thing is as it is stands in schema.sql.

INSERT INTO job_transitions (from_state, to_state) VALUES ('evaluating', 'cancelled');

CREATE TABLE topups (
    row          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    event_id     TEXT UNIQUE,
    account      TEXT NOT NULL,
    nostr_pubkey TEXT,
    amount_msat  INTEGER NOT NULL CHECK (amount_msat > 0),
    origin       TEXT NOT NULL,
    payment_hash TEXT UNIQUE REFERENCES invoices (payment_hash),
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;

CREATE INDEX topups_of_key ON topups (nostr_pubkey, created_at) WHERE nostr_pubkey IS NOT NULL;
CREATE INDEX topups_waiting ON topups (nostr_pubkey) WHERE ended_at IS NULL;

CREATE TRIGGER topup_keeps_its_terms BEFORE UPDATE OF id, event_id, account, nostr_pubkey, amount_msat, created_at
ON topups
BEGIN SELECT raise(ABORT, 'what was asked of a top-up is never changed'); END;

CREATE TRIGGER topup_has_one_invoice_and_one_end BEFORE UPDATE ON topups
WHEN (OLD.payment_hash IS NOT NULL AND NEW.payment_hash IS NOT OLD.payment_hash)
    OR (OLD.ended_at IS NOT NULL AND NEW.ended_at IS NOT OLD.ended_at)
BEGIN SELECT raise(ABORT, 'a top-up has one invoice and one end'); END;

CREATE TRIGGER topups_are_kept BEFORE DELETE ON topups
BEGIN SELECT raise(ABORT, 'top-ups are never deleted: money may come late'); END;

ALTER TABLE refunds ADD COLUMN origin TEXT NOT NULL DEFAULT '';
CREATE INDEX payouts_of_key ON refunds (pubkey) WHERE job IS NULL;

DROP TRIGGER events_stay;
CREATE TRIGGER events_stay BEFORE UPDATE ON events
WHEN NEW.json <> '' OR NEW.row <> OLD.row OR NEW.id <> OLD.id OR NEW.job IS NOT OLD.job OR NEW.role <> OLD.role
    OR NEW.targets <> OLD.targets
BEGIN SELECT raise(ABORT, 'a signed event is never changed, only forgotten'); END;

CREATE INDEX outbox_runs ON outbox (job_id) WHERE kind = 'RunAgent';
