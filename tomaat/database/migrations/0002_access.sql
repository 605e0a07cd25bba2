-- Who may submit. Only the hash of a key is kept; a revoked key stays, so that its name is never another's.
CREATE TABLE api_keys (
    name text PRIMARY KEY,
    key_hash bytea NOT NULL UNIQUE,             -- SHA-256
    services text[],                            -- NULL: all
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked timestamptz
);

ALTER TABLE tickets
    ADD COLUMN key_name text,                   -- of the API key that submitted it
    ADD COLUMN idempotency_key text,            -- the client's own name for the request
    ADD COLUMN payload_sha256 bytea,            -- of the upload as it came; only beside an idempotency key
    ADD COLUMN later_token_hashes bytea[] NOT NULL DEFAULT '{}';  -- given to repetitions of the request

CREATE UNIQUE INDEX tickets_idempotency ON tickets (coalesce(key_name, ''), idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX tickets_of_key ON tickets (key_name, created) WHERE key_name IS NOT NULL;
CREATE INDEX tickets_waiting_of_key ON tickets (key_name)
    WHERE key_name IS NOT NULL AND state IN ('submitted', 'queued');

-- Who did what, when, with which outcome. It only grows; what is older than 30 days may be pruned.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL,                          -- an API key's name, 'anybody', 'holder of the token', or a door
    what text NOT NULL,
    ticket bigint,
    outcome text NOT NULL
);
CREATE INDEX audit_at ON audit (at);

CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < clock_timestamp() - interval '30 days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit trail only grows';
END $$;
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_only_grows();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows();
