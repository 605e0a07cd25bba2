-- The database refuses every move of a ticket that the table of moves lacks (tomaat/tickets/states.py); by whom a move
-- is made, it does not know. tools/state_trigger.py writes this text.
CREATE OR REPLACE FUNCTION refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a ticket does not go from '
        || CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE 'nothing' END || ' to ' || NEW.state;
END $$;

-- After the row, not before it: a trigger before an update locks the row first, also where the state stays as it is.
DROP TRIGGER IF EXISTS tickets_begin ON tickets;
CREATE TRIGGER tickets_begin AFTER INSERT ON tickets FOR EACH ROW
    WHEN (NEW.state NOT IN ('submitted', 'queued'))
    EXECUTE FUNCTION refuse_move();
DROP TRIGGER IF EXISTS tickets_move ON tickets;
CREATE TRIGGER tickets_move AFTER UPDATE OF state ON tickets FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
        ('submitted', 'queued'),
        ('queued', 'submitted'),
        ('queued', 'running'),
        ('running', 'succeeded'),
        ('running', 'failed'),
        ('running', 'cancelled'),
        ('running', 'submitted'),
        ('submitted', 'cancelled'),
        ('queued', 'cancelled'),
        ('submitted', 'failed'),
        ('queued', 'failed'),
        ('succeeded', 'expired')
    ))
    EXECUTE FUNCTION refuse_move();
