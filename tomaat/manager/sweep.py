"""Remove files whose time is over, and put files without a row away, in a thread of their own."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from tomaat.database import DatabaseUnavailable
from tomaat.manager.resisting import Resisting
from tomaat.processes.log import frames_of
from tomaat.storage.storage import STRAY_SECONDS, Storage
from tomaat.tickets.manager_store import Ended, ManagerStore, Within
from tomaat.tickets.question_store import QUARANTINE, QuestionStore

log = structlog.get_logger()

EVERY_SECONDS = 600.0  #: how often all folders are compared with the rows
ASKING_SECONDS = 60.0  #: how often it is looked whether an operator agreed
BATCH = 1000
AT_ONCE = 100  #: folders removed before their rows are noted
FEW_STRAYS = 20  #: folders that are put away without an operator's word, however few there are in all
MOST_STRAYS = 0.1  #: of all tickets' folders: with more, something else is wrong


@dataclass(frozen=True, kw_only=True)
class Permit:
    """What the manager allows the sweep; it lapses unless it is given again."""

    within: Within  #: bounds of the database's clock, for ages to count; none while it is not steady
    steady: bool  #: so are both clocks, the database's and the machine's
    until: float  #: of the own clock


class Sweep:
    """Removes files as the storage strategy, the retention time and the clients' deletions ask.

    Its thread works only with a ``Permit`` of a manager that holds its lease. ``pair`` says why the storage is not the
    database's, if so.
    """

    def __init__(
        self,
        store: ManagerStore,
        storage: Storage,
        questions: QuestionStore,
        *,
        pair: Callable[[], str | None],
        strategy: str,
        retention_hours: float,
    ) -> None:
        self.store = store
        self.storage = storage
        self.questions = questions
        self.pair = pair
        self.keep_input = strategy == "KEEP_ONLY_INPUT"
        self.retention_hours = retention_hours
        self.expired: SimpleQueue[Ended] = SimpleQueue()
        self.looked_back_to: int | None = 0  #: the last expired ticket of earlier managers that was looked at
        self.resisting = Resisting()
        self.strays_at = 0.0
        self.said: str | None = None
        self.permit: Permit | None = None
        self.permitted = threading.Event()
        self.stopped = False
        self.thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self.thread.start()

    def allow(self, permit: Permit) -> None:
        """Let it work for a while."""
        self.permit = permit
        self.permitted.set()

    def forbid(self) -> None:
        """Let it begin nothing more."""
        self.permit = None

    def close(self) -> None:
        """End it; what it has begun is done again by the next one."""
        self.stopped = True
        self.forbid()
        self.permitted.set()
        if self.thread.is_alive():
            self.thread.join(timeout=5)

    def note_expired(self, expired: list[Ended]) -> None:
        """Take tickets whose results have to go; their inputs go, too, where the strategy does not keep them."""
        if self.keep_input:
            for ended in expired:
                self.expired.put(ended)

    def _run(self) -> None:
        while not self.stopped:
            self.permitted.wait()
            self.permitted.clear()
            try:
                while not self.stopped and self.work():
                    pass
            except DatabaseUnavailable as error:
                log.warning("database.lost", reason=str(error))

    def work(self) -> bool:
        """Do a part of the work; tell whether there is more of it now."""
        permit = self.permit
        if permit is None or time.monotonic() > permit.until:
            return False
        more = self._attempt(self._remove_ended, permit)
        if permit.steady:
            more |= self._attempt(self._remove_results)
            self._attempt(self._tidy)
        return more

    def _attempt(self, part: Callable[..., bool | None], *how: object) -> bool:
        """Do a part; tell whether there is more of it. What ends it, a folder's fault for example, ends no other."""
        try:
            return bool(part(*how))
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 (no thread ends; the manager permits again soon)
            log.error("sweep.crashed", part=part.__name__, error=type(error).__name__, frames=frames_of(error))
            return False

    def _remove_results(self) -> bool:
        """Remove the results of some expired tickets that keep their input."""
        if self.keep_input and self.looked_back_to is not None:
            # a predecessor may have died between the rows and the files
            former = self.store.expired_with_files(after=self.looked_back_to, most=BATCH)
            for ended in former:
                self._remove_result(ended)
            self.looked_back_to = former[-1].id if former else None
        for _ in range(AT_ONCE):
            try:
                self._remove_result(self.expired.get_nowait())
            except Empty:
                break
        return (self.looked_back_to is not None and self.keep_input) or not self.expired.empty()

    def _remove_result(self, ended: Ended) -> None:
        shutil.rmtree(self.storage.folder_of(ended.folder).path / "out", ignore_errors=True)

    def _remove_ended(self, permit: Permit) -> bool:
        """Remove the folders of some ended tickets, and note it in their rows."""
        removable = self.store.removable(
            retention_hours=self.retention_hours,
            keep_input=self.keep_input,
            within=permit.within,
            resisting=self.resisting.pausing(),
            most=AT_ONCE,
        )
        gone = []
        for ended in removable:
            path = self.storage.folder_of(ended.folder).path
            shutil.rmtree(path, ignore_errors=True)
            if path.exists():
                if self.resisting.note(ended.id):
                    self.store.forget_texts(ended.id)
                    log.error("ticket.files_not_removed", ticket=ended.id, reason="it resists; look at its permissions")
            else:
                gone.append(ended.id)
        if gone:
            self.store.note_removed(gone)
            self.resisting.forget(gone)
        for ticket in gone:
            log.info("ticket.files_removed", ticket=ticket)
        return len(removable) == AT_ONCE

    def _tidy(self) -> None:
        """Put folders without a row for an hour into quarantine; delete those that lay there for the retention time."""
        if time.monotonic() < self.strays_at:
            return
        self.strays_at = time.monotonic() + EVERY_SECONDS
        wrong = self.pair()
        if wrong is not None:
            log.error("storage.foreign", reason=wrong)
            return
        for part in (self._put_uploads_away, self._put_strays_away, self._empty_quarantine):
            self._attempt(part)

    def _put_uploads_away(self) -> None:
        for path in _older(self.storage.incoming, STRAY_SECONDS):
            self._put_away(path)

    def _put_strays_away(self) -> None:
        """Put tickets' folders without a row away; a large part of all only with an operator's word."""
        strays, folders = self._strays()
        if self._may_put_away(len(strays), folders):
            for path in strays:
                self._put_away(path)

    def _empty_quarantine(self) -> None:
        for path in _older(self.storage.quarantine, self.retention_hours * 3600):
            shutil.rmtree(path, ignore_errors=True)
            log.info("files.quarantine_deleted", folder=path.name)

    def _strays(self) -> tuple[list[Path], int]:
        """List the tickets' folders without a row, and count all that are old enough to have one."""
        kept = _older(self.storage.tickets, STRAY_SECONDS)
        strays = []
        for start in range(0, len(kept), BATCH):
            batch = kept[start : start + BATCH]
            known = self.store.known([path.name for path in batch])
            strays += [path for path in batch if path.name not in known]
        return strays, len(kept)

    def _may_put_away(self, strays: int, folders: int) -> bool:
        if strays <= max(FEW_STRAYS, MOST_STRAYS * folders):
            self.questions.withdraw(QUARANTINE)
            return True
        if self.questions.take_agreement(QUARANTINE, strays):
            log.warning("quarantine.agreed", folders=strays)
            return True
        detail = f"{strays} of {folders} folders belong to no ticket of this database"
        self.questions.ask(QUARANTINE, detail, strays)
        self.strays_at = time.monotonic() + min(EVERY_SECONDS, ASKING_SECONDS)
        if detail != self.said:
            log.error("quarantine.asks", reason=detail, mend="python3 -m tomaat.manager agree quarantine")
        self.said = detail
        return False

    def _put_away(self, path: Path) -> None:
        path.rename(self.storage.quarantine / path.name)
        log.warning("files.quarantined", folder=path.name)


def _older(folder: Path, seconds: float) -> list[Path]:
    """List the entries of ``folder`` whose name and content have not changed for ``seconds``."""
    limit = time.time() - seconds
    found = []
    for path in folder.iterdir():
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if max(status.st_mtime, status.st_ctime) < limit:
            found.append(path)
    return found
