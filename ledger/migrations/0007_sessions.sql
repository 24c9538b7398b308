-- Credit that is kept in a session: filled by an invoice, used by requests over HTTP, given back when it is closed.
-- Why each thing is as it is stands in schema.sql.

CREATE TABLE sessions (
    row          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    version      INTEGER NOT NULL,
    state        TEXT NOT NULL,
    nostr_pubkey TEXT REFERENCES identities (pubkey),
    created_at   INTEGER NOT NULL,
    used_at      INTEGER NOT NULL,
    ended_at     INTEGER,
    refund_to    TEXT,
    CONSTRAINT closed_has_its_time CHECK ((state = 'closed') = (ended_at IS NOT NULL))
) STRICT;

CREATE TABLE session_transitions (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO session_transitions (from_state, to_state) VALUES
    ('awaiting_payment', 'active'),
    ('awaiting_payment', 'expired'),
    ('expired', 'active'),
    ('active', 'closed');

CREATE TRIGGER session_is_born_unpaid BEFORE INSERT ON sessions
WHEN NEW.state <> 'awaiting_payment'
BEGIN SELECT raise(ABORT, 'a session begins awaiting payment'); END;

CREATE TRIGGER session_follows_its_graph BEFORE UPDATE OF state ON sessions
WHEN NEW.state <> OLD.state AND NOT EXISTS (
    SELECT 1 FROM session_transitions WHERE from_state = OLD.state AND to_state = NEW.state
)
BEGIN SELECT raise(ABORT, 'a session may not go from the state it is in to that one'); END;

CREATE TRIGGER session_keeps_its_terms BEFORE UPDATE OF id, nostr_pubkey, created_at ON sessions
BEGIN SELECT raise(ABORT, 'a session stays whose it is'); END;

CREATE TRIGGER sessions_are_kept BEFORE DELETE ON sessions
BEGIN SELECT raise(ABORT, 'sessions are never deleted: money may come late'); END;

ALTER TABLE jobs ADD COLUMN session_id TEXT REFERENCES sessions (id);

DROP TRIGGER job_keeps_its_terms;
CREATE TRIGGER job_keeps_its_terms BEFORE UPDATE OF
    id, door, mode, event_id, nostr_pubkey, request_hash, eval_fee_msat, work_fee_msat, estimated_cost_usd,
    margin_pct, btc_price_usd, btc_price_source, work_model, max_output_tokens, asked_at, created_at, session_id
ON jobs
BEGIN SELECT raise(ABORT, 'what was told when the job was made is never changed'); END;

CREATE UNIQUE INDEX one_open_topup_a_session ON topups (account)
WHERE ended_at IS NULL AND account GLOB 'session:?*';
CREATE INDEX topups_of_session ON topups (account) WHERE account GLOB 'session:?*';

ALTER TABLE refunds ADD COLUMN session_id TEXT REFERENCES sessions (id);
CREATE INDEX refunds_of_session ON refunds (session_id) WHERE session_id IS NOT NULL;

DROP TRIGGER refund_keeps_its_amount;
CREATE TRIGGER refund_keeps_its_amount BEFORE UPDATE ON refunds
WHEN NEW.amount_msat <> OLD.amount_msat OR NEW.id <> OLD.id OR NEW.job IS NOT OLD.job
    OR NEW.session_id IS NOT OLD.session_id
BEGIN SELECT raise(ABORT, 'the amount of a refund is never changed'); END;
