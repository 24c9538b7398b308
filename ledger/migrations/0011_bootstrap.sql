-- Orders of a Bitcoin node, with their payment and their key; and refunds of them.
-- Why each thing is as it is stands in schema.sql.

CREATE TABLE bootstrap_jobs (
    row                INTEGER PRIMARY KEY,
    id                 TEXT NOT NULL UNIQUE,
    version            INTEGER NOT NULL,
    state              TEXT NOT NULL,
    nostr_pubkey       TEXT REFERENCES identities (pubkey),
    amount_msat        INTEGER NOT NULL CHECK (amount_msat > 0),
    payment_hash       TEXT UNIQUE,
    payment_request    TEXT,
    droplet_id         TEXT,
    node_ip            TEXT,
    tailscale_hostname TEXT,
    lnbits_url         TEXT,
    ssh_private_key    TEXT,
    ssh_key_delivered  INTEGER NOT NULL DEFAULT 0 CHECK (ssh_key_delivered IN (0, 1)),
    error_message      TEXT,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    CONSTRAINT ready_has_its_node CHECK ((state = 'ready') = (node_ip IS NOT NULL)),
    CONSTRAINT only_ready_has_a_key CHECK (state = 'ready' OR (ssh_private_key IS NULL AND ssh_key_delivered = 0)),
    CONSTRAINT failed_says_why CHECK ((state = 'failed') = (error_message IS NOT NULL))
) STRICT;

CREATE INDEX bootstrap_jobs_waiting ON bootstrap_jobs (row) WHERE state = 'awaiting_payment';

CREATE TABLE bootstrap_transitions (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO bootstrap_transitions (from_state, to_state) VALUES
    ('awaiting_payment', 'provisioning'),
    ('awaiting_payment', 'failed'),
    ('awaiting_payment', 'expired'),
    ('provisioning', 'ready'),
    ('provisioning', 'failed');

CREATE TRIGGER bootstrap_is_born_unpaid BEFORE INSERT ON bootstrap_jobs
WHEN NEW.state <> 'awaiting_payment'
BEGIN SELECT raise(ABORT, 'an order of a node begins awaiting payment'); END;

CREATE TRIGGER bootstrap_follows_its_graph BEFORE UPDATE OF state ON bootstrap_jobs
WHEN NEW.state <> OLD.state AND NOT EXISTS (
    SELECT 1 FROM bootstrap_transitions WHERE from_state = OLD.state AND to_state = NEW.state
)
BEGIN SELECT raise(ABORT, 'an order of a node may not go from the state it is in to that one'); END;

CREATE TRIGGER bootstrap_keeps_its_terms BEFORE UPDATE ON bootstrap_jobs
WHEN NEW.id <> OLD.id OR NEW.nostr_pubkey IS NOT OLD.nostr_pubkey OR NEW.amount_msat <> OLD.amount_msat
    OR NEW.created_at <> OLD.created_at
    OR (OLD.payment_hash IS NOT NULL
        AND (NEW.payment_hash IS NOT OLD.payment_hash OR NEW.payment_request IS NOT OLD.payment_request))
BEGIN SELECT raise(ABORT, 'what was told when a node was ordered is never changed'); END;

CREATE TRIGGER bootstrap_hands_its_key_out_once BEFORE UPDATE ON bootstrap_jobs
WHEN NEW.ssh_key_delivered < OLD.ssh_key_delivered
    OR (OLD.ssh_key_delivered = 1 AND NEW.ssh_private_key IS NOT NULL)
BEGIN SELECT raise(ABORT, 'a key that was handed out is gone'); END;

CREATE TRIGGER bootstrap_forgets_its_key AFTER UPDATE OF ssh_key_delivered ON bootstrap_jobs
WHEN NEW.ssh_key_delivered = 1 AND NEW.ssh_private_key IS NOT NULL
BEGIN UPDATE bootstrap_jobs SET ssh_private_key = NULL WHERE row = NEW.row; END;

CREATE TRIGGER bootstrap_jobs_are_kept BEFORE DELETE ON bootstrap_jobs
BEGIN SELECT raise(ABORT, 'orders of nodes are never deleted: money may come late'); END;

ALTER TABLE refunds ADD COLUMN bootstrap_id TEXT REFERENCES bootstrap_jobs (id);
CREATE INDEX refunds_of_bootstrap ON refunds (bootstrap_id) WHERE bootstrap_id IS NOT NULL;

DROP TRIGGER refund_keeps_its_amount;
CREATE TRIGGER refund_keeps_its_amount BEFORE UPDATE ON refunds
WHEN NEW.amount_msat <> OLD.amount_msat OR NEW.id <> OLD.id OR NEW.job IS NOT OLD.job
    OR NEW.session_id IS NOT OLD.session_id OR NEW.bootstrap_id IS NOT OLD.bootstrap_id
BEGIN SELECT raise(ABORT, 'the amount of a refund is never changed'); END;
