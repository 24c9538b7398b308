-- The invariants as queries: `-- name: <rule> <what it checks>`. Each answers one row for each thing that is wrong:
-- which row it is, and a sentence for the operator. No answer is a pass. Run by ledger/audit.py.

-- name: I1 every entry balances
SELECT
    'entry ' || entries.entry_id,
    CASE WHEN sum(postings.amount_msat) IS NULL THEN 'it has no postings'
        ELSE 'its postings sum to ' || sum(postings.amount_msat) || ' msat, not 0' END
FROM entries LEFT JOIN postings ON postings.entry = entries.id
GROUP BY entries.id HAVING sum(postings.amount_msat) IS NOT 0;

-- name: I1 a seal is of a table that has seals
SELECT 'seals row ' || what || ' ' || row, 'there is no table ' || what || ' with seals'
FROM seals WHERE what NOT IN (SELECT name FROM sqlite_master WHERE type = 'table')
    OR what IN ('seals', 'postings') OR what GLOB '*_transitions';

-- name: I1 every posting belongs to an entry and an account
SELECT
    'posting ' || postings.entry || ' of account ' || postings.account,
    'it moves ' || postings.amount_msat || ' msat without an entry or an account'
FROM postings
LEFT JOIN entries ON entries.id = postings.entry
LEFT JOIN accounts ON accounts.id = postings.account
WHERE entries.id IS NULL OR accounts.id IS NULL;

-- The chart of moves of ledger/entries.py, one posting at a time: what stands in an account is no word of an id.
-- name: I1 an entry moves money only between accounts that its code names
WITH moves (code, debits, credits) AS (VALUES
    ('opening', ' node ', ' operator '),
    ('pool_seed', ' operator ', ' pool '),
    ('deposit', ' node ', ' operator '),
    ('withdraw', ' operator ', ' node '),
    ('settled', ' node ', ' job customer session pool '),
    ('credit_used', ' customer session ', ' job '),
    ('reserved', ' pool ', ' reserved '),
    ('released', ' reserved ', ' pool '),
    ('settlement', ' job reserved shortfall ', ' earned '),
    ('pool_credit', ' earned ', ' pool '),
    ('credit_back', ' job ', ' session '),
    ('owed', ' job session customer ', ' refund '),
    ('credited', ' refund ', ' customer session '),
    ('sent', ' refund ', ' node '),
    ('elsewhere', ' refund ', ' operator '),
    ('routing', ' routing_fees refund ', ' node '),
    ('dust', ' job session ', ' customer pool '),
    ('free_answer', ' shortfall ', ' earned ')
)
SELECT
    'entry ' || entries.entry_id,
    'as ' || entries.code || ' it ' || CASE WHEN postings.amount_msat < 0 THEN 'debits ' ELSE 'credits ' END || accounts.name
FROM entries
JOIN postings ON postings.entry = entries.id
JOIN accounts ON accounts.id = postings.account
LEFT JOIN moves ON moves.code = entries.code
WHERE entries.code <> 'reversal' AND instr(
    CASE WHEN postings.amount_msat < 0 THEN moves.debits ELSE moves.credits END,
    ' ' || substr(accounts.name, 1, instr(accounts.name || ':', ':') - 1) || ' '
) IS NOT TRUE;

-- name: I2 every balance is the sum of its postings
SELECT
    'account ' || accounts.name,
    'it shows ' || accounts.balance_msat || ' msat, its postings sum to ' || coalesce(sum(postings.amount_msat), 0)
FROM accounts LEFT JOIN postings ON postings.account = accounts.id
GROUP BY accounts.id HAVING accounts.balance_msat <> coalesce(sum(postings.amount_msat), 0);

-- Balances are credit-positive, so node = job + customer + session + refund + pool + reserved + operator + earned
-- - shortfall - routing_fees says that all of them together are nothing.
-- name: I2 the book equation holds
SELECT 'all accounts', 'together they stand at ' || sum(balance_msat) || ' msat, not 0'
FROM accounts HAVING sum(balance_msat) <> 0;

-- name: I2 a finished job is drained
SELECT
    'job ' || jobs.id,
    'it is ' || jobs.state || ', but ' || accounts.name || ' still holds ' || accounts.balance_msat || ' msat'
FROM jobs JOIN accounts ON accounts.name IN ('job:' || jobs.id, 'reserved:' || jobs.id)
WHERE jobs.ended_at IS NOT NULL AND accounts.balance_msat <> 0;

-- name: I2 a job's charge is what its settlement took
SELECT
    'job ' || jobs.id,
    'its row says a charge of ' || (jobs.charge_eval_msat + jobs.charge_work_msat)
        || ' msat, its settlement took ' || coalesce(-sum(postings.amount_msat), 0)
FROM jobs
LEFT JOIN accounts ON accounts.name = 'job:' || jobs.id
LEFT JOIN postings ON postings.account = accounts.id
    AND postings.entry IN (SELECT id FROM entries WHERE code = 'settlement')
GROUP BY jobs.row
HAVING jobs.charge_eval_msat + jobs.charge_work_msat <> coalesce(-sum(postings.amount_msat), 0);

-- name: I2 a job's shortfall is what its settlement booked as such
WITH booked AS (
    SELECT facts.job, -sum(postings.amount_msat) AS amount_msat
    FROM postings JOIN entries ON entries.id = postings.entry JOIN facts ON facts.row = entries.fact
    WHERE entries.code = 'settlement' AND postings.account = (SELECT id FROM accounts WHERE name = 'shortfall')
    GROUP BY facts.job
)
SELECT
    'job ' || jobs.id,
    'its row says a shortfall of ' || jobs.shortfall_msat || ' msat, its settlement booked '
        || coalesce(booked.amount_msat, 0)
FROM jobs LEFT JOIN booked ON booked.job = jobs.row WHERE jobs.shortfall_msat <> coalesce(booked.amount_msat, 0);

-- name: I2 a job's pool credit is what went to the pool
WITH booked AS (
    SELECT facts.job, sum(postings.amount_msat) AS amount_msat
    FROM postings JOIN entries ON entries.id = postings.entry JOIN facts ON facts.row = entries.fact
    WHERE entries.code = 'pool_credit' AND postings.account = (SELECT id FROM accounts WHERE name = 'pool')
    GROUP BY facts.job
)
SELECT
    'job ' || jobs.id,
    'its row says ' || jobs.pool_credit_msat || ' msat to the pool, its books say ' || coalesce(booked.amount_msat, 0)
FROM jobs LEFT JOIN booked ON booked.job = jobs.row WHERE jobs.pool_credit_msat <> coalesce(booked.amount_msat, 0);

-- Conservation: what a job cost is charge + grant + shortfall and nothing else, all of it earned.
-- name: I2 a finished job cost its eval fee, where there was a verdict, and what its work's receipt says
WITH booked AS (
    SELECT facts.job, sum(postings.amount_msat) AS amount_msat
    FROM postings JOIN entries ON entries.id = postings.entry JOIN facts ON facts.row = entries.fact
    WHERE entries.code = 'settlement' AND postings.amount_msat > 0 GROUP BY facts.job
)
SELECT
    'job ' || jobs.id,
    'it is ' || jobs.state || ', and its settlement earned ' || coalesce(booked.amount_msat, 0)
        || ' msat, which its receipts do not say'
FROM jobs LEFT JOIN booked ON booked.job = jobs.row
WHERE jobs.ended_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM facts WHERE facts.job = jobs.row AND facts.kind IN ('EvalDone', 'WorkDone'))
    AND coalesce(booked.amount_msat, 0) - (jobs.eval_passed IS NOT NULL) * jobs.eval_fee_msat NOT IN (
        SELECT 1000 * iif(json_valid(facts.body), json_extract(facts.body, '$.charge_sats'), NULL) FROM facts
        WHERE facts.job = jobs.row AND facts.kind = 'WorkDone' AND jobs.state = 'complete'
        UNION ALL SELECT 0 WHERE jobs.state <> 'complete'
    );

-- name: I2 a settlement takes from the job, the pool or ourselves, and all of it is earned
SELECT
    'entry ' || entries.entry_id,
    'it moves ' || postings.amount_msat || ' msat of ' || accounts.name || ', which no settlement does'
FROM entries
JOIN postings ON postings.entry = entries.id
JOIN accounts ON accounts.id = postings.account
WHERE entries.code = 'settlement' AND NOT (
    (accounts.name = 'earned' AND postings.amount_msat > 0)
    OR (postings.amount_msat < 0
        AND (accounts.name = 'shortfall' OR accounts.name GLOB 'job:*' OR accounts.name GLOB 'reserved:*'))
);

-- name: I2 what a settled invoice brought is booked
SELECT
    'invoice ' || invoices.payment_hash,
    'it received ' || invoices.received_msat || ' msat, booked are ' || coalesce(sum(postings.amount_msat), 0)
FROM invoices
LEFT JOIN entries ON entries.entry_id = 'settled:' || invoices.payment_hash
LEFT JOIN postings ON postings.entry = entries.id
    AND postings.account = (SELECT id FROM accounts WHERE name = invoices.account)
GROUP BY invoices.row HAVING invoices.received_msat <> coalesce(sum(postings.amount_msat), 0);

-- name: I2 an invoice is settled if and only if it was booked
SELECT
    'invoice ' || invoices.payment_hash,
    'it is ' || invoices.state || CASE WHEN entries.id IS NULL THEN ', and nothing was booked for it'
        ELSE ', and what it brought was booked' END
FROM invoices LEFT JOIN entries ON entries.entry_id = 'settled:' || invoices.payment_hash
WHERE invoices.state NOT IN ('open', 'settled', 'expired', 'cancelled')
    OR (invoices.state = 'settled') <> (entries.id IS NOT NULL OR (invoices.state = 'settled' AND received_msat = 0));

-- name: I2 a top-up's invoice fills the account it was asked for
SELECT
    'top-up ' || topups.id,
    'its invoice fills ' || invoices.account || ', asked for was ' || topups.account
FROM topups JOIN invoices ON invoices.payment_hash = topups.payment_hash WHERE invoices.account <> topups.account;

-- name: I2 a session holds nothing unless it is open
SELECT 'session ' || sessions.id, 'it is ' || sessions.state || ', and holds ' || accounts.balance_msat || ' msat'
FROM sessions JOIN accounts ON accounts.name = 'session:' || sessions.id
WHERE sessions.state <> 'active' AND accounts.balance_msat <> 0;

-- name: I2 money in a session has its row
SELECT 'account ' || accounts.name, 'it holds ' || accounts.balance_msat || ' msat, and there is no such session'
FROM accounts LEFT JOIN sessions ON sessions.id = substr(accounts.name, length('session:') + 1)
WHERE accounts.name GLOB 'session:?*' AND accounts.balance_msat <> 0 AND sessions.row IS NULL;

-- name: I2 what a request took of its session is what its row says, and of no other
WITH taken AS (
    SELECT jobs.row AS job, accounts.name, -sum(source.amount_msat) AS amount_msat
    FROM jobs
    JOIN accounts AS mine ON mine.name = 'job:' || jobs.id
    JOIN postings ON postings.account = mine.id
    JOIN entries ON entries.id = postings.entry AND entries.code = 'credit_used'
    JOIN postings AS source ON source.entry = entries.id AND source.amount_msat < 0
    JOIN accounts ON accounts.id = source.account
    WHERE jobs.session_id IS NOT NULL GROUP BY jobs.row, accounts.name
)
SELECT
    'job ' || jobs.id,
    'its row says ' || jobs.credit_used_msat || ' msat of session ' || jobs.session_id || ', booked are '
        || coalesce(taken.amount_msat, 0) || ' of ' || coalesce(taken.name, 'none')
FROM jobs LEFT JOIN taken ON taken.job = jobs.row
WHERE jobs.session_id IS NOT NULL
    AND (coalesce(taken.amount_msat, 0) <> jobs.credit_used_msat OR taken.name <> 'session:' || jobs.session_id);

-- name: I2 what a job took of its key's credit is what its row says, and of no other
WITH taken AS (
    SELECT mine.name AS home, accounts.name, -sum(source.amount_msat) AS amount_msat
    FROM entries
    JOIN postings ON postings.entry = entries.id AND postings.amount_msat > 0
    JOIN accounts AS mine ON mine.id = postings.account
    JOIN postings AS source ON source.entry = entries.id AND source.amount_msat < 0
    JOIN accounts ON accounts.id = source.account
    WHERE entries.code = 'credit_used' GROUP BY mine.name, accounts.name
)
SELECT
    'job ' || jobs.id,
    'its row says ' || jobs.credit_used_msat || ' msat of credit, booked are ' || coalesce(taken.amount_msat, 0)
        || ' of ' || coalesce(taken.name, 'none')
FROM jobs LEFT JOIN taken ON taken.home = 'job:' || jobs.id
WHERE jobs.session_id IS NULL AND (
    coalesce(taken.amount_msat, 0) <> jobs.credit_used_msat OR taken.name <> 'customer:' || jobs.nostr_pubkey
);

-- More than the fee may have come: its end gives that back.
-- name: I2 an order of a node holds its fee while the node is set up, and nothing else ever
SELECT
    'node order ' || bootstrap_jobs.id,
    'it is ' || bootstrap_jobs.state || ' for a fee of ' || bootstrap_jobs.amount_msat || ' msat, and holds '
        || coalesce(accounts.balance_msat, 0)
FROM bootstrap_jobs LEFT JOIN accounts ON accounts.name = 'job:' || bootstrap_jobs.id
WHERE CASE bootstrap_jobs.state WHEN 'provisioning'
    THEN coalesce(accounts.balance_msat, 0) < bootstrap_jobs.amount_msat ELSE accounts.balance_msat > 0 END;

-- name: I2 the fee of a node is earned once it is ready, and never else
SELECT
    'node order ' || bootstrap_jobs.id,
    'it is ' || bootstrap_jobs.state || ' for a fee of ' || bootstrap_jobs.amount_msat || ' msat, and '
        || coalesce(-sum(postings.amount_msat), 0) || ' were earned'
FROM bootstrap_jobs
LEFT JOIN accounts ON accounts.name = 'job:' || bootstrap_jobs.id
LEFT JOIN postings ON postings.account = accounts.id
    AND postings.entry IN (SELECT id FROM entries WHERE code = 'settlement')
GROUP BY bootstrap_jobs.row HAVING coalesce(-sum(postings.amount_msat), 0)
    <> CASE bootstrap_jobs.state WHEN 'ready' THEN bootstrap_jobs.amount_msat ELSE 0 END;

-- name: I2 the invoice of a node fills its own account
SELECT
    'node order ' || bootstrap_jobs.id,
    'its invoice ' || bootstrap_jobs.payment_hash || ' fills ' || coalesce(invoices.account, 'nothing')
FROM bootstrap_jobs LEFT JOIN invoices ON invoices.payment_hash = bootstrap_jobs.payment_hash
WHERE bootstrap_jobs.payment_hash IS NOT NULL AND invoices.account IS NOT 'job:' || bootstrap_jobs.id;

-- name: I3 what we owe is never less than nothing
SELECT 'account ' || name, 'it may not go below 0 and stands at ' || balance_msat || ' msat'
FROM accounts WHERE kind = 'owed' AND balance_msat < 0;

-- name: I4 what is unique is there once
SELECT what || ' ' || id, 'it is there ' || count(*) || ' times' FROM (
    SELECT 'fact' AS what, id FROM facts
    UNION ALL SELECT 'entry', entry_id FROM entries
    UNION ALL SELECT 'account', name FROM accounts
    UNION ALL SELECT 'job', id FROM jobs
    UNION ALL SELECT 'request event', event_id FROM jobs WHERE event_id IS NOT NULL
    UNION ALL SELECT 'invoice', payment_hash FROM invoices
    UNION ALL SELECT 'top-up', id FROM topups
    UNION ALL SELECT 'refund', id FROM refunds
    UNION ALL SELECT 'session', id FROM sessions
    UNION ALL SELECT 'node order', id FROM bootstrap_jobs
    UNION ALL SELECT 'top-up that waits', account FROM topups WHERE ended_at IS NULL AND account GLOB 'session:?*'
    UNION ALL SELECT 'event', id FROM events
) GROUP BY what, id HAVING count(*) > 1;

-- name: I4 no refund was sent to an invoice of ours
SELECT 'payment ' || payments.payment_hash, 'it pays one of our own invoices'
FROM payments JOIN invoices ON invoices.payment_hash = payments.payment_hash;

-- name: I5 at most one payment in flight for each refund
SELECT 'refund ' || refunds.id, count(*) || ' payments of it are in flight at once'
FROM payments JOIN refunds ON refunds.row = payments.refund
WHERE payments.state = 'in_flight' GROUP BY refunds.row HAVING count(*) > 1;

-- name: I5 a refund and its payments tell the same
SELECT
    'refund ' || refunds.id,
    'it is ' || refunds.state || ', but the payment to ' || coalesce(refunds.payment_hash, 'no hash') || ' is '
        || coalesce(payments.state, 'not there')
FROM refunds LEFT JOIN payments ON payments.payment_hash = refunds.payment_hash AND payments.refund = refunds.row
WHERE (refunds.state IN ('sending', 'in_doubt') AND payments.state IS NOT 'in_flight')
    OR (refunds.state = 'sent' AND payments.state IS NOT 'sent')
    OR (refunds.state IN ('owed', 'held', 'credited', 'paid_elsewhere') AND payments.state IN ('in_flight', 'sent'));

-- name: I5 a payment in flight or sent has a refund that says so
SELECT
    'payment ' || payments.payment_hash,
    'it is ' || payments.state || ', but refund ' || coalesce(refunds.id, payments.refund) || ' names another'
FROM payments LEFT JOIN refunds ON refunds.row = payments.refund
WHERE payments.state IN ('in_flight', 'sent') AND refunds.payment_hash IS NOT payments.payment_hash;

-- name: I5 a refund holds its amount while it is open, and nothing after
SELECT
    'refund ' || refunds.id,
    'it is ' || refunds.state || ' for ' || refunds.amount_msat || ' msat, and its account holds '
        || coalesce(accounts.balance_msat, 0)
FROM refunds LEFT JOIN accounts ON accounts.name = 'refund:' || refunds.id
WHERE coalesce(accounts.balance_msat, 0)
    <> CASE WHEN refunds.state IN ('sent', 'credited', 'paid_elsewhere') THEN 0 ELSE refunds.amount_msat END;

-- name: I5 no more went into a refund than its amount
SELECT
    'refund ' || refunds.id,
    'it is for ' || refunds.amount_msat || ' msat, and ' || coalesce(sum(postings.amount_msat), 0) || ' were owed to it'
FROM refunds
LEFT JOIN accounts ON accounts.name = 'refund:' || refunds.id
LEFT JOIN postings ON postings.account = accounts.id AND postings.amount_msat > 0
GROUP BY refunds.row HAVING coalesce(sum(postings.amount_msat), 0) <> refunds.amount_msat;

-- name: I5 what a refund cost to send is booked, and its payment says the same
SELECT
    'refund ' || refunds.id,
    'its way cost ' || refunds.fee_msat || ' msat, its payment says ' || coalesce(payments.fee_msat, 'nothing')
        || ', booked are ' || coalesce(sum(postings.amount_msat), 0)
FROM refunds
LEFT JOIN payments ON payments.payment_hash = refunds.payment_hash
LEFT JOIN entries ON entries.entry_id IN ('fee:' || refunds.id, 'overfee:' || refunds.id)
LEFT JOIN postings ON postings.entry = entries.id AND postings.amount_msat > 0
GROUP BY refunds.row
HAVING refunds.fee_msat <> coalesce(sum(postings.amount_msat), 0)
    OR (refunds.state = 'sent' AND refunds.fee_msat <> payments.fee_msat);

-- name: I5 money on its way back has its row
SELECT 'account ' || accounts.name, 'it holds ' || accounts.balance_msat || ' msat, and there is no such refund'
FROM accounts LEFT JOIN refunds ON refunds.id = substr(accounts.name, length('refund:') + 1)
WHERE accounts.name GLOB 'refund:*' AND accounts.balance_msat <> 0 AND refunds.row IS NULL;

-- name: I6 every job is in a state of its graph
SELECT 'job ' || id, 'there is no state ' || state FROM jobs
WHERE state NOT IN (SELECT from_state FROM job_transitions UNION SELECT to_state FROM job_transitions);

-- name: I6 every refund is in a state of its graph
SELECT 'refund ' || id, 'there is no state ' || state FROM refunds
WHERE state NOT IN (SELECT from_state FROM refund_transitions UNION SELECT to_state FROM refund_transitions);

-- name: I6 every session is in a state of its graph
SELECT 'session ' || id, 'there is no state ' || state FROM sessions
WHERE state NOT IN (SELECT from_state FROM session_transitions UNION SELECT to_state FROM session_transitions);

-- name: I6 every order of a node is in a state of its graph
SELECT 'node order ' || id, 'there is no state ' || state FROM bootstrap_jobs
WHERE state NOT IN (SELECT from_state FROM bootstrap_transitions UNION SELECT to_state FROM bootstrap_transitions);

-- name: I6 an order of a node that is not over will be decided
SELECT 'node order ' || id, 'it is ' || state || ', and there is nothing to be done for it' FROM bootstrap_jobs
WHERE state IN ('awaiting_payment', 'provisioning') AND NOT EXISTS (
    SELECT 1 FROM outbox WHERE instr(outbox.body, bootstrap_jobs.id) > 0 OR instr(outbox.body, payment_hash) > 0
);

-- name: I7 a key to a node that was handed out is gone
SELECT 'node order ' || id, 'its key was handed out, and is still there' FROM bootstrap_jobs
WHERE ssh_key_delivered = 1 AND ssh_private_key IS NOT NULL;

-- name: I6 a session that waits for its deposit has a top-up that waits
SELECT 'session ' || id, 'it waits for its deposit, and there is no invoice to pay' FROM sessions
WHERE state = 'awaiting_payment' AND NOT EXISTS (
    SELECT 1 FROM topups WHERE topups.account = 'session:' || sessions.id AND topups.ended_at IS NULL
);

-- name: I6 a session that is open will be looked at when it was idle
SELECT 'session ' || id, 'it is open, and nothing will ever close it' FROM sessions
WHERE state = 'active' AND NOT EXISTS (
    SELECT 1 FROM outbox WHERE outbox.kind = 'CloseIdleSession' AND instr(outbox.body, sessions.id) > 0
);

-- name: I6 a job has ended if and only if its state is final
SELECT
    'job ' || id,
    CASE WHEN ended_at IS NULL THEN 'it is ' || state || ' and has no time of its end'
        ELSE 'it is ' || state || ', and yet it ended at ' || ended_at END
FROM jobs WHERE (ended_at IS NULL) = (state NOT IN (SELECT from_state FROM job_transitions));

-- Waiting for an invoice to be made or looked at is an action in the outbox; everything else has a deadline.
-- name: I6 a job that has not ended will be decided
SELECT 'job ' || id, 'it is ' || state || ' with neither a deadline nor anything to be done for it'
FROM jobs
WHERE ended_at IS NULL AND due_at IS NULL AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.job_id = jobs.id);

-- name: I6 a job that works was paid or granted, and has a deadline
SELECT 'job ' || id, 'it is ' || state || ', but was never paid for or has no deadline'
FROM jobs WHERE state IN ('evaluating', 'executing') AND (paid_at IS NULL OR due_at IS NULL);

-- An action's body names the top-up while it wants its invoice, and that invoice while it may be paid.
-- name: I6 a top-up that waits will be decided, and one whose invoice is closed waits no more
SELECT
    'top-up ' || topups.id,
    CASE WHEN invoices.state <> 'open' THEN 'it waits, and its invoice is ' || invoices.state
        ELSE 'it waits, and there is nothing to be done for it' END
FROM topups LEFT JOIN invoices ON invoices.payment_hash = topups.payment_hash
WHERE topups.ended_at IS NULL AND (invoices.state <> 'open' OR NOT EXISTS (
    SELECT 1 FROM outbox WHERE instr(outbox.body, coalesce(topups.payment_hash, topups.id)) > 0
));

-- name: I6 a job that has not ended has its texts
SELECT 'job ' || jobs.id, 'it is ' || jobs.state || ', and its texts were forgotten'
FROM jobs LEFT JOIN job_texts ON job_texts.job = jobs.row WHERE jobs.ended_at IS NULL AND job_texts.job IS NULL;

-- name: I7 what was published is forgotten with its job, and not before it was delivered
SELECT
    'event ' || events.id,
    CASE WHEN events.json = '' THEN 'it is forgotten, and its job is not, or it is still to be delivered'
        ELSE 'its job is forgotten, and it was delivered and is not' END
FROM events JOIN jobs ON jobs.row = events.job LEFT JOIN job_texts ON job_texts.job = jobs.row
WHERE (events.json = '') <> (job_texts.job IS NULL AND NOT EXISTS (
    SELECT 1 FROM outbox WHERE outbox.kind = 'Publish' AND outbox.body = events.id
));

-- name: I7 a job has at most one result
SELECT 'job ' || jobs.id, count(*) || ' results were signed for it'
FROM events JOIN jobs ON jobs.row = events.job
WHERE events.role = 'result' GROUP BY jobs.row HAVING count(*) > 1;

-- name: I8 no step ran more than three times
SELECT 'job ' || id, 'eval ran ' || eval_runs || ' times and work ' || work_runs || ' times: 3 is the limit'
FROM jobs WHERE eval_runs NOT BETWEEN 0 AND 3 OR work_runs NOT BETWEEN 0 AND 3;

-- name: I9 a reservation and its account tell the same
SELECT
    'job ' || jobs.id,
    CASE WHEN reservations.ended_at IS NULL THEN 'it has ' || reservations.reserved_msat || ' msat reserved, and '
        ELSE 'its reservation has ended, and ' END
        || reservations.account || ' holds ' || coalesce(accounts.balance_msat, 0)
FROM reservations
JOIN jobs ON jobs.row = reservations.job
LEFT JOIN accounts ON accounts.name = reservations.account
WHERE coalesce(accounts.balance_msat, 0)
    <> CASE WHEN reservations.ended_at IS NULL THEN reservations.reserved_msat ELSE 0 END;

-- name: I9 money that was reserved has its row, of that amount
SELECT
    'account ' || accounts.name,
    sum(postings.amount_msat) || ' msat were reserved in it, its row says '
        || coalesce(reservations.reserved_msat, 'nothing')
FROM accounts
JOIN postings ON postings.account = accounts.id AND postings.amount_msat > 0
LEFT JOIN reservations ON reservations.account = accounts.name
WHERE accounts.name GLOB 'reserved:?*'
GROUP BY accounts.id HAVING sum(postings.amount_msat) IS NOT reservations.reserved_msat;

-- name: I9 a reservation granted what its settlement took
WITH taken AS (
    SELECT postings.account, -sum(postings.amount_msat) AS amount_msat
    FROM postings JOIN entries ON entries.id = postings.entry
    WHERE entries.code = 'settlement' GROUP BY postings.account
)
SELECT
    'job ' || jobs.id,
    'its row says a grant of ' || coalesce(reservations.granted_msat, 0) || ' msat, its settlement took '
        || coalesce(taken.amount_msat, 0)
FROM reservations
JOIN jobs ON jobs.row = reservations.job
LEFT JOIN accounts ON accounts.name = reservations.account
LEFT JOIN taken ON taken.account = accounts.id
WHERE coalesce(reservations.granted_msat, 0) <> coalesce(taken.amount_msat, 0);

-- name: I9 a reservation is its job's key's
SELECT 'job ' || jobs.id, 'its reservation is counted for key ' || reservations.nostr_pubkey
FROM reservations JOIN jobs ON jobs.row = reservations.job WHERE reservations.nostr_pubkey IS NOT jobs.nostr_pubkey;

-- name: I9 an open reservation belongs to a job that goes on
SELECT 'job ' || jobs.id, 'it is ' || jobs.state || ', and ' || reservations.reserved_msat || ' msat are still reserved'
FROM reservations JOIN jobs ON jobs.row = reservations.job
WHERE reservations.ended_at IS NULL AND jobs.ended_at IS NOT NULL;

-- name: I9 what a job says the pool absorbed is its reservation, and after the end its grant
SELECT
    'job ' || jobs.id,
    'its row says ' || jobs.absorbed_sats || ' sats absorbed, its reservation '
        || coalesce(reservations.granted_msat, reservations.reserved_msat, 0) || ' msat'
FROM jobs LEFT JOIN reservations ON reservations.job = jobs.row
WHERE 1000 * jobs.absorbed_sats <> coalesce(reservations.granted_msat, reservations.reserved_msat, 0);

-- Where the clock went back over midnight a key may be counted more than one day granted, never less.
-- name: I9 a key is counted all that was granted to it since its day began
SELECT
    'key ' || identities.pubkey,
    'it is counted ' || identities.sats_absorbed_today || ' sats, granted were '
        || coalesce(sum(reservations.granted_msat) FILTER (WHERE reservations.ended_at >= absorbed_reset_at), 0)
        || ' msat'
FROM identities LEFT JOIN reservations ON reservations.nostr_pubkey = identities.pubkey
GROUP BY identities.pubkey
HAVING 1000 * sats_absorbed_today NOT BETWEEN
    coalesce(sum(reservations.granted_msat) FILTER (WHERE reservations.ended_at >= absorbed_reset_at), 0)
    AND coalesce(sum(reservations.granted_msat), 0);

-- At each reservation: all that is set aside for its key, and what was granted to it in that day. What came first is
-- told by the entries' numbers, for a clock may go back.
-- name: I9 no key drew more in a day than its budget
WITH drawn AS (
    SELECT reservations.*, min(postings.entry) AS begun, max(postings.entry) AS done
    FROM reservations
    JOIN accounts ON accounts.name = reservations.account
    JOIN postings ON postings.account = accounts.id
    GROUP BY reservations.job
), moves AS (
    SELECT
        job, nostr_pubkey, begun AS entry, reserved_at / 86400 AS day, reserved_msat AS held, 0 AS granted, budget_msat
    FROM drawn
    UNION ALL SELECT NULL, nostr_pubkey, done, ended_at / 86400, -reserved_msat, granted_msat, NULL
    FROM drawn WHERE ended_at IS NOT NULL
), sums AS (
    SELECT
        job, budget_msat,
        sum(held) OVER (PARTITION BY nostr_pubkey ORDER BY entry)
            + sum(granted) OVER (PARTITION BY nostr_pubkey, day ORDER BY entry) AS used_msat
    FROM moves
)
SELECT 'job ' || jobs.id, 'its key had drawn ' || used_msat || ' msat in that day with it, of ' || budget_msat
FROM sums JOIN jobs ON jobs.row = sums.job WHERE used_msat > budget_msat;

-- name: I9 what leaves the pool is reserved, and what leaves a reservation was earned or came back
SELECT
    'entry ' || entries.entry_id,
    'as ' || entries.code || ' it takes ' || -postings.amount_msat || ' msat from ' || accounts.name
FROM entries
JOIN postings ON postings.entry = entries.id AND postings.amount_msat < 0
JOIN accounts ON accounts.id = postings.account
JOIN postings AS others ON others.entry = entries.id AND others.amount_msat > 0
JOIN accounts AS home ON home.id = others.account
WHERE entries.code <> 'reversal' AND (
    (accounts.name = 'pool' AND (entries.code <> 'reserved' OR home.name NOT GLOB 'reserved:?*'))
    OR (accounts.name GLOB 'reserved:?*'
        AND home.name <> CASE entries.code WHEN 'settlement' THEN 'earned' WHEN 'released' THEN 'pool' ELSE '' END)
);

-- name: I10 a job that works has the customer's share in its account
SELECT
    'job ' || jobs.id,
    'it is ' || jobs.state || ', and of the customer''s share of '
        || (jobs.share_eval_msat + jobs.share_work_msat) || ' msat its account holds '
        || coalesce(accounts.balance_msat, 0)
FROM jobs LEFT JOIN accounts ON accounts.name = 'job:' || jobs.id
WHERE jobs.session_id IS NULL AND jobs.state IN ('evaluating', 'executing') AND coalesce(accounts.balance_msat, 0)
    < jobs.share_eval_msat + (jobs.mode = 'once' OR jobs.state = 'executing') * jobs.share_work_msat;

-- Of the rest the pool has set all aside, or it is offered: then what the pool lacks in the end is asked of the
-- session, and may be our own loss.
-- name: I10 a request in a session that works has in its account what was taken for it
SELECT
    'job ' || jobs.id,
    'it is ' || jobs.state || ', and of ' || jobs.credit_used_msat || ' msat taken from its session its account holds '
        || coalesce(accounts.balance_msat, 0)
FROM jobs LEFT JOIN accounts ON accounts.name = 'job:' || jobs.id
WHERE jobs.session_id IS NOT NULL AND jobs.ended_at IS NULL
    AND coalesce(accounts.balance_msat, 0) <> jobs.credit_used_msat;

-- name: I10 a job that costs its customer nothing was reserved in full
SELECT
    'job ' || jobs.id,
    'its customer pays nothing, and the pool reserved ' || coalesce(reservations.reserved_msat, 0) || ' of '
        || (jobs.eval_fee_msat + jobs.work_fee_msat) || ' msat'
FROM jobs LEFT JOIN reservations ON reservations.job = jobs.row
WHERE jobs.share_eval_msat + jobs.share_work_msat = 0
    AND coalesce(reservations.reserved_msat, 0) < jobs.eval_fee_msat + jobs.work_fee_msat;
