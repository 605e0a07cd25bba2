-- What was stored as json may hold characters that PostgreSQL cannot take out again: NUL, and halves of a character.
-- U+FFFD takes their place.
CREATE FUNCTION repaired(told json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    words text := CAST(told AS text);
    unescaped CONSTANT text := '(?<!\\)((?:\\\\)*)';
    first_half CONSTANT text := '\\u[dD][89abAB][0-9a-fA-F]{2}';
    second_half CONSTANT text := '\\u[dD][c-fC-F][0-9a-fA-F]{2}';
BEGIN
    PERFORM CAST(words AS jsonb);
    RETURN told;
EXCEPTION WHEN OTHERS THEN
    words := regexp_replace(words, unescaped || '\\u0000', '\1\\ufffd', 'g');
    words := regexp_replace(words, unescaped || first_half || '(?!' || second_half || ')', '\1\\ufffd', 'g');
    words := regexp_replace(words, '(?<!' || first_half || ')' || second_half, '\\ufffd', 'g');
    BEGIN
        PERFORM CAST(words AS jsonb);
        RETURN words;
    EXCEPTION WHEN OTHERS THEN
        RETURN NULL;
    END;
END $$;

-- As jsonb a column takes no such text in. Of an error that cannot be repaired the kind stays.
ALTER TABLE tickets ALTER COLUMN error TYPE jsonb USING CASE WHEN error IS NOT NULL THEN coalesce(
    CAST(repaired(error) AS jsonb),
    jsonb_build_object(
        'type', coalesce(substring(CAST(error AS text) from '"type": *"(/problems/[a-z-]+)"'), '/problems/task-crashed'),
        'title', 'The ticket failed', 'status', 409, 'detail', 'The details could not be kept.')) END;

-- An offer stays json, which keeps the order of a service's inputs, but must be fit for jsonb.
UPDATE offers SET offer = coalesce(repaired(offer), 'null') WHERE CAST(offer AS text) ~ '\\u(0000|[dD][89a-fA-F])';
DELETE FROM offers WHERE json_typeof(offer) = 'null';
ALTER TABLE offers ADD CHECK (CAST(offer AS jsonb) IS NOT NULL);
DROP FUNCTION repaired;

-- Seconds that no sum can hold, such as infinity, end every statement that adds them up. NaN counts as too large here.
UPDATE tickets SET expected_seconds = NULL WHERE NOT expected_seconds BETWEEN 0 AND 1e9;
UPDATE tickets SET loading_seconds = NULL WHERE NOT loading_seconds BETWEEN 0 AND 1e9;
UPDATE tickets SET progress = NULL WHERE NOT progress BETWEEN 0 AND 1;
DELETE FROM durations WHERE NOT mean_seconds BETWEEN 0 AND 1e9;
UPDATE offers SET load_seconds = NULL WHERE NOT load_seconds BETWEEN 0 AND 1e9;
ALTER TABLE tickets
    ADD CHECK (expected_seconds BETWEEN 0 AND 1e9),
    ADD CHECK (loading_seconds BETWEEN 0 AND 1e9),
    ADD CHECK (progress BETWEEN 0 AND 1);
ALTER TABLE durations ADD CHECK (mean_seconds BETWEEN 0 AND 1e9);
ALTER TABLE offers ADD CHECK (load_seconds BETWEEN 0 AND 1e9);
