"""The task of a network file with a card: volumes to the network's input, its output back to the volumes' grid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tomaat.refusals import WrongValue
from tomaat.services.expected_memory import ExpectedMemory
from tomaat.services.folders.card import AS_SENT, CUT, Card
from tomaat.services.folders.card_memory import expected_of, seen_shape
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import FolderTask, on_one_grid
from tomaat.services.folders.intensity import scaled
from tomaat.services.folders.onto_input import labels_on, volumes_on
from tomaat.services.folders.tiles import run_tiled, run_whole
from tomaat.services.task import Outputs
from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Labels, Volume

SAME_SPACING = 1e-3  #: of a spacing: below it, a volume is not sampled anew
BEGIN, END = 0.05, 0.9  #: of the progress, between which the network runs


class CardTask(FolderTask):
    """A service of a card. Its kind makes a class for each folder, and says how the file is opened."""

    card: ClassVar[Card]
    file: ClassVar[Path]  #: the network's
    refuses = ("voxels that are no finite numbers", "a volume of one value only, where the card scales by its own")

    @abstractmethod
    def open_network(self, device: Any) -> Any:
        """Open the file: a callable from (1, c, i, j, k) to (1, classes, i, j, k), with the input's ``shape``."""

    def load_network(self, device: Any) -> None:
        """Open the network, and try it on a patch of zeros. Raises ``FolderRefused``."""
        self.device = device
        try:
            self.network = self.open_network(device)
            self._demand_shape()
            if self.card.patch is not None:
                self._try()
        except (FolderRefused, MemoryError):
            raise
        except Exception as error:
            if "memory" in str(error):
                raise
            raise FolderRefused(f"{self._named} cannot be used: {type(error).__name__}: {error}") from error

    @property
    def _named(self) -> str:
        return f"{self.place.name}/{self.file.name}"

    def _demand_shape(self) -> None:
        """Compare the card to the shape of the input, as far as the file says it."""
        shape = self.network.shape
        if shape is None:
            return
        if len(shape) != 5:  # noqa: PLR2004 (n, c, i, j, k)
            raise FolderRefused(f"{self._named} takes {len(shape)} axes; a card serves five, (n, channels, i, j, k).")
        if shape[0] not in {None, 1}:
            raise FolderRefused(
                f"{self._named} takes {shape[0]} volumes at once; export it for one, or for any number."
            )
        channels, patch = len(self.card.inputs), self.card.patch or (None, None, None)
        if shape[1] not in {None, channels}:
            raise FolderRefused(f"{self._named} takes {shape[1]} channels, and the card has {channels} inputs.")
        if any(size not in {None, ours} for size, ours in zip(shape[2:], patch, strict=True)):
            said = f"patch: {self.card.patch}" if self.card.patch else "no patch"
            fixed = ", ".join("any" if size is None else str(size) for size in shape[2:])
            raise FolderRefused(
                f"{self._named} takes volumes of {fixed} voxels, and the card says {said}; write patch: [{fixed}], or "
                "export the network for any size."
            )

    def _try(self) -> None:
        """Run the network on zeros; it is warm then."""
        from torch import zeros  # noqa: PLC0415 (only a worker loads a network)

        given = self._run(zeros((len(self.card.inputs), *(self.card.patch or ())), device=self.device), lambda *_: None)
        self._demand_channels(len(given))

    def _demand_channels(self, given: int) -> None:
        if given != self.card.channels:
            raise WrongValue(
                f"the network gives {given} channels, and by its card (output: {self.card.output.kind}) they are "
                f"{self.card.channels}; mend the card's labels or names"
            )

    @property
    def label_names(self) -> Mapping[int, str]:
        """The labels' names, by their values; a regression has none."""
        return self.card.names

    def expected_memory(self, inputs: Mapping[str, Any], *, gpu_bytes: int | None) -> ExpectedMemory:
        """Reckon the memory by the card; what the network's layers take is only known once it was measured."""
        grid = inputs[self.card.inputs[0].id]
        turned = as_turned(grid, self.card)
        seen = seen_shape(turned.array.shape, turned.spacing_mm, self.card)
        return expected_of(self.card, seen, grid.array.shape, on_gpu=gpu_bytes is not None)

    def perform(self, **inputs: Any) -> Outputs:
        """Give the labels, or the volumes, on the inputs' own grid."""
        card = self.card
        volumes = on_one_grid({each.id: inputs[each.id] for each in card.inputs})
        grid = volumes[card.inputs[0].id]
        self.progress(0.0, "preparing the volumes")
        channels, seen = self._prepared(volumes)

        def tell(done: int, count: int) -> None:
            self.progress(BEGIN + (END - BEGIN) * done / count, f"tile {done + 1} of {count}")

        found = self._run(channels, tell)
        del channels
        self._demand_channels(len(found))
        demand_finite(found)
        if not card.output.activated:
            found = activated(found, card.output.kind)
        self.progress(END, "back to the volume's grid")
        if card.output.kind == "regression":
            return dict(zip(card.output.outputs, volumes_on(grid, seen, found), strict=True))
        values = labels_on(grid, seen, found, card.output.kind, inputs.get(CUT, card.output.cut))
        return {card.output.outputs[0]: Labels(volume=values, names=card.names, codes=card.codes)}

    def _prepared(self, volumes: Mapping[str, Volume]) -> tuple[Any, Volume]:
        """Give the network's channels (c, i, j, k), float32, and their grid, a volume whose voxels do not matter."""
        channels: Any = None
        for number, each in enumerate(self.card.inputs):
            volume = as_seen(volumes[each.id], self.card, each.id)
            voxels = scaled(volume.array, each.intensity or self.card.intensity, each.id)
            tensor = volume.like(voxels).tensor(self.device)
            if channels is None:
                channels = tensor.new_empty((len(self.card.inputs), *tensor.shape))
            channels[number] = tensor
        return channels, volume

    def _run(self, channels: Any, tell: Any) -> Any:
        """Run the network; (c, i, j, k) to its outputs of shape (classes, i, j, k)."""
        card = self.card
        if card.patch is None:
            tell(0, 1)
            return run_whole(self.network, channels, card.multiple_of, card.outside)
        return run_tiled(self.network, channels, card.patch, card.overlap, outside=card.outside, progress=tell)


def demand_finite(found: Any) -> None:
    """Raise ``WrongValue`` where outputs (classes, i, j, k) are infinite or no numbers; they would become labels."""
    from torch import isfinite  # noqa: PLC0415 (only a worker loads torch)

    wrong = 0
    for channel in found:
        if not isfinite(channel.sum()):  # one pass and no further memory, where all is well
            wrong += int((~isfinite(channel)).sum())
    if wrong:
        raise WrongValue(
            f"{wrong} of {found.numel()} values that the network gave are infinite or no numbers; export it in float32"
        )


def activated(found: Any, kind: str) -> Any:
    """Make probabilities of logits (classes, i, j, k), in their own memory; other outputs stay."""
    if kind == "sigmoid":
        return found.sigmoid_()
    if kind == "softmax":
        found -= found.amax(0, keepdim=True)
        found.exp_()
        found /= found.sum(0, keepdim=True)
    return found


def as_turned(volume: Volume, card: Card) -> Volume:
    """Turn and flip a volume's axes as the network's lie; no value changes."""
    letters = volume.orientation if card.orientation == AS_SENT else card.orientation
    return volume.reoriented(letters[::-1] if card.axes == "kji" else letters)


def as_seen(volume: Volume, card: Card, id: str) -> Volume:
    """Turn a volume of the input ``id``, and sample it at the network's spacing; float32, in new memory.

    Raises ``TaskRefused`` for voxels that are no numbers: sampling would spread them.
    """
    turned = as_turned(volume, card)
    turned = turned.like(turned.array.astype(np.float32, order="C"))
    if not np.isfinite(turned.array).all():
        raise TaskRefused(f"{id}: it holds voxels that are no finite numbers; give them values.", code="not-finite")
    if card.spacing_mm is None or np.allclose(turned.spacing_mm, card.spacing_mm, rtol=SAME_SPACING, atol=0):
        return turned
    return turned.resampled(card.spacing_mm)
