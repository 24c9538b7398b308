-- Visitors of the Workshop get short answers for nothing: what those cost is counted by the day, and what could be
-- seen there is remembered for a while. Why each thing is as it is stands in schema.sql.

CREATE INDEX entries_free_answers ON entries (at) WHERE code = 'free_answer';

CREATE TABLE world_events (
    row  INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    type TEXT NOT NULL
) STRICT;

CREATE TRIGGER world_events_are_few AFTER INSERT ON world_events
BEGIN DELETE FROM world_events WHERE row <= NEW.row - 1000; END;
