"""How much memory a ticket of a MONAI bundle will take, as far as its configuration tells it: roughly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tomaat.services.expected_memory import ExpectedMemory
from tomaat.services.folders.bundle_config import SLIDING_WINDOW, follow
from tomaat.volumes import Volume

FLOAT_BYTES = 4
#: Bytes that ``Spacingd`` and ``Invertd`` take beside their result, of each voxel that goes in and comes out: float64
#: values, and three float64 places for the whole grid.
IN_BYTES, OUT_BYTES, GRID_BYTES = 8 + 4, 8 + 4, 3 * 8
LAYERS = 6  #: tensors of the network's first layer that it holds at once, roughly
RESIZING = ("Crop", "Pad", "Resize", "Zoom")  #: in the name of a transform after which a volume has another size


@dataclass(frozen=True, kw_only=True)
class BundleSizes:
    """What the configuration tells in plain numbers."""

    outputs: int  #: channels
    orientation: str | None  #: letters to which the volumes are turned
    pixdim: tuple[float, ...] | None  #: mm to which they are resampled, along the axes that they have then
    is_told: bool  #: what the network sees; not where an expression, or a cut, makes it of another size
    roi: tuple[int, ...] | None  #: voxels that the network sees at once; ``None``: the whole volume, or not told
    at_once: int  #: such parts in a batch

    @classmethod
    def of(cls, config: Mapping[str, Any], outputs: int) -> BundleSizes:
        """Read them; what stands there as an expression is not known."""
        preprocessing = _transforms(config)
        is_told = preprocessing is not None and not any(word in name for name in preprocessing for word in RESIZING)
        spacing, turned = ((preprocessing or {}).get(name) for name in ("Spacingd", "Orientationd"))
        pixdim = None if spacing is None else _three(follow(config, spacing.get("pixdim")))
        inferer = follow(config, follow(config, "@evaluator#inferer"))
        window = inferer if isinstance(inferer, Mapping) and inferer.get("_target_") in SLIDING_WINDOW else {}
        letters = follow(config, turned.get("axcodes")) if turned is not None else None
        batch = follow(config, window.get("sw_batch_size", 1))
        return cls(
            outputs=outputs,
            orientation=letters if isinstance(letters, str) else None,
            pixdim=pixdim,
            is_told=is_told and (spacing is None or pixdim is not None),
            roi=_whole(_three(follow(config, window.get("roi_size")))),
            at_once=batch if isinstance(batch, int) and batch > 0 else 1,
        )

    def seen(self, volume: Volume) -> tuple[int, ...] | None:
        """Tell how many voxels the network sees of a volume; ``None`` where the configuration does not tell it."""
        if not self.is_told:
            return None
        if self.pixdim is None:
            return tuple(map(int, volume.array.shape))
        turned = volume if self.orientation is None else volume.reoriented(self.orientation)
        sides = zip(turned.array.shape, turned.spacing_mm, self.pixdim, strict=True)
        return tuple(max(1, round(count * mm / goal)) if goal > 0 else count for count, mm, goal in sides)

    def expected(self, volume: Volume, channels: int, features: int | None, *, on_gpu: bool) -> ExpectedMemory | None:
        """Estimate for ``channels`` volumes like this one; ``features`` are the channels of the network's first layer.

        Sure are only the network's input and output; beside a GPU the output may lie in either memory. The transforms
        work in the machine's. ``None`` where even the size of the input cannot be told.
        """
        seen = self.seen(volume)
        if seen is None:
            return None
        there, here = math.prod(seen), volume.array.size
        given, found = FLOAT_BYTES * channels * there, FLOAT_BYTES * self.outputs * there
        rough = (GRID_BYTES + IN_BYTES) * here + (GRID_BYTES + OUT_BYTES * max(channels, self.outputs)) * there
        tile = there
        if self.roi is not None:
            parts = math.prod(-(-count // side) for count, side in zip(seen, self.roi, strict=True))
            tile = math.prod(self.roi) * min(self.at_once, parts)
        layers = None if features is None else found + LAYERS * FLOAT_BYTES * features * tile
        return ExpectedMemory(
            machine_bytes=given if on_gpu else given + found,
            gpu_bytes=given if on_gpu else 0,
            layers_bytes=layers if layers is None or on_gpu else rough + layers,
            about=f"for {channels} inputs and {self.outputs} outputs of {' x '.join(map(str, seen))} voxels",
        )


def _transforms(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]] | None:
    """Give the transforms before the network, by their names; ``None`` where not all of them are told plainly."""
    for place in ("@preprocessing", "@dataset#transform"):
        composed = follow(config, place)
        if composed is None:
            continue
        listed = follow(config, composed.get("transforms")) if isinstance(composed, Mapping) else None
        if not isinstance(listed, list):
            return None
        found: dict[str, Mapping[str, Any]] = {}
        for each in listed:
            plain = follow(config, each)
            if not isinstance(plain, Mapping) or not isinstance(plain.get("_target_"), str):
                return None
            found[plain["_target_"].rpartition(".")[2]] = plain
        return found
    return None


def _three(value: object) -> tuple[float, ...] | None:
    """Take three plain numbers."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:  # noqa: PLR2004 (i, j, k)
        return None
    return tuple(map(float, value)) if all(type(each) in {int, float} for each in value) else None


def _whole(sides: tuple[float, ...] | None) -> tuple[int, ...] | None:
    return tuple(map(int, sides)) if sides is not None and min(sides) >= 1 else None
