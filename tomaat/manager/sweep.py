"""Remove files whose time is over, row first and files second, and files without a row."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import structlog

from tomaat.manager.resisting import Resisting
from tomaat.storage.storage import STRAY_SECONDS, Storage
from tomaat.tickets.manager_store import MOST_AT_ONCE, Ended, ManagerStore

log = structlog.get_logger()

EVERY_SECONDS = 600.0  #: how often all folders are compared with the rows
BATCH = 1000
MOST_BATCHES = 100  #: of rows pruned in one go, so that a round stays short


class Sweep:
    """Removes files as the storage strategy, the retention time and the clients' deletions ask."""

    def __init__(
        self,
        store: ManagerStore,
        storage: Storage,
        *,
        strategy: str,
        fetched_grace_seconds: float,
        retention_hours: float,
        ticket_days: float,
        audit_days: float,
    ) -> None:
        self.store = store
        self.storage = storage
        self.keep_input = strategy == "KEEP_ONLY_INPUT"
        self.fetched_grace_seconds = None if strategy == "KEEP_ALL" else fetched_grace_seconds
        self.retention_hours = retention_hours
        self.ticket_days = ticket_days
        self.audit_days = audit_days
        self.resisting = Resisting()
        self.strays_at = 0.0
        self.started = False

    def remove_ended(self) -> None:
        """Expire results, then remove the files that the strategy does not keep."""
        expired = self.store.expire(
            retention_hours=self.retention_hours, fetched_grace_seconds=self.fetched_grace_seconds
        )
        if not self.started:  # a predecessor may have died between the row and the files
            expired += self.store.expired_with_files()
            self.started = True
        for ended in expired:
            shutil.rmtree(self.storage.folder_of(ended.folder).path / "out", ignore_errors=True)
            log.info("ticket.expired", ticket=ended.id)
        self._remove(self.store.removable(retention_hours=self.retention_hours, keep_input=self.keep_input))

    def _remove(self, removable: list[Ended]) -> None:
        gone = []
        self.resisting.keep([ended.id for ended in removable])
        for ended in removable:
            if not self.resisting.due(ended.id):
                continue
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
        for ticket in gone:
            log.info("ticket.files_removed", ticket=ticket)

    def tidy(self) -> None:
        """Put folders without a row for an hour into quarantine; delete those that lay there for the retention time.

        Delete rows of tickets and lines of the audit trail that are too old as well.
        """
        if time.monotonic() < self.strays_at:
            return
        self.strays_at = time.monotonic() + EVERY_SECONDS
        for _ in range(MOST_BATCHES):
            pruned = self.store.prune(days=self.ticket_days)
            for ticket in pruned:
                log.info("ticket.pruned", ticket=ticket)
            if len(pruned) < MOST_AT_ONCE:
                break
        self.store.prune_audit(days=self.audit_days)
        strays = _older(self.storage.incoming, STRAY_SECONDS)
        kept = _older(self.storage.tickets, STRAY_SECONDS)
        for start in range(0, len(kept), BATCH):
            batch = kept[start : start + BATCH]
            known = self.store.known([path.name for path in batch])
            strays += [path for path in batch if path.name not in known]
        for path in strays:
            path.rename(self.storage.quarantine / path.name)
            log.warning("files.quarantined", folder=path.name)
        for path in _older(self.storage.quarantine, self.retention_hours * 3600):
            shutil.rmtree(path, ignore_errors=True)
            log.info("files.quarantine_deleted", folder=path.name)


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
