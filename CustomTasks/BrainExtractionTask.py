"""Outline the brain in an MRI of a whole head, with the networks of deepbet."""

import warnings
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from Inputs import FloatInput, VolumeInput
from tomaat.services import Outputs, Task, TaskRefused
from tomaat.volumes import Code, Labels, Volume

COARSE = (128, 128, 128)  #: voxels in which the first network looks for the brain in the head
FINE = (256, 256, 256)  #: voxels in which the second one outlines it
DARKEST, BRIGHTEST = 0.005, 0.995  #: quantiles of the head between which brightness counts
MEAN, DEVIATION = 0.449, 0.226  #: of the brightness that the networks know
FOREGROUND = 0.02  #: share of a plane's voxels from which it belongs to the brain's box
MARGIN = 0.1  #: of the box's size, added on each side
BRAIN = Code("12738006", "SCT", "Brain")


def networks() -> dict[str, Path]:
    """Find the two networks in the installed package, which need nothing else of it."""
    try:
        found = files("deepbet") or []
    except PackageNotFoundError:
        raise FileNotFoundError("pip install --no-deps -r requirements-networks.txt brings its networks") from None
    return {path.name: Path(str(path.locate())) for path in found if path.suffix == ".pt"}


class BrainExtractionTask(Task):
    """Two networks: one finds the brain in the head, the other outlines it there.

    Source: L. Fisch et al., "deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks",
    Computers in Biology and Medicine 179 (2024); its networks, of the package deepbet 1.0.2 (MIT licence).
    """

    task_identifier = "BrainExtraction"
    description = "Outlines the brain in a T1-weighted MRI of a whole head (deepbet)."
    version = "deepbet-1.0.2"
    intended_use = (
        "Research on T1-weighted MRI of whole heads of healthy adults. Not a medical device: no diagnosis and no "
        "treatment may depend on it."
    )
    licence = "MIT (the networks, of deepbet 1.0.2)"
    reference = (
        "L. Fisch et al., deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks, "
        "Computers in Biology and Medicine 179 (2024); https://github.com/wwu-mmll/deepbet"
    )
    inputs = (
        VolumeInput("head", "T1-weighted MRI of the whole head"),
        FloatInput(
            "cut", "Probability from which a voxel belongs to the brain", minimum=0.01, maximum=0.99, default=0.5
        ),
    )
    example = {  # noqa: RUF012 (read only)
        "head": {"file": "phantom_head.nii.gz", "about": "A phantom: a head drawn by code, nobody's scan."}
    }

    def load(self, device: torch.device) -> None:
        """Load both networks; they stay warm."""
        found = networks()
        self.weights = found["model.pt"]
        self.device = device
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the networks come as TorchScript
            self.finding = torch.jit.load(found["bbox_model.pt"], map_location=device).eval()
            self.outlining = torch.jit.load(found["model.pt"], map_location=device).eval()

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Let cuDNN and TorchScript see both networks on a GPU: TorchScript makes them faster with the second run.

        A CPU needs seconds for a run, and saves less.
        """
        if self.device.type == "cpu":
            return
        for network, shape in ((self.finding, COARSE), (self.outlining, FINE)):
            for _ in range(2):
                network(torch.zeros((1, 1, *shape), device=self.device))

    @torch.inference_mode()
    def perform(self, head: Volume, cut: float) -> Outputs:
        """Return the brain as the label 1."""
        turned = head.reoriented("RAS")
        voxels = torch.nan_to_num(turned.tensor(self.device))
        self.progress(0.05, "finding the brain")
        coarse = interpolate(voxels[None, None], COARSE, mode="nearest-exact")[0, 0]
        low, high = coarse.quantile(DARKEST), coarse.quantile(BRIGHTEST)
        if not high > low:
            raise TaskRefused("head: all voxels have the same brightness; there is no head to be seen.")
        probable = self.finding(normalized(coarse, low, high))[0, 1].cpu().numpy()
        found = brain_in(covering(turned, probable > 0.5))  # noqa: PLR2004 (half)
        box = box_around(found.volume.array, turned.array.shape)
        self.progress(0.2, "outlining the brain")
        fine = interpolate(voxels[box][None, None], FINE, mode="nearest-exact")[0, 0]
        probable = self.outlining(normalized(fine, low, high))[:, 1:2]
        back = interpolate(probable, voxels[box].shape, mode="nearest-exact")[0, 0].cpu().numpy()
        self.progress(0.9, "closing holes")
        mask = np.zeros(turned.array.shape, bool)
        mask[box] = back > cut
        return {"brain": brain_in(turned.like(mask)).without_holes()}


def normalized(voxels: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Bring brightness, cut at ``low`` and ``high``, to what the networks know; shape (1, 1, i, j, k)."""
    scaled = ((voxels - low) / (high - low)).clamp(0, 1)
    return ((scaled - scaled.mean()) / scaled.std() * DEVIATION + MEAN)[None, None]


def covering(volume: Volume, array: npt.NDArray[np.bool_]) -> Volume:
    """Make a volume of an array of another shape (i, j, k) that covers the same space as ``volume``."""
    ratio = np.divide(volume.array.shape, array.shape)
    return Volume(
        array=array,
        spacing_mm=tuple((ratio * volume.spacing_mm).tolist()),
        origin_mm=volume.to_physical(((ratio - 1) / 2).tolist()),
        direction=volume.direction,
    )


def brain_in(mask: Volume) -> Labels:
    """Take the largest part of a mask for the brain; raises ``TaskRefused`` where the mask is empty."""
    brain = Labels(volume=mask, names={1: "brain"}, codes={1: BRAIN}).largest_part()
    if not brain.volume.array.any():
        raise TaskRefused("head: no brain was found; send a T1-weighted MRI of a whole head.")
    return brain


def box_around(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Find the box of a mask with a margin, in the voxels of a volume of ``shape`` that covers the same space."""
    box = []
    for axis, (count, coarse) in enumerate(zip(shape, mask.shape, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(mask.mean(axis=others) > FOREGROUND)
        if not planes.size:
            raise TaskRefused("head: what looks like a brain is too small; send an MRI of a whole head.")
        first, last = planes[0] * count / coarse, (planes[-1] + 1) * count / coarse
        margin = MARGIN * (last - first)
        box.append(slice(max(0, round(first - margin)), min(count, round(last + margin))))
    return tuple(box)
