"""The task of a network folder: what all kinds of it have in common."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tomaat.contents.digest import sha256_of_weights
from tomaat.contents.network_folder import state_of, trusted_sha256
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kind import Kind
from tomaat.services.task import Task
from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Volume

CHANGED = "{name} has changed since it was loaded. To load it as it is: python3 -m tomaat.services reload {name}"
SAME_WITHIN = 1e-3  #: of a voxel: how far the corners of two grids may lie apart


class FolderTask(Task):
    """A service of a network folder. Its kind makes a class for each folder; ``make_task`` says which folder it is of.

    A kind writes ``load_network`` instead of ``load``, and ``perform`` with ``**inputs``. Of ``packages`` the first is
    the one that runs the network.
    """

    place: ClassVar[Path]  #: the folder
    of_kind: ClassVar[Kind]
    state: ClassVar[str | None] = None  #: of the folder, as the class was made of it
    is_trusted: ClassVar[bool] = False  #: whether somebody said so just now, as with ``try --trust``
    #: which tickets ``perform`` refuses, in words for the operator, beside those for their grids and their memory
    refuses: ClassVar[Sequence[str]] = ()

    def __init__(self) -> None:
        self.weights = self.place

    @property
    def label_names(self) -> Mapping[int, str]:
        """The names of a segmentation's labels, by their values, as far as they are known."""
        return {}

    def load(self, device: Any) -> None:
        """Load the network, unless its folder holds code that nobody has trusted. Raises ``FolderRefused``."""
        self.demand_state()
        self.demand_package()
        self.demand_trust()
        self.load_network(device)

    def load_network(self, device: Any) -> None:
        """Load the network onto ``device`` (a ``torch.device``); the folder is trusted if it has to be."""
        raise NotImplementedError

    def demand_state(self) -> None:
        """Raise ``FolderRefused`` for a folder that has changed: its form and its labels are the former network's."""
        if self.state is not None and state_of(self.place) != self.state:
            raise FolderRefused(CHANGED.format(name=self.place.name))

    def demand_package(self) -> None:
        """Raise ``FolderRefused`` where the package that runs this kind is missing."""
        if importlib.util.find_spec(self.of_kind.package) is None:
            raise FolderRefused(
                f"{self.place.name} is a folder of {self.of_kind.name} and needs the package {self.of_kind.package}: "
                f"pip install --no-deps -r {self.of_kind.requirements}"
            )

    def demand_trust(self) -> None:
        """Raise ``FolderRefused`` for a folder that holds code and is not trusted, or has changed since it was."""
        reason = self.of_kind.needs_trust(self.place)
        if reason is None or self.is_trusted:
            return
        name, trusted = self.place.name, trusted_sha256(self.place)
        remedy = f"python3 -m tomaat.services trust {name}"
        if trusted is None:
            raise FolderRefused(f"{name} is not trusted: {reason} Where you trust it: {remedy}")
        if trusted != sha256_of_weights(self.place):
            raise FolderRefused(f"{name} has changed since it was trusted: {reason} Where you trust it now: {remedy}")


def on_one_grid(volumes: Mapping[str, Volume]) -> dict[str, Volume]:
    """Give all volumes, by their inputs' ids, exactly the first one's grid; raises ``TaskRefused`` for another one.

    A little apart is no other one. Axes near 45 degrees would be turned in two ways even so, without a word.
    """
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
    return {name: grid.like(volume.array) for name, volume in volumes.items()}


def _shape(volume: Volume) -> str:
    return " x ".join(map(str, volume.array.shape))
