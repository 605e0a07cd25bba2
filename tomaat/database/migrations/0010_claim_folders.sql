-- The folder of the present claim's output, below the ticket's: the claim's number and a random part, so that two
-- databases that were one never give out the same. NULL: of an older claim, whose folder is its number alone.
ALTER TABLE tickets ADD COLUMN claim_folder text;
