"""Keep the code of the tasks as it was when it was loaded on purpose: a worker that starts later runs the same."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Collection, Sequence
from itertools import count
from pathlib import Path


class KeptTasks:
    """The copy from which one source's workers import the tasks."""

    def __init__(self, folder: Path, under: Path) -> None:
        """Copy the Python files of ``folder`` into a new folder in ``under``; every user may read it."""
        self.folder = folder
        self.under = under
        self.numbers = count()
        self.copy = self._new_folder()
        for name in _texts(folder):
            self._bring(name, folder, self.copy)

    def changed(self) -> set[str]:
        """Name the files that were added, changed or removed since, relative to the folder of tasks."""
        now, then = _texts(self.folder), _texts(self.copy)
        return {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}

    def files(self) -> set[str]:
        """Name the files of the copy that may hold tasks."""
        return {name for name in _texts(self.copy) if is_task_file(name)}

    def renewed(self, names: Collection[str]) -> Path:
        """Make another copy, with these files as they are now."""
        copy = self._new_folder()
        for name in _texts(self.copy):
            self._bring(name, self.copy, copy)
        for name in names:
            self._bring(name, self.folder, copy)
        return copy

    def take(self, copy: Path, refused: Collection[str]) -> None:
        """Let the workers that start from now on import from another copy; files that were refused stay as before."""
        for name in refused:
            self._bring(name, self.copy, copy)
        self.drop(self.copy)
        self.copy = copy

    @staticmethod
    def drop(copy: Path) -> None:
        """Remove a copy that is not needed."""
        shutil.rmtree(copy, ignore_errors=True)

    def _new_folder(self) -> Path:
        copy = self.under / str(next(self.numbers))
        copy.mkdir(mode=0o755, parents=True)
        return copy

    @staticmethod
    def _bring(name: str, source: Path, copy: Path) -> None:
        """Make one file in ``copy`` as it is in ``source``, or remove it where it is not there."""
        place = copy / name
        try:
            text = (source / name).read_bytes()
        except FileNotFoundError:
            place.unlink(missing_ok=True)
            return
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.write_bytes(text)
        place.chmod(0o644)


def keep_tasks(folder: Path, sources: Sequence[str]) -> dict[str, KeptTasks]:
    """Copy the code for each source, since one may refuse what another has loaded; the copies go with this process."""
    top = Path(tempfile.mkdtemp(prefix="tomaat-tasks-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    top.chmod(0o755)  # a worker may run as another user
    return {source: KeptTasks(folder, top / str(number)) for number, source in enumerate(sources)}


def is_task_file(name: str) -> bool:
    """Tell a file that holds tasks from a helper module."""
    return "/" not in name and not name.startswith("_")


def _texts(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.py"))}
