"""Make the payloads of ``examples/``, and the volumes that tasks name as their examples. The same bytes each time.

``python3 -m tools.make_examples``. All that they show are phantoms, made by code: nobody's scans.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from networks.inner_ear import imaging
from networks.inner_ear.Phantom import grow
from tomaat.archives import pack
from tomaat.volumes import Volume, write_volume

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = REPOSITORY / "examples"
VOLUMES = REPOSITORY / "CustomTasks" / "examples"

FLOAT_ADD = {"f1": 2.5, "f2": 4, "op": "add"}
CENTER_MM = [40.0, 18.0, -30.0]
INNER_EAR = {"center": [CENTER_MM], "onlyLargestComponent": True}
OFF_MM = (2.0, -1.5, 1.0)  #: the center from the phantom's middle


def phantom_scan() -> Volume:
    """Take the image of a phantom, int16, with its middle some millimetres away from ``center``."""
    phantom = grow(2)
    pose = np.eye(4)
    pose[:3, 3] = np.array(CENTER_MM) - OFF_MM - phantom.middle_mm
    grid = imaging.grid_around(np.array(CENTER_MM), np.array([30.0, 27.0, 24.0]), np.full(3, 0.6))
    scan = imaging.take(phantom, imaging.Scan(grid=grid, pose=pose, noise=0.04), np.random.default_rng(2))
    return scan.like(np.round(scan.array * (1000 / scan.array.max())).astype(np.int16))


def phantom_head() -> Volume:
    """Draw a head as a T1-weighted MRI has it, of ellipsoids and waves, uint8: skin, skull, brain, ventricles, neck."""
    shape, spacing_mm, below_mm = (80, 96, 92), 2.4, 118.0
    at = [np.arange(count) * spacing_mm for count in shape]
    x, y, z = np.meshgrid(at[0] - at[0].mean(), at[1] - at[1].mean(), at[2] - below_mm, indexing="ij")

    def ellipsoid(center: tuple[float, float, float], radii: tuple[float, float, float]) -> Any:
        places = zip((x, y, z), center, radii, strict=True)
        return sum(((place - middle) / radius) ** 2 for place, middle, radius in places)

    def folds(width_mm: float, depth: float) -> Any:
        return 1 + depth * np.sin(x / width_mm) * np.sin(y / width_mm + 1) * np.sin(z / width_mm + 2)

    skull, brain = ellipsoid((0, 0, 5), (73, 93, 83)), ellipsoid((0, 0, 5), (66, 86, 74))
    tissues = [
        ((x / 50) ** 2 + ((y - 20) / 55) ** 2 < (z < -20), 88),  # neck
        (ellipsoid((0, -40, -60), (55, 50, 60)) < 1, 80),  # face
        (ellipsoid((0, 0, 5), (78, 98, 88)) < 1, 200),  # skin
        (skull < 1, 30),
        (ellipsoid((0, 0, 5), (68, 88, 77)) < 1, 38),  # fluid
        ((brain * folds(5, 0.12) < 1) & (z > -45), 120),  # gray matter
        ((ellipsoid((0, 0, 5), (58, 78, 64)) * folds(6, 0.35) < 1) & (z > -40), 170),  # white matter
        ((np.abs(x) < 1.5) & (brain < 1) & (z > 20), 38),  # between the hemispheres
        *((ellipsoid((side * 12, -5, 12), (7, 30, 10)) < 1, 35) for side in (-1, 1)),  # ventricles
        *((ellipsoid((side * 32, -92, -35), (13, 13, 13)) < 1, 40) for side in (-1, 1)),  # eyes
        *((ellipsoid((side * 25, 45, -48), (28, 24, 20)) < 1, 130) for side in (-1, 1)),  # cerebellum
        (ellipsoid((0, 15, -60), (13, 13, 35)) < 1, 160),  # brain stem
    ]
    array = np.zeros(shape)
    for inside, brightness in tissues:
        array[inside] = brightness
    blurred = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.GetImageFromArray(array), [0.4] * 3))
    return Volume(
        array=np.round(blurred).astype(np.uint8),
        spacing_mm=(spacing_mm,) * 3,
        origin_mm=(float(x.min()), float(y.min()), float(z.min())),
        direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    )


def make(name: str, inputs: dict[str, Any], volumes: dict[str, Volume]) -> None:
    """Pack one payload."""
    with tempfile.TemporaryDirectory() as folder:
        main_json = Path(folder) / "main.json"
        main_json.write_text(json.dumps({"inputs": inputs}) + "\n", encoding="utf-8")
        members = [("main.json", main_json)]
        for id, volume in volumes.items():
            path = Path(folder) / f"file-{id}.nii"  # not packed twice
            write_volume(volume, path)
            members.append((path.name, path))
        payload = EXAMPLES / name
        pack(members, payload)
        payload.chmod(0o644)


def write(name: str, volume: Volume) -> None:
    """Write a volume that a task names as its example."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii"
        write_volume(volume, path)
        (VOLUMES / name).write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    make("payload_float_add.tar.gz", FLOAT_ADD, {})
    make("payload_inner_ear_phantom.tar.gz", INNER_EAR, {"cissvolume": phantom_scan()})
    write("phantom_head.nii.gz", phantom_head())
    write("phantom_inner_ear.nii.gz", phantom_scan())
