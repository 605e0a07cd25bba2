"""Trained-model folders of nnU-Net with random weights, and scans for them."""

import json
from pathlib import Path

import nibabel
import numpy as np
import torch

RESAMPLED = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
LABELS = {"background": 0, "liver": 1, "spleen": 2}
REGIONS = {"background": 0, "tumour": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
CPU = torch.device("cpu")


def plans_of(channels, *, reader="SimpleITKIO", forward=(0, 1, 2), spacing=(2.0, 1.5, 1.5), patch=(16, 16, 16)):
    flat = len(patch) == 2
    dimension = f"{len(patch)}d"
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "conv_op": f"torch.nn.modules.conv.Conv{dimension}",
            "kernel_sizes": [[3] * len(patch)] * 2,
            "strides": [[1] * len(patch), [2] * len(patch)],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "tiny",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "spacing": list(spacing)[1:] if flat else list(spacing),
        "normalization_schemes": ["CTNormalization", *["ZScoreNormalization"] * (channels - 1)],
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLED,
        "resampling_fn_seg_kwargs": {**RESAMPLED, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**RESAMPLED, "order": 1},
        "architecture": architecture,
    }
    seen = {"mean": 100.0, "std": 60.0, "percentile_00_5": -50.0, "percentile_99_5": 300.0}
    return {
        "dataset_name": "Dataset001_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": reader,
        "transpose_forward": list(forward),
        "transpose_backward": [int(axis) for axis in np.argsort(forward)],
        "label_manager": "LabelManager",
        "configurations": {"base": configuration, "3d_fullres": {"inherits_from": "base"}},
        "foreground_intensity_properties_per_channel": {str(channel): seen for channel in range(channels)},
    }


def network_of(plans, outputs, seed):
    """Build a network as nnunetv2 does, of random weights."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans  # noqa: PLC0415 (not everywhere here)
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: PLC0415

    torch.manual_seed(seed)
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        len(plans["foreground_intensity_properties_per_channel"]),
        outputs,
        deep_supervision=True,
    )
    for name, weights in network.state_dict().items():
        if "seg_layers" in name:
            weights.mul_(0 if name.endswith("bias") else 3)  # so that no label is everywhere
    return network


def checkpoint_of(plans, dataset, network, *, mirrored=(0, 1, 2), trainer="nnUNetTrainer"):
    """Make a checkpoint as ``nnUNetTrainer.save_checkpoint`` does."""
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.99, nesterov=True)
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": {"scale": 65536.0},
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "epoch_end_timestamps": [np.int64(3)]},
        "_best_ema": np.float64(0.75),
        "current_epoch": 1000,
        "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset, "device": CPU},
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": mirrored,
    }


class Called:
    """Makes a file when it is read from a pickle."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def change_checkpoint(path, **facts):
    torch.save({**torch.load(path, weights_only=False), **facts}, path)


def make_folder(
    place,
    *,
    names=("CT",),
    labels=LABELS,
    order=None,
    folds=("0",),
    outputs=3,
    mirrored=(1,),
    extra=None,
    network=True,
    **planned,
):
    plans = plans_of(len(names), **planned)
    named = {str(number): name for number, name in enumerate(names)}
    dataset = {"channel_names": named, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz", **(extra or {})}
    if order is not None:
        dataset["regions_class_order"] = order
    place.mkdir(parents=True)
    (place / "plans.json").write_text(json.dumps(plans))
    (place / "dataset.json").write_text(json.dumps(dataset))
    for seed, fold in enumerate(folds):
        (place / f"fold_{fold}").mkdir()
        made = network_of(plans, outputs, seed) if network else torch.nn.Conv3d(1, 1, 1)
        made = checkpoint_of(plans, dataset, made, mirrored=mirrored)
        torch.save(made, place / f"fold_{fold}" / "checkpoint_final.pth")
    return place


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def turned(axes, degrees):
    """An affine's axes, turned about x and z: oblique to the patient's."""
    a, b = np.deg2rad(degrees), np.deg2rad(degrees / 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_z @ about_x @ np.asarray(axes, float)


PLACES = {  #: of a NIfTI: its axes, its spacing in mm, its voxels along i, j, k
    "oblique": (turned(np.diag([-1, -1, 1]), 20), (1.3, 1.1, 2.5), (25, 31, 13)),
    "flipped": (np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]), (1.5, 2.0, 1.2), (22, 18, 27)),
    "anisotropic": (np.diag([1, -1, 1]), (0.9, 0.9, 6.0), (30, 33, 7)),
}


def write_scans(folder, name, channels):
    """Write a volume of blobs for each channel, with an empty margin, as files that nnU-Net's readers take."""
    axes, spacing, shape = PLACES[name]
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes) * spacing
    affine[:3, 3] = (-20, 35, 110)
    random = np.random.default_rng(sum(map(ord, name)))
    files = []
    for channel in range(channels):
        coarse = random.normal(100, 80, [-(-count // 4) for count in shape])
        fine = np.kron(coarse, np.ones((4, 4, 4)))[tuple(map(slice, shape))] + random.normal(0, 20, shape)
        fine[:2], fine[:, -3:] = 0, 0
        files.append(folder / f"{name}_{channel:04d}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(fine.astype(np.int16), affine), files[-1])
    return files
