"""Import tasks from a copy of their files, so that a changed file is loaded only when somebody asks for it."""

from __future__ import annotations

import sys
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from typing import Any, ClassVar


class KeptSource(SourceFileLoader):
    """Loads a module of the folder of tasks by its own path, but with the text that was kept of it."""

    folder: ClassVar[Path]  #: of the tasks
    kept: ClassVar[Path]  #: its copy

    def get_data(self, path: str) -> bytes:
        """Read the kept text; raises ``OSError`` for a file that was not there when the copy was made."""
        return (self.kept / Path(path).relative_to(self.folder)).read_bytes()

    def path_stats(self, path: str) -> Any:
        """Raise ``OSError``: byte code is kept beside the file, and may be another text's."""
        raise OSError(path)


def import_from_copy(folder: Path, kept: Path) -> None:
    """Let all modules in ``folder``, helpers of the tasks included, be imported from the copy ``kept``."""
    first = not hasattr(KeptSource, "folder")
    KeptSource.folder, KeptSource.kept = folder, kept
    if first:
        sys.path_hooks.insert(0, _finder)
    sys.path_importer_cache.clear()
    for name, module in list(sys.modules.items()):
        if isinstance(getattr(module, "__loader__", None), KeptSource) and "." in name:
            del sys.modules[name]  # a helper, which the next task that needs it imports anew


def _finder(place: str) -> FileFinder:
    if not Path(place).absolute().is_relative_to(KeptSource.folder):
        raise ImportError(place)
    return FileFinder(place, (KeptSource, [".py"]))


def copy_code(folder: Path, copy: Path) -> None:
    """Copy the Python files of a folder and its sub-folders into the new folder ``copy``, for every user to read."""
    copy.mkdir(mode=0o755)
    for file in sorted(folder.rglob("*.py")):
        place = copy / file.relative_to(folder)
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
        place.chmod(0o644)


def changed_code(folder: Path, copy: Path) -> set[str]:
    """Name the Python files that were added, changed or removed since the copy was made, relative to ``folder``."""
    now, then = _texts(folder), _texts(copy)
    return {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}


def _texts(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.py")}
