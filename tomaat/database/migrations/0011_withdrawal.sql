-- When each interface was offered last, as the manager saw it: what no source has offered for long is withdrawn.
CREATE TABLE last_offered (
    interface_hash text PRIMARY KEY,
    service text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO last_offered (interface_hash, service)
    SELECT DISTINCT ON (interface_hash) interface_hash, service FROM offers ORDER BY interface_hash;

-- The task was asked how long this ticket takes, and cannot say: it is not asked again.
ALTER TABLE tickets ADD COLUMN not_estimated boolean NOT NULL DEFAULT false;

-- Texts that may name a patient go with the files; these stayed.
UPDATE tickets SET stage = NULL, idempotency_key = NULL
    WHERE files_removed AND (stage IS NOT NULL OR idempotency_key IS NOT NULL);
