"""What tasks return."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio
import torch

from tomaat.services.outputs import write_outputs
from tomaat.volumes import Code, Labels, Volume

SCAN = Volume(
    array=np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    spacing_mm=(0.5, 1.0, 2.0),
    origin_mm=(1.0, 2.0, 3.0),
    direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)


def test_each_kind_of_output_is_written(tmp_path):
    made = tmp_path / "made.csv"
    made.write_text("a,b")
    folder = tmp_path / "out"
    folder.mkdir()
    written = write_outputs(
        {
            "scan": SCAN,
            "array": np.eye(2),
            "tensor": torch.ones(3),
            "half": torch.ones(3, dtype=torch.bfloat16),
            "report": made,
            "text": "healthy",
            "facts": {"volume_ml": 1.5, "labels": [1, 2]},
            "number": np.float64(2.5),
        },
        folder,
    )
    assert written == [
        {"name": "scan", "type": "volume", "file": "scan.nii.gz"},
        {"name": "array", "type": "array", "file": "array.npy"},
        {"name": "tensor", "type": "array", "file": "tensor.npy"},
        {"name": "half", "type": "array", "file": "half.npy"},
        {"name": "report", "type": "file", "file": "report.csv"},
        {"name": "text", "type": "text", "value": "healthy"},
        {"name": "facts", "type": "json", "value": {"volume_ml": 1.5, "labels": [1, 2]}},
        {"name": "number", "type": "json", "value": 2.5},
    ]
    json.dumps(written)
    image = sitk.ReadImage(folder / "scan.nii.gz")
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), SCAN.array)
    assert image.GetSpacing() == SCAN.spacing_mm
    assert np.array_equal(np.load(folder / "array.npy"), np.eye(2))
    assert np.array_equal(np.load(folder / "tensor.npy"), np.ones(3))
    assert np.load(folder / "half.npy").dtype == np.float32
    assert (folder / "report.csv").read_text() == "a,b"


def test_labels_come_back_on_the_grid_of_the_input_with_names_ml_and_a_picture(tmp_path):
    """A task that turned, cut and resampled its input gives labels where it likes."""
    scan = Volume(
        array=np.random.default_rng(1).normal(100, 20, (20, 24, 16)).astype(np.float32),
        spacing_mm=(1.0, 1.0, 2.0),
        origin_mm=(5.0, -3.0, 40.0),
        direction=((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    )
    center = scan.to_physical((10, 12, 8))
    block = scan.reoriented("SAR").cropped(center, (16, 12, 12), spacing_mm=0.5)
    marked = np.zeros(block.array.shape, np.uint8)
    marked[6:10, 4:8, 4:8] = 2
    labels = Labels(volume=block.like(marked), names={1: "vessel", 2: "node"})
    written = write_outputs({"found": labels}, tmp_path, scan)
    assert [line["type"] for line in written] == ["labels"]
    image = sitk.ReadImage(tmp_path / written[0]["file"])
    assert image.GetSize() == scan.array.shape
    assert np.allclose(image.GetOrigin(), scan.origin_mm)
    voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    assert voxels.dtype == np.uint8
    found = np.argwhere(voxels == 2)
    assert len(found) == written[0]["labels"][1]["voxels"] > 0
    assert written[0]["labels"][1]["ml"] == round(len(found) * 0.002, 3)
    assert np.linalg.norm(np.asarray(scan.to_physical(found.mean(axis=0))) - center) < 1.0
    assert [label["name"] for label in written[0]["labels"]] == ["vessel", "node"]
    assert (tmp_path / "preview.png").read_bytes().startswith(b"\x89PNG")


def test_a_segmentation_for_3d_slicer_has_its_names_colours_and_values(tmp_path):
    """As Slicer's own package reads it."""
    scan = SCAN.reoriented("PIR")
    marked = np.where(scan.array > 5, 3, 0) + np.where(scan.array == 5, 200, 0)
    names, aorta = {200: "left ventricle", 3: "aorta", 7: "not there"}, Code("15825003", "SCT", "Aorta")
    labels = Labels(volume=scan.like(marked), names=names, codes={3: aorta})
    written = write_outputs({"heart": labels, "scan": scan}, tmp_path, scan, "seg.nrrd")
    assert [line["file"] for line in written] == ["heart.seg.nrrd", "scan.nrrd"]
    read = slicerio.read_segmentation(str(tmp_path / "heart.seg.nrrd"))
    assert np.array_equal(read["voxels"], marked)
    for index in np.ndindex(scan.array.shape):
        assert np.allclose((read["ijkToLPS"] @ [*index, 1])[:3], scan.to_physical(index))
    assert read["masterRepresentation"] == "Binary labelmap"
    assert read["containedRepresentationNames"] == ["Binary labelmap"]
    assert read["referenceImageExtentOffset"] == [0, 0, 0]
    segments = [(one["id"], one["name"], one["labelValue"], one["layer"]) for one in read["segments"]]
    assert segments == [
        ("Segment_3", "aorta", 3, 0),
        ("Segment_7", "not there", 7, 0),
        ("Segment_200", "left ventricle", 200, 0),
    ]
    coded = read["segments"][0]["terminology"]
    assert (coded["category"], coded["type"]) == (
        ["SCT", "91723000", "Anatomical Structure"],
        ["SCT", "15825003", "Aorta"],
    )
    assert all("terminology" not in segment for segment in read["segments"][1:])
    for segment in read["segments"]:
        assert [round(255 * part) for part in segment["color"]] == list(labels.color(segment["labelValue"]))
        assert segment["extent"] == [bound for count in scan.array.shape for bound in (0, count - 1)]
        assert not segment["nameAutoGenerated"]


@pytest.mark.parametrize("name", ["Größe / 肝臓", "left\\right:=n", 'a "b" | c & d ~ e^f'])
def test_any_name_reaches_3d_slicer(tmp_path, name):
    """Through ITK, by which Slicer reads."""
    labels = Labels(volume=SCAN.like(SCAN.array > 5), names={1: name})
    write_outputs({"heart": labels}, tmp_path, SCAN, "seg.nrrd")
    assert sitk.ReadImage(tmp_path / "heart.seg.nrrd").GetMetaData("Segment0_Name") == name


def test_each_of_several_segmentations_has_its_own_picture(tmp_path):
    labels = Labels(volume=SCAN.like(SCAN.array > 5), names={1: "bright"})
    written = write_outputs({"one": labels, "other": labels, "mean": 3.0}, tmp_path, SCAN)
    assert [line.get("preview") for line in written] == ["preview-one.png", "preview-other.png", None]
    assert {path.name for path in tmp_path.iterdir()} == {
        "one.nii.gz",
        "other.nii.gz",
        "preview-one.png",
        "preview-other.png",
    }


@pytest.mark.parametrize(
    ("array", "names", "sentence"),
    [
        (np.zeros((2, 2, 2)), {1: "a"}, "whole numbers or bool, not float64"),
        (np.zeros((2, 2, 2), int), {}, "names: there is none"),
        (np.zeros((2, 2, 2), int), {0: "a"}, "names: 0 is no label"),
        (np.zeros((2, 2, 2), int), {True: "a"}, "names: True is no label"),
        (np.zeros((2, 2, 2), int), {1: " "}, "label 1 is called ' '"),
        (np.zeros((2, 2, 2), int), {1: "a", 2: "a"}, "two labels have the same name"),
        (np.full((2, 2, 2), 3), {1: "a"}, "holds the label 3, which has no name"),
    ],
)
def test_what_are_no_labels_is_told_to_the_author(array, names, sentence):
    volume = Volume(array=array, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=SCAN.direction)
    with pytest.raises((TypeError, ValueError), match=sentence):
        Labels(volume=volume, names=names)


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (None, "returned NoneType; return a dict of named outputs"),
        ([1], "returned list; return a dict"),
        ({"../x": 1}, "the output name '../x' is not a Python name"),
        ({5: 1}, "the output name 5 is not a Python name"),
        ({"x": math.nan}, "the output 'x' is float, which is no Volume, text, array, path or JSON"),
        ({"x": object()}, "the output 'x' is object, which is no Volume"),
        ({"preview": Path("made.png")}, "the output 'preview' would be written as preview.png"),
        ({"result": Path("made.json")}, "the output 'result' would be written as result.json"),
        ({"x": np.array([object()])}, "the output 'x' is an array of objects; give it numbers"),
        ({"scan": SCAN, "Scan": SCAN}, "the outputs 'scan' and 'Scan' would be one file where names ignore case"),
    ],
)
def test_what_cannot_be_written_is_told_to_the_author(tmp_path, outputs, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        write_outputs(outputs, tmp_path)
