"""Write the triggers that refuse the moves of a ticket that the table of moves lacks.

``python3 -m tools.state_trigger`` prints them. Where the table changes, the text becomes a new migration; a migration
that was released stays as it is.
"""

from __future__ import annotations

import sys

from tomaat.tickets.states import MOVES

TRIGGERS = """\
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
    WHEN (NEW.state NOT IN ({firsts}))
    EXECUTE FUNCTION refuse_move();
DROP TRIGGER IF EXISTS tickets_move ON tickets;
CREATE TRIGGER tickets_move AFTER UPDATE OF state ON tickets FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
{pairs}
    ))
    EXECUTE FUNCTION refuse_move();
"""


def triggers() -> str:
    """Write the migration's text."""
    pairs = list(dict.fromkeys((move.before, move.after) for move in MOVES if move.before != move.after))
    firsts = ", ".join(f"'{after}'" for before, after in pairs if before is None)
    between = ",\n".join(f"        ('{before}', '{after}')" for before, after in pairs if before is not None)
    return TRIGGERS.format(firsts=firsts, pairs=between)


if __name__ == "__main__":
    sys.stdout.write(triggers())
