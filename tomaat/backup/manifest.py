"""The manifest of a backup: the list of its contents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from tomaat.backup.backup_failed import BackupFailed
from tomaat.storage.files import flush

FORMAT = 1  #: of the folder; a restore knows its own and refuses others
NAME = "manifest.json"
DUMP = "database.dump"
TICKETS = "tickets"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The time and the origin of a backup, and the SHA-256 and size of each file in it."""

    made: str  #: RFC 3339, UTC
    version: str  #: of the program
    instance: str  #: the id of the database and of its storage folder
    schema_version: int
    postgresql: int  #: major version of the programs that wrote the dump
    files: Mapping[str, tuple[str, int]]  #: path in the backup → SHA-256, bytes

    def write(self, folder: Path) -> None:
        """Write it into its backup, durable, as the last of its files."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        (folder / NAME).touch(mode=0o600, exist_ok=False)
        (folder / NAME).write_text(text + "\n", encoding="ascii")
        flush(folder / NAME)
        flush(folder)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read it. Raises ``BackupFailed`` where there is none, or one that cannot be trusted."""
        try:
            said = json.loads((folder / NAME).read_text(encoding="ascii"))
            if said.pop("format") != FORMAT:
                raise BackupFailed(f"{folder}: the backup is of a format that this program does not know, use its own.")
            files = {path: (sha256, int(size)) for path, (sha256, size) in said.pop("files").items()}
            made = cls(files=files, **said)
        except FileNotFoundError:
            raise BackupFailed(
                f"{folder}: there is no {NAME}, so this is no backup, or none that was finished."
            ) from None
        except PermissionError:
            raise BackupFailed.unreadable(folder) from None
        except OSError as error:
            raise BackupFailed(f"{folder}: {NAME} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BackupFailed(f"{folder}: {NAME} is damaged.") from None
        if DUMP not in files or any(not _lies_within(path) for path in files):
            raise BackupFailed(f"{folder}: {NAME} is damaged.")
        return made

    def ticket_folders(self) -> set[str]:
        """Name the tickets' folders that came with it."""
        return {PurePosixPath(path).parts[1] for path in self.files if path.startswith(f"{TICKETS}/")}


def _lies_within(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return path == DUMP or (parts[:1] == (TICKETS,) and len(parts) > 2 and ".." not in parts)  # noqa: PLR2004 (tickets/<random>/…)
