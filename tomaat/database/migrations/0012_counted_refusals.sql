-- Refusals that anybody can repeat without an API key are counted: one line for each kind and minute.
ALTER TABLE audit ADD COLUMN times integer NOT NULL DEFAULT 1;
