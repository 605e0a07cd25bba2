"""One cell of the fault matrix: hold a process at a moment, strike, let go, recover, and wait for the clients."""

from __future__ import annotations

import time

from tests.chaos.faults import Fault, Figures
from tests.chaos.moments import Moment
from tests.chaos.Stage import Stage

CLIENTS = 2


def run_cell(stage: Stage, moment: Moment, fault: Fault) -> Figures:
    """Run one cell; return what it measured, in seconds. The checker comes later, over all cells."""
    stage.until(stage.has_its_worker)  # what the cell before has killed may be on its way still
    began = time.time()
    held = [moment.name]
    if moment.name == "renewing the lease":  # while a ticket runs
        held.insert(0, "mid-run")
    for name in held[:-1]:
        stage.control.arm(name)
    if len(held) == 1:
        stage.control.arm(moment.name)
    stage.send(CLIENTS, delete=moment.deleting)
    for name in held:
        stage.control.arm(name)
        stage.wait_reached(name)
    struck = time.time()
    figures = fault.strike(stage, moment)
    for name in held:
        stage.control.release(name)
    figures |= fault.recover(stage, moment)
    healed = time.monotonic()
    stage.heal()
    stage.settle()
    figures["settled"] = time.monotonic() - healed
    return figures | _from_the_log(stage, fault, moment, began, struck)


def _from_the_log(stage: Stage, fault: Fault, moment: Moment, began: float, struck: float) -> Figures:
    """Read how soon tickets were taken back, and whether any was started again that nothing had happened to."""
    moves = stage.rows("SELECT * FROM transitions WHERE at > :began ORDER BY n", began=began)
    taken_back = [move.at - struck for move in moves if move.before == "running" and move.after == "submitted"]
    again = sum(move.after == "running" and move.claim > 1 for move in moves)
    figures: Figures = {"requeued": max(taken_back)} if taken_back else {}
    if moment.process not in fault.reruns:
        figures["needless reruns"] = again
    return figures
