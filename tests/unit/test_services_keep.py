"""What a task returned is taken away from it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tomaat.refusals import WrongValue
from tomaat.services.keep import keep_outputs
from tomaat.volumes import Labels, Volume

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def test_voxels_tensors_values_and_files_are_copies(tmp_path):
    array = np.zeros((2, 3, 4), np.uint8)
    volume = Volume(array=array, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=AXES)
    tensor, value, file = torch.zeros(2), {"n": [0]}, tmp_path / "mesh.stl.gz"
    file.write_text("0")
    outputs = {
        "array": array,
        "volume": volume,
        "labels": Labels(volume=volume, names={1: "liver"}),
        "tensor": tensor,
        "value": value,
        "mesh": file,
    }
    kept = keep_outputs(outputs, tmp_path / "kept")
    array[:] = tensor[:] = value["n"][0] = 1
    file.write_text("1")
    assert not kept["array"].any()
    assert not kept["volume"].array.any()
    assert not kept["labels"].volume.array.any()
    assert kept["labels"].names == {1: "liver"}
    assert not kept["tensor"].any()
    assert json.dumps(kept["value"]) == '{"n": [0]}'
    assert kept["mesh"].read_text() == "0"
    assert kept["mesh"].name.endswith(".stl.gz")


def test_a_tensor_of_a_type_that_numpy_does_not_have_is_kept_as_float32(tmp_path):
    tensor = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    kept = keep_outputs({"probable": tensor}, tmp_path)["probable"]
    tensor[:] = 0
    assert kept.dtype == np.float32
    assert kept.tolist() == [1.5, -2.0]


def test_what_is_no_output_is_left_for_who_writes_it_to_refuse(tmp_path):
    generator = (n for n in range(3))
    assert keep_outputs({"numbers": generator}, tmp_path)["numbers"] is generator
    assert keep_outputs([1, 2], tmp_path) == [1, 2]


@pytest.mark.parametrize("kind", ["device", "pipe", "link to a device", "folder", "nothing"])
def test_a_path_of_no_regular_file_is_refused_and_not_read(kind, tmp_path):
    """A device that never ends would fill the disk, and a pipe into which nobody writes would hold the worker."""
    path = Path("/dev/null") if kind == "device" else tmp_path / "made"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a device":
        path.symlink_to("/dev/null")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(WrongValue) as fault:
        keep_outputs({"mesh": path}, tmp_path / "kept")
    assert fault.value.told == "the output … is a path at which there is no regular file; return a regular file"


def test_a_link_to_a_regular_file_is_copied_as_that_file(tmp_path):
    (tmp_path / "made.csv").write_text("a,b")
    (tmp_path / "latest.csv").symlink_to("made.csv")
    kept = keep_outputs({"table": tmp_path / "latest.csv"}, tmp_path / "kept")["table"]
    assert kept.read_text() == "a,b"
    assert not kept.is_symlink()
