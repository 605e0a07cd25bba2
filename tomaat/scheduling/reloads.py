"""Load changed tasks when an operator asks for it, between two tickets, and tell how it went."""

from __future__ import annotations

from queue import Empty, SimpleQueue

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.messages import Reload, Reloaded
from tomaat.scheduling.beside import NOTHING_CHANGED
from tomaat.scheduling.kept_tasks import KeptTasks, is_task_file
from tomaat.scheduling.offering import Offering
from tomaat.scheduling.worker_keeper import WorkerKeeper
from tomaat.tickets.reload_store import ReloadAsked, ReloadOutcome, ReloadStore

ENDED = "the worker ended while it loaded; the former tasks serve"


class Reloads:
    """What is asked of one lane. Used by the lane's thread, but ``ask``, which any thread may call."""

    def __init__(self, store: ReloadStore, keeper: WorkerKeeper, kept: KeptTasks, log: FilteringBoundLogger) -> None:
        self.store = store
        self.keeper = keeper
        self.kept = kept
        self.log = log
        self.wanted: SimpleQueue[ReloadAsked] = SimpleQueue()
        self.seen: set[int] = set()
        self.present: ReloadAsked | None = None
        self.told: tuple[Reload, Offering] | None = None  #: what the worker was told for it, and which worker
        self.unanswered: dict[int, ReloadOutcome] = {}  #: that the database did not take

    def ask(self, asked: ReloadAsked) -> None:
        """Ask once; what a signal asks for has the id 0 and is asked each time."""
        if asked.id == 0 or asked.id not in self.seen:
            self.seen.add(asked.id)
            self.wanted.put(asked)

    @property
    def waits(self) -> bool:
        """Whether the next ticket has to wait for it."""
        return self.present is not None or not self.wanted.empty()

    def begin(self) -> None:
        """Begin with the next one; the device is free, and the worker has loaded all that it offers."""
        try:
            self.present = self.wanted.get_nowait()
        except Empty:
            return
        try:
            reload = self._reload_of(self.present.service)
        except OSError as error:
            self._end(failed=True, says=f"the files cannot be copied ({error}); the former tasks serve")
            return
        if reload is None:
            self._end(failed=False, says=NOTHING_CHANGED)
            return
        self.keeper.suspects.forgive([*reload.files, self.present.service or ""])
        self.keeper.offering.begin_reload()
        self.told = (reload, self.keeper.offering)
        self.keeper.tell(reload)

    def hear(self, reloaded: Reloaded) -> None:
        """Take the worker's answer: keep the new code of what has loaded, and withdraw what is gone."""
        if self.told is None:
            return
        (reload, offering), self.told = self.told, None
        self.kept.take(reload.copy, reloaded.refused)
        offering.end_reload(reloaded.services)
        self.keeper.suspects.forgive(reloaded.services)
        service = None if self.present is None else self.present.service
        if reloaded.refused:
            self._end(failed=True, says=f"{'; '.join(offering.refusals)}; the former tasks serve")
        elif service is not None and service not in {*offering.offers, *reload.files}:
            self._end(failed=True, says=f"no file in the folder of tasks offers {service}")
        else:
            self._end(failed=False, says=f"offered are {', '.join(sorted(offering.offers))}")

    def look(self) -> None:
        """Notice that the worker has ended meanwhile, and tell what the database did not take."""
        if self.told is not None and self.told[1] is not self.keeper.offering:
            self.kept.drop(self.told[0].copy)
            self.told = None
            self._end(failed=True, says=ENDED)
        for id, outcome in list(self.unanswered.items()):
            self._tell(id, outcome)

    def _reload_of(self, service: str | None) -> Reload | None:
        """Copy what has changed, or the file of one service; ``None`` if that is nothing. May raise ``OSError``.

        Helper modules that have changed come with it; without a service, all tasks are loaded with them.
        """
        elsewhere = service is not None and not self.kept.environment.serves(service)
        if elsewhere and service not in self.keeper.offering.offers:
            return None
        changed = self.kept.changed()
        helpers = {name for name in changed if not is_task_file(name)}
        files = self._files_of(service, changed - helpers, all_of_them=bool(helpers))
        return Reload(copy=self.kept.renewed(files | helpers), files=tuple(sorted(files))) if files else None

    def _files_of(self, service: str | None, changed: set[str], *, all_of_them: bool) -> set[str]:
        """Choose the files to load anew; a service that is not offered may be in any file that offers nothing."""
        offered = {name: str(each.offer["file"]) for name, each in self.keeper.offering.offers.items()}
        if service is None:
            return changed | (set(offered.values()) if all_of_them else set())
        if service in offered:
            return {offered[service]}
        files = self.kept.files()
        if service in changed | files:  # a network folder has its service's name
            return {service}
        return changed | (files - set(offered.values()) or files)

    def _end(self, *, failed: bool, says: str) -> None:
        asked, self.present = self.present, None
        self.log.info("tasks.reloaded", failed=failed, says=says)
        if asked is not None and asked.id:
            self._tell(asked.id, ReloadOutcome(failed=failed, says=says))

    def _tell(self, id: int, outcome: ReloadOutcome) -> None:
        self.unanswered[id] = outcome
        joined = self.keeper.beside.outcome(id, outcome)
        if joined is None:
            return  # other lanes are not through
        try:
            self.store.done(id, joined)
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", reason=str(error))
        else:
            del self.unanswered[id]
