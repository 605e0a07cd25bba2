"""Make a backup beside the running doors: under its name once it is whole, else not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import sqlalchemy

from tomaat import __version__
from tomaat.backup.backup_failed import BackupFailed
from tomaat.backup.files import carry, make_folders, trouble_of
from tomaat.backup.manifest import DUMP, TICKETS, Manifest
from tomaat.contents.digest import sha256_of
from tomaat.postgres.clients import dump, find_clients, server_major
from tomaat.processes.proc import start_time
from tomaat.storage.files import flush, flush_tree
from tomaat.storage.storage import RESULT, Storage, TicketFolder
from tomaat.tickets.backup_store import BackupStore

WHEN = "%Y-%m-%dT%H-%M-%SZ"  #: the name of a backup: UTC, in order, on any file system
NAMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")
UNFINISHED = re.compile(r"\.(?:making|removing)-.+-(\d+)-(\d+)")  #: ends with its maker's process id and start


def make(place: Path, database: sqlalchemy.Engine, url: str, storage: Storage) -> Path:
    """Make a backup in a new folder below ``place``, and return that folder. Raises ``BackupFailed``."""
    store = BackupStore(database)
    if "instance" not in store.tables():
        raise BackupFailed("The database is empty: there is nothing to back up before a door has run.")
    instance, schema_version = store.instance()
    if storage.instance_id() != instance:
        raise BackupFailed(
            f"{storage.base} does not belong to the database with instance {instance}: "
            "set TOMAAT_BASE_STORAGE_DIR and TOMAAT_DATABASE_URL as the doors have them."
        )
    clients, postgresql = find_clients(server_major(database))
    now = datetime.now(timezone.utc)
    with _draft(place, now, storage.base) as folder:
        files = {DUMP: _dump(clients, url, folder / DUMP)}
        files |= _copy_tickets(storage, folder)
        flush_tree(folder)
        Manifest(
            made=now.isoformat(timespec="seconds"),
            version=__version__,
            instance=instance,
            schema_version=schema_version,
            postgresql=postgresql,
            files=files,
        ).write(folder)
    return place / now.strftime(WHEN)


def keep_newest(place: Path, number: int) -> list[str]:
    """Remove all backups below ``place`` but the newest; returns the names of those removed."""
    names = sorted(path.name for path in place.iterdir() if NAMED.fullmatch(path.name))
    for name in names[:-number]:
        doomed = place / _name_of_draft("removing", name)
        (place / name).rename(doomed)  # a half removed one looks like no backup
        shutil.rmtree(doomed)
    return names[:-number]


@contextlib.contextmanager
def _draft(place: Path, now: datetime, reading: Path) -> Iterator[Path]:
    """Yield a folder that takes its name if the block succeeds, and is removed if not."""
    name = now.strftime(WHEN)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_remains(place)
        folder = place / _name_of_draft("making", name)
        folder.mkdir(mode=0o700)
        try:
            yield folder
            folder.rename(place / name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        flush(place)
    except OSError as error:
        raise BackupFailed(f"{trouble_of(error, writing=place, reading=reading)}; nothing was kept.") from error


def _name_of_draft(what: str, name: str) -> str:
    return f".{what}-{name}-{os.getpid()}-{start_time(os.getpid())}"


def _remove_remains(place: Path) -> None:
    """Remove the unfinished backups of makers that were killed."""
    for path in place.iterdir():
        found = UNFINISHED.fullmatch(path.name)
        if found and start_time(int(found[1])) != int(found[2]):
            shutil.rmtree(path)


def _dump(clients: Path, url: str, file: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    with file.open("xb") as opened:
        file.chmod(0o600)

        def write(chunk: bytes) -> None:
            digest.update(chunk)
            opened.write(chunk)

        dump(clients, url, write)
        return digest.hexdigest(), opened.tell()


def _copy_tickets(storage: Storage, backup: Path) -> dict[str, tuple[str, int]]:
    """Copy each ticket's folder that is there; returns the manifest's facts of the files."""
    files: dict[str, tuple[str, int]] = {}
    for path in sorted(storage.tickets.iterdir()):
        source, target = TicketFolder(path=path), TicketFolder(path=backup / TICKETS / path.name)
        for file in carry_ticket(source, target, below=backup):
            files[str(file.relative_to(backup))] = sha256_of(file)
    return files


def carry_ticket(source: TicketFolder, target: TicketFolder, *, below: Path) -> list[Path]:
    """Copy a ticket's input and its finished results, whole or not at all: it may be deleted meanwhile.

    A draft of a result is left out: it is written to, and its ticket runs again.
    """
    files = _files_of(source)
    carried = []
    try:
        for file in files:
            carried.append(target.path / file.relative_to(source.path))
            make_folders(carried[-1].parent, below)
            carry(file, carried[-1])
    except FileNotFoundError:
        files = []
    if not files or not set(files) <= set(_files_of(source)):
        shutil.rmtree(target.path, ignore_errors=True)
        return []
    return carried


def _files_of(folder: TicketFolder) -> list[Path]:
    inputs = sorted(path for path in folder.inputs.rglob("*") if path.is_file() and not path.is_symlink())
    return inputs + sorted(folder.path.glob(f"out/*/{RESULT}"))
