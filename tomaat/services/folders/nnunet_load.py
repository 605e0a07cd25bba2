"""Build a network of nnU-Net and read its weights, with nothing of a training imported."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from tomaat.refusals import shown
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.nnunet_model import NnunetModel
from tomaat.services.folders.nnunet_trainers import trainers

SCALAR: Any = np.float64(0).__reduce__()[0]  #: numpy's function that makes a number of its bytes
#: Of numpy, what ``_best_ema`` and the log of a training are made of, under the names of numpy 1 and 2.
NUMBERS: list[Any] = [
    (SCALAR, "numpy.core.multiarray.scalar"),
    (SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(each)) for each in (np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)),
]


def read_weights(place: Path, model: NnunetModel, fold: str) -> dict[str, torch.Tensor]:
    """Read a fold's weights into the machine's memory, and nothing else of its checkpoint.

    Only for a folder that names functions of its own, and is trusted, may reading call them. Raises ``FolderRefused``.
    """
    path = place / f"fold_{fold}" / model.checkpoint_name
    try:
        with torch.serialization.safe_globals(NUMBERS):
            read = torch.load(path, map_location="cpu", weights_only=not model.code, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FolderRefused(f"fold_{fold}/{path.name} cannot be read: {told}") from error
    weights = read["network_weights"]
    return {name.removeprefix("module."): tensor.clone() for name, tensor in weights.items()}  # off the mapped file


def build_network(plans: Any, configuration: Any, model: NnunetModel) -> torch.nn.Module:
    """Build the network that the checkpoint's trainer builds. Raises ``FolderRefused`` where that is not possible."""
    trainer, inputs, outputs = model.checkpoint.trainer, len(model.channels), model.labels.outputs
    try:
        if trainers().get(trainer, False):
            return get_network_from_plans(
                configuration.network_arch_class_name,
                configuration.network_arch_init_kwargs,
                configuration.network_arch_init_kwargs_req_import,
                inputs,
                outputs,
                allow_init=False,
                deep_supervision=False,
            )
        find = importlib.import_module("nnunetv2.utilities.find_objects").recursive_find_trainer_class_by_name
        return find(trainer).build_network_architecture(
            plans, configuration, inputs, outputs, enable_deep_supervision=False
        )
    except ModuleNotFoundError as error:
        raise FolderRefused(
            f"The network of {shown(trainer)} needs the package {error.name}, which requirements-nnunet.txt does not "
            f"bring; pip install {error.name}, of a version that leaves torch as it is."
        ) from error
