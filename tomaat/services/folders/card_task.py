"""The task of a network file with a card: volumes to the network's input, its output back to the volumes' grid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tomaat.processes.proc import machine_memory_bytes
from tomaat.refusals import WrongValue
from tomaat.services.expected_memory import ExpectedMemory
from tomaat.services.folders.card import AS_SENT, CUT, MIRRORING, Card
from tomaat.services.folders.card_intensity import INSIDE
from tomaat.services.folders.card_memory import demand_patch, expected_of, sampled_shape
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import FolderTask, on_one_grid
from tomaat.services.folders.intensity import Counted, scaled
from tomaat.services.folders.nonzero import box_of, outline_of, within
from tomaat.services.folders.onto_input import labels_on, volumes_on
from tomaat.services.folders.tiles import run_tiled, run_whole
from tomaat.services.task import Outputs
from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Labels, Volume

SAME_SPACING = 1e-3  #: of a spacing: below it, a volume is not sampled anew
BEGIN, END = 0.05, 0.9  #: of the progress, between which the network runs
TIDY = 0.95  #: of the progress, when the labels lie on the volume's grid


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
                demand_patch(self.card, self._named, memory_of(device))
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
        if self.network.gives is not None:
            self._demand_channels(self.network.gives)
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

        patch = zeros((len(self.card.inputs), *(self.card.patch or ())), device=self.device)
        self._demand_channels(len(self._run(patch, lambda *_: None, ())))

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
        volumes = on_one_grid({each.id: inputs[each.id] for each in self.card.inputs})
        grid = volumes[self.card.inputs[0].id]
        if self.card.crop == "nonzero":
            grid = within(grid, box_of(volumes))
        turned = as_turned(grid, self.card)
        sampled = sampled_shape(turned.array.shape, turned.spacing_mm, self.card)
        return expected_of(self.card, sampled, grid.array.shape, on_gpu=gpu_bytes is not None)

    def perform(self, **inputs: Any) -> Outputs:
        """Give the labels, or the volumes, on the inputs' own grid."""
        card = self.card
        volumes = on_one_grid({each.id: inputs[each.id] for each in card.inputs})
        sent = volumes[card.inputs[0].id]
        box = box_of(volumes) if card.crop == "nonzero" else None
        if box is not None:
            volumes = {id: within(volume, box) for id, volume in volumes.items()}
        grid = volumes[card.inputs[0].id]
        self.progress(0.0, "preparing the volumes")
        channels, seen = self._prepared(volumes)

        def tell(done: int, count: int) -> None:
            self.progress(BEGIN + (END - BEGIN) * done / count, f"tile {done + 1} of {count}")

        found = self._run(channels, tell, card.mirrored if inputs.get(MIRRORING, True) else ())
        del channels
        self._demand_channels(len(found))
        demand_finite(found)
        if not card.output.activated:
            found = activated(found, card.output.kind)
        self.progress(END, "back to the volume's grid")
        if card.output.kind == "regression":
            return dict(zip(card.output.outputs, volumes_on(grid, seen, found), strict=True))
        values = labels_on(grid, seen, found, card.output.kind, inputs.get(CUT, card.output.cut))
        if box is not None:
            whole = np.zeros(sent.array.shape, values.array.dtype)
            whole[box] = values.array
            values = sent.like(whole)
        return {card.output.outputs[0]: self._tidied(Labels(volume=values, names=card.names, codes=card.codes))}

    def _tidied(self, labels: Labels) -> Labels:
        """Keep the largest parts, and fill holes, where the card says so; it can be cancelled before each label."""
        if self.card.output.largest_part:
            labels = labels.largest_part(before=lambda value: self.progress(TIDY, f"parts of {labels.names[value]}"))
        if self.card.output.without_holes:
            labels = labels.without_holes(before=lambda value: self.progress(TIDY, f"holes of {labels.names[value]}"))
        return labels

    def _prepared(self, volumes: Mapping[str, Volume]) -> tuple[Any, Volume]:
        """Give the network's channels (c, i, j, k), float32, and their grid, a volume whose voxels do not matter."""
        card = self.card
        scalings = {each.id: each.intensity or card.intensity for each in card.inputs}
        inside: Counted | None = None
        if any(getattr(how, "voxels", None) == INSIDE for how in scalings.values()):
            inside = as_turned(volumes[card.inputs[0].id].like(outline_of(volumes)), card).array
        channels: Any = None
        for number, (id, how) in enumerate(scalings.items()):
            volume = as_floats(as_turned(volumes[id], card), id)
            if card.intensity_of == "sent":
                volume = volume.like(scaled(volume.array, how, id, inside))
            volume = as_sampled(volume, card)
            voxels = volume.array if card.intensity_of == "sent" else scaled(volume.array, how, id, inside)
            tensor = volume.like(voxels).tensor(self.device)
            if channels is None:
                channels = tensor.new_empty((len(card.inputs), *tensor.shape))
            channels[number] = tensor
        return channels, volume

    def _run(self, channels: Any, tell: Any, mirrored: tuple[int, ...]) -> Any:
        """Run the network; (c, i, j, k) to its outputs of shape (classes, i, j, k)."""
        card, outside = self.card, self.card.outside
        if card.patch is None:
            tell(0, 1)
            return run_whole(self.network, channels, card.multiple_of, outside=outside, mirrored=mirrored)
        return run_tiled(
            self.network, channels, card.patch, card.overlap, outside=outside, progress=tell, mirrored=mirrored
        )


def memory_of(device: Any) -> int:
    """Tell all the memory, in bytes, of a device (a ``torch.device``)."""
    if device.type != "cuda":
        return machine_memory_bytes("MemTotal")
    from torch.cuda import mem_get_info  # noqa: PLC0415 (only a worker loads torch)

    return int(mem_get_info(device)[1])


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
    return volume.reoriented("".join(letters["ijk".index(axis)] for axis in card.axes))


def as_floats(volume: Volume, id: str) -> Volume:
    """Give the voxels of the input ``id`` as float32, in new memory.

    Raises ``TaskRefused`` for voxels that are no numbers: sampling would spread them.
    """
    made = volume.like(volume.array.astype(np.float32, order="C"))
    if not np.isfinite(made.array).all():
        raise TaskRefused(f"{id}: it holds voxels that are no finite numbers; give them values.", code="not-finite")
    return made


def as_sampled(volume: Volume, card: Card) -> Volume:
    """Sample a turned volume at the network's spacing."""
    if card.spacing_mm is None or np.allclose(volume.spacing_mm, card.spacing_mm, rtol=SAME_SPACING, atol=0):
        return volume
    return volume.resampled(card.spacing_mm, interpolation=card.sampling)
