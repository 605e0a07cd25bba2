"""A network of nnU-Net on a device: volumes in, labels out, by nnunetv2's own steps without its pools and files.

The steps are those of ``nnUNetPredictor.predict_from_files`` of nnunetv2 2.8.1, on arrays (channel, z, y, x) whose
spacing is z, y, x: the reader's order, ``DefaultPreprocessor``, the sliding window, the way back.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.nnunet_load import build_network, read_weights
from tomaat.services.folders.nnunet_memory import Wanted
from tomaat.services.folders.nnunet_model import NnunetModel
from tomaat.services.folders.nnunet_tiles import TilePredictor
from tomaat.services.folders.nnunet_way_back import labels_of
from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Volume

Report = Callable[[float, str], None]
PREPARED, SEEN = 0.1, 0.9  #: of the whole: when the network begins, and when it has seen all tiles
NOTHING_LEFT = "zero-size array"  #: numpy's words, where no voxel is left of a volume that was resampled


class NnunetNetwork:
    """The networks of a folder's folds, one of them on the device at a time."""

    def __init__(self, place: Path, model: NnunetModel, device: torch.device) -> None:
        """Read the weights and build the network; raises ``FolderRefused``."""
        self.model = model
        self.device = torch.device(device)
        self.ran_out = False  #: the device's memory, in the ticket before
        with as_guest():
            self.plans = PlansManager(model.plans)
            self.configuration = self.plans.get_configuration(model.checkpoint.configuration)
            self.weights = {fold: read_weights(place, model, fold) for fold in model.folds}
            network = build_network(self.plans, self.configuration, model).to(self.device).eval()
            self.predictor = TilePredictor(self.device)
            self.predictor.manual_initialization(
                network=network,
                plans_manager=self.plans,
                configuration_manager=self.configuration,
                parameters=None,
                dataset_json=model.dataset,
                trainer_name=model.checkpoint.trainer,
                inference_allowed_mirroring_axes=model.checkpoint.mirrored_axes or None,
            )
            for fold in reversed(model.folds):  # the first one last, since it will be asked for
                self.take_fold(fold)

    def take_fold(self, fold: str) -> None:
        """Let the network have a fold's weights. Raises ``FolderRefused`` for weights of another network."""
        if self.predictor.fold == fold:
            return
        try:
            self.predictor.network.load_state_dict(self.weights[fold])
        except RuntimeError as error:
            told = str(error).splitlines()[-1].strip()
            rule = "its weights are not those of the network in plans.json"
            raise FolderRefused(f"fold_{fold}/{self.model.checkpoint_name}: {rule}: {told}") from error
        self.predictor.fold = fold

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run one tile of zeros, on a GPU only: on a CPU it takes as long each time."""
        if self.device.type == "cuda":
            tile = torch.zeros((1, len(self.model.channels), *self.configuration.patch_size), device=self.device)
            with as_guest(), torch.autocast("cuda"):
                self.predictor.network(tile)

    @torch.inference_mode()
    def segment(
        self,
        volumes: Sequence[Volume],
        *,
        folds: Sequence[str],
        tile_step: float,
        mirroring: bool,
        progress: Report,
    ) -> np.ndarray[Any, Any]:
        """Find the labels of volumes on one grid, one volume a channel; shape (i, j, k), uint8 or uint16.

        Raises ``TaskRefused`` where no voxel is left, and whatever ``progress`` raises between two tiles.
        """
        progress = outside(progress)
        progress(0.0, "preparing")
        on_gpu = self.device.type == "cuda"
        numbered = {str(number): volume for number, volume in enumerate(volumes)}
        wanted = Wanted.of(self.model, numbered, several=len(folds) > 1, on_gpu=on_gpu)
        cramped, self.ran_out = self.ran_out, False
        on_device = on_gpu and not cramped and wanted.fits_on(self.total_bytes)
        with as_guest():
            data, properties = self.prepare(volumes)
            self.predictor.tile_step_size, self.predictor.use_mirroring = tile_step, mirroring
            self.predictor.keeps_on_device = on_device
            try:
                logits = self.mean_of(data, folds, within(progress, PREPARED, SEEN))
                del data
                later, there = within(progress, SEEN, 1), self.predictor.device
                found = labels_of(logits, self.plans, self.model, properties, device=there, progress=later)
            except torch.OutOfMemoryError:
                self.ran_out = on_device  # the worker lets the other networks go, and asks once more
                raise
            return self.back(found, volumes[0], properties)

    @property
    def total_bytes(self) -> int:
        """The memory of the GPU."""
        return int(torch.cuda.mem_get_info(self.device)[1])

    def prepare(self, volumes: Sequence[Volume]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Crop, normalize and resample as the plans say; (channel, z, y, x), and what the way back needs to know."""
        arrays = [as_read(volume, reorients=self.model.reorients) for volume in volumes]
        read = np.empty((len(arrays), *arrays[0].shape), np.float32)
        for channel, array in zip(read, arrays, strict=True):
            channel[...] = array
        spacing = list(volumes[0].spacing_mm)
        if self.model.reorients:
            to_ras = io_orientation(affine_of(volumes[0]))
            spacing = [spacing[source] for source in np.argsort(to_ras[:, 0])]
        properties: dict[str, Any] = {"spacing": [float(each) for each in reversed(spacing)]}
        try:
            data, _, properties = self.configuration.preprocessor_class(verbose=False).run_case_npy(
                read, None, properties, self.plans, self.configuration, self.model.dataset
            )
        except ValueError as error:
            if NOTHING_LEFT not in str(error):
                raise
            voxel = " x ".join(f"{mm:g}" for mm in self.configuration.spacing)
            rule = f"half a voxel of the network, which has {voxel} mm"
            raise TaskRefused(
                f"The part that is not 0 is thinner than {rule}; send more of it.", code="too-thin"
            ) from error
        return torch.from_numpy(data).to(dtype=torch.float32, memory_format=torch.contiguous_format), properties

    def mean_of(self, data: torch.Tensor, folds: Sequence[str], progress: Report) -> torch.Tensor:
        """Give the mean of the folds' outputs before the softmax: (output, z, y, x), float16, as nnU-Net adds them."""
        total: Any = None
        for number, fold in enumerate(folds):
            self.take_fold(fold)
            self.predictor.tell = within(progress, number / len(folds), (number + 1) / len(folds))
            found = self.predictor.predict_sliding_window_return_logits(data)
            total = found if total is None else total.add_(found)
        if len(folds) > 1:
            total.div_(torch.tensor(len(folds), dtype=total.dtype, device=total.device))  # by a number CUDA multiplies
        summed: torch.Tensor = total
        return summed

    def back(self, found: np.ndarray[Any, Any], grid: Volume, properties: dict[str, Any]) -> np.ndarray[Any, Any]:
        """Put the labels of the cropped, transposed array to where they belong in the volume: (i, j, k)."""
        whole = np.zeros(properties["shape_before_cropping"], found.dtype)
        insert_crop_into_image(whole, found, properties["bbox_used_for_cropping"])
        array = whole.transpose(self.plans.transpose_backward).transpose(2, 1, 0)
        if self.model.reorients:
            from_ras = ornt_transform(axcodes2ornt("RAS"), io_orientation(affine_of(grid)))
            array = apply_orientation(array, from_ras)
        return np.ascontiguousarray(array)


def as_read(volume: Volume, *, reorients: bool) -> np.ndarray[Any, Any]:
    """Give a volume's voxels in the order of nnU-Net's reader: (z, y, x), in RAS where its plans say so."""
    array = volume.array
    if reorients:
        array = apply_orientation(array, io_orientation(affine_of(volume)))
    return array.transpose(2, 1, 0)


def affine_of(volume: Volume) -> np.ndarray[Any, Any]:
    """Give a volume's affine as NIfTI has it: from (i, j, k) to RAS, in mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(volume.direction) * volume.spacing_mm
    affine[:3, 3] = volume.origin_mm
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def within(progress: Report, low: float, high: float) -> Report:
    """Tell the progress of a part as that of the whole."""
    return lambda fraction, stage: progress(low + (high - low) * fraction, stage)


def outside(progress: Report) -> Report:
    """Tell the progress where the program prints, also from within ``as_guest``."""
    stream = sys.stdout

    def tell(fraction: float, stage: str) -> None:
        with contextlib.redirect_stdout(stream):
            progress(fraction, stage)

    return tell


@contextlib.contextmanager
def as_guest() -> Iterator[None]:
    """Let a library print nothing, not end the process, and leave no setting of torch changed."""
    benchmark, threads = torch.backends.cudnn.benchmark, torch.get_num_threads()
    torch.backends.cudnn.benchmark = True  # as nnUNetPredictor sets it, and leaves it
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    except SystemExit as error:
        raise RuntimeError("nnunetv2 asked to end the process") from error
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.set_num_threads(threads)
