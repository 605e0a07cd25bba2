"""What tasks return."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from tomaat.services.outputs import write_outputs
from tomaat.volumes import Volume

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
    assert (folder / "report.csv").read_text() == "a,b"


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (None, "returned NoneType; return a dict of named outputs"),
        ([1], "returned list; return a dict"),
        ({"../x": 1}, "the output name '../x' is not a Python name"),
        ({5: 1}, "the output name 5 is not a Python name"),
        ({"x": math.nan}, "the output 'x' is float, which is no Volume, text, array, path or JSON"),
        ({"x": object()}, "the output 'x' is object, which is no Volume"),
        ({"result": Path("made.json")}, "the output 'result' would be written as result.json"),
        ({"x": np.array([object()])}, "the output 'x' is an array of objects; give it numbers"),
        ({"scan": SCAN, "Scan": SCAN}, "the outputs 'scan' and 'Scan' would be one file where names ignore case"),
    ],
)
def test_what_cannot_be_written_is_told_to_the_author(tmp_path, outputs, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        write_outputs(outputs, tmp_path)
