-- What an operator decides of a source, and what its device told last. A drained source claims nothing more.
ALTER TABLE compute_sources
    ADD COLUMN drained boolean NOT NULL DEFAULT false,
    ADD COLUMN device_used_bytes bigint,
    ADD COLUMN device_total_bytes bigint,
    ADD COLUMN device_use real,                 -- 0 to 1
    ADD COLUMN device_celsius real,
    ADD COLUMN device_read timestamptz,
    SET (fillfactor = 50);                      -- the readings change with each heartbeat

ALTER TABLE api_keys ADD COLUMN operator boolean NOT NULL DEFAULT false;

ALTER TABLE tickets
    ADD COLUMN inputs_kept boolean NOT NULL DEFAULT false,  -- an operator cancelled it: its input stays for a while
    ADD COLUMN again_of bigint;                 -- the ticket whose input it was made of, by an operator

-- The last day's tickets are found by tickets_with_files and tickets_without_files, the newest by the primary key:
-- no index more, so that the updates of a waiting or running ticket change none.
