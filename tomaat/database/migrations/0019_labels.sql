-- The name that a client gives a ticket, which may be a patient's; NULL: none, or forgotten with the ticket's files. A
-- restore adds the column itself: then it is there already.
ALTER TABLE tickets ADD COLUMN IF NOT EXISTS label text;
