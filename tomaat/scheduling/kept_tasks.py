"""Keep the code of the tasks as it was when it was loaded on purpose: a worker that starts later runs the same.

Of a network folder, which is read where it lies, the state is kept, in a file with its name: so a change of it shows.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from tomaat.contents.network_folder import is_network_folder, state_of
from tomaat.scheduling.environment import OWN, Environment
from tomaat.storage import Storage, loans

ABANDONED_SECONDS = 3600.0  #: for which nobody has held a copy: its TaskScheduling was killed


class KeptTasks:
    """The copy from which one source's workers import the tasks that belong to their environment."""

    def __init__(
        self,
        folder: Path,
        under: Path,
        *,
        group: int | None = None,
        environment: Environment = OWN,
        of: Path | None = None,
    ) -> None:
        """Copy the Python files of ``folder`` into a new folder in ``under``; the workers' ``group`` may read it.

        Where it is made ``of`` another copy, that one is copied instead.
        """
        self.environment = environment
        self.folder = folder
        self.under = under
        self.group = group
        self.numbers = count()
        self.copy = self._made(dict.fromkeys(self._texts(), folder) if of is None else dict.fromkeys(_kept(of), of))

    def twin(self) -> KeptTasks:
        """Make the copy of another lane of the source, as this one is now; it goes with this process at the latest."""
        return self._beside(self.environment, of=self.copy)

    def beside(self, environment: Environment) -> KeptTasks:
        """Make the copy of a lane with another environment; it goes with this process at the latest."""
        return self._beside(environment, of=None)

    def _beside(self, environment: Environment, of: Path | None) -> KeptTasks:
        place = self.under.parent / secrets.token_hex(16)
        twin = KeptTasks(self.folder, place, group=self.group, environment=environment, of=of)
        atexit.register(shutil.rmtree, twin.under, ignore_errors=True)
        return twin

    def hold(self) -> None:
        """Show that this copy is somebody's, at least once an hour. Raises ``OSError`` where it is gone."""
        os.utime(self.under)

    def changed(self) -> set[str]:
        """Name the files that were added, changed or removed since, relative to the folder of tasks."""
        now, then = self._texts(), _kept(self.copy)
        return {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}

    def _texts(self) -> dict[str, bytes]:
        return {name: text for name, text in _texts(self.folder).items() if self.environment.serves(name)}

    def files(self) -> set[str]:
        """Name the files of the copy that may hold tasks."""
        return {name for name in _kept(self.copy) if is_task_file(name)}

    def renewed(self, names: Collection[str]) -> Path:
        """Make another copy, with these files as they are now. Raises ``OSError`` on a full disk."""
        sources = dict.fromkeys(_kept(self.copy), self.copy) | dict.fromkeys(names, self.folder)
        became = {name for name in names if is_network_folder(self.folder / name)}
        return self._made(
            {name: source for name, source in sources.items() if name in became or name.partition("/")[0] not in became}
        )

    def take(self, copy: Path, refused: Collection[str]) -> None:
        """Let the workers that start from now on import from another copy; files that were refused stay as before."""
        for name in refused:
            self._bring(name, self.copy, copy)
        self._lend(copy)
        self.drop(self.copy)
        self.copy = copy

    @staticmethod
    def drop(copy: Path) -> None:
        """Remove a copy that is not needed."""
        shutil.rmtree(copy, ignore_errors=True)

    def _made(self, sources: dict[str, Path]) -> Path:
        """Make a copy of files, each from its folder; of what fails nothing is left."""
        copy = self.under / str(next(self.numbers))
        copy.mkdir(parents=True)
        try:
            for name, source in sources.items():
                self._bring(name, source, copy)
            self._lend(copy)
        except BaseException:
            self.drop(copy)
            raise
        return copy

    def _lend(self, copy: Path) -> None:
        if self.group is not None:
            loans.lend_to_read(self.under, copy, self.group)

    @staticmethod
    def _bring(name: str, source: Path, copy: Path) -> None:
        """Make one file in ``copy`` as it is in ``source``, or remove it where it is not there."""
        place = copy / name
        text = _text_of(source / name)
        if text is None:
            place.unlink(missing_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text)


class KeptOfSources(dict[str, KeptTasks]):
    """The copy of each source, made when it is first asked for; it goes with this process."""

    def __init__(self, folder: Path, storage: Storage, environment: Environment) -> None:
        self.folder = folder
        self.storage = storage
        self.environment = environment

    def __missing__(self, source: str) -> KeptTasks:
        place = self.storage.code / secrets.token_hex(16)
        group = self.storage.workers_group
        self[source] = KeptTasks(self.folder, place, group=group, environment=self.environment)
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        return self[source]


def keep_tasks(
    folder: Path, sources: Sequence[str], storage: Storage, environment: Environment = OWN
) -> dict[str, KeptTasks]:
    """Copy the code for each source, since one may refuse what another has loaded; for one that joins later, too.

    The copies go with this process; those of processes that were killed are removed here.
    """
    made = KeptOfSources(folder, storage, environment)
    for source in sources:
        made[source].hold()
    os.utime(storage.code)
    now = storage.code.stat().st_mtime  # of the clock by which the others are held
    for other in storage.code.iterdir():
        with suppress(FileNotFoundError):  # somebody else removed it just now
            if other.stat().st_mtime < now - ABANDONED_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
    return made


def is_task_file(name: str) -> bool:
    """Tell a file that holds tasks, or a network folder, from a helper module."""
    return "/" not in name and not name.startswith("_")


def _kept(copy: Path) -> dict[str, bytes]:
    """Read all that a copy holds."""
    return {str(file.relative_to(copy)): file.read_bytes() for file in copy.rglob("*") if file.is_file()}


def _texts(folder: Path) -> dict[str, bytes]:
    texts = {str(file.relative_to(folder)): _text_of(file) for file in _files(folder)}
    return {name: text for name, text in texts.items() if text is not None}


def _text_of(file: Path) -> bytes | None:
    """Read a regular file, if it is one; what cannot be read becomes code that says so where it is imported."""
    try:
        if is_network_folder(file):
            return state_of(file).encode("utf-8", "surrogateescape")
        return file.read_bytes() if file.is_file() else None
    except FileNotFoundError:  # it was there a moment ago
        return None
    except OSError as error:
        return f"raise OSError({error.errno}, {error.strerror!r}, {str(file)!r})\n".encode()


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """List what is named as a module of Python is, in ``folder`` and below, and the network folders in ``folder``."""
    _, folders, files = next(os.walk(folder), ("", [], []))
    for name in files:
        if name.endswith(".py") and not name.startswith("."):
            yield folder / name
    networks = [] if above else [name for name in folders if is_network_folder(folder / name)]
    yield from (folder / name for name in networks)
    above = (*above, folder.resolve())
    for name in set(folders) - set(networks):
        if not name.startswith(".") and _leads_to_modules(folder / name, above):
            yield from _files(folder / name, above)


def _leads_to_modules(folder: Path, above: Collection[Path]) -> bool:
    """Of links, follow those to a package: others may lead to any amount of data, or back to where they lie."""
    return not folder.is_symlink() or (os.access(folder / "__init__.py", os.F_OK) and folder.resolve() not in above)
