-- An operator asks the sources to load changed tasks; each source's TaskScheduling answers.
CREATE TABLE reloads (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    service text,                               -- NULL: everything that has changed
    asked timestamptz NOT NULL DEFAULT clock_timestamp(),
    failed boolean,                             -- NULL: not done yet
    outcome text                                -- for people
);
