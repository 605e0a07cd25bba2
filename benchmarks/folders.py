"""Measure network folders beside the libraries that made them: ``python3 -m benchmarks.folders``.

Networks of random weights, in turns, with medians: an nnU-Net folder against nnU-Net's own array call and its
prediction of files; a MONAI bundle against its own evaluator; an ONNX file with a card against onnxruntime and torch.
Each by the worker's code in this process, and as tickets of the whole service over loopback. The defaults fit two
processors; for a GPU and a CT:
``--device cuda --shape 512 512 300 --patch 128 --features 32 64 128 256 320 320 --scans 10``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from monai.networks.nets import UNet

from benchmarks.client import Client, from_clients
from benchmarks.instances import instances
from benchmarks.scans import ct_voxels, packed
from tests import monai_bundles, nnunet_folders
from tests.service import payload
from tomaat.contents.network_folder import trust
from tomaat.reader import VolumeReader
from tomaat.services.folders.kinds import make_task
from tomaat.services.folders.tiles import gaussian, tiles
from tomaat.volumes import Volume
from tomaat.worker.__main__ import memory_of
from tomaat.worker.networks import Networks

SCAN_MM = (0.8, 0.8, 1.5)
SEEN_MM = (1.5, 1.0, 1.0)  #: of nnU-Net's plans, along z, y, x
WINDOW = (-160.0, 240.0)
OVERLAP = 0.5
Ways = dict[str, Callable[[], object]]
PARTS = 4  #: patches in a batch of the bundle
CARD = """
description: Marks two things.
inputs: [{{id: scan, name: CT}}]
orientation: as-sent
intensity: {{method: window, low: {low}, high: {high}}}
output: {{kind: softmax}}
patch: {patch}
overlap: {overlap}
labels: {{1: liver, 2: spleen}}
"""


@dataclass(frozen=True, kw_only=True)
class Made:
    """The folders, and the scan for them."""

    tasks: Path
    scan: Path
    data: bytes  #: the scan's file
    device: torch.device
    asked: argparse.Namespace


def medians(ways: Ways, turns: int) -> dict[str, float]:
    """Time several ways in turns, after one that does not count; give the medians, in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, act in ways.items():
            began = time.perf_counter()
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
                act()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def tell(title: str, found: Mapping[str, float]) -> None:
    """Print a table: each way beside the first one."""
    least = next(iter(found.values()))
    print(f"| {title} | seconds | ratio |\n| --- | --- | --- |")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.3f} | {seconds / least:.2f} |")
    print(f"\nload average {os.getloadavg()[0]:.1f}\n", flush=True)


# Folders


def make(folder: Path, asked: argparse.Namespace) -> Made:
    """Write the three folders and a scan."""
    shape = (asked.shape[2], asked.shape[1], asked.shape[0])
    data = packed(ct_voxels(shape), SCAN_MM)
    scan = folder / "scan.nii.gz"
    scan.write_bytes(data)
    made = Made(tasks=folder / "tasks", scan=scan, data=data, device=torch.device(asked.device), asked=asked)
    write_nnunet(made.tasks / "Net", asked)
    write_bundle(made.tasks / "Bundle", asked)
    write_card(made.tasks / "Card", asked)
    trust(made.tasks / "Bundle")
    return made


def write_nnunet(place: Path, asked: argparse.Namespace) -> None:
    """Write a folder as nnU-Net's planner would for one channel and three outputs, of one fold."""
    plans = nnunet_folders.plans_of(1, spacing=SEEN_MM, patch=(asked.patch,) * 3)
    stages = len(asked.features)
    plans["configurations"]["base"]["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": list(asked.features),
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": nnunet_folders.LABELS,
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (place / "fold_0").mkdir(parents=True)
    (place / "plans.json").write_text(json.dumps(plans))
    (place / "dataset.json").write_text(json.dumps(dataset))
    network = nnunet_folders.network_of(plans, 3, 0)
    checkpoint = nnunet_folders.checkpoint_of(plans, dataset, network)
    torch.save(checkpoint, place / "fold_0/checkpoint_final.pth")


def unet(asked: argparse.Namespace) -> tuple[dict[str, Any], torch.nn.Module]:
    """Make MONAI's U-Net; give its arguments and itself."""
    features = list(asked.features[:4])
    facts = monai_bundles.NETWORK | {"channels": features, "strides": [2] * (len(features) - 1), "num_res_units": 2}
    torch.manual_seed(1)
    return facts, UNet(**facts).eval()


def write_bundle(place: Path, asked: argparse.Namespace) -> None:
    """Write a bundle of the zoo's shape."""
    facts, network = unet(asked)
    config = monai_bundles.inference()
    config["network_def"] = {"_target_": "UNet", **facts}
    config["inferer"] |= {"roi_size": [asked.patch] * 3, "sw_batch_size": PARTS}
    monai_bundles.write_bundle(place, config=config, state=network.state_dict())


def write_card(place: Path, asked: argparse.Namespace) -> None:
    """Export the same network to ONNX, beside a card."""
    place.mkdir()
    low, high = WINDOW
    (place / "tomaat.yaml").write_text(CARD.format(low=low, high=high, patch=asked.patch, overlap=OVERLAP))
    patch = torch.zeros(1, 1, asked.patch, asked.patch, asked.patch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(unet(asked)[1], (patch,), place / "network.onnx", dynamo=False, input_names=["voxels"])


# Ways


def networks_of(made: Made) -> Networks:
    """Load the three as a worker does."""
    networks = Networks(
        made.device, lambda *_: None, memory=memory_of(made.device, None), known={}, tell=lambda _: None
    )
    for name in ("Net", "Bundle", "Card"):
        networks.load(name, make_task(made.tasks / name))
    return networks


def options(made: Made) -> dict[str, bool]:
    """Give what a ticket of the nnU-Net says beside its scan."""
    return {"mirroring": made.asked.mirroring}


def of_nnunet(made: Made, *, outputs: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Give nnU-Net's own array call, and its prediction of as many files as there are to be scans."""
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO  # noqa: PLC0415 (it prints)
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: PLC0415

    predictor = nnUNetPredictor(
        tile_step_size=OVERLAP,
        use_mirroring=made.asked.mirroring,
        perform_everything_on_device=made.device.type == "cuda",
        device=made.device,
        allow_tqdm=False,
    )
    place = made.tasks / "Net"
    plans, dataset = (json.loads((place / name).read_text()) for name in ("plans.json", "dataset.json"))
    checkpoint = torch.load(place / "fold_0/checkpoint_final.pth", weights_only=False)  # written above
    manager = PlansManager(plans)
    network = nnunet_folders.network_of(plans, 3, 0)
    network.load_state_dict(checkpoint["network_weights"])
    network.decoder.deep_supervision = False
    predictor.manual_initialization(  # as initialize_from_trained_model_folder does, which needs the trainer's packages
        network.to(made.device),
        manager,
        manager.get_configuration("3d_fullres"),
        [checkpoint["network_weights"]],
        dataset,
        "nnUNetTrainer",
        checkpoint["inference_allowed_mirroring_axes"],
    )
    array, properties = SimpleITKIO().read_images([str(made.scan)])

    def of_array() -> object:
        return predictor.predict_single_npy_array(array, properties, None, None, save_or_return_probabilities=False)

    def of_files() -> object:
        scans = range(made.asked.scans)
        return predictor.predict_from_files([[str(made.scan)] for _ in scans], [str(outputs / f"{n}") for n in scans])

    return of_array, of_files


def of_monai(made: Made) -> Callable[[], object]:
    """Give the bundle's own evaluator, built once, on the scan's file; it writes nothing."""
    place = made.tasks / "Bundle"
    workflow = ConfigWorkflow(
        config_file=str(place / "configs/inference.json"),
        meta_file=str(place / "configs/metadata.json"),
        logging_file=False,
        workflow_type="inference",
        bundle_root=str(place),
    )
    workflow.parser["device"] = f"$torch.device('{made.device}')"
    workflow.parser["dataset"]["data"] = [{"image": str(made.scan)}]
    workflow.parser["handlers"] = []
    for transform in workflow.parser["postprocessing"]["transforms"]:
        transform["_disabled_"] = transform["_target_"] == "SaveImaged"
    workflow.initialize()
    run: Callable[[], object] = workflow.evaluator.run
    return run


def in_tiles(network: Callable[[Any], Any], scan: Volume, patch: int) -> np.ndarray[Any, Any]:
    """Run a network on arrays, tile by tile, as a script by hand would: window, tiles, blending, the largest."""
    low, high = WINDOW
    voxels = np.clip((scan.array.astype(np.float32) - low) / (high - low), 0, 1)
    weights = gaussian((patch,) * 3)
    found = np.zeros((3, *voxels.shape), np.float32)
    total = np.zeros(voxels.shape, np.float32)
    for i, j, k in tiles(voxels.shape, (patch,) * 3, OVERLAP):
        found[:, i, j, k] += network(np.ascontiguousarray(voxels[i, j, k])[None, None])[0] * weights
        total[i, j, k] += weights
    largest: np.ndarray[Any, Any] = np.argmax(found / total, 0)
    return largest


def of_onnxruntime(made: Made) -> Callable[[Any], Any]:
    """Open the ONNX file by onnxruntime alone."""
    import onnxruntime  # noqa: PLC0415 (as above)

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    ours = ["CUDAExecutionProvider"] if made.device.type == "cuda" else []
    session = onnxruntime.InferenceSession(
        str(made.tasks / "Card/network.onnx"), settings, providers=[*ours, "CPUExecutionProvider"]
    )
    return lambda voxels: session.run(None, {"voxels": voxels})[0]


def of_torch(made: Made) -> Callable[[Any], Any]:
    """Run the network that was exported."""
    network = unet(made.asked)[1].to(made.device)

    def run(voxels: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(voxels).to(made.device)).cpu().numpy()

    return run


# Measuring


def measure(made: Made, url: str, reader: VolumeReader, networks: Networks, *, outputs: Path) -> None:
    """Print the tables."""
    scan = reader.read(made.scan)
    turns, scans = made.asked.turns, made.asked.scans
    client = Client(url)
    sent = {name: payload({}, scan_nii_gz=made.data) for name in ("Card",)}
    sent["Bundle"] = payload({}, image_nii_gz=made.data)
    sent["Net"] = payload(options(made), ct_nii_gz=made.data)

    def perform(name: str, inputs: Mapping[str, Any]) -> object:
        return networks.perform(name, inputs)

    of_array, of_files = of_nnunet(made, outputs=outputs)
    ways: Ways = {
        "nnU-Net's array call": of_array,
        "our task, by the worker's code": partial(perform, "Net", {"ct": scan, **options(made)}),
        "a ticket through the whole service": partial(client.ticket, "Net", sent["Net"]),
    }
    tell("nnU-Net, one scan", medians(ways, turns))
    ways = {
        "the bundle's own evaluator, with reading": of_monai(made),
        "our task, with reading": lambda: perform("Bundle", {"image": reader.read(made.scan)}),
        "a ticket through the whole service": partial(client.ticket, "Bundle", sent["Bundle"]),
    }
    tell("MONAI bundle", medians(ways, turns))
    ways = {
        "onnxruntime, by hand": partial(in_tiles, of_onnxruntime(made), scan, made.asked.patch),
        "our task, by the worker's code": partial(perform, "Card", {"scan": scan}),
        "a ticket through the whole service": partial(client.ticket, "Card", sent["Card"]),
        "the torch network, by hand": partial(in_tiles, of_torch(made), scan, made.asked.patch),
    }
    tell("ONNX with a card", medians(ways, turns))
    tell_memory(networks, scan)
    ways = {
        f"predict_from_files, {scans} scans": of_files,
        f"{scans} tickets at once": partial(
            from_clients, url, scans, scans, lambda each: each.ticket("Net", sent["Net"])
        ),
    }
    tell("nnU-Net, from files to files", medians(ways, max(1, turns // 2)))


def tell_memory(networks: Networks, scan: Volume) -> None:
    """Print what was expected of each ticket beside what was measured."""
    gpu_bytes = networks.memory.total_bytes if networks.device.type == "cuda" else None
    print("| a ticket beside its network, MiB | sure | with the layers | measured |\n| --- | --- | --- | --- |")
    for name, id in (("Net", "ct"), ("Bundle", "image"), ("Card", "scan")):
        expected = networks.tasks[name].expected_memory({id: scan}, gpu_bytes=gpu_bytes)
        need = networks.needs[name]
        if expected is None or need.peak_bytes is None:
            continue
        sure = expected.machine_bytes if gpu_bytes is None else expected.gpu_bytes
        layers = "unknown" if expected.layers_bytes is None else f"{(sure + expected.layers_bytes) / 2**20:.0f}"
        measured = (need.peak_bytes - need.network_bytes) / 2**20
        print(f"| {name} | {sure / 2**20:.0f} | {layers} | {measured:.0f} |")


def sources_of(device: str) -> dict[str, str]:
    """Give the setting of an instance that computes on the CPU alone, or nothing."""
    return {} if device == "cuda" else {"COMPUTE_SOURCES": '{"cpu-0": null}'}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the folders, start an instance, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 128, 96), help="voxels along i, j, k")
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--features", type=int, nargs="+", default=(16, 32, 64, 128), help="channels of each stage")
    parser.add_argument("--mirroring", action="store_true")
    parser.add_argument("--scans", type=int, default=4, help="of a folder")
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args(arguments)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {asked}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="tomaat-folders-") as name, instances() as given:
        made = make(Path(name), asked)
        instance = given.start(
            "folders", "Net", "Bundle", "Card", CUSTOM_TASKS_DIR=str(made.tasks), **sources_of(asked.device)
        )
        reader = VolumeReader(largest_voxel_bytes=2**33)
        try:
            measure(made, instance.url, reader, networks_of(made), outputs=Path(name))
        finally:
            reader.close()


if __name__ == "__main__":
    main()
