-- Gifts to the pool, and who gave them. Why stands in schema.sql.

CREATE INDEX donors ON topups (ended_at) WHERE account = 'pool' AND nostr_pubkey IS NOT NULL;
