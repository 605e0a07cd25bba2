-- One row: which storage folder and which database belong together.
CREATE TABLE instance (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    bound boolean NOT NULL DEFAULT false        -- a storage folder carries this id already
);
INSERT INTO instance DEFAULT VALUES;

-- Who holds a compute source, or the manager's place. The epoch grows with each new holder.
CREATE TABLE leases (
    name text PRIMARY KEY,                      -- a compute source's name, or 'manager'
    epoch bigint NOT NULL,
    holder text NOT NULL,                       -- <host>/<boot>/<pid namespace>/<pid>/<start time>
    expires timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE compute_sources (
    name text PRIMARY KEY,                      -- <HOST_NAME>/<GPU's UUID | cpu-n>
    device_name text NOT NULL,
    memory_bytes bigint,
    problem text,                               -- why it cannot be used now
    worker_pid integer,
    worker_started bigint                       -- in clock ticks since boot, as /proc says
);

-- What each source's worker has offered. An offer outlives its source.
CREATE TABLE offers (
    source text NOT NULL,
    service text NOT NULL,
    interface_hash text NOT NULL,
    offer json NOT NULL,
    offered timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, service)
);

-- How long a service took on a source: a moving mean.
CREATE TABLE durations (
    source text NOT NULL,
    service text NOT NULL,
    mean_seconds double precision NOT NULL,
    PRIMARY KEY (source, service)
) WITH (fillfactor = 50);

CREATE SEQUENCE ticket_order;

CREATE TABLE tickets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash bytea NOT NULL,                  -- SHA-256 of the access token
    service text NOT NULL,
    interface_hash text NOT NULL,               -- of the interface that the inputs were checked against
    folder text NOT NULL UNIQUE,                -- below BASE_STORAGE_DIR/tickets
    state text NOT NULL DEFAULT 'submitted'
        CHECK (state IN ('submitted', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
    source text,                                -- the queue it waits in, or the source that runs or ran it
    queue_order bigint NOT NULL DEFAULT nextval('ticket_order'),
    claim integer NOT NULL DEFAULT 0,           -- times handed to a worker; never goes back
    epoch bigint,                               -- of the holder that runs it
    attempts integer NOT NULL DEFAULT 0,        -- spent by workers that died
    expected_seconds double precision,          -- the task's own estimate
    cancel_requested boolean NOT NULL DEFAULT false,
    delete_requested boolean NOT NULL DEFAULT false,
    progress real,
    stage text,
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    started timestamptz,
    finished timestamptz,
    fetched timestamptz,
    error json,
    result_sha256 text,
    result_bytes bigint,
    files_removed boolean NOT NULL DEFAULT false,
    CHECK ((state IN ('queued', 'running')) <= (source IS NOT NULL)),
    CHECK ((state = 'running') <= (epoch IS NOT NULL)),
    CHECK ((state = 'succeeded') <= (result_sha256 IS NOT NULL AND result_bytes IS NOT NULL)),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled', 'expired')) = (finished IS NOT NULL))
) WITH (fillfactor = 80);

-- Each index holds only the rows that somebody looks for; queue_order occurs in no other.
CREATE INDEX tickets_submitted ON tickets (queue_order) WHERE state = 'submitted';
CREATE INDEX tickets_queued ON tickets (source, queue_order) WHERE state = 'queued';
CREATE INDEX tickets_running ON tickets (source) WHERE state = 'running';
CREATE INDEX tickets_with_files ON tickets (finished) WHERE finished IS NOT NULL AND NOT files_removed;
