"""What a task returned is taken away from it."""

import json
import os
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch

from tomaat.refusals import WrongValue
from tomaat.services.keep import Copies, keep_outputs
from tomaat.volumes import Labels, Volume

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def copies(spare=()):
    return Copies(deque(spare))


def labels_of(array):
    volume = Volume(array=array, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=AXES)
    return Labels(volume=volume, names={1: "liver", 2: "spleen"})


def test_labels_are_kept_as_small_as_they_can_be_in_the_order_in_which_they_lie(tmp_path):
    array = np.arange(60).reshape(3, 4, 5).transpose(2, 0, 1)[::-1] % 3
    kept = keep_outputs({"found": labels_of(array)}, tmp_path, copies())["found"].volume.array
    assert kept.dtype == np.uint8
    assert np.array_equal(kept, array)
    assert np.argsort(kept.strides).tolist() == np.argsort(np.abs(array.strides)).tolist()


def test_the_memory_of_a_ticket_is_another_ones_once_it_is_packed_and_not_before(tmp_path):
    spare = deque()
    tickets = [Copies(spare) for _ in range(3)]
    kept = [
        keep_outputs({"found": labels_of(np.full((2, 2, 2), value))}, tmp_path, ticket)["found"].volume.array
        for value, ticket in enumerate(tickets[:2], 1)
    ]
    assert [array.max() for array in kept] == [1, 2]
    tickets[0].end()
    outputs = {name: labels_of(np.full((2, 2, 2), value)) for name, value in (("a", 0), ("b", 1))}
    last = [each.volume.array for each in keep_outputs(outputs, tmp_path, tickets[2]).values()]
    assert np.shares_memory(last[0], kept[0])
    assert [array.max() for array in (kept[1], *last)] == [2, 0, 1]
    assert not spare


def test_memory_that_is_too_small_for_the_next_ticket_goes(tmp_path):
    ticket = copies([np.empty(7, np.uint8), np.empty(3, np.uint8)])
    keep_outputs({"found": labels_of(np.zeros((2, 2, 2), int))}, tmp_path, ticket)
    assert not ticket.spare
    assert [block.nbytes for block in ticket.lent] == [8]


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
    kept = keep_outputs(outputs, tmp_path / "kept", copies())
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
    kept = keep_outputs({"probable": tensor}, tmp_path, copies())["probable"]
    tensor[:] = 0
    assert kept.dtype == np.float32
    assert kept.tolist() == [1.5, -2.0]


def test_what_is_no_output_is_left_for_who_writes_it_to_refuse(tmp_path):
    generator = (n for n in range(3))
    assert keep_outputs({"numbers": generator}, tmp_path, copies())["numbers"] is generator
    assert keep_outputs([1, 2], tmp_path, copies()) == [1, 2]


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
        keep_outputs({"mesh": path}, tmp_path / "kept", copies())
    assert fault.value.told == "the output … is a path at which there is no regular file; return a regular file"


def test_a_link_to_a_regular_file_is_copied_as_that_file(tmp_path):
    (tmp_path / "made.csv").write_text("a,b")
    (tmp_path / "latest.csv").symlink_to("made.csv")
    kept = keep_outputs({"table": tmp_path / "latest.csv"}, tmp_path / "kept", copies())["table"]
    assert kept.read_text() == "a,b"
    assert not kept.is_symlink()
