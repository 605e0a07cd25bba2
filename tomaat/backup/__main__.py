"""Back up, verify and restore: ``python3 -m tomaat.backup make /srv/backups``.

``make backup ARGS="make /srv/backups"`` does so with the private PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from tomaat.backup.backup_failed import BackupFailed
from tomaat.backup.files import trouble_of
from tomaat.backup.make import keep_newest, make
from tomaat.backup.manifest import Manifest
from tomaat.backup.restore import Restored, restore
from tomaat.backup.verify import verify
from tomaat.database import DatabaseUnavailable, connect
from tomaat.database.connection import mending
from tomaat.postgres.clients import ClientFailed
from tomaat.processes.private import keep_private
from tomaat.storage import Storage
from TOMAATSettings import Settings, read_settings

PRIVATE = 0o077
NEXT = """Then:
- start the doors;
- revoke API keys again that were revoked since the backup (python3 -m tomaat.access list), and make those again
  that were made since;
- tickets that were accepted since the backup are gone: their clients are answered 404 and send them again.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    os.umask(PRIVATE)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that nothing half is left
    arguments = parse(words)
    try:
        if arguments.command == "verify":
            print(described(arguments.folder, verify(arguments.folder)))
            return 0
        settings = read_settings()
        keep_private()
        return work(arguments, settings)
    except (BackupFailed, ClientFailed) as error:
        print(error, file=sys.stderr)
        return 1


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tomaat.backup", description="Back up and restore one instance.")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="make a backup in a new folder below PLACE; the doors may run")
    making.add_argument("place", metavar="PLACE", type=_path)
    making.add_argument("--keep", metavar="N", type=_count, help="then remove all backups there but the newest N")
    verifying = commands.add_parser("verify", help="read a whole backup and say whether it is undamaged")
    verifying.add_argument("folder", metavar="FOLDER", type=_path)
    restoring = commands.add_parser("restore", help="bring a backup back, while no door runs")
    restoring.add_argument("folder", metavar="FOLDER", type=_path)
    restoring.add_argument(
        "--replace", action="store_true", help="give up the contents of the database, and set the storage's files aside"
    )
    return parser.parse_args(words)


def work(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make or restore a backup."""
    url = settings.DATABASE_URL
    database = connect(url, deadline_seconds=settings.database_deadline_seconds, pool_size=1)
    storage = Storage(settings.BASE_STORAGE_DIR)
    making = arguments.command == "make"
    try:
        if making:
            made = make(arguments.place, database, url, storage)
            print(described(made, Manifest.read(made)))
            for name in keep_newest(arguments.place, arguments.keep) if arguments.keep else ():
                print(f"Removed {arguments.place / name}.")
        else:
            print(told(restore(arguments.folder, database, url, storage, replace=arguments.replace), settings))
    except DatabaseUnavailable as error:
        print(f"{error}. {mending(str(error), database.url)}", file=sys.stderr)
        return 1
    except OSError as error:
        sides = (arguments.place, storage.base) if making else (storage.base, arguments.folder)
        print(f"{trouble_of(error, writing=sides[0], reading=sides[1])}.", file=sys.stderr)
        return 1
    return 0


def described(folder: Path, manifest: Manifest) -> str:
    """Describe a whole backup in a line."""
    total = sum(size for _, size in manifest.files.values())
    tickets = len(manifest.ticket_folders())
    return f"{folder}: whole; {len(manifest.files)} files, {total} bytes, the files of {tickets} tickets."


def told(restored: Restored, settings: Settings) -> str:
    """Print how much came back, and the next steps for a person."""
    tickets = ", ".join(f"{number} {state}" for state, number in restored.tickets.items()) or "none"
    lines = [f"Restored the backup of {restored.manifest.made}. Tickets: {tickets}."]
    if restored.quarantined:
        lines.append(f"{restored.quarantined} folders of tickets without a row are in quarantine.")
    if restored.aside is not None:
        lines.append(f"What the storage folder held before is in {restored.aside}: delete it when it is not needed.")
    age = datetime.now(timezone.utc) - datetime.fromisoformat(restored.manifest.made)
    hours = age.total_seconds() / 3600
    if hours > min(settings.WAIT_LIMIT_HOURS, settings.RETENTION_HOURS):
        lines.append(
            f"The backup is {hours:.0f} hours old: tickets that wait longer than TOMAAT_WAIT_LIMIT_HOURS="
            f"{settings.WAIT_LIMIT_HOURS:g} fail, and results older than TOMAAT_RETENTION_HOURS="
            f"{settings.RETENTION_HOURS:g} are deleted, as soon as QueueManager runs; start it with larger ones to "
            "keep them."
        )
    return "\n".join([*lines, NEXT.rstrip()])


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
