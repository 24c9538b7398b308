-- Every statement the ledger runs, by name: `-- name: <name>`, then one statement. Read by ledger/queries.py.
-- Parameters are named; a change keeps all of a row's columns, so that SQL and records stay side by side.

-- The writing side ----------------------------------------------------------------------------------------------

-- name: fact_is_known
SELECT 1 FROM facts WHERE id = :id;

-- name: insert_fact
INSERT INTO facts (id, kind, job, at, body, done)
VALUES (:id, :kind, (SELECT row FROM jobs WHERE id = :job_id), :at, :body, :done)
RETURNING row;

-- name: insert_account
INSERT INTO accounts (name, kind) VALUES (:name, :kind);

-- name: next_entry
SELECT coalesce(max(id), 0) + 1 FROM entries;

-- name: insert_posting
INSERT INTO postings (entry, account, amount_msat) SELECT :entry, id, :amount FROM accounts WHERE name = :account;

-- name: insert_entry
INSERT INTO entries (id, entry_id, code, reason, fact, at) VALUES (:row, :id, :code, :reason, :fact, :at);

-- name: insert_identity
INSERT INTO identities (
    pubkey, version, trust_score, interaction_count, paid_jobs, sats_absorbed_today, absorbed_reset_at, first_seen,
    last_seen
) VALUES (
    :pubkey, 1, :trust_score, :interaction_count, :paid_jobs, 0, 0, :first_seen,
    :last_seen
) ON CONFLICT (pubkey) DO NOTHING;

-- name: update_identity
UPDATE identities SET
    version = version + 1,
    trust_score = :trust_score,
    interaction_count = :interaction_count,
    paid_jobs = :paid_jobs,
    last_seen = :last_seen
WHERE pubkey = :pubkey AND version = :version;

-- name: insert_session
INSERT INTO sessions (id, version, state, nostr_pubkey, created_at, used_at, ended_at, refund_to)
VALUES (:id, 1, :state, :pubkey, :created_at, :used_at, :ended_at, :refund_to)
ON CONFLICT (id) DO NOTHING;

-- name: update_session
UPDATE sessions SET
    version = version + 1,
    state = :state,
    used_at = :used_at,
    ended_at = :ended_at,
    refund_to = :refund_to
WHERE id = :id AND version = :version;

-- name: insert_bootstrap
INSERT INTO bootstrap_jobs (
    id, version, state, nostr_pubkey, amount_msat, payment_hash, payment_request, created_at, updated_at
) VALUES (:id, 1, :state, :pubkey, :amount, :payment_hash, :payment_request, :created_at, :updated_at)
ON CONFLICT (id) DO NOTHING;

-- name: update_bootstrap
UPDATE bootstrap_jobs SET
    version = version + 1,
    state = :state,
    payment_hash = :payment_hash,
    payment_request = :payment_request,
    droplet_id = :droplet_id,
    node_ip = :node_ip,
    tailscale_hostname = :tailscale_hostname,
    lnbits_url = :lnbits_url,
    ssh_private_key = coalesce(:ssh_private_key, ssh_private_key),
    error_message = :error_message,
    updated_at = :updated_at
WHERE id = :id AND version = :version;

-- A trigger erases the key once this statement has read it.
-- name: take_ssh_key
UPDATE bootstrap_jobs SET version = version + 1, ssh_key_delivered = 1
WHERE id = :id AND state = 'ready' AND ssh_key_delivered = 0 AND ssh_private_key IS NOT NULL
RETURNING ssh_private_key;

-- name: insert_job
INSERT INTO jobs (
    id, version, state, door, mode, event_id, nostr_pubkey, request_hash, eval_fee_msat, work_fee_msat,
    estimated_cost_usd, margin_pct, btc_price_usd, btc_price_source, work_model, max_output_tokens, share_eval_msat,
    share_work_msat, credit_used_msat, refund_to, free_tier, absorbed_sats, eval_runs, work_runs, eval_passed,
    eval_input_tokens, eval_output_tokens, actual_input_tokens, actual_output_tokens, actual_cost_usd, truncated,
    charge_eval_msat, charge_work_msat, shortfall_msat, pool_credit_msat, reason, error_message, asked_at,
    created_at, paid_at, ended_at, due_at, session_id
) VALUES (
    :id, 1, :state, :door, :mode, :event_id, :pubkey, :request_hash, :eval_fee, :work_fee,
    :estimated_cost, :margin_percent, :btc_price, :btc_price_source, :work_model, :max_output_tokens, :share_eval,
    :share_work, :credit_used, :refund_to, :free_tier, :absorbed_sats, :eval_runs, 0, NULL,
    0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, NULL, NULL, :asked_at,
    :created_at, :paid_at, NULL, :due_at, :session_id
);

-- name: update_job
UPDATE jobs SET
    version = version + 1,
    state = :state,
    share_eval_msat = :share_eval,
    share_work_msat = :share_work,
    credit_used_msat = :credit_used,
    refund_to = :refund_to,
    free_tier = :free_tier,
    absorbed_sats = :absorbed_sats,
    eval_runs = :eval_runs,
    work_runs = :work_runs,
    eval_passed = :eval_passed,
    eval_input_tokens = :eval_input_tokens,
    eval_output_tokens = :eval_output_tokens,
    actual_input_tokens = :actual_input_tokens,
    actual_output_tokens = :actual_output_tokens,
    actual_cost_usd = :actual_cost,
    truncated = :truncated,
    charge_eval_msat = :charge_eval,
    charge_work_msat = :charge_work,
    shortfall_msat = :shortfall,
    pool_credit_msat = :pool_credit,
    reason = :reason,
    error_message = :error_message,
    paid_at = :paid_at,
    ended_at = :ended_at,
    due_at = :due_at
WHERE id = :id AND version = :version;

-- name: insert_reservation
INSERT INTO reservations (job, account, nostr_pubkey, tier, budget_msat, reserved_msat, reserved_at)
SELECT row, 'reserved:' || id, nostr_pubkey, :tier, :budget, :amount, :at FROM jobs WHERE id = :job_id;

-- name: end_reservation
UPDATE reservations SET granted_msat = :granted, ended_at = :at
WHERE job = (SELECT row FROM jobs WHERE id = :job_id) AND ended_at IS NULL;

-- name: insert_texts
INSERT INTO job_texts (job, request, origin, follows)
SELECT row, :request, :origin, (SELECT row FROM jobs WHERE id = :follows) FROM jobs WHERE id = :job_id;

-- name: write_result
INSERT INTO job_texts (job, request, origin, result) SELECT row, '', '', :result FROM jobs WHERE id = :job_id
ON CONFLICT (job) DO UPDATE SET result = excluded.result;

-- name: write_invoice
INSERT INTO invoices (
    payment_hash, account, job, amount_msat, bolt11, created_at, expires_at, state, received_msat
) VALUES (
    :payment_hash, :account, (SELECT row FROM jobs WHERE id = :job_id), :amount, :bolt11, :created_at, :expires_at,
    :state, :received
) ON CONFLICT (payment_hash) DO UPDATE SET state = excluded.state, received_msat = excluded.received_msat
WHERE account = excluded.account AND amount_msat = excluded.amount_msat AND bolt11 = excluded.bolt11;

-- name: write_topup
INSERT INTO topups (id, event_id, account, nostr_pubkey, amount_msat, origin, payment_hash, created_at, ended_at)
VALUES (:id, :event_id, :account, :pubkey, :amount, :origin, :payment_hash, :created_at, :ended_at)
ON CONFLICT (id) DO UPDATE SET payment_hash = excluded.payment_hash, ended_at = excluded.ended_at
WHERE account = excluded.account AND amount_msat = excluded.amount_msat;

-- name: insert_refund
INSERT INTO refunds (
    id, version, job, pubkey, amount_msat, reason, state, kept_fee_room_msat, payment_hash, bolt11, max_fee_msat,
    fee_msat, attempts, note, created_at, updated_at, due_at, origin,
    target, session_id, kept_for_way_msat, bootstrap_id
) VALUES (
    :id, 1, (SELECT row FROM jobs WHERE id = :job_id), :pubkey, :amount, :reason, :state, :kept_fee_room,
    :payment_hash, :bolt11, :max_fee, :fee, :attempts, :note, :created_at, :updated_at, :due_at, :origin,
    :target, :session_id, :kept_for_way, :bootstrap_id
) ON CONFLICT (id) DO NOTHING;

-- name: update_refund
UPDATE refunds SET
    version = version + 1,
    amount_msat = :amount,
    reason = :reason,
    state = :state,
    kept_fee_room_msat = :kept_fee_room,
    payment_hash = :payment_hash,
    bolt11 = :bolt11,
    max_fee_msat = :max_fee,
    fee_msat = :fee,
    attempts = :attempts,
    note = :note,
    updated_at = :updated_at,
    due_at = :due_at,
    target = :target,
    kept_for_way_msat = :kept_for_way
WHERE id = :id AND version = :version;

-- An attempt begins. A hash that was paid, or serves another refund, is left alone: 0 rows.
-- name: payment_begins
INSERT INTO payments (payment_hash, refund, bolt11, max_fee_msat, fee_msat, state, tries)
SELECT :payment_hash, row, :bolt11, :max_fee, 0, 'in_flight', 1 FROM refunds WHERE id = :id
ON CONFLICT (payment_hash) DO UPDATE SET
    state = 'in_flight',
    max_fee_msat = excluded.max_fee_msat,
    tries = tries + (payments.state = 'failed')
WHERE refund = excluded.refund AND bolt11 = excluded.bolt11 AND payments.state <> 'sent';

-- name: payment_arrived
UPDATE payments SET state = 'sent', fee_msat = :fee
WHERE payment_hash = :payment_hash AND state = 'in_flight' AND refund = (SELECT row FROM refunds WHERE id = :id);

-- name: payment_failed
UPDATE payments SET state = 'failed'
WHERE state = 'in_flight' AND refund = (SELECT row FROM refunds WHERE id = :id);

-- name: insert_event
INSERT INTO events (id, job, role, json, targets)
VALUES (:id, (SELECT row FROM jobs WHERE id = :job_id), :role, :json, :targets);

-- name: insert_action
INSERT INTO outbox (kind, job_id, body, due_at) VALUES (:kind, :job_id, :body, :due_at)
RETURNING *;

-- name: finish_action
DELETE FROM outbox WHERE id = :id;

-- name: postpone_action
UPDATE outbox SET due_at = :due_at, attempts = attempts + 1, started = 0 WHERE id = :id;

-- name: start_action
UPDATE outbox SET started = 1 WHERE id = :id;

-- name: write_delivery
INSERT INTO deliveries (event, relay, outcome, at) SELECT row, :relay, :outcome, :at FROM events WHERE id = :event_id
ON CONFLICT (event, relay) DO UPDATE SET outcome = excluded.outcome, at = excluded.at;

-- The same oldest jobs in each of the three, for what tells them, their texts, goes last. What is still to be
-- delivered stays until it was: `forget_event`.
-- name: forget_events
UPDATE events SET json = ''
WHERE job IN (
    SELECT jobs.row FROM jobs JOIN job_texts ON job_texts.job = jobs.row
    WHERE nostr_pubkey = :pubkey AND ended_at IS NOT NULL ORDER BY created_at, jobs.row LIMIT :limit
) AND id NOT IN (SELECT body FROM outbox WHERE kind = 'Publish');

-- name: is_forgotten
SELECT 1 FROM events LEFT JOIN job_texts ON job_texts.job = events.job
WHERE events.id = :event_id AND events.job IS NOT NULL AND job_texts.job IS NULL AND events.json <> '';

-- name: forget_event
UPDATE events SET json = '' WHERE id = :event_id;

-- Why a job was cancelled is no text of the customer's, and tells a cancellation of theirs from one of ours.
-- name: forget_reasons
UPDATE jobs SET
    version = version + 1,
    reason = NULL,
    error_message = CASE WHEN state = 'cancelled' THEN error_message END,
    refund_to = NULL
WHERE row IN (
    SELECT jobs.row FROM jobs JOIN job_texts ON job_texts.job = jobs.row
    WHERE nostr_pubkey = :pubkey AND ended_at IS NOT NULL ORDER BY created_at, jobs.row LIMIT :limit
);

-- name: forget_texts
DELETE FROM job_texts WHERE job IN (
    SELECT jobs.row FROM jobs JOIN job_texts ON job_texts.job = jobs.row
    WHERE nostr_pubkey = :pubkey AND ended_at IS NOT NULL ORDER BY created_at, jobs.row LIMIT :limit
);

-- name: forget_topups
UPDATE topups SET origin = '' WHERE nostr_pubkey = :pubkey AND ended_at IS NOT NULL AND origin <> '';

-- name: forget_payouts
UPDATE refunds SET origin = ''
WHERE job IS NULL AND pubkey = :pubkey AND origin <> '' AND state IN ('sent', 'credited', 'paid_elsewhere');

-- name: forget_targets
UPDATE refunds SET target = NULL
WHERE target IS NOT NULL AND state IN ('sent', 'credited', 'paid_elsewhere')
    AND job IN (SELECT row FROM jobs WHERE nostr_pubkey = :pubkey AND ended_at IS NOT NULL);

-- name: write_setting
INSERT INTO settings (key, value) VALUES (:key, :value)
ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: begin_answer
INSERT INTO answers (key, body_hash, seed, created_at) VALUES (:key, :body_hash, :seed, :at)
ON CONFLICT (key) DO NOTHING;

-- name: finish_answer
UPDATE answers SET status = :status, answer = :answer WHERE key = :key AND status IS NULL;

-- The reading side ----------------------------------------------------------------------------------------------

-- name: job
SELECT * FROM jobs WHERE id = :id;

-- name: job_of_event
SELECT * FROM jobs WHERE event_id = :event_id;

-- name: jobs_by_prefix
SELECT * FROM jobs WHERE (id >= :first AND id < :last) OR (event_id >= :first AND event_id < :last)
ORDER BY row DESC LIMIT 10;

-- name: newest_jobs
SELECT * FROM jobs ORDER BY row DESC LIMIT :limit;

-- name: newest_jobs_in_states
SELECT * FROM jobs WHERE state IN (SELECT value FROM json_each(:states)) ORDER BY row DESC LIMIT :limit;

-- name: jobs_due
SELECT due_at, id FROM jobs WHERE due_at IS NOT NULL ORDER BY due_at, row;

-- name: waiting_jobs_of_key
SELECT count(*) FROM jobs
WHERE nostr_pubkey = :pubkey AND state IN ('awaiting_eval_payment', 'awaiting_work_payment');

-- What is given to the pool keeps nobody from asking: it is counted apart, here and below.
-- name: waiting_topups_of_key
SELECT count(*) FROM topups WHERE nostr_pubkey = :pubkey AND ended_at IS NULL AND account <> 'pool';

-- name: waiting_session_topups_of_key
-- Along the few that are open: a session names its key, and its top-ups name the session alone.
SELECT count(*) FROM topups JOIN sessions ON sessions.id = substr(topups.account, 9)
WHERE topups.ended_at IS NULL AND topups.account GLOB 'session:?*' AND sessions.nostr_pubkey = :pubkey;

-- name: waiting_topups
SELECT count(*) FROM topups WHERE ended_at IS NULL AND account <> 'pool';

-- name: waiting_donations
SELECT count(*) FROM topups WHERE ended_at IS NULL AND account = 'pool';

-- name: waiting_jobs
SELECT count(*) FROM jobs WHERE state IN ('awaiting_eval_payment', 'awaiting_work_payment');

-- name: payable_invoices
SELECT count(*) FROM invoices WHERE state = 'open' AND account <> 'pool';

-- name: reserved_of_key
SELECT coalesce(sum(reserved_msat), 0) FROM reservations WHERE nostr_pubkey = :pubkey AND ended_at IS NULL;

-- name: drew_before
SELECT 1 FROM reservations
WHERE nostr_pubkey = :pubkey AND coalesce(granted_msat, reserved_msat) > 0 LIMIT 1;

-- name: granted_to_key
SELECT coalesce(sum(granted_msat), 0) FROM reservations WHERE nostr_pubkey = :pubkey AND granted_msat > 0;

-- name: fees_kept_of_key
SELECT coalesce(sum(charge_eval_msat + charge_work_msat - pool_credit_msat), 0) FROM jobs
WHERE nostr_pubkey = :pubkey AND charge_eval_msat + charge_work_msat > 0;

-- name: drawn_by_tier
SELECT coalesce(sum(coalesce(granted_msat, reserved_msat)), 0) FROM reservations
WHERE tier = :tier AND (ended_at IS NULL OR ended_at >= :since);

-- A share below the price is what the pool offers to add; a job at full price offers 0.
-- name: offered_to_key
SELECT coalesce(sum(eval_fee_msat + work_fee_msat - share_eval_msat - share_work_msat), 0) FROM jobs
WHERE nostr_pubkey = :pubkey AND state IN ('awaiting_eval_payment', 'awaiting_work_payment');

-- While a session's request runs its share is the whole price, or what the session paid where the rest is set
-- aside: what was paid less than the share is what the pool only offers. Few run at once, and a key may have many
-- jobs: hence the plus.
-- name: offered_in_sessions_of_key
SELECT coalesce(sum(share_eval_msat + share_work_msat - credit_used_msat), 0) FROM jobs
WHERE +nostr_pubkey = :pubkey AND session_id IS NOT NULL AND state IN ('evaluating', 'executing');

-- name: cancelled_jobs_of_key_since
SELECT count(*) FROM jobs
WHERE nostr_pubkey = :pubkey AND created_at >= :since AND state = 'cancelled' AND error_message IS NULL;

-- name: jobs_of_key_since
SELECT count(*) FROM jobs WHERE nostr_pubkey = :pubkey AND created_at >= :since;

-- name: topups_of_key_since
SELECT count(*) FROM topups WHERE nostr_pubkey = :pubkey AND created_at >= :since AND account <> 'pool';

-- name: given_up_topups_of_key_since
SELECT count(*) FROM topups JOIN invoices ON invoices.payment_hash = topups.payment_hash
WHERE nostr_pubkey = :pubkey AND topups.created_at >= :since AND ended_at IS NOT NULL AND invoices.state = 'open'
    AND topups.account <> 'pool';

-- name: unended_jobs_of_key
SELECT count(*) FROM jobs WHERE nostr_pubkey = :pubkey AND ended_at IS NULL;

-- A gift is known by its invoice, once that is made: `payable_until_of_key`.
-- name: unended_topups_of_key
SELECT count(*) FROM topups
WHERE nostr_pubkey = :pubkey AND ended_at IS NULL AND (account <> 'pool' OR payment_hash IS NULL);

-- name: remembered_jobs_of_key
SELECT count(*) FROM jobs JOIN job_texts ON job_texts.job = jobs.row
WHERE nostr_pubkey = :pubkey AND ended_at IS NOT NULL;

-- name: run_waits
SELECT 1 FROM outbox WHERE job_id = :job_id AND kind = 'RunAgent' AND started = 0;

-- name: newest_jobs_of_key
SELECT * FROM jobs WHERE nostr_pubkey = :pubkey ORDER BY created_at DESC, row DESC LIMIT :limit;

-- name: targets_of_job
SELECT targets FROM events WHERE job = (SELECT row FROM jobs WHERE id = :job_id) ORDER BY row;

-- name: texts
SELECT request, origin, result FROM job_texts WHERE job = (SELECT row FROM jobs WHERE id = :job_id);

-- Back along the line, until a job that has no answer, or whose texts were forgotten.
-- name: thread
WITH RECURSIVE thread (request, result, follows, back) AS (
    SELECT request, result, follows, 0 FROM job_texts WHERE job = (SELECT row FROM jobs WHERE id = :job_id)
    UNION ALL
    SELECT job_texts.request, job_texts.result, job_texts.follows, back + 1
    FROM thread JOIN job_texts ON job_texts.job = thread.follows
    WHERE back < :limit AND thread.request <> '' AND job_texts.request <> '' AND job_texts.result <> ''
)
SELECT request, result FROM thread WHERE request <> '' AND result <> '' ORDER BY back DESC;

-- name: identity
SELECT * FROM identities WHERE pubkey = :pubkey;

-- The newest by when it was asked, along the index: jobs of one key end nearly in that order.
-- name: last_job_that_raised
SELECT * FROM jobs WHERE nostr_pubkey = :pubkey AND state = 'complete' AND charge_work_msat > 0
ORDER BY created_at DESC LIMIT 1;

-- name: last_job_that_lowered
SELECT * FROM jobs WHERE nostr_pubkey = :pubkey AND state IN ('rejected', 'failed') ORDER BY created_at DESC LIMIT 1;

-- name: paying_keys
SELECT pubkey FROM identities WHERE paid_jobs > 0 ORDER BY last_seen DESC LIMIT :limit;

-- name: invoice
SELECT invoices.*, jobs.id AS job_id FROM invoices LEFT JOIN jobs ON jobs.row = invoices.job
WHERE payment_hash = :payment_hash;

-- name: open_invoice_of_job
SELECT invoices.*, jobs.id AS job_id FROM invoices JOIN jobs ON jobs.row = invoices.job
WHERE jobs.id = :job_id AND invoices.state = 'open' ORDER BY invoices.row DESC LIMIT 1;

-- name: open_invoices
SELECT invoices.*, jobs.id AS job_id FROM invoices LEFT JOIN jobs ON jobs.row = invoices.job
WHERE invoices.state = 'open' ORDER BY invoices.row;

-- name: invoices_of_job
SELECT invoices.*, jobs.id AS job_id FROM invoices JOIN jobs ON jobs.row = invoices.job
WHERE jobs.id = :job_id ORDER BY invoices.row;

-- name: refund
SELECT refunds.*, jobs.id AS job_id FROM refunds LEFT JOIN jobs ON jobs.row = refunds.job WHERE refunds.id = :id;

-- name: refunds_of_job
SELECT refunds.*, jobs.id AS job_id FROM refunds JOIN jobs ON jobs.row = refunds.job
WHERE jobs.id = :job_id ORDER BY refunds.row;

-- name: refunds
SELECT refunds.*, jobs.id AS job_id FROM refunds LEFT JOIN jobs ON jobs.row = refunds.job ORDER BY refunds.row;

-- name: open_refunds
SELECT refunds.*, jobs.id AS job_id FROM refunds LEFT JOIN jobs ON jobs.row = refunds.job
WHERE refunds.state NOT IN ('sent', 'credited', 'paid_elsewhere') ORDER BY refunds.row;

-- CROSS JOIN keeps this order: nearly all refunds that are open are those of others.
-- name: open_refunds_of_key
SELECT refunds.*, jobs.id AS job_id, jobs.event_id
FROM jobs CROSS JOIN refunds ON refunds.job = jobs.row
WHERE jobs.nostr_pubkey = :pubkey AND refunds.state NOT IN ('sent', 'credited', 'paid_elsewhere')
ORDER BY jobs.created_at, refunds.row LIMIT :limit;

-- name: owed_to_key
SELECT coalesce(sum(refunds.amount_msat), 0)
FROM jobs CROSS JOIN refunds ON refunds.job = jobs.row
WHERE jobs.nostr_pubkey = :pubkey AND refunds.state NOT IN ('sent', 'credited', 'paid_elsewhere');

-- name: open_payouts_of_key
SELECT refunds.*, NULL AS job_id FROM refunds
WHERE job IS NULL AND pubkey = :pubkey AND state NOT IN ('sent', 'credited', 'paid_elsewhere') ORDER BY row;

-- CROSS JOIN as above.
-- name: payable_until_of_key
SELECT coalesce(max(expires_at), 0) FROM (
    SELECT invoices.expires_at FROM jobs CROSS JOIN invoices ON invoices.job = jobs.row
    WHERE jobs.nostr_pubkey = :pubkey AND invoices.state = 'open'
    UNION ALL
    SELECT invoices.expires_at FROM topups CROSS JOIN invoices ON invoices.payment_hash = topups.payment_hash
    WHERE topups.nostr_pubkey = :pubkey AND invoices.state = 'open'
);

-- name: topup
SELECT * FROM topups WHERE id = :id;

-- name: topup_of_event
SELECT * FROM topups WHERE event_id = :event_id;

-- name: topup_of_invoice
SELECT * FROM topups WHERE payment_hash = :payment_hash;

-- name: waiting_topups_of_key_listed
SELECT * FROM topups WHERE nostr_pubkey = :pubkey AND ended_at IS NULL AND account <> 'pool' ORDER BY row LIMIT :limit;

-- name: session
SELECT * FROM sessions WHERE id = :id;

-- name: deposit_of_account
SELECT * FROM topups WHERE account = :account AND account GLOB 'session:?*' ORDER BY row LIMIT 1;

-- name: open_topup_of_account
SELECT * FROM topups WHERE account = :account AND account GLOB 'session:?*' AND ended_at IS NULL;

-- name: refunds_of_session
SELECT refunds.*, NULL AS job_id FROM refunds WHERE session_id = :session_id ORDER BY row;

-- name: bootstrap
SELECT * FROM bootstrap_jobs WHERE id = :id;

-- name: bootstrap_of_invoice
SELECT * FROM bootstrap_jobs WHERE payment_hash = :payment_hash;

-- name: waiting_bootstraps
SELECT count(*) FROM bootstrap_jobs WHERE state = 'awaiting_payment';

-- name: refunds_of_bootstrap
SELECT refunds.*, NULL AS job_id FROM refunds WHERE bootstrap_id = :bootstrap_id ORDER BY row;

-- name: payment_is_known
SELECT 1 FROM payments WHERE payment_hash = :payment_hash;

-- name: balance
SELECT balance_msat FROM accounts WHERE name = :account;

-- An account that is not listed stands at zero: drained ones would be a line for every job ever done.
-- name: balances
SELECT name, balance_msat FROM accounts WHERE kind <> 'owed' OR name = 'pool' OR balance_msat > 0 ORDER BY id;

-- name: payable
SELECT coalesce(sum(balance_msat), 0) FROM accounts
WHERE kind = 'owed' AND balance_msat > 0 AND name <> 'pool' AND name NOT GLOB 'reserved:*';

-- name: refund_fees_since
SELECT coalesce(-sum(postings.amount_msat), 0)
FROM entries JOIN postings ON postings.entry = entries.id
WHERE entries.code = 'routing' AND entries.at >= :since
    AND postings.account = (SELECT id FROM accounts WHERE name = 'routing_fees');

-- name: free_answers_since
SELECT coalesce(-sum(postings.amount_msat), 0)
FROM entries JOIN postings ON postings.entry = entries.id
WHERE entries.code = 'free_answer' AND entries.at >= :since
    AND postings.account = (SELECT id FROM accounts WHERE name = 'shortfall');

-- What it cost without our margin: told in the answer, else, once the model was asked for one, estimated.
-- name: model_use_since
SELECT coalesce(sum((cost * 100 + 99 + margin_pct) / (100 + margin_pct)), 0), coalesce(sum(eval_input_tokens), 0),
    coalesce(sum(eval_output_tokens), 0)
FROM (
    SELECT
        CASE WHEN state = 'complete' THEN actual_cost_usd ELSE estimated_cost_usd * (work_runs > 0) END AS cost,
        margin_pct, eval_input_tokens, eval_output_tokens
    FROM jobs WHERE ended_at IS NOT NULL AND eval_runs > 0 AND ended_at >= :since
    UNION ALL
    SELECT estimated_cost_usd, margin_pct, eval_input_tokens, eval_output_tokens
    FROM jobs WHERE state IN ('evaluating', 'executing')
);

-- The fee of a pay-out comes out of its own sum, and so does that of some refunds.
-- name: fee_caps_in_flight
SELECT coalesce(sum(payments.max_fee_msat), 0) FROM payments JOIN refunds ON refunds.row = payments.refund
WHERE payments.state = 'in_flight' AND coalesce(refunds.job, refunds.bootstrap_id) IS NOT NULL
    AND refunds.kept_for_way_msat = 0;

-- name: pool_reserved
SELECT coalesce(sum(reserved_msat), 0) FROM reservations WHERE ended_at IS NULL;

-- name: pool_granted
SELECT coalesce(sum(granted_msat), 0) FROM reservations;

-- name: pool_use_since
SELECT
    tier, coalesce(sum(granted_msat), 0), coalesce(sum(reserved_msat) FILTER (WHERE ended_at IS NULL), 0),
    count(*) FILTER (WHERE ended_at IS NULL OR granted_msat > 0)
FROM (
    SELECT * FROM reservations WHERE ended_at IS NULL UNION ALL SELECT * FROM reservations WHERE ended_at >= :since
) GROUP BY tier ORDER BY min(budget_msat), tier;

-- name: newest_grants
SELECT ended_at, tier, granted_msat FROM reservations WHERE granted_msat > 0
ORDER BY ended_at DESC, job DESC LIMIT :limit;

-- name: newest_pool_moves
SELECT entries.at, entries.code, postings.amount_msat
FROM postings JOIN entries ON entries.id = postings.entry
WHERE postings.account = (SELECT id FROM accounts WHERE name = 'pool') ORDER BY postings.entry DESC LIMIT :limit;

-- Who gave and let us say so. A gift that was forgotten has no note any more.
-- name: newest_donors
SELECT topups.ended_at, topups.nostr_pubkey, invoices.received_msat
FROM topups JOIN invoices ON invoices.payment_hash = topups.payment_hash
WHERE topups.account = 'pool' AND topups.nostr_pubkey IS NOT NULL AND topups.ended_at > 0
    AND topups.origin <> '' AND invoices.received_msat > 0
ORDER BY topups.ended_at DESC, topups.row DESC LIMIT :limit;

-- name: outbox
SELECT * FROM outbox ORDER BY id;

-- name: event
SELECT events.*, jobs.id AS job_id FROM events LEFT JOIN jobs ON jobs.row = events.job WHERE events.id = :id;

-- name: events_of_job
SELECT events.*, jobs.id AS job_id FROM events JOIN jobs ON jobs.row = events.job
WHERE jobs.id = :job_id ORDER BY events.row;

-- name: deliveries
SELECT relay, outcome, at FROM deliveries WHERE event = (SELECT row FROM events WHERE id = :event_id) ORDER BY at, relay;

-- name: facts_of_job
SELECT facts.*, jobs.id AS job_id FROM facts JOIN jobs ON jobs.row = facts.job
WHERE jobs.id = :job_id ORDER BY facts.row;

-- name: entries_of_job
SELECT DISTINCT entries.id, entries.entry_id, entries.code, entries.reason, entries.at
FROM accounts JOIN postings ON postings.account = accounts.id JOIN entries ON entries.id = postings.entry
WHERE accounts.name IN (
    SELECT 'job:' || :job_id UNION ALL SELECT 'reserved:' || :job_id
    UNION ALL SELECT 'refund:' || refunds.id FROM refunds JOIN jobs ON jobs.row = refunds.job WHERE jobs.id = :job_id
)
ORDER BY entries.id;

-- Debits first: `debit → credit`, as an entry is read.
-- name: postings_of_entry
SELECT accounts.name, postings.amount_msat FROM postings JOIN accounts ON accounts.id = postings.account
WHERE postings.entry = :row ORDER BY postings.amount_msat > 0, accounts.id;

-- name: setting
SELECT value FROM settings WHERE key = :key;

-- name: write_world_event
INSERT INTO world_events (at, type) VALUES (:at, :type);

-- Newest first.
-- name: world_events
SELECT at, type FROM world_events ORDER BY row DESC LIMIT :limit;

-- name: is_key_used
SELECT count(*) FROM answers WHERE key = :key;

-- name: answer
SELECT body_hash, seed, status, answer FROM answers WHERE key = :key;
