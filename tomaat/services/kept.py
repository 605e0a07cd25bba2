"""Import tasks from a copy of their files, so that a changed file is loaded only when somebody asks for it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

OF_TASKS = "custom_tasks_"  #: how the modules of the files of tasks are named; the others are their helpers


class KeptSource(SourceFileLoader):
    """Loads a module of the folder of tasks by its own path, but with the text that was kept of it."""

    folder: ClassVar[Path]  #: of the tasks
    kept: ClassVar[Path]  #: its copy
    text: bytes | None = None  #: of which the module was made

    @property
    def file(self) -> str:
        """The module's file, relative to the folder of tasks."""
        return str(Path(self.path).relative_to(self.folder))

    def get_data(self, path: str) -> bytes:
        """Read the kept text, or the file itself where none was kept of it, such as one of data."""
        try:
            text = (self.kept / Path(path).relative_to(self.folder)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):  # of a network folder the copy has its state alone
            text = super().get_data(path)
        if path == self.path and self.text is None:
            self.text = text
        return text

    def path_stats(self, path: str) -> Any:
        """Raise ``OSError``: byte code is kept beside the file, and may be another text's."""
        raise OSError(path)

    def has_changed(self) -> bool:
        """Tell whether the module would be made of another text now."""
        try:
            return self.get_data(self.path) != self.text
        except OSError:  # there is none
            return True


def import_from_copy(folder: Path, kept: Path, files: Collection[str] | None = None) -> dict[str, ModuleType]:
    """Let all modules in ``folder``, helpers of the tasks included, be imported from its copy ``kept`` from now on.

    The modules of these ``files`` (by default of all) are forgotten, and all helpers once one of them has changed. They
    are returned, for ``put_back``. The others stay: their tasks serve on, and look for their own classes in them.
    """
    first = not hasattr(KeptSource, "folder")
    KeptSource.folder, KeptSource.kept = folder.absolute(), kept
    if first:
        sys.path_hooks.insert(0, _finder)
    sys.path_importer_cache.clear()
    loaders = {name: loader for name, each in list(sys.modules.items()) if (loader := _loader_of(each)) is not None}
    helpers = {name: loader for name, loader in loaders.items() if not name.startswith(OF_TASKS)}
    forgotten = {name for name, loader in loaders.items() if files is None or loader.file in files}
    if any(loader.has_changed() for loader in helpers.values()):
        forgotten |= helpers.keys()
    return {name: sys.modules.pop(name) for name in forgotten}


def put_back(modules: Mapping[str, ModuleType], refused: Collection[str], files: Collection[str]) -> None:
    """Bring back the modules of the ``files`` that were refused, whose former tasks serve; helpers, if all were."""
    for name, module in modules.items():
        loader = _loader_of(module)
        if loader is not None and (loader.file in refused or set(files) <= set(refused)):
            sys.modules[name] = module


def loader_of(name: str, path: Path) -> KeptSource | None:
    """Give the loader of a file of the folder of tasks; ``None`` where nothing was kept, so that it is read itself."""
    return KeptSource(name, str(path)) if hasattr(KeptSource, "folder") and _is_kept(path) else None


def _loader_of(module: ModuleType) -> KeptSource | None:
    loader = getattr(module, "__loader__", None)
    return loader if isinstance(loader, KeptSource) else None


def _is_kept(path: Path) -> bool:
    return path.absolute().is_relative_to(KeptSource.folder)


def _finder(place: str) -> FileFinder:
    """Find what Python would find there, compiled modules too, but read source from the copy."""
    if not _is_kept(Path(place)):
        raise ImportError(place)
    return FileFinder(
        place,
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (KeptSource, [".py"]),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )
