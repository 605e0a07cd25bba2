"""Load changed tasks when an operator asks for it, between two tickets, and tell how it went."""

from __future__ import annotations

from queue import Empty, SimpleQueue

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.messages import Reloaded
from tomaat.scheduling.worker_keeper import WorkerKeeper
from tomaat.tickets.reload_store import ReloadAsked, ReloadOutcome, ReloadStore

ENDED = "the worker ended while it loaded; the former tasks serve"


class Reloads:
    """What is asked of one lane. Used by the lane's thread, but ``ask``, which any thread may call."""

    def __init__(self, store: ReloadStore, keeper: WorkerKeeper, log: FilteringBoundLogger) -> None:
        self.store = store
        self.keeper = keeper
        self.log = log
        self.asked: SimpleQueue[ReloadAsked] = SimpleQueue()
        self.seen: set[int] = set()
        self.present: ReloadAsked | None = None
        self.untold: dict[int, ReloadOutcome] = {}  #: that the database did not take

    def ask(self, asked: ReloadAsked) -> None:
        """Ask once; what a signal asks for has the id 0 and is asked each time."""
        if asked.id == 0 or asked.id not in self.seen:
            self.seen.add(asked.id)
            self.asked.put(asked)

    @property
    def waits(self) -> bool:
        """Whether the next ticket has to wait for it."""
        return self.present is not None or not self.asked.empty()

    def begin(self) -> None:
        """Begin with the next one; the device is free, and the worker has loaded all that it offers."""
        try:
            self.present = self.asked.get_nowait()
        except Empty:
            return
        try:
            if not self.keeper.reload(self.present.service):
                self._end(failed=False, says="nothing has changed")
        except OSError as error:
            self._end(failed=True, says=f"the files cannot be copied ({error}); the former tasks serve")

    def hear(self, reloaded: Reloaded) -> None:
        """Take the worker's answer."""
        refusals = self.keeper.end_reload(reloaded)
        service = None if self.present is None else self.present.service
        if refusals:
            self._end(failed=True, says=f"{'; '.join(refusals)}; the former tasks serve")
        elif service is not None and service not in self.keeper.offers:
            self._end(failed=True, says=f"no file in the folder of tasks offers {service}")
        else:
            self._end(failed=False, says=f"offered are {', '.join(sorted(self.keeper.offers))}")

    def look(self) -> None:
        """Notice that the worker has ended meanwhile, and tell what the database did not take."""
        if self.present is not None and self.keeper.reloading is None:
            self._end(failed=True, says=ENDED)
        for id, outcome in list(self.untold.items()):
            self._tell(id, outcome)

    def _end(self, *, failed: bool, says: str) -> None:
        asked, self.present = self.present, None
        self.log.info("tasks.reloaded", failed=failed, says=says)
        if asked is not None and asked.id:
            self._tell(asked.id, ReloadOutcome(failed=failed, says=says))

    def _tell(self, id: int, outcome: ReloadOutcome) -> None:
        self.untold[id] = outcome
        try:
            self.store.done(id, outcome)
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", reason=str(error))
        else:
            del self.untold[id]
