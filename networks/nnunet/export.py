"""Write a trained-model folder of nnU-Net as an ONNX file with a card, which is served without nnU-Net's packages.

``python -m networks.nnunet.export FOLDER Liver`` needs the packages of ``requirements-nnunet.txt``, and ``onnx``.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kinds import make_task
from tomaat.services.folders.nnunet_load import build_network, read_weights
from tomaat.services.folders.nnunet_model import NnunetModel
from tomaat.services.folders.nnunet_task import NnunetTask

AXES = "kji"  #: the order in which nnU-Net's readers give a volume's axes
SAME = ("voxels", "logits")  #: names of the file's input and output


class Mean(nn.Module):
    """The mean of the folds' outputs."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """Compute the logits."""
        total = self.networks[0](voxels)
        for network in self.networks[1:]:
            total = total + network(voxels)
        return total / len(self.networks)


def card_of(task: NnunetTask) -> dict[str, Any]:
    """Make the card of a folder. Raises ``FolderRefused`` for what a card cannot say."""
    model = task.model
    plans, configuration = model.plans, model.configuration
    spacing = list(configuration["spacing"])
    if len(spacing) != len(AXES):
        raise FolderRefused("The network sees slices; a card is of networks that see volumes. Serve the folder itself.")
    if model.labels.painted not in {(), tuple(range(1, len(model.labels.names) + 1))}:
        raise FolderRefused("Its regions are not painted in the order of their numbers. Serve the folder itself.")
    axes = "".join(AXES[axis] for axis in plans["transpose_forward"])
    card: dict[str, Any] = {
        key: getattr(task, key) for key in ("description", "licence", "reference") if getattr(task, key)
    }
    volumes: list[Any] = list(task.inputs[: len(model.channels)])
    card["inputs"] = [
        {"id": each.id, "name": each.name, **({"modality": list(each.modalities)} if each.modalities else {})}
        | {"intensity": intensity_of(model, channel)}
        for channel, each in enumerate(volumes)
    ]
    card |= {
        "orientation": "RAS" if model.reorients else "as-sent",
        "axes": axes,
        "crop": "nonzero",
        "spacing_mm": spacing,
        "sampling": "cubic",
        "intensity_of": "sent",
        "output": {"kind": "sigmoid" if model.labels.painted else "softmax"},
        "patch": list(configuration["patch_size"]),
        "overlap": 0.5,
        "mirroring": "".join(axes[axis] for axis in model.checkpoint.mirrored_axes),
        "labels": {value: label_of(name, task.codes.get(value)) for value, name in model.labels.names.items()},
    }
    return card


def intensity_of(model: NnunetModel, channel: int) -> dict[str, Any]:
    """Tell how a channel is scaled. Raises ``FolderRefused`` for a scaling that a card does not have."""
    configuration = model.configuration
    scheme = configuration["normalization_schemes"][channel]
    voxels = "inside" if configuration["use_mask_for_norm"][channel] else "all"
    match scheme:
        case "CTNormalization":
            seen = model.plans["foreground_intensity_properties_per_channel"][str(channel)]
            clip = [float(seen["percentile_00_5"]), float(seen["percentile_99_5"])]
            return {"method": "z-score", "clip": clip, "mean": float(seen["mean"]), "std": float(seen["std"])}
        case "ZScoreNormalization":
            return {"method": "z-score", "voxels": voxels}
        case "RescaleTo01Normalization":
            return {"method": "percentiles", "low": 0, "high": 100}
        case "NoNormalization":
            return {"method": "none"}
        case _:
            raise FolderRefused(
                f"plans.json: {scheme} is a scaling that a card does not have. Serve the folder itself."
            )


def label_of(name: str, code: Any) -> dict[str, Any]:
    """Write a label, with its code where it has one."""
    if code is None:
        return {"name": name}
    return {"name": name, "code": {"value": code.value, "scheme": code.scheme, "meaning": code.meaning}}


def export(place: Path, folder: Path) -> None:
    """Write both files. Raises ``FolderRefused``."""
    task = make_task(place)
    if not isinstance(task, NnunetTask):
        raise FolderRefused(f"{place.name} is no folder of nnU-Net.")
    task.demand_trust()
    card, model = card_of(task), task.model
    plans = PlansManager(model.plans)
    networks = []
    for fold in model.together:
        network = build_network(plans, plans.get_configuration(model.checkpoint.configuration), model)
        network.load_state_dict(read_weights(place, model, fold))
        networks.append(network)
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises its newer exporter, which needs more packages
        torch.onnx.export(
            Mean(networks).eval(),
            (torch.zeros((1, len(model.channels), *card["patch"])),),
            folder / "network.onnx",
            dynamo=False,
            input_names=[SAME[0]],
            output_names=[SAME[1]],
        )
    (folder / "tomaat.yaml").write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", type=Path, help="nnU-Net's folder, with plans.json")
    parser.add_argument("folder", type=Path, help="becomes the network's folder; its name is the service's")
    asked = parser.parse_args(arguments)
    export(asked.place, asked.folder)


if __name__ == "__main__":
    main()
