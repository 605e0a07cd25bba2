"""Import a folder's own modules from the texts that were read of them once, so that no file that changed later runs."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from collections.abc import Iterator
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from tomaat.contents.digest import names_in

COMPILED = (*EXTENSION_SUFFIXES, *BYTECODE_SUFFIXES)


class KeptModules:
    """The texts of all Python files in a folder, from which alone its modules are imported.

    These files all count for the folder's hash: what lies in a folder that a link leads to is not among them.
    """

    def __init__(self, place: Path) -> None:
        """Read the texts in ``place`` and below."""
        self.place = place.resolve()
        names = names_in(self.place)
        self.names = [Path(name) for name in names if name.endswith(".py")]  #: relative to the folder
        self.texts = {str(self.place / name): (self.place / name).read_bytes() for name in self.names}
        self.folders = {str(self.place / folder) for name in self.names for folder in name.parents}
        #: of modules without a text, each by the path that it would have without its suffix
        self.compiled = {
            str(self.place / name.removesuffix(suffix)): name
            for name in names
            for suffix in COMPILED
            if name.endswith(suffix)
        }
        self.imported: set[str] = set()  #: modules, by their names

    @contextlib.contextmanager
    def found(self) -> Iterator[None]:
        """Let the folder's modules be found, wherever in it ``sys.path`` leads."""
        sys.path_hooks.insert(0, self._finder)
        others = dict(sys.path_importer_cache)
        sys.path_importer_cache.clear()  # to look at each path for a link into the folder takes a quarter of a second
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # the folder's code has taken it away
                sys.path_hooks.remove(self._finder)
            sys.path_importer_cache.clear()
            sys.path_importer_cache.update(others)

    def _finder(self, entry: str) -> KeptFinder:
        """Make the finder for an entry of ``sys.path``. Raises ``ImportError`` for one outside of the folder."""
        folder = self._within(entry)
        if folder is None:
            raise ImportError(entry)
        return KeptFinder(self, folder)

    def _within(self, entry: str) -> str | None:
        """Give an entry's whole path, also where only a link leads into the folder or out of it."""
        for path in (os.path.abspath(entry), os.path.realpath(entry)):  # noqa: PTH100 (no link is followed)
            if Path(path).is_relative_to(self.place):
                return path
        return None


class KeptFinder:
    """Finds modules in one folder, among those that were kept."""

    def __init__(self, kept: KeptModules, folder: str) -> None:
        self.kept = kept
        self.folder = Path(folder)

    def find_spec(self, name: str, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module. Raises ``ImportError`` for a compiled one."""
        path = self.folder / name.rpartition(".")[2]
        for file, inside in ((path / "__init__.py", [str(path)]), (path.with_name(f"{path.name}.py"), None)):
            if str(file) in self.kept.texts:
                loader = KeptModule(name, str(file), self.kept)
                return spec_from_file_location(name, file, loader=loader, submodule_search_locations=inside)
        if compiled := self.kept.compiled.get(str(path)):
            raise ImportError(f"{compiled} is a compiled module, and only Python files (.py) of a folder are run")
        if str(path) not in self.kept.folders:
            return None
        spec = ModuleSpec(name, None, is_package=True)  # a folder without __init__.py
        spec.submodule_search_locations = [str(path)]
        return spec

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """List modules and whether they are packages, as ``pkgutil`` asks for them."""
        for file in map(Path, self.kept.texts):
            if file.parent == self.folder and file.name != "__init__.py":
                yield prefix + file.stem, False
            elif file.parent.parent == self.folder and file.name == "__init__.py":
                yield prefix + file.parent.name, True


class KeptModule(SourceFileLoader):
    """Makes a module of its kept text."""

    def __init__(self, name: str, path: str, kept: KeptModules) -> None:
        super().__init__(name, path)
        self.kept = kept

    def exec_module(self, module: ModuleType) -> None:
        """Run the text; whoever asks for the module's lines, as TorchScript does, gets those of the text, too."""
        lines = (self.get_source(self.name) or "").splitlines(keepends=True)
        linecache.cache[self.path] = (len(lines), None, lines, self.path)  # None: it is never checked
        self.kept.imported.add(self.name)
        super().exec_module(module)

    def get_data(self, path: str) -> bytes:
        """Give the kept text, or read the file itself where none was kept of it, such as one of data."""
        text = self.kept.texts.get(path)
        return super().get_data(path) if text is None else text

    def path_stats(self, path: str) -> Any:
        """Raise ``OSError``: byte code is kept beside the file, and may be another text's."""
        raise OSError(path)
