-- What a service was measured to need on a source, by the version and the interface that the offer names.
ALTER TABLE offers
    ADD COLUMN network_bytes bigint,            -- what its network holds while it is warm
    ADD COLUMN peak_bytes bigint,               -- the most with a ticket running, the network included
    ADD COLUMN load_seconds double precision,   -- how long its network takes to load: a moving mean
    ADD COLUMN warm integer;                    -- its place among the warm networks, the least recently used first

ALTER TABLE tickets
    ADD COLUMN loading_seconds double precision,  -- expected before it, for its network, in the queue that it is in
    ADD COLUMN outgrown_bytes bigint;             -- memory that it did not fit into
