"""Outline the fluid of the inner ear in a CISS MRI, with a network that has seen phantoms only."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import interpolate, relu

from Inputs import BooleanInput, PointListInput, VolumeInput
from tomaat.services import Outputs, Task, TaskRefused
from tomaat.volumes import Code, Labels, Volume

BLOCK = (80, 60, 40)  #: voxels that the network sees: to the patient's left, to posterior, to superior
BLOCK_SPACING_MM = 0.5
DARKEST, BRIGHTEST = 0.01, 0.995  #: quantiles of the block that become 0 and 1
LEAST_MM = 12.0  #: along each axis: an inner ear is about 11 x 15 x 13 mm
CHANNELS = (8, 24, 48, 96)  #: of the network, from fine to coarse
CUT = 0.5  #: probability from which a voxel belongs to the inner ear
INNER_EAR = Code("22945000", "SCT", "Inner ear")


class UNet(nn.Module):
    """A small 3D U-Net: (n, 1, i, j, k) to the logits of the same shape, each axis of at least 8 voxels.

    After Cicek et al., "3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation", MICCAI 2016; with
    group normalisation (Wu and He, ECCV 2018), and sums where it has concatenations.
    """

    def __init__(self) -> None:
        super().__init__()
        pairs = list(pairwise(CHANNELS))
        self.first = nn.Sequential(Convolution(1, CHANNELS[0]), Convolution(CHANNELS[0], CHANNELS[0]))
        self.down = nn.ModuleList(
            nn.Sequential(Convolution(fine, coarse, stride=2), Convolution(coarse, coarse)) for fine, coarse in pairs
        )
        self.up = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in reversed(pairs))
        self.after = nn.ModuleList(
            nn.Sequential(Convolution(fine, fine), Convolution(fine, fine)) for fine, _ in reversed(pairs)
        )
        self.last = nn.Conv3d(CHANNELS[0], 1, 1)
        nn.init.constant_(self.last.bias, -4.0)  # few voxels are inner ear: training begins there

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """Compute the logits."""
        levels = [self.first(voxels)]
        for down in self.down:
            levels.append(down(levels[-1]))
        found = levels.pop()
        for up, after in zip(self.up, self.after, strict=True):
            finer = levels.pop()
            found = after(finer + interpolate(up(found), finer.shape[2:], mode="nearest"))
        return self.last(found)


class Convolution(nn.Module):
    """A convolution of 3 x 3 x 3, normalised, without what is negative."""

    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(before, after, 3, stride, padding=1, bias=False)
        self.normalisation = nn.GroupNorm(4, after)

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """Compute the features."""
        return relu(self.normalisation(self.convolution(voxels)), inplace=True)


class InnerEarSegmentationTask(Task):
    """One network on a block around a point; once more around what it found there, so that nothing is cut off.

    The network was trained on phantoms: ``networks/inner_ear/README.md`` says what that is worth.
    """

    task_identifier = "InnerEarSegmentation"
    description = (
        "Outlines the fluid of one inner ear in a CISS MRI. Its network has seen phantoms only: not for clinical use."
    )
    intended_use = (
        "Research. Not a medical device: no diagnosis, treatment or implant may depend on it. Its network was "
        "trained on phantoms only; its behaviour on a patient's scan is unknown until somebody measures it."
    )
    licence = "Apache-2.0"
    reference = "Its model card: networks/inner_ear/README.md in TOMAAT's repository"
    inputs = (
        VolumeInput("cissvolume", "CISS MRI of the temporal bone"),
        BooleanInput("onlyLargestComponent", "Keep only the largest connected part", default=True),
        PointListInput(
            "center", "Where to look", description="One point within 5 mm; absent: the middle.", most=1, required=False
        ),
    )
    example = {  # noqa: RUF012 (read only)
        "cissvolume": {
            "file": "phantom_inner_ear.nii.gz",
            "about": "A phantom: an inner ear grown by code, nobody's scan.",
        },
        "center": [[40.0, 18.0, -30.0]],
    }
    weights = Path(__file__).resolve().parents[1] / "networks" / "inner_ear" / "inner_ear.safetensors"

    def load(self, device: torch.device) -> None:
        """Load the network; it stays warm."""
        self.device = device
        self.network = UNet()
        self.network.load_state_dict(load_file(self.weights))
        self.network.to(device).eval()

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Let cuDNN choose its ways."""
        self.network(torch.zeros((1, 1, *BLOCK), device=self.device))

    def perform(
        self,
        cissvolume: Volume,
        onlyLargestComponent: bool,  # noqa: N803, FBT001 (its first users' name)
        center: tuple[tuple[float, float, float], ...] | None,
    ) -> Outputs:
        """Return the inner ear as the label 1."""
        check_size(cissvolume)
        center_mm = cissvolume.center_mm if center is None else center[0]
        check_inside(cissvolume, center_mm)
        self.progress(0.1, "looking around the center")
        probable = self.probable(cissvolume, center_mm)
        main = largest_part(probable.like(probable.array > CUT))
        if main.any():
            self.progress(0.5, "looking around what was found")
            ends = np.argwhere(main)
            middle = ((ends.min(axis=0) + ends.max(axis=0)) / 2).tolist()
            probable = self.probable(cissvolume, probable.to_physical(middle))
            if onlyLargestComponent:
                found = probable.array > CUT
                beside = found & ~largest_part(probable.like(found))
                probable = probable.like(np.where(beside, 0, probable.array))
        self.progress(0.9, "back to the volume")
        part = own_voxels(cissvolume, probable)
        mask = probable.onto(part).array > CUT
        return {"inner_ear": Labels(volume=part.like(mask), names={1: "inner ear"}, codes={1: INNER_EAR})}

    @torch.inference_mode()
    def probable(self, scan: Volume, center_mm: tuple[float, float, float]) -> Volume:
        """Compute each voxel's probability, in the block around a point."""
        block = block_around(scan, center_mm)
        return block.like(self.network(normalized(block).to(self.device))[0, 0].sigmoid())


def check_size(scan: Volume) -> None:
    """Refuse a volume in which no inner ear has room."""
    size_mm = [count * spacing for count, spacing in zip(scan.array.shape, scan.spacing_mm, strict=True)]
    if min(size_mm) < LEAST_MM:
        shown = " x ".join(f"{size:.1f}" for size in size_mm)
        raise TaskRefused(
            f"cissvolume: {shown} mm is too small for an inner ear; send at least {LEAST_MM:g} mm along each axis.",
            code="volume-too-small",
        )


def check_inside(scan: Volume, point_mm: tuple[float, float, float]) -> None:
    """Refuse a point outside of the volume."""
    index = np.asarray(scan.to_index(point_mm))
    if (index < -0.5).any() or (index > np.asarray(scan.array.shape) - 0.5).any():  # noqa: PLR2004 (half a voxel)
        shown = ", ".join(f"{place:.1f}" for place in point_mm)
        corners = np.array(corners_of(scan))
        box = ", ".join(f"{low:.1f} to {high:.1f}" for low, high in zip(corners.min(0), corners.max(0), strict=True))
        raise TaskRefused(
            f"center: ({shown}) mm lies outside of cissvolume, which spans {box} mm (LPS); choose a point in it.",
            code="center-outside",
        )


def block_around(scan: Volume, center_mm: tuple[float, float, float]) -> Volume:
    """Sample the block that the network sees, along the patient's axes; what lies outside is as dark as can be."""
    first = np.asarray(center_mm) - (np.asarray(BLOCK) - 1) / 2 * BLOCK_SPACING_MM
    grid = Volume(
        array=np.broadcast_to(np.zeros(1, np.float32), BLOCK),
        spacing_mm=(BLOCK_SPACING_MM,) * 3,
        origin_mm=tuple(first.tolist()),
        direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    )
    return own_voxels(scan, grid).onto(grid)


def corners_of(volume: Volume) -> list[tuple[float, float, float]]:
    """Give a volume's eight corners, LPS, mm."""
    shape = np.asarray(volume.array.shape)
    return [volume.to_physical((shape * corner - 0.5).tolist()) for corner in np.ndindex(2, 2, 2)]


def own_voxels(scan: Volume, block: Volume) -> Volume:
    """Cut out a scan's own voxels that cover a block, float32; beyond the scan they are as dark as its darkest."""
    indices = np.array([scan.to_index(corner) for corner in corners_of(block)])
    size = np.ceil(np.ptp(indices, axis=0)).astype(int) + 2
    part = scan.cropped(block.center_mm, size.tolist(), outside=float(np.fmin.reduce(scan.array, axis=None)))
    return part.like(np.nan_to_num(part.array.astype(np.float32)))


def normalized(block: Volume) -> torch.Tensor:
    """Bring the block's brightness to what the network knows; shape (1, 1, i, j, k)."""
    voxels = block.tensor("cpu")
    low, high = voxels.quantile(torch.tensor([DARKEST, BRIGHTEST]))
    if not high > low:
        raise TaskRefused(
            "cissvolume: all voxels around the center have the same brightness; there is no inner ear to be seen.",
            code="nothing-to-see",
        )
    return ((voxels - low) / (high - low)).clamp(0, 2)[None, None]


def largest_part(found: Volume) -> npt.NDArray[np.bool_]:
    """Keep the largest part of a mask, shape (i, j, k)."""
    largest: npt.NDArray[np.bool_] = Labels(volume=found, names={1: "inner ear"}).largest_part().volume.array
    return largest
