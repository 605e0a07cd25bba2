"""The tickets' files: an upload arrives under ``incoming/``, is made durable, and is moved into place whole.

::

    <base>/instance                the id that the database carries too
    <base>/incoming/<random>/in/   an upload while it streams in
    <base>/tickets/<random>/in/    the client's input; never written again
    <base>/tickets/<random>/out/<claim>-<random>/result.tar.gz
    <base>/tickets/<random>/read/<id>.nii.gz   a volume of it as the service reads it, once somebody asked for it
    <base>/quarantine/<random>/    folders without a row, until they are deleted
    <base>/tmp/                    the web server's spool, and what its processes count
    <base>/code/<random>/          a copy of the tasks' code, from which one source's workers import
    <base>/restoring/              the files of a restore, until all are in place
    <base>/before-restore-<time>/  files that a restore set aside, until somebody deletes them
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tomaat.contents.digest import sha256_of
from tomaat.processes.misconfigured import Misconfigured
from tomaat.storage import loans
from tomaat.storage.files import flush, flush_tree

RESULT = "result.tar.gz"
STRAY_SECONDS = 3600.0  #: an upload is given this long to get its row
ASIDE = "before-restore-"
SMALL_BYTES = 1024**2  #: of a file that is hashed sooner than a thread is started for it


class ForeignStorage(Misconfigured):
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
        """The folder of the unpacked payload."""
        return self.path / "in"

    @property
    def read(self) -> Path:
        """The folder of its volumes as the service reads them; it can be made again from the input."""
        return self.path / "read"

    def claim(self, out: str) -> Path:
        """Give the folder into which only the worker of one claim writes, by the name that the row has of it."""
        return self.path / "out" / out

    def before(self, claim: int) -> list[Path]:
        """List the folders of earlier claims; one of the same number is another database's, and stays."""
        if claim <= 1:
            return []
        return [path for path in (self.path / "out").glob("*") if _number_of(path.name) < claim]


class Storage:
    """All folders below ``BASE_STORAGE_DIR``."""

    def __init__(self, base: Path, *, workers_group: int | None = None) -> None:
        """Keep everything below ``base``; ``workers_group`` is that of workers with an account of their own."""
        self.base = base
        self.workers_group = workers_group
        self.incoming = base / "incoming"
        self.tickets = base / "tickets"
        self.quarantine = base / "quarantine"
        self.temporary = base / "tmp"
        self.code = base / "code"
        self.restoring = base / "restoring"

    def prepare(self) -> None:
        """Make the folders, for this user only; the workers' group may enter where their tickets and code lie."""
        self.base.mkdir(parents=True, exist_ok=True)
        for folder in (self.incoming, self.tickets, self.quarantine, self.temporary, self.code):
            folder.mkdir(mode=0o700, exist_ok=True)
        if self.workers_group is not None:
            try:
                for folder in (self.base, self.tickets, self.code):
                    loans.let_enter(folder, self.workers_group)
            except PermissionError as error:
                raise Misconfigured(
                    f"{error.filename} cannot be opened to the workers: let the doors own it"
                ) from error

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

    @contextmanager
    def receiving(self) -> Iterator[TicketFolder]:
        """Make a folder for a ticket's input; on any error nothing is left of it.

        At the end it is durable, and ``folder_of`` finds it by its name. Raises ``OSError`` where the disk is full.
        """
        folder = self.new_incoming()
        try:
            yield folder
            self.keep(folder)
        except BaseException:
            self.drop(folder)
            raise

    def new_incoming(self) -> TicketFolder:
        """Make an empty folder for an upload."""
        folder = TicketFolder(path=self.incoming / secrets.token_hex(16))
        folder.path.mkdir(mode=0o700)
        folder.inputs.mkdir(mode=0o700)
        return folder

    def keep(self, folder: TicketFolder) -> TicketFolder:
        """Make an upload durable and move it into place; an error of a flush fails it and is never repeated."""
        flush_tree(folder.path)
        kept = self.folder_of(folder.name)
        folder.path.rename(kept.path)
        flush(self.tickets)  # a rename is whole or has not happened, so ``incoming`` need not be flushed
        return kept

    def copy_inputs(self, folder_name: str, folder: TicketFolder) -> None:
        """Copy the input of a ticket into the folder of a new one.

        The files are never written again, so that two folders may share them where the file system can. Raises
        ``FileNotFoundError`` where they are gone.
        """
        _link_tree(self.folder_of(folder_name).inputs, folder.inputs)

    def drop(self, folder: TicketFolder) -> None:
        """Remove an upload that was refused."""
        shutil.rmtree(folder.path, ignore_errors=True)

    def folder_of(self, folder_name: str) -> TicketFolder:
        """Find a ticket's folder by the name in its row."""
        return TicketFolder(path=self.tickets / folder_name)

    def result_of(self, folder_name: str, out: str) -> Path:
        """Return the path of a claim's result; only the row says whether it is complete."""
        return self.folder_of(folder_name).claim(out) / RESULT

    def lend_input(self, folder_name: str) -> Path:
        """Let the workers read a ticket's input; return its folder. Raises ``OSError`` where it is gone."""
        folder = self.folder_of(folder_name)
        if self.workers_group is not None:
            loans.lend_to_read(folder.path, folder.inputs, self.workers_group)
        return folder.inputs

    def make_claim_folder(self, out: Path) -> None:
        """Make an empty folder into which the worker of this claim writes; what earlier claims have left there goes.

        Raises ``OSError`` on a full disk.
        """
        for left in (out, *TicketFolder(path=out.parent.parent).before(_number_of(out.name))):
            shutil.rmtree(left, ignore_errors=True)
        out.mkdir(mode=0o700, parents=True)
        if self.workers_group is not None:
            loans.lend_output(out, self.workers_group)

    def end_loan(self, folder_name: str) -> None:
        """Let no worker see a ticket that has ended."""
        if self.workers_group is not None:
            with suppress(OSError):  # it is gone
                loans.end_all(self.folder_of(folder_name).path)

    def seal_result(self, draft: Path) -> tuple[str, int]:
        """Flush a worker's finished archive, give it its name beside itself, and return its SHA-256 and size.

        A large one is hashed while the disk writes it.
        """
        if self.workers_group is not None:
            loans.end_output(draft)
        if draft.stat().st_size > SMALL_BYTES:
            with ThreadPoolExecutor(1) as beside:
                flushing = beside.submit(flush, draft)
                sha256, size_bytes = sha256_of(draft)
            flushing.result()
        else:
            flush(draft)
            sha256, size_bytes = sha256_of(draft)
        draft.rename(draft.with_name(RESULT))
        for folder in (draft.parent, draft.parent.parent, draft.parent.parent.parent):
            flush(folder)
        return sha256, size_bytes


def _number_of(out: str) -> int:
    """Read the number of a claim from its folder's name; folders of older versions have no random part.

    >>> _number_of("3-5f0c"), _number_of("3")
    (3, 3)
    """
    number = out.partition("-")[0]
    return int(number) if number.isascii() and number.isdecimal() else 0


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
