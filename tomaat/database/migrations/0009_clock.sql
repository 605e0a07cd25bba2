-- How long a lease is from each renewal on; 0 once it was given back. A lease that ends later than two such times from
-- now was written before the clock was set back, and counts as run out.
ALTER TABLE leases ADD COLUMN seconds double precision NOT NULL DEFAULT 3600;

-- All epochs come from one sequence, so that two sources never have the same.
CREATE SEQUENCE lease_epochs;
SELECT setval('lease_epochs', greatest(1, (SELECT max(epoch) FROM leases), (SELECT max(epoch) FROM offers)) + 1);

-- What the manager does only once an operator agrees; the row goes when that has happened, or is wanted no longer.
CREATE TABLE questions (
    what text PRIMARY KEY,                      -- 'clock' or 'quarantine'
    detail text NOT NULL,
    amount bigint NOT NULL,                     -- seconds, or folders: the agreement is about no more
    asked timestamptz NOT NULL DEFAULT clock_timestamp(),
    agreed timestamptz
);

-- What the manager's duties look for, the oldest first, however much of it there is.
CREATE INDEX tickets_with_result ON tickets (finished) WHERE state = 'succeeded' AND NOT files_removed;
