-- What the manager looks for, round after round, costs the same with a thousand ended tickets and with a million.
CREATE INDEX tickets_without_files ON tickets (finished) WHERE files_removed;
CREATE INDEX tickets_to_delete ON tickets (id) WHERE delete_requested AND NOT files_removed;
CREATE INDEX tickets_fetched ON tickets (fetched) WHERE fetched IS NOT NULL AND NOT files_removed;
CREATE INDEX tickets_unwanted ON tickets (id) WHERE state IN ('cancelled', 'expired') AND NOT files_removed;
