-- What a key ever drew on the pool, and what its jobs left us. Why stands in schema.sql.

CREATE INDEX jobs_charged_of_key ON jobs (nostr_pubkey, charge_eval_msat, charge_work_msat, pool_credit_msat)
WHERE charge_eval_msat + charge_work_msat > 0;
CREATE INDEX reservations_granted ON reservations (nostr_pubkey, granted_msat) WHERE granted_msat > 0;
