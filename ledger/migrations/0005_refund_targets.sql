-- A refund may go by itself to where the customer named, and an operator may have paid one with another wallet. Why
-- each thing is as it is stands in schema.sql.

ALTER TABLE refunds ADD COLUMN target TEXT;

DROP INDEX refunds_open;
CREATE INDEX refunds_open ON refunds (row) WHERE state NOT IN ('sent', 'credited', 'paid_elsewhere');

INSERT INTO refund_transitions (from_state, to_state) VALUES
    ('owed', 'paid_elsewhere'),
    ('held', 'paid_elsewhere');
