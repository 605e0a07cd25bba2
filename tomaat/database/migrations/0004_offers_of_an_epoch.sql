-- Under which epoch of its source's lease an offer was made: a new holder's worker offers anew once it is ready.
ALTER TABLE offers ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
