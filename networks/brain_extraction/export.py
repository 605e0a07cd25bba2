"""Write both networks, and all that lies between them, as one ONNX file with its card into a folder.

The server offers that folder as it is. ``python -m networks.brain_extraction.export Brain`` needs the package ``onnx``.
"""

from __future__ import annotations

import argparse
import shutil
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import max_pool3d

from CustomTasks import BrainExtractionTask as its

CARD = Path(__file__).with_name("tomaat.yaml")
OPSET = 18
#: Voxels of the head with which the export is traced; the file takes any.
TRACED = (70, 60, 50)


class Brain(nn.Module):
    """BrainExtraction's way from a head to the brain's probability: (1, 1, i, j, k), in RAS, to the same shape.

    It stands here in operations that ONNX has. Where no brain is found all is 0; the task refuses such a head instead.
    """

    def __init__(self, finding: nn.Module, outlining: nn.Module) -> None:
        super().__init__()
        self.finding = finding
        self.outlining = outlining
        self.largest_part = torch.jit.script(largest_part)  # its loop ends when it is done, not when the trace did

    def forward(self, head: torch.Tensor) -> torch.Tensor:
        """Compute the probabilities."""
        shape = torch._shape_as_tensor(head)[2:]  # noqa: SLF001 (a shape that the exported file reads anew)
        coarse = taken(head, [evenly(shape[axis], its.COARSE[axis]) for axis in range(3)])
        low, high = quantile(coarse, its.DARKEST), quantile(coarse, its.BRIGHTEST)
        probable = self.finding(its.normalized(coarse[0, 0], low, high))[:, 1:2]
        found = self.largest_part((probable > 0.5).float())
        boxes = [box_along(found, axis, shape[axis]) for axis in range(3)]
        fine = taken(
            head,
            [start + evenly(stop - start, its.FINE[axis]) for axis, (start, stop) in enumerate(boxes)],
        )
        probable = self.outlining(its.normalized(fine[0, 0], low, high))[:, 1:2]
        ways = [back_along(shape[axis], start, stop, its.FINE[axis]) for axis, (start, stop) in enumerate(boxes)]
        inside = ways[0][1][:, None, None] & ways[1][1][None, :, None] & ways[2][1][None, None, :]
        inside = inside & found.any()
        return torch.where(inside[None, None], taken(probable, [way[0] for way in ways]), torch.zeros(()))


def taken(voxels: torch.Tensor, places: list[torch.Tensor]) -> torch.Tensor:
    """Take voxels (1, 1, i, j, k) at some places along each axis."""
    for axis, each in enumerate(places):
        voxels = voxels.index_select(axis + 2, each)
    return voxels


def evenly(length: torch.Tensor, count: int) -> torch.Tensor:
    """Tell where ``count`` voxels are taken from ``length``: torch's ``nearest-exact``, in its own float32."""
    return at(torch.arange(count), length.float() / count, length)


def at(places: torch.Tensor, scale: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Tell which of ``length`` voxels ``nearest-exact`` takes for each place of another, so many times finer, row."""
    source = ((places.float() + 0.5) * scale - 0.5).clamp(min=0)
    return torch.minimum((source + 0.5).floor().long(), length - 1)


def back_along(count: torch.Tensor, start: torch.Tensor, stop: torch.Tensor, fine: int) -> tuple[torch.Tensor, ...]:
    """Tell for each of ``count`` voxels which of ``fine`` ones of the box it takes, and whether it lies in the box."""
    place = torch.arange(count)
    length = torch.maximum(stop - start, torch.ones_like(stop))
    scale = torch.full((), float(fine)) / length.float()
    inside = (place >= start) & (place < stop)
    return at((place - start).clamp(min=0), scale, torch.full((), fine)), inside


def quantile(voxels: torch.Tensor, part: float) -> torch.Tensor:
    """Find a quantile as ``torch.quantile`` does, which ONNX lacks."""
    count = voxels.numel()
    rank = torch.tensor(part) * (count - 1)  # in float32, as torch has it
    below = int(rank)
    weight = rank - below
    if part < 0.5:
        lowest = voxels.flatten().topk(below + 2, largest=False).values
        return torch.lerp(lowest[below], lowest[below + 1], weight)
    highest = voxels.flatten().topk(count - below, largest=True).values
    return torch.lerp(highest[count - 1 - below], highest[count - 2 - below], weight)


def largest_part(mask: torch.Tensor) -> torch.Tensor:
    """Keep the largest of the parts of a mask (1, 1, i, j, k) of 0 and 1 that do not touch, not even at a corner.

    Each voxel has a number. It takes the highest one of its neighbours, then the one that the voxel of that number has,
    until none changes: those of a part have one number then, and each part its own. After Shiloach and Vishkin, "An
    O(log n) parallel connectivity algorithm" (1982).
    """
    numbers = (torch.arange(mask.numel()) + 1).float().reshape(mask.shape) * mask
    before = torch.zeros_like(numbers)
    while bool((numbers != before).any()):
        before = numbers
        grown = max_pool3d(numbers, 3, 1, 1) * mask
        of_number = torch.cat([torch.zeros(1), grown.flatten()])
        numbers = of_number[grown.flatten().long()].reshape(mask.shape)
    own = numbers.flatten().long()
    sizes = torch.zeros(mask.numel() + 1).scatter_add(0, own, mask.flatten())
    return (numbers == sizes.argmax()).float() * mask


def box_along(found: torch.Tensor, axis: int, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the ends of the brain's box along an axis of ``count`` voxels: ``box_around`` of the task."""
    others = [other + 2 for other in range(3) if other != axis]
    coarse = its.COARSE[axis]
    share = found.sum(others).flatten() / (found.numel() / coarse)
    there = (share > its.FOREGROUND).float()
    first = there.argmax(0).double() * count / coarse
    last = (coarse - there.flip(0).argmax(0)).double() * count / coarse
    margin = its.MARGIN * (last - first)
    start = torch.clamp((first - margin).round(), min=0).long()
    return start, torch.minimum((last + margin).round().long(), count)


def export(folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    task = its.BrainExtractionTask()
    task.load(torch.device("cpu"))
    sizes = {2: "i", 3: "j", 4: "k"}
    head = torch.linspace(0, 1, TRACED[0] * TRACED[1] * TRACED[2]).reshape(1, 1, *TRACED)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch advises its newer exporter, which takes no TorchScript
        torch.onnx.export(  # of the trace: ONNX's own tracing takes no TorchScript within
            torch.jit.trace(Brain(task.finding, task.outlining).eval(), head, check_trace=False),
            (head,),
            folder / "brain.onnx",
            dynamo=False,
            opset_version=OPSET,
            input_names=["head"],
            output_names=["brain"],
            dynamic_axes={"head": sizes, "brain": sizes},
        )
    shutil.copyfile(CARD, folder / CARD.name)


def main(arguments: list[str] | None = None) -> None:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="becomes the networks' folder; its name is the service's")
    export(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
