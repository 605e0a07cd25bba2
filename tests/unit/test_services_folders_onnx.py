"""An ONNX file names the files in which its tensors lie: each must be one of its folder."""

import re

import numpy as np
import pytest

from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kinds import make_task
from tomaat.services.folders.onnx_data import demand_data_inside, external_data

onnx = pytest.importorskip("onnx")
helper = onnx.helper

CARD = """
description: Adds.
inputs: [{id: scan}]
orientation: RAS
output: {kind: regression}
"""


def outside(name, location):
    """Make a tensor that lies in another file."""
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location)):
        tensor.external_data.add(key=key, value=value)
    return tensor


def a_model(tensor=None):
    """Make a network that adds a tensor to its input."""
    value = onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, value, [1, 1, "i", "j", "k"]) for name in ("voxels", "sum")]
    adds = helper.make_node("Add", ["voxels", "bias"], ["sum"])
    inside = onnx.numpy_helper.from_array(np.full(1, 3, np.float32), "bias")
    graph = helper.make_graph([adds], "adds", ends[:1], ends[1:], [inside if tensor is None else tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def sparse(tensor):
    return onnx.SparseTensorProto(values=tensor, dims=[1])


def within(attribute):
    """Make a network one of whose nodes has an attribute."""
    model = a_model()
    model.graph.node.add(op_type="Constant", output=["one"]).attribute.append(
        onnx.AttributeProto(name="a", **attribute)
    )
    return model


def of_function(tensor):
    model = a_model()
    model.functions.add(name="f", domain="own").node.add().attribute.add(name="a").t.CopyFrom(tensor)
    return model


def by_default(tensor):
    model = a_model()
    model.functions.add(name="f", domain="own").attribute_proto.add(name="a").t.CopyFrom(tensor)
    return model


def of_sparse_initializer(tensor):
    model = a_model()
    model.graph.sparse_initializer.append(sparse(tensor))
    return model


def of_sparse_indices(tensor):
    model = a_model()
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(indices=tensor, dims=[1]))
    return model


def of_training(tensor):
    model = a_model()
    model.training_info.add().algorithm.initializer.append(tensor)
    model.training_info.add().initialization.initializer.append(tensor)
    return model


PLACES = {
    "an initializer": a_model,
    "a sparse initializer": of_sparse_initializer,
    "the indices of one": of_sparse_indices,
    "an attribute": lambda tensor: within({"t": tensor}),
    "a list of an attribute": lambda tensor: within({"tensors": [tensor]}),
    "a sparse attribute": lambda tensor: within({"sparse_tensor": sparse(tensor)}),
    "a list of sparse ones": lambda tensor: within({"sparse_tensors": [sparse(tensor)]}),
    "a subgraph": lambda tensor: within({"g": a_model(tensor).graph}),
    "a subgraph of a subgraph": lambda tensor: within({"graphs": [within({"g": a_model(tensor).graph}).graph]}),
    "a function": of_function,
    "an attribute of a function": by_default,
    "a training": of_training,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_in_another_file_is_found_wherever_it_stands(tmp_path, place):
    file = tmp_path / "network.onnx"
    file.write_bytes(PLACES[place](outside("bias", "../secret")).SerializeToString())
    assert set(external_data(file)) == {("'bias'", b"../secret")}
    with pytest.raises(FolderRefused, match=r"its tensor 'bias' in '\.\./secret', which leads out of the folder; "):
        demand_data_inside(file)


def test_tensors_that_lie_in_the_file_itself_are_in_no_other(tmp_path):
    (tmp_path / "network.onnx").write_bytes(a_model().SerializeToString())
    assert list(external_data(tmp_path / "network.onnx")) == []


def a_folder(tmp_path, location):
    folder = tmp_path / "Adds"
    folder.mkdir()
    (folder / "tomaat.yaml").write_text(CARD)
    (folder / "network.onnx").write_bytes(a_model(outside("bias", location)).SerializeToString())
    (tmp_path / "secret").write_bytes(np.full(1, 42, np.float32).tobytes())
    (folder / "link").symlink_to("../secret")
    (folder / "weights").mkdir()
    (folder / "weights/bias").write_bytes(np.full(1, 5, np.float32).tobytes())
    (folder / "inner").symlink_to("weights/bias")
    (folder / "*/_ORT_MEM_ADDR_").mkdir(parents=True)
    (folder / "*/_ORT_MEM_ADDR_/*").touch()
    return folder


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("{}/secret", "leads out of the folder"),
        ("{}/Adds/weights/bias", "leads out of the folder"),
        ("../secret", "leads out of the folder"),
        ("weights/../../secret", "leads out of the folder"),
        ("link", "leads out of the folder by a link"),
        ("weights", "is no file of the folder"),
        ("absent", "is no file of the folder"),
        ("*/_ORT_MEM_ADDR_/*", "is no plain name of a file"),
        ("link\0", "is no plain name of a file"),
    ],
)
def test_data_that_lie_out_of_the_folder_are_refused_before_it_is_copied(tmp_path, location, reason):
    folder = a_folder(tmp_path, location.format(tmp_path))
    rule = re.escape(f"which {reason}; save it with its external data inside the folder.")
    with pytest.raises(FolderRefused, match=rf"^Adds/network\.onnx keeps its tensor 'bias' in '.*, {rule}$"):
        make_task(folder)


def test_a_file_that_was_changed_since_is_refused_before_onnxruntime_opens_it(tmp_path):
    folder = a_folder(tmp_path, "weights/bias")
    task = make_task(folder)
    (folder / "weights/bias").unlink()
    (folder / "weights/bias").symlink_to(tmp_path / "secret")
    with pytest.raises(FolderRefused, match="which leads out of the folder by a link;"):
        opened(task)


@pytest.mark.parametrize("location", ["weights/bias", "./weights/bias", "inner"])
def test_a_network_whose_data_lie_in_its_folder_serves(tmp_path, location):
    torch = pytest.importorskip("torch")
    folder = a_folder(tmp_path, location)
    assert opened(make_task(folder))(torch.ones(1, 1, 2, 2, 2)).unique().tolist() == [6]


def opened(task):
    pytest.importorskip("onnxruntime")
    return task.open_network(pytest.importorskip("torch").device("cpu"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        b"\x3b\x3c",  # a group
        b"\x3a\x05\x00",  # a field that is longer than the file
        b"\x00\x00",  # no field
        b"\x3a\x81\x81\x81\x81\x81\x01",  # a length of too many bytes
        b"\x3a\x02\x0d\x00",  # a number that is longer than its message
        b"\xba\x80\x80\x80\x70\x00",  # a field's number that protobuf would cut
    ],
)
def test_bytes_that_could_be_read_in_two_ways_are_no_onnx_file(tmp_path, content):
    (tmp_path / "network.onnx").write_bytes(content)
    with pytest.raises(FolderRefused, match=r"network\.onnx is no ONNX file: .*; export it anew\."):
        demand_data_inside(tmp_path / "network.onnx")
