"""Tiny MONAI bundles with random weights, in the shape of those in MONAI's public zoo; and how MONAI runs them."""

import json
from pathlib import Path

import nibabel
import numpy as np
import torch
import yaml
from monai.bundle import ConfigWorkflow
from monai.networks.nets import UNet

NETWORK = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 1,
    "norm": "batch",
}
NAMES = {"0": "background", "1": "spleen", "2": "liver"}


def metadata(channels=("image",), names=NAMES, **changed):
    """Make the metadata of a bundle that segments."""
    told = {
        "version": "0.2.0",
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.2.6",
        "task": "Spleen segmentation",
        "description": "A tiny network with random weights.",
        "authors": "nobody",
        "copyright": "none",
        "intended_use": "Tests only",
        "references": ["None, et al."],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield",
                    "modality": "CT",
                    "num_channels": len(channels),
                    "spatial_shape": [16, 16, 16],
                    "channel_def": {str(number): name for number, name in enumerate(channels)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(names),
                    "spatial_shape": [16, 16, 16],
                    "channel_def": dict(names),
                }
            },
        },
    }
    for place, value in changed.items():
        *way, last = place.split("__")
        table = told
        for key in way:
            table = table[key]
        table[last] = value
    return told


def inference(channels=1, target="UNet", after=None):
    """Make the configuration of an inference."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/nowhere",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": target, **NETWORK, "in_channels": channels},
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [1.2, 1.2, 2.0], "mode": "bilinear"},
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "image",
                    "a_min": -57,
                    "a_max": 164,
                    "b_min": 0,
                    "b_max": 1,
                    "clip": True,
                },
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": [16, 16, 16],
            "sw_batch_size": 4,
            "overlap": 0.5,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": after
            or [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "to_tensor": True,
                },
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "separate_folder": False},
            ],
        },
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": True,
        },
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)", "$@checkpointloader(@evaluator)"],
        "run": ["$@evaluator.run()"],
    }


def weights(channels=1, seed=3):
    """Make random weights, under which each label gets voxels."""
    torch.manual_seed(seed)
    network = UNet(**{**NETWORK, "in_channels": channels})
    return {name: value * 3 if value.is_floating_point() else value for name, value in network.state_dict().items()}


def write_bundle(place: Path, *, told=None, config=None, state=None, channels=1, form="json") -> Path:
    """Write a bundle's folder."""
    (place / "configs").mkdir(parents=True)
    (place / "models").mkdir()
    named = ("image",) if channels == 1 else tuple(f"T{number + 1}" for number in range(channels))
    (place / "configs/metadata.json").write_text(json.dumps(told or metadata(named)))
    config = config or inference(channels)
    text = json.dumps(config) if form == "json" else yaml.safe_dump(config, sort_keys=False)
    (place / f"configs/inference.{form}").write_text(text)
    torch.save(state or weights(channels), place / "models/model.pt")
    return place


def run_by_monai(place: Path, images: list[Path], out: Path | None = None, keys=("image",)) -> np.ndarray:
    """Run a bundle by its own evaluator on files, one for each channel; give its result, shape (channel, i, j, k).

    ``out`` is where it writes; without one its ``SaveImaged`` is left out. ``keys`` load one file each, or one loads
    all.
    """
    [config] = (place / "configs").glob("inference.*")
    workflow = ConfigWorkflow(
        config_file=str(config),
        meta_file=str(place / "configs/metadata.json"),
        logging_file=False,
        workflow_type="inference",
        bundle_root=str(place),
        output_dir=str(out),
    )
    files = [str(path) for path in images]
    workflow.parser["dataset"]["data"] = [
        {keys[0]: files} if len(files) > len(keys) else dict(zip(keys, files, strict=True))
    ]
    workflow.parser["handlers"] = []  # which would print
    for transform in workflow.parser["postprocessing"]["transforms"]:
        transform["_disabled_"] = out is None and transform["_target_"] == "SaveImaged"
    workflow.initialize()
    workflow.run()
    return workflow.evaluator.state.output[0]["pred"].cpu().numpy()


def write_image(path: Path, *, shape=(26, 22, 17), affine=None, seed=0) -> Path:
    """Write a NIfTI of smooth noise in Hounsfield units."""
    rough = np.random.default_rng(seed).normal(50, 120, shape)
    smooth = sum(np.roll(rough, step, axis) for axis in range(3) for step in (-1, 0, 1)) / 4
    nibabel.save(nibabel.Nifti1Image(smooth.astype(np.int16), np.eye(4) if affine is None else affine), path)
    return path
