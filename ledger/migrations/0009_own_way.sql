-- A refund may pay its own way, and what is kept for that is fixed at its birth. Why stands in schema.sql.

ALTER TABLE refunds ADD COLUMN kept_for_way_msat INTEGER NOT NULL DEFAULT 0 CHECK (kept_for_way_msat >= 0);
