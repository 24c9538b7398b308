-- The ledger, as a fresh one is made. An older one comes to the same through migrations/, and a test holds the
-- two equal. Comments inside a statement are kept by SQLite: `.schema jobs` shows them.
-- Rules live here, not only in code: balances are moved by triggers, floors are CHECKs, what is written once
-- can't be changed, a state follows only where its table allows. Amounts are integers in msat unless a name says
-- otherwise, times whole unix seconds. Ids from outside are text and unique; rows point at each other by small
-- integers, which keeps an insert as cheap in the millionth job as in the first.

CREATE TABLE schema_version (
    number INTEGER PRIMARY KEY, -- of the newest file in migrations/ whose change is in here
    name   TEXT NOT NULL
) STRICT;

-- Money ---------------------------------------------------------------------------------------------------------

CREATE TABLE accounts (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE, -- `pool`, `job:<id>`: the chart is ledger/accounts.py
    kind         TEXT NOT NULL,
    balance_msat INTEGER NOT NULL DEFAULT 0, -- credit-positive; moved only by the trigger on postings
    -- What we owe is never less than nothing, even if our code is wrong. The name is how Short is recognised.
    CONSTRAINT floor CHECK (kind <> 'owed' OR balance_msat >= 0),
    CONSTRAINT chart CHECK (kind = CASE
        WHEN name = 'node' THEN 'asset'
        WHEN name = 'operator' THEN 'equity'
        WHEN name = 'earned' THEN 'income'
        WHEN name IN ('shortfall', 'routing_fees') THEN 'expense'
        WHEN name = 'pool' OR name GLOB 'reserved:?*' OR name GLOB 'job:?*' OR name GLOB 'customer:?*'
            OR name GLOB 'session:?*' OR name GLOB 'refund:?*' THEN 'owed'
    END IS TRUE)
) STRICT;

-- What is payable is asked at every refund; nearly all accounts ever made are drained and stay out of this.
CREATE INDEX accounts_not_drained ON accounts (name, balance_msat) WHERE kind = 'owed' AND balance_msat > 0;

CREATE TABLE facts (
    row  INTEGER PRIMARY KEY,
    id   TEXT NOT NULL UNIQUE, -- what makes a repeat harmless: kept for ever
    kind TEXT NOT NULL,
    job  INTEGER REFERENCES jobs (row), -- NULL also where the fact names a job that was never made
    at   INTEGER NOT NULL,
    body TEXT NOT NULL,
    done INTEGER -- the outbox row it finished; that row is gone, and its number is never given again
) STRICT;

CREATE INDEX facts_of_job ON facts (job) WHERE job IS NOT NULL;

CREATE TABLE entries (
    id       INTEGER PRIMARY KEY,
    entry_id TEXT NOT NULL UNIQUE, -- says what it books, so nothing can be booked twice
    code     TEXT NOT NULL,
    reason   TEXT NOT NULL,
    fact     INTEGER NOT NULL REFERENCES facts (row), -- why money moved
    at       INTEGER NOT NULL
) STRICT;

CREATE INDEX entries_routing ON entries (at) WHERE code = 'routing'; -- what refunds cost us since midnight
CREATE INDEX entries_free_answers ON entries (at) WHERE code = 'free_answer'; -- what was given away since midnight

-- Postings are written first, while their entry is not there yet (hence the deferred reference). The entry's
-- own row seals them: it is refused unless they balance, and after it no posting can be added.
CREATE TABLE postings (
    entry       INTEGER NOT NULL REFERENCES entries (id) DEFERRABLE INITIALLY DEFERRED,
    account     INTEGER NOT NULL REFERENCES accounts (id),
    amount_msat INTEGER NOT NULL, -- a credit is positive, a debit negative
    PRIMARY KEY (entry, account),
    -- No honest amount is larger than all bitcoin there will ever be.
    CONSTRAINT amount CHECK (amount_msat <> 0 AND abs(amount_msat) <= 2100000000000000000)
) STRICT, WITHOUT ROWID;

CREATE INDEX postings_of_account ON postings (account, entry);

CREATE TRIGGER posting_comes_before_its_entry BEFORE INSERT ON postings
WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.entry)
BEGIN SELECT raise(ABORT, 'a sealed entry takes no more postings'); END;

CREATE TRIGGER posting_moves_balance AFTER INSERT ON postings
BEGIN UPDATE accounts SET balance_msat = balance_msat + NEW.amount_msat WHERE id = NEW.account; END;

CREATE TRIGGER entry_balances AFTER INSERT ON entries
WHEN (SELECT sum(amount_msat) FROM postings WHERE entry = NEW.id) IS NOT 0
BEGIN SELECT raise(ABORT, 'an entry balances, and has postings'); END;

CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
BEGIN SELECT raise(ABORT, 'entries are never changed: correct by adding'); END;
CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries
BEGIN SELECT raise(ABORT, 'entries are never deleted: correct by adding'); END;
CREATE TRIGGER postings_stay BEFORE UPDATE ON postings
BEGIN SELECT raise(ABORT, 'postings are never changed: correct by adding'); END;
CREATE TRIGGER postings_are_kept BEFORE DELETE ON postings
BEGIN SELECT raise(ABORT, 'postings are never deleted: correct by adding'); END;
CREATE TRIGGER facts_stay BEFORE UPDATE ON facts
BEGIN SELECT raise(ABORT, 'facts are never changed'); END;
CREATE TRIGGER facts_are_kept BEFORE DELETE ON facts
BEGIN SELECT raise(ABORT, 'facts are never deleted'); END;
CREATE TRIGGER accounts_keep_their_name BEFORE UPDATE OF id, name, kind ON accounts
BEGIN SELECT raise(ABORT, 'an account keeps its name and kind'); END;
CREATE TRIGGER accounts_are_kept BEFORE DELETE ON accounts
BEGIN SELECT raise(ABORT, 'accounts are never deleted'); END;

-- Customers -----------------------------------------------------------------------------------------------------

CREATE TABLE identities (
    pubkey              TEXT NOT NULL PRIMARY KEY, -- hex
    version             INTEGER NOT NULL, -- two jobs of one key may end at once: the second decides again
    trust_score         INTEGER NOT NULL CHECK (trust_score BETWEEN 0 AND 100),
    -- The tier (new, established, trusted, elite) is no column: it follows from the score, the days of absence and
    -- the thresholds of today, so a stored one would be wrong tomorrow.
    interaction_count   INTEGER NOT NULL CHECK (interaction_count >= 0),
    paid_jobs           INTEGER NOT NULL CHECK (paid_jobs >= 0),
    -- Whole sats the pool granted since absorbed_reset_at, the beginning of a UTC day. Counted by the trigger
    -- reservation_is_counted alone.
    sats_absorbed_today INTEGER NOT NULL CHECK (sats_absorbed_today >= 0),
    absorbed_reset_at   INTEGER NOT NULL,
    first_seen          INTEGER NOT NULL,
    last_seen           INTEGER NOT NULL
) STRICT;

-- Credit that is kept over HTTP, with a macaroon as its key; its money is in the account `session:<id>`.
CREATE TABLE sessions (
    row          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE, -- random 128 bits: a bearer secret
    version      INTEGER NOT NULL,
    state        TEXT NOT NULL,
    nostr_pubkey TEXT REFERENCES identities (pubkey),
    created_at   INTEGER NOT NULL,
    used_at      INTEGER NOT NULL, -- 30 days after this it is closed
    ended_at     INTEGER,
    refund_to    TEXT,
    CONSTRAINT closed_has_its_time CHECK ((state = 'closed') = (ended_at IS NOT NULL))
) STRICT;

-- The same table as timmy_dvm/core/transitions.py; a state without a row of its own is final.
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

-- Orders of a Bitcoin node, for a fee; until that is earned it is in the account `job:<id>`. The payment stands
-- here itself, and points at no job.
CREATE TABLE bootstrap_jobs (
    row                INTEGER PRIMARY KEY,
    id                 TEXT NOT NULL UNIQUE, -- random 128 bits: a bearer secret
    version            INTEGER NOT NULL,
    state              TEXT NOT NULL,
    nostr_pubkey       TEXT REFERENCES identities (pubkey),
    amount_msat        INTEGER NOT NULL CHECK (amount_msat > 0), -- the fee as it was told
    payment_hash       TEXT UNIQUE, -- NULL until our wallet made the invoice
    payment_request    TEXT,
    droplet_id         TEXT, -- of a real machine; NULL of a stub
    node_ip            TEXT,
    tailscale_hostname TEXT,
    lnbits_url         TEXT,
    ssh_private_key    TEXT, -- until it is handed out
    ssh_key_delivered  INTEGER NOT NULL DEFAULT 0 CHECK (ssh_key_delivered IN (0, 1)),
    error_message      TEXT,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    CONSTRAINT ready_has_its_node CHECK ((state = 'ready') = (node_ip IS NOT NULL)),
    CONSTRAINT only_ready_has_a_key CHECK (state = 'ready' OR (ssh_private_key IS NULL AND ssh_key_delivered = 0)),
    CONSTRAINT failed_says_why CHECK ((state = 'failed') = (error_message IS NOT NULL))
) STRICT;

CREATE INDEX bootstrap_jobs_waiting ON bootstrap_jobs (row) WHERE state = 'awaiting_payment';

-- The same table as timmy_dvm/core/transitions.py; a state without a row of its own is final.
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

-- The statement that hands it out has read it by then: RETURNING tells what stood there before this.
CREATE TRIGGER bootstrap_forgets_its_key AFTER UPDATE OF ssh_key_delivered ON bootstrap_jobs
WHEN NEW.ssh_key_delivered = 1 AND NEW.ssh_private_key IS NOT NULL
BEGIN UPDATE bootstrap_jobs SET ssh_private_key = NULL WHERE row = NEW.row; END;

CREATE TRIGGER bootstrap_jobs_are_kept BEFORE DELETE ON bootstrap_jobs
BEGIN SELECT raise(ABORT, 'orders of nodes are never deleted: money may come late'); END;

-- Jobs ----------------------------------------------------------------------------------------------------------

CREATE TABLE jobs (
    row                  INTEGER PRIMARY KEY,
    id                   TEXT NOT NULL UNIQUE, -- random 128 bits: a bearer secret
    version              INTEGER NOT NULL,
    state                TEXT NOT NULL,
    door                 TEXT NOT NULL CHECK (door IN ('nostr', 'http')),
    mode                 TEXT NOT NULL CHECK (mode IN ('once', 'steps')),
    event_id             TEXT UNIQUE, -- one request event makes one job, from however many relays it comes
    nostr_pubkey         TEXT REFERENCES identities (pubkey),
    request_hash         TEXT NOT NULL, -- SHA-256 of the request: stays when the text is forgotten
    eval_fee_msat        INTEGER NOT NULL CHECK (eval_fee_msat >= 0),
    work_fee_msat        INTEGER NOT NULL CHECK (work_fee_msat >= 0),
    estimated_cost_usd   INTEGER NOT NULL CHECK (estimated_cost_usd >= 0), -- micro-dollars: 1,000,000 is one dollar
    margin_pct           INTEGER NOT NULL,
    btc_price_usd        INTEGER NOT NULL CHECK (btc_price_usd > 0), -- micro-dollars for one bitcoin, locked
    btc_price_source     TEXT NOT NULL,
    work_model           TEXT NOT NULL,
    max_output_tokens    INTEGER NOT NULL,
    share_eval_msat      INTEGER NOT NULL CHECK (share_eval_msat >= 0), -- the customer's part of the quote
    share_work_msat      INTEGER NOT NULL CHECK (share_work_msat >= 0),
    credit_used_msat     INTEGER NOT NULL CHECK (credit_used_msat >= 0),
    refund_to            TEXT,
    free_tier            INTEGER NOT NULL CHECK (free_tier IN (0, 1)),
    absorbed_sats        INTEGER NOT NULL CHECK (absorbed_sats >= 0), -- reserved while open, granted when ended
    eval_runs            INTEGER NOT NULL CHECK (eval_runs BETWEEN 0 AND 3), -- a crash uses one up
    work_runs            INTEGER NOT NULL CHECK (work_runs BETWEEN 0 AND 3),
    eval_passed          INTEGER CHECK (eval_passed IN (0, 1)), -- NULL until eval gave a verdict
    eval_input_tokens    INTEGER NOT NULL CHECK (eval_input_tokens >= 0),
    eval_output_tokens   INTEGER NOT NULL CHECK (eval_output_tokens >= 0),
    actual_input_tokens  INTEGER NOT NULL CHECK (actual_input_tokens >= 0),
    actual_output_tokens INTEGER NOT NULL CHECK (actual_output_tokens >= 0),
    actual_cost_usd      INTEGER NOT NULL CHECK (actual_cost_usd >= 0), -- micro-dollars
    truncated            INTEGER NOT NULL CHECK (truncated IN (0, 1)),
    charge_eval_msat     INTEGER NOT NULL CHECK (charge_eval_msat >= 0), -- what the settlement booked, 0 before it
    charge_work_msat     INTEGER NOT NULL CHECK (charge_work_msat >= 0),
    shortfall_msat       INTEGER NOT NULL CHECK (shortfall_msat >= 0),
    pool_credit_msat     INTEGER NOT NULL CHECK (pool_credit_msat >= 0),
    reason               TEXT,
    error_message        TEXT,
    asked_at             INTEGER NOT NULL,
    created_at           INTEGER NOT NULL,
    paid_at              INTEGER,
    ended_at             INTEGER,
    due_at               INTEGER, -- the next moment something must be decided even if nothing happens
    session_id           TEXT REFERENCES sessions (id), -- whose credit pays for it, and takes back what is left
    CONSTRAINT never_above_the_price CHECK (share_eval_msat + share_work_msat <= eval_fee_msat + work_fee_msat),
    CONSTRAINT never_above_the_share CHECK (charge_eval_msat + charge_work_msat <= share_eval_msat + share_work_msat),
    CONSTRAINT ended_has_its_time CHECK (
        (state IN ('complete', 'rejected', 'failed', 'expired', 'cancelled')) = (ended_at IS NOT NULL)
    ),
    CONSTRAINT ended_is_not_due CHECK (ended_at IS NULL OR due_at IS NULL)
) STRICT;

CREATE INDEX jobs_of_key ON jobs (nostr_pubkey, created_at) WHERE nostr_pubkey IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (nostr_pubkey) WHERE state IN ('awaiting_eval_payment', 'awaiting_work_payment');
-- What a key ever left us is summed at each of its requests, where the operator bounds by it what it may draw.
CREATE INDEX jobs_charged_of_key ON jobs (nostr_pubkey, charge_eval_msat, charge_work_msat, pool_credit_msat)
WHERE charge_eval_msat + charge_work_msat > 0;
-- What the model cost today is asked at each request that nobody has paid for, where that is bounded.
CREATE INDEX jobs_cost_by_end ON jobs (
    ended_at, state, eval_runs, work_runs, actual_cost_usd, estimated_cost_usd, margin_pct, eval_input_tokens,
    eval_output_tokens
) WHERE ended_at IS NOT NULL AND eval_runs > 0;
CREATE INDEX jobs_running ON jobs (state, estimated_cost_usd, margin_pct, eval_input_tokens, eval_output_tokens)
WHERE state IN ('evaluating', 'executing');
CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;

-- The same table as timmy_dvm/core/transitions.py; a state without a row of its own is final.
CREATE TABLE job_transitions (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO job_transitions (from_state, to_state) VALUES
    ('awaiting_eval_payment', 'evaluating'),
    ('awaiting_eval_payment', 'expired'),
    ('awaiting_eval_payment', 'cancelled'),
    ('evaluating', 'awaiting_work_payment'),
    ('evaluating', 'executing'),
    ('evaluating', 'rejected'),
    ('evaluating', 'failed'),
    ('evaluating', 'cancelled'),
    ('awaiting_work_payment', 'executing'),
    ('awaiting_work_payment', 'expired'),
    ('awaiting_work_payment', 'cancelled'),
    ('executing', 'complete'),
    ('executing', 'failed');

CREATE TRIGGER job_is_born_at_the_start BEFORE INSERT ON jobs
WHEN NEW.state NOT IN ('awaiting_eval_payment', 'evaluating')
BEGIN SELECT raise(ABORT, 'a job begins awaiting payment or evaluating'); END;

CREATE TRIGGER job_follows_its_graph BEFORE UPDATE OF state ON jobs
WHEN NEW.state <> OLD.state AND NOT EXISTS (
    SELECT 1 FROM job_transitions WHERE from_state = OLD.state AND to_state = NEW.state
)
BEGIN SELECT raise(ABORT, 'a job may not go from the state it is in to that one'); END;

CREATE TRIGGER job_keeps_its_terms BEFORE UPDATE OF
    id, door, mode, event_id, nostr_pubkey, request_hash, eval_fee_msat, work_fee_msat, estimated_cost_usd,
    margin_pct, btc_price_usd, btc_price_source, work_model, max_output_tokens, asked_at, created_at, session_id
ON jobs
BEGIN SELECT raise(ABORT, 'what was told when the job was made is never changed'); END;

CREATE TRIGGER jobs_are_kept BEFORE DELETE ON jobs
BEGIN SELECT raise(ABORT, 'jobs are never deleted'); END;

-- The long parts of a job, apart from what each step rewrites. Forgetting them deletes the row and loses nothing else.
CREATE TABLE job_texts (
    job     INTEGER PRIMARY KEY REFERENCES jobs (row),
    request TEXT NOT NULL,
    origin  TEXT NOT NULL, -- the door's own note (JSON) on how to answer
    result  TEXT,
    follows INTEGER REFERENCES jobs (row) -- the job this one goes on from, where it goes on from one
) STRICT;

-- Money in and out ----------------------------------------------------------------------------------------------

CREATE TABLE invoices (
    row           INTEGER PRIMARY KEY,
    payment_hash  TEXT NOT NULL UNIQUE,
    account       TEXT NOT NULL, -- where its money goes, whenever that comes
    job           INTEGER REFERENCES jobs (row),
    amount_msat   INTEGER NOT NULL CHECK (amount_msat > 0),
    bolt11        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('open', 'settled', 'expired', 'cancelled')),
    received_msat INTEGER NOT NULL CHECK (received_msat >= 0) -- may be more than was asked
) STRICT;

CREATE INDEX invoices_open ON invoices (row) WHERE state = 'open';
CREATE INDEX invoices_of_job ON invoices (job) WHERE job IS NOT NULL;

CREATE TRIGGER settled_is_final BEFORE UPDATE ON invoices
WHEN OLD.state = 'settled' AND (NEW.state <> 'settled' OR NEW.received_msat <> OLD.received_msat)
BEGIN SELECT raise(ABORT, 'a settled invoice stays as it is'); END;

CREATE TRIGGER invoices_are_kept BEFORE DELETE ON invoices
BEGIN SELECT raise(ABORT, 'invoices are never deleted: money may come late'); END;

-- Top-ups of prepaid accounts: no job, but an invoice, and an answer that may come long after.
CREATE TABLE topups (
    row          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE, -- random 128 bits
    event_id     TEXT UNIQUE, -- one request event makes one top-up
    account      TEXT NOT NULL, -- `customer:<pubkey>`: where its money goes, whenever that comes
    nostr_pubkey TEXT,
    amount_msat  INTEGER NOT NULL CHECK (amount_msat > 0),
    origin       TEXT NOT NULL, -- the door's own note (JSON) on how to answer; empty once forgotten
    payment_hash TEXT UNIQUE REFERENCES invoices (payment_hash), -- NULL until our wallet made the invoice
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER -- NULL while it waits, for its invoice or for that to be paid
) STRICT;

CREATE INDEX topups_of_key ON topups (nostr_pubkey, created_at) WHERE nostr_pubkey IS NOT NULL;
CREATE INDEX topups_waiting ON topups (nostr_pubkey) WHERE ended_at IS NULL;
-- Of a session the first is its deposit, and one at most waits.
CREATE UNIQUE INDEX one_open_topup_a_session ON topups (account)
WHERE ended_at IS NULL AND account GLOB 'session:?*';
CREATE INDEX topups_of_session ON topups (account) WHERE account GLOB 'session:?*';

CREATE TRIGGER topup_keeps_its_terms BEFORE UPDATE OF id, event_id, account, nostr_pubkey, amount_msat, created_at
ON topups
BEGIN SELECT raise(ABORT, 'what was asked of a top-up is never changed'); END;

CREATE TRIGGER topup_has_one_invoice_and_one_end BEFORE UPDATE ON topups
WHEN (OLD.payment_hash IS NOT NULL AND NEW.payment_hash IS NOT OLD.payment_hash)
    OR (OLD.ended_at IS NOT NULL AND NEW.ended_at IS NOT OLD.ended_at)
BEGIN SELECT raise(ABORT, 'a top-up has one invoice and one end'); END;

CREATE TRIGGER topups_are_kept BEFORE DELETE ON topups
BEGIN SELECT raise(ABORT, 'top-ups are never deleted: money may come late'); END;

CREATE TABLE refunds (
    row                INTEGER PRIMARY KEY,
    id                 TEXT NOT NULL UNIQUE,
    version            INTEGER NOT NULL,
    job                INTEGER REFERENCES jobs (row), -- NULL: prepaid credit is paid out
    pubkey             TEXT,
    amount_msat        INTEGER NOT NULL CHECK (amount_msat > 0), -- never changed: what its own account began with
    reason             TEXT NOT NULL,
    state              TEXT NOT NULL,
    kept_fee_room_msat INTEGER NOT NULL CHECK (kept_fee_room_msat >= 0),
    payment_hash       TEXT,
    bolt11             TEXT,
    max_fee_msat       INTEGER NOT NULL CHECK (max_fee_msat >= 0),
    fee_msat           INTEGER NOT NULL CHECK (fee_msat >= 0),
    attempts           INTEGER NOT NULL CHECK (attempts >= 0),
    note               TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    due_at             INTEGER,
    origin             TEXT NOT NULL DEFAULT '', -- of no job: the door's note on how to answer; empty once forgotten
    target             TEXT, -- where it goes by itself; NULL: it is claimed, or was forgotten
    session_id         TEXT REFERENCES sessions (id), -- the closed session whose rest it is
    kept_for_way_msat  INTEGER NOT NULL DEFAULT 0 CHECK (kept_for_way_msat >= 0),
    bootstrap_id       TEXT REFERENCES bootstrap_jobs (id), -- the order of a node that it was paid for
    CONSTRAINT in_flight_has_its_hash CHECK (state NOT IN ('sending', 'in_doubt', 'sent') OR payment_hash IS NOT NULL)
) STRICT;

CREATE INDEX refunds_of_job ON refunds (job) WHERE job IS NOT NULL;
CREATE INDEX refunds_open ON refunds (row) WHERE state NOT IN ('sent', 'credited', 'paid_elsewhere');
CREATE INDEX payouts_of_key ON refunds (pubkey) WHERE job IS NULL;
CREATE INDEX refunds_of_session ON refunds (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX refunds_of_bootstrap ON refunds (bootstrap_id) WHERE bootstrap_id IS NOT NULL;

-- The same table as timmy_dvm/core/transitions.py; a state without a row of its own is final.
CREATE TABLE refund_transitions (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO refund_transitions (from_state, to_state) VALUES
    ('owed', 'sending'),
    ('owed', 'credited'),
    ('owed', 'held'),
    ('owed', 'paid_elsewhere'),
    ('sending', 'sent'),
    ('sending', 'owed'),
    ('sending', 'held'),
    ('sending', 'in_doubt'),
    ('in_doubt', 'sent'),
    ('in_doubt', 'owed'),
    ('in_doubt', 'held'),
    ('held', 'sending'),
    ('held', 'credited'),
    ('held', 'paid_elsewhere');

CREATE TRIGGER refund_is_born_owed BEFORE INSERT ON refunds
WHEN NEW.state NOT IN ('owed', 'held', 'credited')
BEGIN SELECT raise(ABORT, 'a refund begins owed, held or credited'); END;

CREATE TRIGGER refund_follows_its_graph BEFORE UPDATE OF state ON refunds
WHEN NEW.state <> OLD.state AND NOT EXISTS (
    SELECT 1 FROM refund_transitions WHERE from_state = OLD.state AND to_state = NEW.state
)
BEGIN SELECT raise(ABORT, 'a refund may not go from the state it is in to that one'); END;

CREATE TRIGGER refund_keeps_its_amount BEFORE UPDATE ON refunds
WHEN NEW.amount_msat <> OLD.amount_msat OR NEW.id <> OLD.id OR NEW.job IS NOT OLD.job
    OR NEW.session_id IS NOT OLD.session_id OR NEW.bootstrap_id IS NOT OLD.bootstrap_id
BEGIN SELECT raise(ABORT, 'the amount of a refund is never changed'); END;

CREATE TRIGGER refunds_are_kept BEFORE DELETE ON refunds
BEGIN SELECT raise(ABORT, 'refunds are never deleted'); END;

-- Every BOLT11 a refund was ever sent to, or tried. Kept from the state of the refund that names it.
CREATE TABLE payments (
    payment_hash TEXT NOT NULL PRIMARY KEY, -- a hash serves one refund, once
    refund       INTEGER NOT NULL REFERENCES refunds (row),
    bolt11       TEXT NOT NULL,
    max_fee_msat INTEGER NOT NULL CHECK (max_fee_msat >= 0),
    fee_msat     INTEGER NOT NULL CHECK (fee_msat >= 0),
    state        TEXT NOT NULL CHECK (state IN ('in_flight', 'sent', 'failed')),
    tries        INTEGER NOT NULL CHECK (tries > 0) -- the same BOLT11 may go out again after it failed for certain
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX one_payment_in_flight ON payments (refund) WHERE state = 'in_flight';
CREATE INDEX payments_of_refund ON payments (refund);

CREATE TRIGGER sent_is_final BEFORE UPDATE ON payments
WHEN OLD.state = 'sent'
BEGIN SELECT raise(ABORT, 'a payment that arrived stays as it is'); END;

CREATE TRIGGER payments_are_kept BEFORE DELETE ON payments
BEGIN SELECT raise(ABORT, 'payments are never deleted'); END;

-- The pool ------------------------------------------------------------------------------------------------------

-- What the pool sets aside, once a job at most. The row begins before its account is filled by one entry of its
-- very amount, and ends after the entries that drained it: so row, account and grant can't tell different things.
CREATE TABLE reservations (
    job           INTEGER PRIMARY KEY REFERENCES jobs (row), -- a job draws on the pool once
    account       TEXT NOT NULL UNIQUE, -- `reserved:<job>`
    nostr_pubkey  TEXT NOT NULL REFERENCES identities (pubkey), -- nobody without a key draws on the pool
    tier          TEXT NOT NULL, -- at that moment; it fades
    budget_msat   INTEGER NOT NULL, -- what that tier may draw in the UTC day of reserved_at, as it was configured
    reserved_msat INTEGER NOT NULL CHECK (reserved_msat > 0 AND reserved_msat % 1000 = 0),
    reserved_at   INTEGER NOT NULL,
    granted_msat  INTEGER -- NULL while open
        CHECK (granted_msat BETWEEN 0 AND reserved_msat AND granted_msat % 1000 = 0),
    ended_at      INTEGER,
    CONSTRAINT ended_says_what_was_granted CHECK ((granted_msat IS NULL) = (ended_at IS NULL))
) STRICT;

CREATE INDEX reservations_of_key ON reservations (nostr_pubkey, ended_at);
CREATE INDEX reservations_granted ON reservations (nostr_pubkey, granted_msat) WHERE granted_msat > 0;
CREATE INDEX reservations_by_end ON reservations (ended_at);
CREATE INDEX reservations_of_tier ON reservations (tier, ended_at);

CREATE TRIGGER reservation_begins_open BEFORE INSERT ON reservations
WHEN NEW.ended_at IS NOT NULL OR (SELECT ended_at FROM jobs WHERE row = NEW.job) < NEW.reserved_at
BEGIN SELECT raise(ABORT, 'a reservation begins open, for a job that has not ended before'); END;

-- All that is set aside counts, whenever that was: it may be granted today.
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

-- A clock that goes back over midnight starts no second budget for the same day.
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

-- The pool is a promise of work: no sat leaves it but into a reservation, and from there to what was earned or back.
CREATE TRIGGER pool_only_reserves AFTER INSERT ON entries
WHEN NEW.code <> 'reversal' AND EXISTS (
    SELECT 1 FROM postings JOIN accounts ON accounts.id = postings.account
    WHERE postings.entry = NEW.id AND postings.amount_msat < 0 AND (
        (accounts.name = 'pool' AND NEW.code <> 'reserved')
        OR (accounts.name GLOB 'reserved:?*' AND NEW.code NOT IN ('settlement', 'released'))
    )
)
BEGIN SELECT raise(ABORT, 'the pool pays nobody: what leaves it is granted to a job or comes back'); END;

-- What was granted out of the pool. A view of the books: it can't differ from them, nor be written to.
CREATE VIEW free_tier_grants (job_id, nostr_pubkey, request_hash, reserved_msat, granted_msat, pool_after_msat, at) AS
SELECT
    substr(accounts.name, length('reserved:') + 1),
    jobs.nostr_pubkey,
    jobs.request_hash,
    (SELECT sum(amount_msat) FROM postings WHERE account = accounts.id AND amount_msat > 0),
    -granted.amount_msat,
    (
        SELECT sum(amount_msat) FROM postings
        WHERE account = (SELECT id FROM accounts WHERE name = 'pool') AND entry <= granted.entry
    ),
    entries.at
FROM accounts
JOIN postings AS granted ON granted.account = accounts.id AND granted.amount_msat < 0
JOIN entries ON entries.id = granted.entry AND entries.code = 'settlement'
LEFT JOIN jobs ON jobs.id = substr(accounts.name, length('reserved:') + 1)
WHERE accounts.name GLOB 'reserved:?*';

-- What to do, and what was published ----------------------------------------------------------------------------

CREATE TABLE events (
    row     INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    job     INTEGER REFERENCES jobs (row),
    role    TEXT NOT NULL CHECK (role IN ('result', 'feedback')),
    json    TEXT NOT NULL, -- as signed: a repeat publishes these very bytes; empty once forgotten
    targets TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX one_result ON events (job) WHERE role = 'result';
CREATE INDEX events_of_job ON events (job) WHERE job IS NOT NULL;

CREATE TRIGGER events_stay BEFORE UPDATE ON events
WHEN NEW.json <> '' OR NEW.row <> OLD.row OR NEW.id <> OLD.id OR NEW.job IS NOT OLD.job OR NEW.role <> OLD.role
    OR NEW.targets <> OLD.targets
BEGIN SELECT raise(ABORT, 'a signed event is never changed, only forgotten'); END;
CREATE TRIGGER events_are_kept BEFORE DELETE ON events
BEGIN SELECT raise(ABORT, 'events are never deleted'); END;

CREATE TABLE deliveries (
    event   INTEGER NOT NULL REFERENCES events (row),
    relay   TEXT NOT NULL,
    outcome TEXT NOT NULL, -- the newest word of that relay
    at      INTEGER NOT NULL,
    PRIMARY KEY (event, relay)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    -- AUTOINCREMENT: finished rows leave, and a fact that comes twice must never finish another row of that number.
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,
    job_id   TEXT, -- text, for an action may speak of a job that was never made
    body     TEXT NOT NULL,
    due_at   INTEGER, -- NULL is at once
    attempts INTEGER NOT NULL DEFAULT 0,
    started  INTEGER NOT NULL DEFAULT 0 CHECK (started IN (0, 1))
) STRICT;

CREATE INDEX outbox_runs ON outbox (job_id) WHERE kind = 'RunAgent';

-- What was answered under an Idempotency-Key, so that a repeat gets the same for ever.
CREATE TABLE answers (
    key        TEXT NOT NULL PRIMARY KEY, -- SHA-256 over route, credential and the key itself
    body_hash  TEXT NOT NULL, -- of what was asked: the same key with another body is a mistake
    seed       TEXT NOT NULL, -- what ids are made from: a repeat after a crash goes on, and begins nothing anew
    status     INTEGER, -- of the answer (HTTP); NULL until there is one
    answer     TEXT,
    created_at INTEGER NOT NULL,
    CONSTRAINT answered_whole CHECK ((status IS NULL) = (answer IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER answer_is_final BEFORE UPDATE ON answers
WHEN OLD.status IS NOT NULL OR NEW.key <> OLD.key OR NEW.body_hash <> OLD.body_hash OR NEW.seed <> OLD.seed
BEGIN SELECT raise(ABORT, 'an answer that was given stays as it is'); END;

CREATE TRIGGER answers_are_kept BEFORE DELETE ON answers
BEGIN SELECT raise(ABORT, 'answers are never deleted'); END;

CREATE TABLE settings (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A SHA-256 over each row, by which the audit knows a row that was not written by Timmy: ledger/seals.py.
CREATE TABLE seals (
    what TEXT NOT NULL, -- the table
    row  ANY NOT NULL, -- its key; of several columns, with a blank between them
    seal BLOB NOT NULL, -- empty: the row had been altered when Timmy next wrote it
    PRIMARY KEY (what, row)
) STRICT, WITHOUT ROWID;

-- What could be seen in the Workshop, for whoever wonders what happened there. Nothing of it is money or a job's.
CREATE TABLE world_events (
    row  INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    type TEXT NOT NULL -- `visitor:reply`, `job:complete`: a word of ours, never one of a visitor's
) STRICT;

CREATE TRIGGER world_events_are_few AFTER INSERT ON world_events
BEGIN DELETE FROM world_events WHERE row <= NEW.row - 1000; END;

-- What a fresh ledger knows -------------------------------------------------------------------------------------

INSERT INTO accounts (name, kind) VALUES
    ('node', 'asset'),
    ('operator', 'equity'),
    ('pool', 'owed'),
    ('earned', 'income'),
    ('shortfall', 'expense'),
    ('routing_fees', 'expense');
