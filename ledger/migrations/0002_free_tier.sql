-- The pool sets money aside for jobs. Why each thing is as it is stands in schema.sql.

CREATE TABLE reservations (
    job           INTEGER PRIMARY KEY REFERENCES jobs (row),
    account       TEXT NOT NULL UNIQUE,
    nostr_pubkey  TEXT NOT NULL REFERENCES identities (pubkey),
    tier          TEXT NOT NULL,
    budget_msat   INTEGER NOT NULL,
    reserved_msat INTEGER NOT NULL CHECK (reserved_msat > 0 AND reserved_msat % 1000 = 0),
    reserved_at   INTEGER NOT NULL,
    granted_msat  INTEGER
        CHECK (granted_msat BETWEEN 0 AND reserved_msat AND granted_msat % 1000 = 0),
    ended_at      INTEGER,
    CONSTRAINT ended_says_what_was_granted CHECK ((granted_msat IS NULL) = (ended_at IS NULL))
) STRICT;

CREATE INDEX reservations_of_key ON reservations (nostr_pubkey, ended_at);
CREATE INDEX reservations_by_end ON reservations (ended_at);
CREATE INDEX reservations_of_tier ON reservations (tier, ended_at);

CREATE TRIGGER reservation_begins_open BEFORE INSERT ON reservations
WHEN NEW.ended_at IS NOT NULL OR (SELECT ended_at FROM jobs WHERE row = NEW.job) < NEW.reserved_at
BEGIN SELECT raise(ABORT, 'a reservation begins open, for a job that has not ended before'); END;

CREATE TRIGGER reservation_is_within_the_day AFTER INSERT ON reservations
WHEN NEW.budget_msat < (
    SELECT 1000 * sats_absorbed_today * (absorbed_reset_at >= NEW.reserved_at - NEW.reserved_at % 86400)
    FROM identities WHERE pubkey = NEW.nostr_pubkey
) + (
    SELECT sum(reserved_msat) FROM reservations WHERE nostr_pubkey = NEW.nostr_pubkey AND ended_at IS NULL
)
BEGIN SELECT raise(ABORT, 'a key draws no more on the pool than its budget of the day'); END;

CREATE TRIGGER reservation_ends_once BEFORE UPDATE ON reservations
WHEN OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL
    OR NEW.job <> OLD.job OR NEW.account <> OLD.account OR NEW.nostr_pubkey <> OLD.nostr_pubkey
    OR NEW.tier <> OLD.tier OR NEW.budget_msat <> OLD.budget_msat OR NEW.reserved_msat <> OLD.reserved_msat
    OR NEW.reserved_at <> OLD.reserved_at
BEGIN SELECT raise(ABORT, 'a reservation ends once, and nothing else of it changes'); END;

CREATE TRIGGER reservation_ends_drained AFTER UPDATE ON reservations
WHEN (SELECT balance_msat FROM accounts WHERE name = NEW.account) IS NOT 0 OR NEW.granted_msat <> (
    SELECT coalesce(-sum(postings.amount_msat), 0)
    FROM accounts JOIN postings ON postings.account = accounts.id JOIN entries ON entries.id = postings.entry
    WHERE accounts.name = NEW.account AND entries.code = 'settlement'
)
BEGIN SELECT raise(ABORT, 'a reservation ends drained, having granted what the settlement took'); END;

CREATE TRIGGER reservation_is_counted AFTER UPDATE ON reservations
BEGIN
    UPDATE identities SET
        sats_absorbed_today = NEW.granted_msat / 1000 + CASE
            WHEN absorbed_reset_at >= NEW.ended_at - NEW.ended_at % 86400 THEN sats_absorbed_today ELSE 0
        END,
        absorbed_reset_at = max(absorbed_reset_at, NEW.ended_at - NEW.ended_at % 86400)
    WHERE pubkey = NEW.nostr_pubkey;
END;

CREATE TRIGGER reservations_are_kept BEFORE DELETE ON reservations
BEGIN SELECT raise(ABORT, 'reservations are never deleted'); END;

CREATE TRIGGER reserved_money_has_its_row BEFORE INSERT ON postings
WHEN (SELECT name FROM accounts WHERE id = NEW.account) GLOB 'reserved:?*' AND NOT EXISTS (
    SELECT 1 FROM accounts JOIN reservations ON reservations.account = accounts.name
    WHERE accounts.id = NEW.account AND reservations.ended_at IS NULL AND (
        NEW.amount_msat < 0 OR (
            NEW.amount_msat = reservations.reserved_msat
            AND NOT EXISTS (SELECT 1 FROM postings AS earlier WHERE earlier.account = NEW.account)
        )
    )
)
BEGIN SELECT raise(ABORT, 'a reservation that is open is filled once, with its amount, and drained'); END;

CREATE TRIGGER pool_only_reserves AFTER INSERT ON entries
WHEN NEW.code <> 'reversal' AND EXISTS (
    SELECT 1 FROM postings JOIN accounts ON accounts.id = postings.account
    WHERE postings.entry = NEW.id AND postings.amount_msat < 0 AND (
        (accounts.name = 'pool' AND NEW.code <> 'reserved')
        OR (accounts.name GLOB 'reserved:?*' AND NEW.code NOT IN ('settlement', 'released'))
    )
)
BEGIN SELECT raise(ABORT, 'the pool pays nobody: what leaves it is granted to a job or comes back'); END;
