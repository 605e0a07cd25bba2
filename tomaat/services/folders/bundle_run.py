"""Run a MONAI bundle on volumes in memory, by its own parts: as its evaluator does, without files and loaders.

The parsed configuration is asked once for each part and then thrown away. Asking it anew after a change, as of
``dataset#data``, would make the network anew, with random weights.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, dense_patch_slices, list_data_collate
from monai.engines.utils import default_prepare_batch, engine_apply_transform
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.networks.utils import eval_mode
from monai.transforms import (
    Compose,
    Decollated,
    EnsureChannelFirstd,
    LoadImaged,
    SaveImage,
    SaveImaged,
    apply_transform,
)
from monai.utils import ensure_tuple_rep, fall_back_tuple

from tomaat.refusals import WrongValue
from tomaat.services.folders.bundle_config import check_evaluator, config_file
from tomaat.services.folders.bundle_outputs import BundlePrediction, affine_of, meaning_of
from tomaat.services.folders.bundle_reading import HeldVolumes, in_order, is_canonical, without_reader
from tomaat.services.folders.bundle_walls import BundleWalls
from tomaat.services.folders.bundle_weights import load_weights
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kept_modules import KeptModules
from tomaat.volumes import Volume

LOADERS = {"LoadImaged", "LoadImageD", "LoadImageDict"}
SAVERS = {"SaveImaged", "SaveImageD", "SaveImageDict", "SaveClassificationd", "SaveClassificationD"}
BEFORE, AFTER = 0.1, 0.9  #: of the progress: where the tiles begin and end

Report = Callable[[float, str], None]


class Bundle:
    """A bundle's parts, with its weights on the device."""

    def __init__(self, kept: KeptModules, device: Any, channels: Sequence[str]) -> None:
        """Make the parts of a folder, for volumes of these ``channels``: the ids of the service's inputs.

        Raises ``FolderRefused`` where a part cannot be made, or its weights do not fit.
        """
        self.device = torch.device(device)
        self.channels = channels
        self.walls = BundleWalls(kept)
        with self.walls.within():
            try:
                with out_of_memory_told():
                    self._make(self.walls.place)
            except (FolderRefused, MemoryError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                raise _refused(kept.place, error) from error

    def _make(self, place: Path) -> None:
        file = config_file(place)
        name = str(file.relative_to(place))
        parser = ConfigParser()
        parser.read_config(str(file))
        parser.read_meta(str(place / "configs/metadata.json"))
        parser.update({"bundle_root": str(place), "device": self.device})
        parser.parse()
        without_files(parser.config, parser.config)
        parser.parse()
        evaluator = parser.get(_end(parser, "evaluator"))
        check_evaluator(evaluator, name)
        self.amp = bool(_content(parser, "evaluator::amp", default=False))
        self.amp_kwargs = _content(parser, "evaluator::amp_kwargs", default=None) or {}
        self.network = _content(parser, "evaluator::network")
        if not isinstance(self.network, torch.nn.Module):
            raise FolderRefused(f"{name}: evaluator#network is {type(self.network).__name__}, no network of torch.")
        self.inferer = _on(_content(parser, "evaluator::inferer", default=None) or SimpleInferer(), self.device)
        self.preprocessing = _content(parser, _preprocessing_id(parser))
        self.postprocessing = _content(parser, "evaluator::postprocessing", default=None) or Compose([])
        load_weights(parser, place, self.network, self.device)
        if isinstance(self.network, torch.jit.ScriptModule):
            self.network = HeardNetwork(self.network)
        self.network.to(self.device).eval()
        self.keys = self._take_loaders(name)
        self.postprocessing = _without_savers(self.postprocessing)
        self.meaning = meaning_of(_flat(self.postprocessing))

    @property
    def features(self) -> int | None:
        """The channels of the network's first layer; ``None`` where it has no weights of a 3-D convolution."""
        shapes = (each.shape for each in self.network.parameters())
        return next((int(shape[0]) for shape in shapes if len(shape) == 5), None)  # noqa: PLR2004 (out, in, i, j, k)

    def _take_loaders(self, name: str) -> list[str]:
        """Let the bundle's own loaders read volumes in memory; give the keys of their dictionary.

        There is one for all channels, or one for each, in the order of the channels.
        """
        loaders = [each for each in _flat(self.preprocessing) if isinstance(each, LoadImaged)]
        keys = [str(key) for loader in loaders for key in loader.keys]
        if len(keys) not in {1, len(self.channels)}:
            raise FolderRefused(
                f"{name}: the preprocessing has LoadImaged for {', '.join(keys) or 'nothing'}; a service is made of "
                f"bundles in which it loads one image, or one for each of the {len(self.channels)} channels."
            )
        self.held = HeldVolumes(_channel_axis(self.preprocessing), as_closest_canonical=is_canonical(loaders))
        for loader in loaders:
            loader.register(self.held)
        return in_order(keys, self.channels, _flat(self.preprocessing))

    def predict(self, volumes: Sequence[Volume], report: Report, overlap: float | None = None) -> BundlePrediction:
        """Run the bundle on volumes of one grid, one for each channel, as its evaluator would on their files.

        ``overlap`` of the tiles replaces the configuration's own. ``report`` may raise to give up between tiles.
        """
        report(0.0, "preprocessing")
        with self.walls.within(), out_of_memory_told(), self.held.holding(volumes) as names:
            files = {self.keys[0]: names if len(names) > 1 else names[0]} if len(self.keys) == 1 else None
            item = apply_transform(self.preprocessing, files or dict(zip(self.keys, names, strict=True)))
            batch = list_data_collate([item])
            inputs, _ = default_prepare_batch(batch, self.device)
            inferer = self.inferer
            if overlap is not None and overlap != getattr(inferer, "overlap", None):
                inferer = copy.copy(inferer)
                inferer.overlap = overlap
            output = {"image": inputs, "pred": self._infer(inferer, inputs, report)}
            report(AFTER, "postprocessing")
            split = Decollated(keys=None, detach=True)
            items, outputs = split(batch), split(output)
            _, output = engine_apply_transform(items[0], outputs[0], self.postprocessing)
            return self._prediction(output["pred"], volumes[0])

    def _infer(self, inferer: Any, inputs: Any, report: Report) -> Any:
        """Run the network, tile by tile; each is told before it begins."""
        total, begun = tiles_of(inferer, tuple(inputs.shape)), 0

        def tell(*_: Any) -> None:
            nonlocal begun
            part = min(begun / total, 1.0) if total else 1 - 0.9**begun
            report(BEFORE + (AFTER - BEFORE) * part, "network")
            begun += 1

        told = self.network.register_forward_pre_hook(tell)
        mixed = (
            torch.autocast("cuda", **self.amp_kwargs)
            if self.amp and self.device.type == "cuda"
            else contextlib.nullcontext()
        )
        try:
            with eval_mode(self.network), mixed:
                return inferer(inputs, self.network)
        finally:
            told.remove()

    def _prediction(self, found: Any, scan: Volume) -> BundlePrediction:
        affine = np.asarray(found.affine.cpu(), np.float64) if isinstance(found, MetaTensor) else affine_of(scan)
        array = torch.as_tensor(found).detach().cpu().float().numpy() if hasattr(found, "detach") else np.asarray(found)
        if array.ndim == 3:  # noqa: PLR2004 (i, j, k, where the postprocessing took the channel away)
            array = array[None]
        if array.ndim != 4 or (not isinstance(found, MetaTensor) and array.shape[1:] != scan.array.shape):  # noqa: PLR2004
            raise WrongValue(f"the bundle's result has the shape {array.shape}, which is no volume's")
        return BundlePrediction(array=array, affine=affine, meaning=self.meaning)


class HeardNetwork(torch.nn.Module):  # type: ignore[misc]
    """A network of TorchScript, whose calls can be heard by hooks: it has none itself."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any) -> Any:
        """Run it."""
        return self.network(*inputs)


@contextlib.contextmanager
def out_of_memory_told() -> Iterator[None]:
    """Raise an exhausted memory's own error, by which the worker makes room, and none of MONAI's around it."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, (MemoryError, torch.OutOfMemoryError)):
            cause = cause.__cause__
        if cause is None or cause is error:
            raise
        raise cause from None


def without_files(config: Any, root: Mapping[str, Any]) -> None:
    """Take out of a part of the configuration, in place, what reads and writes files: loaders' readers, and savers.

    ``root`` is the whole configuration. Raises ``FolderRefused`` for a reader that may give other voxels.
    """
    entries = list(config.values() if isinstance(config, dict) else config) if isinstance(config, (dict, list)) else []
    if isinstance(config, dict) and isinstance(config.get("_target_"), str):
        target = config["_target_"].rpartition(".")[2]
        if target in LOADERS:
            without_reader(config, root)
        if target in SAVERS:
            config["_disabled_"] = True
    for entry in entries:
        without_files(entry, root)


def tiles_of(inferer: Any, shape: Sequence[int]) -> int | None:
    """Tell how often an inferer will call the network for an input of the shape (batch, channel, i, j, k).

    As ``monai.inferers.utils.sliding_window_inference`` goes; ``None`` for an inferer of which that is not known.
    """
    if isinstance(inferer, SimpleInferer):
        return 1
    if not isinstance(inferer, SlidingWindowInferer):
        return None
    size = tuple(shape[2:])
    tile = fall_back_tuple(inferer.roi_size, size)
    padded = tuple(map(max, size, tile))
    overlaps = ensure_tuple_rep(inferer.overlap, len(size))
    steps = [
        side if side == whole else max(1, int(side * (1 - overlap)))
        for side, whole, overlap in zip(tile, padded, overlaps, strict=True)
    ]
    tiles: int = len(dense_patch_slices(padded, tile, steps)) * shape[0]
    return math.ceil(tiles / int(inferer.sw_batch_size))


def _content(parser: Any, id: str, **default: Any) -> Any:
    """Make one part of the configuration, once; the parts that it refers to are made with it, once."""
    if default and id not in parser:
        return default["default"]
    return parser.get_parsed_content(id)


def _end(parser: Any, id: str) -> str:
    """Follow plain references from one part of the configuration to the part where it is written."""
    while isinstance(value := parser.get(id), str) and value.startswith("@") and value[1:] in parser:
        id = value[1:]
    return id


def _preprocessing_id(parser: Any) -> str:
    """Find the transforms before the network: those of the dataset of the evaluator's loader."""
    id = "evaluator::val_data_loader"
    for key in ("dataset", "transform"):
        id = f"{_end(parser, id)}::{key}"
    for found in (id, "dataset::transform", "preprocessing"):
        if found in parser:
            return found
    raise FolderRefused("The configuration names no transforms before the network; write them as preprocessing.")


def _flat(transform: Any) -> list[Any]:
    """List the transforms of a composed one."""
    return (
        [each for part in transform.transforms for each in _flat(part)]
        if isinstance(transform, Compose)
        else [transform]
    )


def _without_savers(transform: Any) -> Any:
    """Take transforms that write files out of a composed one, in place."""
    if isinstance(transform, Compose):
        kept = [each for each in transform.transforms if not isinstance(each, (SaveImage, SaveImaged))]
        transform.transforms = tuple(_without_savers(each) for each in kept)
        return transform
    return Compose([]) if isinstance(transform, (SaveImage, SaveImaged)) else transform


def _channel_axis(preprocessing: Any) -> int | None:
    """Tell on which axis the preprocessing wants the channels, where it says so by a number."""
    for each in _flat(preprocessing):
        if isinstance(each, EnsureChannelFirstd):
            axis = each.adjuster.input_channel_dim
            return int(axis) if isinstance(axis, int) and not isinstance(axis, bool) else None
    return None


def _on(inferer: Any, device: torch.device) -> Any:
    """Let an inferer use the worker's device instead of one that it chose; stitching on the CPU stays there."""
    if getattr(inferer, "sw_device", None) is not None:
        inferer.sw_device = device
    chosen = getattr(inferer, "device", None)
    if chosen is not None and torch.device(chosen).type != "cpu":
        inferer.device = device
    return inferer


def _refused(place: Path, error: BaseException) -> FolderRefused:
    """Say why a part of a bundle could not be made: the first of the errors that led to one another."""
    while error.__cause__ is not None:
        error = error.__cause__
    remedy = ""
    if isinstance(error, ImportError) or type(error).__name__ == "OptionalImportError":
        remedy = " Install that package, in the version that configs/metadata.json names, beside those of this server."
    return FolderRefused(f"{place.name}: the bundle cannot be loaded: {type(error).__name__}: {error}.{remedy}")
