-- The file or the network that a source's worker loads now; NULL: everything that it offers is loaded.
ALTER TABLE compute_sources
    ADD COLUMN loading text,
    ADD COLUMN loading_since timestamptz;
