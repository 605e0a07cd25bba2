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
    """Let all modules in ``folder``, helpers of the tasks included, be imported from its copy ``kept`` from now on."""
    first = not hasattr(KeptSource, "folder")
    KeptSource.folder, KeptSource.kept = folder.absolute(), kept
    if first:
        sys.path_hooks.insert(0, _finder)
    sys.path_importer_cache.clear()
    for name, module in list(sys.modules.items()):
        if isinstance(getattr(module, "__loader__", None), KeptSource):
            del sys.modules[name]  # a helper is imported anew by the next task that needs it


def loader_of(name: str, path: Path) -> KeptSource | None:
    """Give the loader of a file of the folder of tasks; ``None`` where nothing was kept, so that it is read itself."""
    return KeptSource(name, str(path)) if hasattr(KeptSource, "folder") and _is_kept(path) else None


def _is_kept(path: Path) -> bool:
    return path.absolute().is_relative_to(KeptSource.folder)


def _finder(place: str) -> FileFinder:
    if not _is_kept(Path(place)):
        raise ImportError(place)
    return FileFinder(place, (KeptSource, [".py"]))
