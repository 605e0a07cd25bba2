"""Keep a bundle's code within its walls: its modules, its folder, the program's flags, the network."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kept_modules import KeptModules

#: Events of Python's audit by which a program reaches the network.
NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"}
PROCESSES = {"os.fork", "os.forkpty"}  #: likewise, those by which pools of processes begin
#: Likewise, those by which a folder changes, beside opening a file to write.
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_at_work = threading.local()  #: ``place``: the folder whose code this thread runs


class BundleWalls:
    """The walls around one folder's code; ``within`` runs it there, again and again."""

    def __init__(self, kept: KeptModules) -> None:
        self.kept = kept
        self.place = kept.place
        self.modules: dict[str, ModuleType] = {}  #: its own ones that are imported
        self.paths: list[str] = []  #: that it has added to those where modules are looked for
        #: of its packages and modules at the top; those without ``__init__.py`` hide no other of their name
        self.hiding = {name.stem for name in kept.names if len(name.parts) == 1} | {
            name.parts[0] for name in kept.names if name.parts[1:] == ("__init__.py",)
        }
        self.names = self.hiding | {name.parts[0] for name in kept.names if len(name.parts) > 1}
        _watch_for_ever()

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        """Run code of the folder. Raises ``FolderRefused`` where it ends the program or hides another's modules."""
        with self._own_modules(), _flags_put_back(), contextlib.redirect_stdout(sys.stderr):
            _at_work.place = str(self.place)
            try:
                yield
            except SystemExit as end:
                raise FolderRefused(f"{self.place.name}: its code ended the program, sys.exit({end.code!r}).") from end
            finally:
                _at_work.place = None

    @contextlib.contextmanager
    def _own_modules(self) -> Iterator[None]:
        """Let the folder import its own modules, which no other code sees."""
        others = {name.partition(".")[0] for name in sys.modules} | sys.stdlib_module_names
        if clash := sorted(self.hiding & others):
            raise FolderRefused(
                f"{self.place.name}: its own Python package {clash[0]!r} has the name of one that this worker uses "
                "already; rename it, or give the service an environment of its own."
            )
        path = list(sys.path)
        sys.path[:] = [str(self.place), *self.paths, *path]
        sys.modules.update(self.modules)
        importlib.invalidate_caches()
        try:
            with self.kept.found():
                yield
        finally:
            self.paths = [each for each in sys.path if each not in path and each != str(self.place)]
            own = [
                name
                for name in sys.modules
                if name in self.kept.imported or name.partition(".")[0] in self.names - others
            ]
            self.modules = {name: sys.modules.pop(name) for name in own}
            sys.path[:] = path


@contextlib.contextmanager
def _flags_put_back() -> Iterator[None]:
    """Put flags, random numbers, environment and the current folder back as they were: they are the program's."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = [(cudnn, name, getattr(cudnn, name)) for name in ("deterministic", "benchmark", "enabled", "allow_tf32")]
    flags.append((matmul, "allow_tf32", matmul.allow_tf32))
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    dtype, threads, gradients = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (the program's own state)
    environment, folder = dict(os.environ), Path.cwd()
    try:
        yield
    finally:
        for owner, name, value in flags:
            setattr(owner, name, value)
        torch.use_deterministic_algorithms(is_deterministic, warn_only=warns_only)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(gradients)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 (likewise)
        torch.set_rng_state(states[2])
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        os.chdir(folder)


def _watch_for_ever() -> None:
    """Hear all audit events of this process from now on: Python has no way to stop that again."""
    if not getattr(_watch_for_ever, "begun", False):
        sys.addaudithook(_audit)
        _watch_for_ever.begun = True  # type: ignore[attr-defined]


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise ``PermissionError`` for an act that a bundle's code must not do, in the thread that runs it."""
    place = getattr(_at_work, "place", None)
    if place is None:
        return
    if event in NETWORK:
        raise PermissionError(f"the bundle's code must not reach the network ({event}); nothing is downloaded")
    if event in PROCESSES:
        raise PermissionError(f"the bundle's code must not start processes ({event})")
    if event == "open":  # a compiled module, too, which Python then does without
        path, _, flags = arguments
        if isinstance(flags, int) and flags & WRITING and _is_in(path, place):
            raise PermissionError(f"the bundle's code must not write into its folder: {path}")
    elif event in CHANGES and any(_is_in(each, place) for each in arguments[:2]):
        raise PermissionError(f"the bundle's code must not change its folder: {event}")


def _is_in(path: Any, place: str) -> bool:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False
    whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (a hook that is heard at each opening is quick)
    return whole == place or whole.startswith(place + os.sep)
