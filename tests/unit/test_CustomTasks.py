"""The tasks that come with the project, called directly."""

import itertools
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from tomaat.services import Cancelled, TaskRefused
from tomaat.services.find import find_tasks
from tomaat.volumes import Volume

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tasks():
    found = find_tasks(REPOSITORY / "CustomTasks")
    assert found.problems == []
    for task in found.tasks.values():
        task.load(torch.device("cpu"))
    yield found.tasks
    for name in [name for name in sys.modules if name.startswith("custom_tasks_")]:
        del sys.modules[name]


def volume(array, spacing_mm=(1.0, 1.0, 1.0)):
    return Volume(
        array=array, spacing_mm=spacing_mm, origin_mm=(-10.0, 20.0, 30.0), direction=((0, 1, 0), (1, 0, 0), (0, 0, -1))
    )


def test_the_tasks_are_offered(tasks):
    assert set(tasks) == {"BrainExtraction", "Dummy", "FloatComputation", "GaussianSmoothing", "InnerEarSegmentation"}


def test_each_service_for_people_says_its_use_its_licence_and_its_reference(tasks):
    assert {name for name, task in tasks.items() if task.trial} == {"Dummy", "FloatComputation"}
    for task in tasks.values():
        if not task.trial:
            assert "Not a medical device" in task.intended_use
            assert task.licence
            assert task.reference


@pytest.mark.parametrize(("f1", "f2", "op", "result"), [(1.5, 2, "add", 3.5), (1.5, 2, "multiply", 3.0)])
def test_float_computation_computes(tasks, f1, f2, op, result):
    assert tasks["FloatComputation"].perform(f1=f1, f2=f2, op=op) == {"result": result}


def test_float_computation_refuses_what_json_cannot_hold(tasks):
    with pytest.raises(TaskRefused, match="beyond the largest number"):
        tasks["FloatComputation"].perform(f1=1e308, f2=1e308, op="add")


@pytest.mark.parametrize("kind", ["sleep", "compute"])
def test_dummy_passes_its_time_and_reports_progress(tasks, kind, monkeypatch):
    reports = []
    monkeypatch.setattr(tasks["Dummy"], "report", lambda fraction, stage: reports.append((fraction, stage)))
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks) / 20)  # a step may be long on a busy machine
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert tasks["Dummy"].perform(kind=kind, seconds=0.3)["slept_seconds"] >= 0.3
    assert len(reports) == 5
    assert reports == sorted(reports)
    assert {stage for _, stage in reports} == {"first half", "second half"}
    assert tasks["Dummy"].expected_seconds({"seconds": 0.3}) == 0.3


def test_dummy_refuses_and_crashes_when_asked_to(tasks):
    with pytest.raises(TaskRefused, match="asked to refuse"):
        tasks["Dummy"].perform(kind="refuse", seconds=0.0)
    with pytest.raises(RuntimeError, match="asked to crash"):
        tasks["Dummy"].perform(kind="crash", seconds=0.0)


def test_dummy_stops_when_its_client_gave_up(tasks, monkeypatch):
    def give_up(_fraction, _stage):
        raise Cancelled

    monkeypatch.setattr(tasks["Dummy"], "report", give_up)
    with pytest.raises(Cancelled):
        tasks["Dummy"].perform(kind="sleep", seconds=60.0)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 1.25, 0.8)])
def test_gaussian_smoothing_agrees_with_itk(tasks, spacing_mm):
    """Against ITK's discrete Gaussian, another implementation and kernel: within a hundredth of the range."""
    voxels = np.random.default_rng(7).random((24, 20, 16)).astype(np.float32)
    smoothed = tasks["GaussianSmoothing"].perform(volume=volume(voxels, spacing_mm), sigma=2.5)["smoothed"]
    image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    image.SetSpacing(spacing_mm)
    expected = sitk.GetArrayFromImage(
        sitk.DiscreteGaussian(image, variance=2.5**2, maximumKernelWidth=200, maximumError=0.0001, useImageSpacing=True)
    )
    assert np.abs(smoothed.array - expected.transpose(2, 1, 0)).max() < 0.01


def test_gaussian_smoothing_is_the_sum_that_its_source_writes_down(tasks):
    """Against the definition, summed up in numpy in float64 along one axis."""
    line = np.random.default_rng(3).random(40)
    sigma_mm, spacing_mm = 3.0, 1.5
    wide = np.exp(-0.5 * (np.arange(-8, 9) * spacing_mm / sigma_mm) ** 2)
    expected = np.convolve(np.pad(line, 8, mode="edge"), wide / wide.sum(), mode="valid")
    voxels = np.broadcast_to(line.astype(np.float32)[:, None, None], (40, 3, 3))
    got = tasks["GaussianSmoothing"].perform(volume=volume(voxels, (spacing_mm, 1, 1)), sigma=sigma_mm)["smoothed"]
    assert np.allclose(got.array[:, 1, 1], expected, atol=1e-6)


def test_gaussian_smoothing_keeps_geometry_and_a_constant(tasks):
    scan = volume(np.full((5, 6, 7), -1024, np.int16), (0.4, 0.4, 5.0))
    smoothed = tasks["GaussianSmoothing"].perform(volume=scan, sigma=20.0)["smoothed"]
    assert (smoothed.spacing_mm, smoothed.origin_mm, smoothed.direction) == (
        scan.spacing_mm,
        scan.origin_mm,
        scan.direction,
    )
    assert smoothed.array.shape == scan.array.shape
    assert np.allclose(smoothed.array, -1024, rtol=1e-5)
