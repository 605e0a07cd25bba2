"""Bring a backup back into a database and a storage folder that no door uses.

Files first, into a folder beside; then the database, in one transaction; then the files into place. A failure before
the transaction's end leaves both as they were; from then on no door takes the folder, until all is in place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import sqlalchemy

from tomaat.backup.backup_failed import BackupFailed
from tomaat.backup.files import carry, make_folders, trouble_of
from tomaat.backup.make import WHEN
from tomaat.backup.manifest import DUMP, TICKETS, Manifest
from tomaat.backup.verify import verify
from tomaat.database import DatabaseUnavailable
from tomaat.database.migrate import known_migrations
from tomaat.postgres.clients import find_clients, load, server_major
from tomaat.storage.files import flush, flush_tree
from tomaat.storage.storage import ASIDE, Storage, TicketFolder
from tomaat.tickets.backup_store import BackupStore, settling


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The numbers of a finished restore."""

    manifest: Manifest
    tickets: Mapping[str, int]  #: by state
    quarantined: int  #: folders of tickets that were accepted after the database was dumped
    aside: Path | None  #: where the storage folder's former content lies


def restore(
    backup: Path, database: sqlalchemy.Engine, url: str, storage: Storage, *, replace: bool = False
) -> Restored:
    """Bring a backup back. Raises ``BackupFailed``.

    A database with tickets, or a storage folder with files, is refused unless they are to be ``replaced``; the files
    are then set aside, the rows are given up.
    """
    manifest = verify(backup)
    newest = max(known_migrations())
    if manifest.schema_version > newest:
        raise BackupFailed(
            f"{backup} has the schema's version {manifest.schema_version}, this program knows up to "
            f"{newest}: restore it with the program that made it (version {manifest.version}) or a newer one."
        )
    store = BackupStore(database)
    _refuse_what_is_in_use(store, storage, replace=replace)
    clients, _ = find_clients(server_major(database), manifest.postgresql)
    stage = Storage(storage.restoring)
    try:
        _stage(backup, manifest, stage)
        folders = [stage.folder_of(name) for name in sorted(manifest.ticket_folders())]
        load(clients, url, backup / DUMP, before=store.emptying(), after=settling(folders))
    except BaseException as error:
        shutil.rmtree(stage.base, ignore_errors=True)
        if isinstance(error, OSError):
            trouble = trouble_of(error, writing=storage.base, reading=backup)
            raise BackupFailed(f"{trouble}; nothing was changed.") from error
        raise
    try:
        storage.unbind()
        quarantined = _sort(store, stage)
        tickets = store.counts()
        aside = _put_in_place(stage, storage)
    except (OSError, DatabaseUnavailable) as error:
        raise BackupFailed(
            f"The database was restored, but the files are not in place ({error}): do it again with --replace."
        ) from error
    return Restored(manifest=manifest, tickets=tickets, quarantined=quarantined, aside=aside)


def _refuse_what_is_in_use(store: BackupStore, storage: Storage, *, replace: bool) -> None:
    living = store.living()
    if living:
        raise BackupFailed(
            f"The doors still run ({', '.join(living)}): stop all of them; one that was killed counts for "
            "TOMAAT_LEASE_SECONDS."
        )
    if storage.base.exists() and storage.base.stat().st_uid != os.geteuid():
        raise BackupFailed(
            f"{storage.base} belongs to user {storage.base.stat().st_uid}, and this is user {os.geteuid()}: "
            "restore as the user that runs the doors."
        )
    if replace:
        return
    if store.holds_something():
        raise BackupFailed("The database is not empty: make a new one, or say --replace to give up its contents.")
    if any(folder.is_dir() and any(folder.iterdir()) for folder in _folders(storage)):
        raise BackupFailed(
            f"{storage.base} holds tickets' files: name another folder, or say --replace to set them aside."
        )


def _folders(storage: Storage) -> tuple[Path, ...]:
    return storage.tickets, storage.incoming, storage.quarantine


def _stage(backup: Path, manifest: Manifest, stage: Storage) -> None:
    """Bring all files onto the storage's own file system, durable, beside their place."""
    shutil.rmtree(stage.base, ignore_errors=True)
    stage.base.mkdir(mode=0o700, parents=True)
    stage.prepare()
    for path in manifest.files:
        if path != DUMP:
            target = stage.tickets / Path(path).relative_to(TICKETS)
            make_folders(target.parent, stage.tickets)
            carry(backup / path, target)
    stage.bind(manifest.instance)
    flush_tree(stage.tickets)


def _sort(store: BackupStore, stage: Storage) -> int:
    """Put folders without a row into quarantine, and drop results of claims that no row names."""
    results = store.results_of({path.name for path in stage.tickets.iterdir()})
    quarantined = 0
    for path in sorted(stage.tickets.iterdir()):
        if path.name not in results:
            path.rename(stage.quarantine / path.name)
            quarantined += 1
            continue
        folder = TicketFolder(path=path)
        kept = results[path.name]
        for out in (path / "out").glob("*"):
            if kept is None or out != folder.claim(kept):
                shutil.rmtree(out)
    return quarantined


def _put_in_place(stage: Storage, storage: Storage) -> Path | None:
    """Exchange the folders, the instance's id last; return where the former ones lie, if they held something."""
    aside = storage.base / (ASIDE + datetime.now(timezone.utc).strftime(WHEN))
    for folder in _folders(storage):
        if folder.is_dir() and any(folder.iterdir()):
            aside.mkdir(mode=0o700, exist_ok=True)
            folder.rename(aside / folder.name)
        (stage.base / folder.name).rename(folder)
    (stage.base / "instance").replace(storage.base / "instance")
    flush(storage.base)
    shutil.rmtree(stage.base)
    return aside if aside.exists() else None
