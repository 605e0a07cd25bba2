"""The volumes that tasks name as their examples."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Inputs import VolumeInput
from tomaat.services.find import find_tasks
from tools import make_examples

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "CustomTasks/examples"


def test_each_service_has_an_example_and_each_volume_of_one_is_here_and_taken():
    named = set()
    for task in find_tasks(REPOSITORY / "CustomTasks").tasks.values():
        assert task.example, task.task_identifier
        for declared in task.inputs:
            if isinstance(declared, VolumeInput):
                file = EXAMPLES / task.example[declared.id]["file"]
                assert "phantom" in task.example[declared.id]["about"]
                declared.check_file(file)
                named.add(file.name)
    assert named == {file.name for file in EXAMPLES.iterdir()}


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("phantom_head.nii.gz", make_examples.phantom_head),
        ("phantom_inner_ear.nii.gz", make_examples.phantom_scan),
    ],
)
def test_the_phantoms_are_those_that_the_code_draws(name, draw):
    kept, drawn = sitk.ReadImage(EXAMPLES / name), draw()
    assert np.abs(sitk.GetArrayFromImage(kept).T - drawn.array.astype(float)).max() <= 1, "processors round differently"
    assert np.allclose(kept.GetOrigin(), drawn.origin_mm, atol=1e-3)
    assert np.allclose(kept.GetSpacing(), drawn.spacing_mm)
