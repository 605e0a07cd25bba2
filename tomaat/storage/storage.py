"""The tickets' files: an upload arrives under ``incoming/``, is made durable, and is moved into place whole.

::

    <base>/instance                the id that the database carries too
    <base>/incoming/<random>/in/   an upload while it streams in
    <base>/tickets/<random>/in/    what the client sent; never written again
    <base>/tickets/<random>/out/<claim>/result.tar.gz
    <base>/quarantine/<random>/    what has no row, until it is deleted
    <base>/tmp/                    the web server's spool
    <base>/restoring/              what a restore brings, until all of it is in place
    <base>/before-restore-<time>/  what a restore set aside, until somebody deletes it
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from tomaat.storage.files import flush, flush_tree, sha256_of

RESULT = "result.tar.gz"
ASIDE = "before-restore-"


class ForeignStorage(Exception):
    """The storage folder belongs to another database."""


@dataclass(frozen=True, kw_only=True)
class TicketFolder:
    """One ticket's folder, wherever it lies now."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's random name, which the ticket's row carries."""
        return self.path.name

    @property
    def inputs(self) -> Path:
        """Where the payload lies unpacked."""
        return self.path / "in"

    def claim(self, claim: int) -> Path:
        """Where the worker of this claim writes, and nobody else."""
        return self.path / "out" / str(claim)


class Storage:
    """All folders below ``BASE_STORAGE_DIR``."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.incoming = base / "incoming"
        self.tickets = base / "tickets"
        self.quarantine = base / "quarantine"
        self.temporary = base / "tmp"
        self.restoring = base / "restoring"

    def prepare(self) -> None:
        """Make the folders, for this user only."""
        self.base.mkdir(parents=True, exist_ok=True)
        for folder in (self.incoming, self.tickets, self.quarantine, self.temporary):
            folder.mkdir(mode=0o700, exist_ok=True)

    def instance_id(self) -> str | None:
        """Read the id of the database that this folder belongs to."""
        try:
            return (self.base / "instance").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def bind(self, instance_id: str) -> None:
        """Write the id once, durable and whole; several doors may do so together."""
        draft = self.base / f"instance.{secrets.token_hex(8)}"
        draft.write_text(instance_id + "\n", encoding="ascii")
        flush(draft)
        try:
            os.link(draft, self.base / "instance")
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        flush(self.base)

    def unbind(self) -> None:
        """Let no door use this folder until it is bound again."""
        (self.base / "instance").unlink(missing_ok=True)
        flush(self.base)

    def new_incoming(self) -> TicketFolder:
        """Make an empty folder for an upload."""
        folder = TicketFolder(path=self.incoming / secrets.token_hex(16))
        folder.path.mkdir(mode=0o700)
        folder.inputs.mkdir(mode=0o700)
        return folder

    def keep(self, folder: TicketFolder) -> TicketFolder:
        """Make an upload durable and move it into place; an error of a flush fails it and is never repeated."""
        flush_tree(folder.path)
        kept = self.ticket(folder.name)
        folder.path.rename(kept.path)
        flush(self.tickets)
        flush(self.incoming)
        return kept

    def copy_inputs(self, folder_name: str) -> TicketFolder:
        """Make a folder for a new ticket with the input of another; ``keep`` it then, as an upload.

        The files are never written again, so that two folders may share them where the file system can. Raises
        ``FileNotFoundError`` where they are gone.
        """
        folder = self.new_incoming()
        try:
            _link_tree(self.ticket(folder_name).inputs, folder.inputs)
        except BaseException:
            self.drop(folder)
            raise
        return folder

    def drop(self, folder: TicketFolder) -> None:
        """Remove an upload that was refused."""
        shutil.rmtree(folder.path, ignore_errors=True)

    def ticket(self, folder_name: str) -> TicketFolder:
        """Find a ticket's folder by the name in its row."""
        return TicketFolder(path=self.tickets / folder_name)

    def result_of(self, folder_name: str, claim: int) -> Path:
        """Tell where the result of a claim lies; only the row says whether it is complete."""
        return self.ticket(folder_name).claim(claim) / RESULT

    def seal_result(self, draft: Path) -> tuple[str, int]:
        """Flush a worker's finished archive, give it its name beside itself, and return its SHA-256 and size."""
        sha256, size_bytes = sha256_of(draft)
        flush(draft)
        draft.rename(draft.with_name(RESULT))
        for folder in (draft.parent, draft.parent.parent, draft.parent.parent.parent):
            flush(folder)
        return sha256, size_bytes


def _link_tree(source: Path, target: Path) -> None:
    for entry in source.iterdir():
        if entry.is_dir():
            (target / entry.name).mkdir(mode=0o700)
            _link_tree(entry, target / entry.name)
        else:
            _link(entry, target / entry.name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # not every file system has links
        shutil.copyfile(source, target)
