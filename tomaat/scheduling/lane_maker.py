"""Makes the lanes of the compute sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy

from tomaat.database import Hint
from tomaat.devices.compute_source import ComputeSource
from tomaat.scheduling.beside import LanesOfSource
from tomaat.scheduling.engine import Engine
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.lanes import Lane
from tomaat.storage import Storage
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.reload_store import ReloadStore
from tomaat.tickets.source_store import Lease, SourceStore


@dataclass(frozen=True)
class LaneMaker:
    """What all lanes of this process share."""

    database: sqlalchemy.Engine
    hint: Callable[[Hint], None]
    sources: SourceStore
    storage: Storage
    engine: Engine
    attempts: int
    times: LaneTimes
    reloads: ReloadStore

    def make(self, source: ComputeSource, lease: Lease, lanes: LanesOfSource, kept: KeptTasks) -> Lane:
        """Make the next lane of a source that is held; its worker imports the tasks from a copy of its own."""
        return Lane(
            source,
            LaneStore(self.database, lease, self.hint, lane=len(lanes.now) + 1),
            self.sources,
            self.storage,
            self.engine,
            attempts=self.attempts,
            times=self.times,
            kept=kept,
            reloads=self.reloads,
            lanes=lanes,
        )
