"""Folders of small random networks with cards, and volumes for them."""

import functools
import tempfile
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt
from torch import nn

from tomaat.services.find import fault_of
from tomaat.services.folders.kinds import make_task

CARD = """
description: Marks two things.
inputs:
  - {id: t1, name: T1, modality: MR}
  - {id: t2, name: T2, intensity: {method: percentiles, low: 2, high: 95, clip: [0, 1]}}
orientation: RAS
intensity: z-score
output: {kind: softmax}
labels:
  1: liver
  2: {name: lesion, code: {value: "52988006", meaning: Lesion}}
"""
CPU = torch.device("cpu")


class Network(nn.Module):
    """Any network that tells left from right: two channels to ``outputs``."""

    def __init__(self, outputs=3):
        super().__init__()
        self.first = nn.Conv3d(2, 4, 3, padding=1)
        self.last = nn.Conv3d(4, outputs, 3, padding=1)

    def forward(self, voxels):
        return 4 * self.last(torch.relu(self.first(voxels)))


class Position(nn.Module):
    """Gives each place within a patch another value, and the first channel as it is."""

    def forward(self, voxels):
        places = torch.arange(voxels.shape[2], dtype=torch.float32)[None, None, :, None, None]
        return torch.cat([voxels[:, :1], places.expand(1, 1, -1, voxels.shape[3], voxels.shape[4])], 1)


def save_onnx(network, file, sizes, *, fixed):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    axes = {} if fixed else {"voxels": {2: "i", 3: "j", 4: "k"}}
    torch.onnx.export(network, (torch.rand(1, *sizes),), file, dynamo=False, input_names=["voxels"], dynamic_axes=axes)


def save_scripted(network, file, sizes, *, fixed):
    torch.jit.script(network).save(str(file))


def save_exported(network, file, sizes, *, fixed):
    some = torch.export.Dim.AUTO
    shapes = None if fixed else {"voxels": {2: some, 3: some, 4: some}}
    torch.export.save(torch.export.export(network, (torch.rand(1, *sizes),), dynamic_shapes=shapes), file)


SAVES = {"onnx": save_onnx, "ts": save_scripted, "pt2": save_exported}


@functools.cache
def saved(network, kind, sizes, fixed):
    """Export a network once for all tests, which takes torch a second or more; give the file's bytes."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SAVES[kind](network.eval(), Path(folder) / f"network.{kind}", sizes, fixed=fixed)
        return (Path(folder) / f"network.{kind}").read_bytes()


def a_folder(tmp_path, network, card=CARD, kind="ts", sizes=(2, 8, 8, 8), *, fixed=False, name=""):
    folder = tmp_path / (name or f"Two{kind}")
    folder.mkdir()
    (folder / "tomaat.yaml").write_text(card)
    (folder / f"network.{kind}").write_bytes(saved(network, kind, sizes, fixed))
    return folder


def loaded(folder):
    task = make_task(folder)
    type(task).is_trusted = True
    assert fault_of(task) is None
    task.load(CPU)
    return task


@functools.cache
def a_network(outputs=3):
    torch.manual_seed(3)
    return Network(outputs)


def affine_of(degrees, axes, spacing):
    """Give an affine (RAS) of axes that are turned about z and about x, then ordered and flipped as ``axes`` says."""
    along, across = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_z = [[along, -across, 0], [across, along, 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, along, -across], [0, across, along]]
    ornt = axcodes2ornt(axes)
    affine = np.eye(4)
    for axis, (world, sense) in enumerate(ornt.astype(int)):
        affine[:3, axis] = (np.array(about_z) @ about_x)[:, world] * sense * spacing[axis]
    affine[:3, 3] = (-20, 31, 7)
    return affine


PLACES = {
    "RAS": affine_of(0, "RAS", (1, 1, 1)),
    "flipped": affine_of(0, "LPI", (1, 1, 1)),
    "turned, flipped, anisotropic": affine_of(0, "SLA", (0.7, 1.1, 3)),
    "oblique, turned, flipped, anisotropic": affine_of(17, "IPR", (0.8, 1.3, 2.4)),
}


def files(tmp_path, affine, shape=(13, 10, 9)):
    rng = np.random.default_rng(5)
    paths = [tmp_path / "t1.nii.gz", tmp_path / "t2.nii.gz"]
    for path in paths:
        nibabel.save(nibabel.Nifti1Image(rng.normal(100, 30, shape).astype(np.float32), affine), path)
    return paths


def sent(paths, reader):
    return {name: reader.read(path) for name, path in zip(("t1", "t2"), paths, strict=True)}
