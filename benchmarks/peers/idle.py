"""What 64 idle sources without a ticket take of the processor."""

from __future__ import annotations

import json
import time

from benchmarks.instances import START_SECONDS, instances
from benchmarks.peers.stacks import FLOAT, own_seconds, pid_of, processor_seconds, tasks_in

SOURCES, SECONDS, SETTLE_SECONDS = 64, 60.0, 15.0


def idle(scale: float) -> None:
    """Print the share of one core that the doors and PostgreSQL take; the workers are not counted."""
    sources, seconds = max(1, round(SOURCES * scale)), SECONDS * min(1.0, scale)
    with instances() as given:
        instance = given.start(
            "idle",
            "FloatComputation",
            CUSTOM_TASKS_DIR=str(tasks_in(given.folder, FLOAT)),
            COMPUTE_SOURCES=json.dumps({f"cpu-{number}": None for number in range(sources)}),
        )
        instance.until(lambda: len(instance.rows("SELECT DISTINCT source FROM offers")) == sources, START_SECONDS)
        time.sleep(SETTLE_SECONDS)

        def used() -> dict[str, float]:
            doors = {door: own_seconds(process.pid) for door, process in instance.doors.items()}
            return {**doors, "PostgreSQL": processor_seconds([pid_of(given.server)])}

        before = used()
        time.sleep(seconds)
        shares = {part: (now - before[part]) / seconds for part, now in used().items()}
    parts = ", ".join(f"{part.removesuffix('.py')} {share:.1%}" for part, share in shares.items())
    print(f"{sources} idle sources, no ticket, {seconds:.0f} s: {sum(shares.values()):.1%} of one core ({parts}).")
