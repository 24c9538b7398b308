-- A request may follow an earlier one of the same key; what was said before is then read along this line.

ALTER TABLE job_texts ADD COLUMN follows INTEGER REFERENCES jobs (row);
