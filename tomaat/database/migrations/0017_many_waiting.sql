-- The manager reads the oldest submitted tickets of each interface, however many wait for others.
DROP INDEX IF EXISTS tickets_submitted;
CREATE INDEX IF NOT EXISTS tickets_submitted_of ON tickets (interface_hash, queue_order) WHERE state = 'submitted';
