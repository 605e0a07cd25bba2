"""What an operator reads who asks for a reload."""

from tomaat.launch import reload
from tomaat.tickets.reload_store import ReloadAsked, ReloadOutcome


def test_a_source_that_is_silent_is_said_to_load_later(capsys):
    waited = [ReloadAsked(id=id, source=f"here/cpu-{id}", service=None) for id in (0, 1)]
    assert reload.told(waited, {0: ReloadOutcome(failed=False, says="offered are Add")}, 1200.0) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("here/cpu-1: did not answer within 1200 s. Most likely a ticket still holds its device")
