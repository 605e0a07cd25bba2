"""Make the payloads of ``examples/``: ``python3 tools/make_examples.py``. The same bytes each time."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from networks.inner_ear import imaging
from networks.inner_ear.Phantom import grow
from tomaat.archives import pack
from tomaat.volumes import Volume, write_volume

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

FLOAT_ADD = {"f1": 2.5, "f2": 4, "op": "add"}
INNER_EAR = {"center": [[40.0, 18.0, -30.0]], "onlyLargestComponent": True}
OFF_MM = (2.0, -1.5, 1.0)  #: the center from the phantom's middle


def phantom_scan() -> Volume:
    """Take the image of a phantom, int16, with its middle some millimetres away from ``center``."""
    phantom = grow(2)
    pose = np.eye(4)
    pose[:3, 3] = np.array(INNER_EAR["center"][0]) - OFF_MM - phantom.middle_mm
    grid = imaging.grid_around(np.array(INNER_EAR["center"][0]), np.array([30.0, 27.0, 24.0]), np.full(3, 0.6))
    scan = imaging.take(phantom, imaging.Scan(grid=grid, pose=pose, noise=0.04), np.random.default_rng(2))
    return scan.like(np.round(scan.array * (1000 / scan.array.max())).astype(np.int16))


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


if __name__ == "__main__":
    make("payload_float_add.tar.gz", FLOAT_ADD, {})
    make("payload_inner_ear_phantom.tar.gz", INNER_EAR, {"cissvolume": phantom_scan()})
