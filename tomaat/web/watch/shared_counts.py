"""Count in several processes as in one: prometheus_client keeps the figures of each in files that all of them read."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, values
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  #: names the files' folder; whoever starts the processes empties it before
KINDS = ("counter", "histogram", "gauge_sum")  #: of figures, each in a file of its own
ROOM_BYTES = 1024**2  #: of a file, enough for a hundred services


def share_counts(shown: CollectorRegistry, process: int) -> CollectorRegistry:
    """Let ``shown`` have the counts of all processes; return the registry in which this one counts.

    The files of a process are named after its number, not its id: who takes the place of one that died goes on with its
    counts, so that none ever falls. Their room is taken beforehand: a full disk would end whoever writes into a file
    that lies in memory.
    """
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
    for kind in KINDS:
        place = Path(os.environ[FOLDER]) / f"{kind}_{process}.db"
        if not place.exists():
            with place.with_suffix(".new").open("wb") as file:  # nobody reads it before it is whole
                os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)
            place.with_suffix(".new").rename(place)
    MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
    return CollectorRegistry()


class OwnFigures:
    """Shows memory, start time and the like of each process, as prometheus_client does for one."""

    def __init__(self, counted: CollectorRegistry, process: int) -> None:
        self.collector = ProcessCollector(registry=None)
        self.gauges = {
            sample.name: Gauge(
                sample.name, figure.documentation, ["process"], registry=counted, multiprocess_mode="sum"
            ).labels(str(process))
            for figure in self.collector.collect()
            for sample in figure.samples
        }

    def look(self) -> None:
        """Read them."""
        for figure in self.collector.collect():
            for sample in figure.samples:
                self.gauges[sample.name].set(sample.value)
