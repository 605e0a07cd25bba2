-- A compute source runs as many tickets side by side as it has lanes, numbered from 1.
ALTER TABLE compute_sources
    ADD COLUMN lanes smallint NOT NULL DEFAULT 1 CHECK (lanes >= 1),
    DROP COLUMN worker_pid,
    DROP COLUMN worker_started;
ALTER TABLE tickets ADD COLUMN lane smallint NOT NULL DEFAULT 1;  -- that runs or ran it

-- The last worker of each lane: who takes the source next ends those that are left over.
CREATE TABLE workers (
    source text NOT NULL,
    lane smallint NOT NULL,
    pid integer NOT NULL,
    started bigint NOT NULL,                    -- in clock ticks since boot, as /proc says
    PRIMARY KEY (source, lane)
) WITH (fillfactor = 50);
