"""The task of a network folder: what all kinds of it have in common."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tomaat.contents.digest import sha256_of
from tomaat.contents.network_folder import trusted_sha256
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kind import Kind
from tomaat.services.task import Task
from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Volume

SAME_WITHIN = 1e-3  #: of a voxel: how far the corners of two grids may lie apart


class FolderTask(Task):
    """A service of a network folder. Its kind makes a class for each folder, which sets what is declared here.

    A kind writes ``load_network`` instead of ``load``, and ``perform`` with ``**inputs``.
    """

    place: ClassVar[Path]  #: the folder
    kind: ClassVar[Kind]
    packages: ClassVar[tuple[str, ...]] = ("torch",)  #: whose versions stand in each result
    is_trusted: ClassVar[bool] = False  #: whether somebody said so just now, as with ``try --trust``

    def __init__(self) -> None:
        self.weights = self.place

    def load(self, device: Any) -> None:
        """Load the network, unless its folder holds code that nobody has trusted. Raises ``FolderRefused``."""
        self.demand_package()
        self.demand_trust()
        self.load_network(device)

    @abstractmethod
    def load_network(self, device: Any) -> None:
        """Load the network onto ``device`` (a ``torch.device``); the folder is trusted if it has to be."""

    def demand_package(self) -> None:
        """Raise ``FolderRefused`` where the package that runs this kind is missing."""
        if importlib.util.find_spec(self.kind.package) is None:
            raise FolderRefused(
                f"{self.place.name} is a folder of {self.kind.name}, which needs the package {self.kind.package}: "
                f"pip install --no-deps -r {self.kind.requirements}"
            )

    def demand_trust(self) -> None:
        """Raise ``FolderRefused`` for a folder that holds code and is not trusted, or has changed since it was."""
        reason = self.kind.needs_trust(self.place)
        if reason is None or self.is_trusted:
            return
        name, trusted = self.place.name, trusted_sha256(self.place)
        remedy = f"python3 -m tomaat.services trust {name}"
        if trusted is None:
            raise FolderRefused(f"{name} is not trusted: {reason} Where you trust it: {remedy}")
        if trusted != sha256_of(self.place)[0]:
            raise FolderRefused(f"{name} has changed since it was trusted: {reason} Where you trust it now: {remedy}")

    def versions(self) -> dict[str, str]:
        """Tell the versions of the packages that run the network, by their names."""
        found = {}
        for package in self.packages:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
        return found


def demand_one_grid(volumes: Mapping[str, Volume]) -> None:
    """Raise ``TaskRefused`` unless all volumes, by their inputs' ids, lie on the first one's grid."""
    (first, grid), *others = volumes.items()
    for name, volume in others:
        if volume.array.shape != grid.array.shape:
            raise TaskRefused(
                f"{name}: it has {_shape(volume)} voxels, and {first} has {_shape(grid)}; the network needs all "
                "volumes on one grid: resample one onto the other.",
                code="another-grid",
            )
        last = [count - 1 for count in grid.array.shape]
        corners = [[at * place for at, place in zip(corner, last, strict=True)] for corner in np.ndindex(2, 2, 2)]
        apart = max(
            float(np.linalg.norm(np.subtract(volume.to_index(grid.to_physical(corner)), corner))) for corner in corners
        )
        if apart > SAME_WITHIN:
            raise TaskRefused(
                f"{name}: it lies elsewhere than {first}, by up to {apart:.3g} voxels; the network needs all volumes "
                "on one grid: resample one onto the other.",
                code="another-grid",
            )


def _shape(volume: Volume) -> str:
    return " x ".join(map(str, volume.array.shape))
