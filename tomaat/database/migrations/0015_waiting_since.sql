-- When it came back from a source the last time; NULL: it has waited since it was created. The limit of waiting counts
-- from here. A restore adds the column itself: then it is there already.
ALTER TABLE tickets ADD COLUMN IF NOT EXISTS waiting_since timestamptz;
