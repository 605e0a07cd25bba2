-- What a request asks for: its ticket goes before or after others. In queue_order the manager writes the priority's rank,
-- the turn of the ticket's key and the ticket's id (tomaat/tickets/priorities.py).
ALTER TABLE tickets ADD COLUMN priority text NOT NULL DEFAULT 'normal'
    CHECK (priority IN ('urgent', 'normal', 'night'));

-- Which priorities a key may ask for, and how many turns it has for one of another key.
ALTER TABLE api_keys
    ADD COLUMN priorities text[] NOT NULL DEFAULT '{normal,night}',
    ADD COLUMN weight double precision NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0.01 AND 100);

-- The seconds that the tickets of each key have run lately: half of them are forgotten in an hour.
CREATE TABLE shares (
    key_name text NOT NULL,                     -- empty: of all tickets without a key
    priority text NOT NULL,
    used_seconds double precision NOT NULL,     -- at the moment of counted
    counted timestamptz NOT NULL,
    PRIMARY KEY (key_name, priority)
) WITH (fillfactor = 50);
