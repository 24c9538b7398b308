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
