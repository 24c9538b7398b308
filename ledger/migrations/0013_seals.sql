-- Each row has a seal, by which the audit knows one that was not written by Timmy. Rows that are there already are
-- sealed as they are, by ledger/migrate.py. Why each thing is as it is stands in schema.sql.

CREATE TABLE seals (
    what TEXT NOT NULL,
    row  ANY NOT NULL,
    seal BLOB NOT NULL,
    PRIMARY KEY (what, row)
) STRICT, WITHOUT ROWID;
