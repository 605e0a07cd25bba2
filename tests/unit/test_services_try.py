"""A task tried without any server, as its author does it."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from tests.dicom_series import image, series, voxels_of, written, zipped
from tests.hostile_images import nifti
from tomaat.services.__main__ import main

TASKS = """
from Inputs import FloatInput, StringInput, VolumeInput
from tomaat.services import Task, TaskRefused
from tomaat.volumes import Labels

class Cut(Task):
    task_identifier = "Cut"
    description = "Marks what is brighter than a cut."
    inputs = (
        VolumeInput("scan", "Scan"),
        FloatInput("cut", "Cut", minimum=0.0, default=10.0),
        StringInput("note", "Note", required=False),
    )
    def load(self, device):
        self.device = device
    def perform(self, scan, cut, note):
        self.progress(0.5, "cutting")
        if note == "7":
            raise TaskRefused("note: 7 brings bad luck.")
        return {"bright": Labels(volume=scan.like(scan.array > cut), names={1: "bright"}), "note": note}
"""
OTHER = TASKS.replace("Cut", "Other", 2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "CutTask.py").write_text(TASKS)
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "scan.nii.gz"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_task_is_run_and_its_outputs_are_written(folder, capsys):
    assert main(["try", "CutTask.py", "scan=scan.nii.gz", "cut=11.5", "note=12"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("loaded on ")
    assert "   50%  cutting" in told
    assert "bright: Cut-result/bright.nii.gz" in told
    assert 'note: "12"' in told
    labels = json.loads(next(line for line in told if line.startswith("bright: [")).removeprefix("bright: "))
    assert labels[0]["voxels"] == 12
    assert {path.name for path in (folder / "Cut-result").iterdir()} == {"bright.nii.gz", "preview.png"}


def test_a_volume_is_turned_as_the_task_expects_it_and_labels_come_back_as_it_was_sent(folder, capsys):
    task = TASKS.replace('"Scan")', '"Scan", orientation="SRA")').replace(
        "self.progress", "print(scan.orientation, scan.array.shape)\n        self.progress"
    )
    (folder / "CutTask.py").write_text(task)
    assert main(["try", "CutTask.py", "scan=scan.nii.gz", "cut=11.5"]) == 0
    assert "SRA (2, 4, 3)" in capsys.readouterr().out
    sent, came = (sitk.ReadImage(name) for name in ("scan.nii.gz", "Cut-result/bright.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(came), sitk.GetArrayFromImage(sent) > 11.5)
    assert (came.GetOrigin(), came.GetDirection()) == (sent.GetOrigin(), sent.GetDirection())


@pytest.mark.parametrize(
    "given",
    [["scan=series.zip"], ["scan=series"], ["scan=both", 'scan={"series": "1.9"}']],
)
def test_a_dicom_series_is_a_zip_or_a_folder(folder, capsys, given):
    files = series(voxels_of((4, 3, 2)), SeriesInstanceUID="1.9")
    (folder / "series.zip").write_bytes(zipped(files))
    written(files, folder / "series")
    written(files | {"other": image(np.zeros((3, 4), np.int16))}, folder / "both")
    assert main(["try", "CutTask.py", *given, "cut=0"]) == 0
    labels = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("bright: ["))
    assert json.loads(labels.removeprefix("bright: "))[0]["voxels"] == (voxels_of((4, 3, 2)) > 0).sum()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.py"], "none.py: there is no such file."),
        (["CutTask.py", "scan=none.nii.gz"], "scan: none.nii.gz is no file."),
        (["CutTask.py", "scan=CutTask.py"], "scan: CutTask.py is none of .nii.gz, .nii, .nrrd, .mha, .zip."),
        (["CutTask.py", "scan=other"], "scan: 'notes.txt' is no DICOM file"),
        (["CutTask.py", "sacn=scan.nii.gz"], "sacn=scan.nii.gz: write one of scan=…, cut=…, note=…."),
        (["CutTask.py", "scan=scan.nii.gz", "cut=low"], "cut: 'low' is not a number."),
        (["CutTask.py"], "scan"),
        (["CutTask.py", "scan=scan.nii.gz", "note=7"], "The task refused: note: 7 brings bad luck."),
        (["CutTask.py", "--task", "Other"], "CutTask.py holds Cut, and no Other."),
        (["Broken.py"], "Broken.py: NameError: name 'x' is not defined (line 1)"),
        (["Two.py"], "Two.py holds Cut, Other: say which by --task."),
    ],
)
def test_what_cannot_be_tried_is_told_in_a_sentence(folder, capsys, arguments, sentence):
    (folder / "Broken.py").write_text("x")
    written({"notes.txt": b"x"}, folder / "other")
    (folder / "Two.py").write_text(TASKS + OTHER)
    assert main(["try", *arguments]) == 1
    assert sentence in capsys.readouterr().err


def test_what_is_to_be_remarked_on_an_input_is_printed(folder, capsys):
    data = bytearray(nifti())
    data[252:256] = bytes(4)
    (folder / "unsaid.nii").write_bytes(data)
    assert main(["try", "CutTask.py", "scan=unsaid.nii"]) == 0
    assert "remark: scan: qform_code and sform_code are 0: " in capsys.readouterr().out


def test_an_empty_path_does_not_mean_the_current_folder(folder, capsys):
    written(series(voxels_of((4, 4, 2))), folder)
    assert main(["try", "CutTask.py", "scan="]) == 1
    assert capsys.readouterr().err == "scan: its value is empty.\n"
