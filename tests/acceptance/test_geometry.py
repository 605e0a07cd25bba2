"""A marked voxel comes back where it lies in the patient: random volumes, each input format, each output format."""

import gzip
import io
import os
import random
import tarfile
import textwrap
from concurrent.futures import ThreadPoolExecutor

import nibabel
import nrrd
import numpy as np
import pytest
import requests
import SimpleITK as sitk

from tests.chaos.matrix import PART, PARTS
from tests.dicom_series import series, zipped
from tests.service import payload

CASES = 1000  #: of which each day tries another fifth
WITHIN_MM = 0.001
FARTHEST_MM = 2000.0  #: beyond, NIfTI's single precision is coarser
INPUTS = (".nii.gz", ".nii", ".nrrd", ".mha", ".zip")  #: the last is a DICOM series
OUTPUTS = ("nii.gz", "nrrd", "mha", "seg.nrrd")
TASKS = """
import numpy as np
from Inputs import BooleanInput, IntInput, PointListInput, VolumeInput
from tomaat.services import Task
from tomaat.volumes import Labels

class Mark(Task):
    task_identifier = "Mark"
    description = "Marks one voxel, by its index or by its place."
    inputs = (
        VolumeInput("volume", "Volume"),
        PointListInput("index", "Its index", required=False),
        PointListInput("place", "Its place in mm", coordinates="LPS", required=False),
        BooleanInput("named", "As a label"),
    )
    def perform(self, volume, index, place, named):
        at = np.round(index[0] if index is not None else volume.to_index(place[0])).astype(int)
        marked = np.zeros(volume.array.shape, np.uint8)
        marked[tuple(at)] = 1
        mark = volume.like(marked)
        return {"mark": Labels(volume=mark.reoriented("SAR"), names={1: "mark"}) if named else mark}
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory, make_service):
    folder = tmp_path_factory.mktemp("geometry")
    (folder / "Mark.py").write_text(textwrap.dedent(TASKS))
    made = make_service(CUSTOM_TASKS_DIR=str(folder), LEASE_SECONDS="15")
    made.start()
    made.wait_until_ready("Mark")
    return made


class Case:
    """A random grid with a mark: its affine (LPS, mm) is known here and nowhere else."""

    def __init__(self, number):
        chosen = random.Random(number)
        axes = np.linalg.qr(np.array([[chosen.gauss(0, 1) for _ in range(3)] for _ in range(3)]))[0]
        if chosen.random() < 0.3:  # along the patient's axes, turned and flipped
            axes = np.eye(3)[chosen.sample(range(3), 3)] * [chosen.choice((-1, 1)) for _ in range(3)]
        spacing = [chosen.choice((0.1, 0.5, 0.7421875, 1.0, 3.3, 10.0)) for _ in range(3)]
        self.input = INPUTS[number % len(INPUTS)]
        self.output = OUTPUTS[number // len(INPUTS) % len(OUTPUTS)]
        if self.input == ".zip" and np.linalg.det(axes) < 0:  # a series has its slices along their normal
            axes[:, 2] *= -1
        self.shape = tuple(1 if chosen.random() < 0.1 else chosen.randint(2, 12) for _ in range(3))
        self.affine = np.eye(4)
        self.affine[:3, :3] = axes * spacing
        self.affine[:3, 3] = [chosen.uniform(-FARTHEST_MM, FARTHEST_MM) for _ in range(3)]
        self.index = [chosen.randrange(count) for count in self.shape]
        self.place = (self.affine @ [*self.index, 1])[:3]
        self.by_place = chosen.random() < 0.4
        self.named = chosen.random() < 0.5
        kinds = (np.uint8, np.int16, np.int16 if self.input == ".zip" else np.float32)
        self.voxels = np.full(self.shape, number % 100, chosen.choice(kinds))

    def file(self):
        """Write the volume with a program that is not ours where there is one."""
        if self.input == ".zip":
            return zipped(series(self.voxels, self.affine))
        if self.input.startswith(".nii"):
            image = nibabel.Nifti1Image(self.voxels, np.diag([-1, -1, 1, 1]) @ self.affine)
            data = image.to_bytes()
            return gzip.compress(data) if self.input == ".nii.gz" else data
        if self.input == ".nrrd":
            buffer = io.BytesIO()
            header = {
                "type": self.voxels.dtype.name.replace("float32", "float"),
                "space": "left-posterior-superior",
                "space directions": self.affine[:3, :3].T,
                "space origin": self.affine[:3, 3],
                "encoding": "gzip",
            }
            nrrd.write(buffer, self.voxels, header)
            return buffer.getvalue()
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        head = {
            "ObjectType": "Image",
            "NDims": "3",
            "BinaryData": "True",
            "BinaryDataByteOrderMSB": "False",
            "CompressedData": "False",
            "TransformMatrix": " ".join(map(repr, (self.affine[:3, :3] / spacing).T.ravel().tolist())),
            "Offset": " ".join(map(repr, self.affine[:3, 3].tolist())),
            "ElementSpacing": " ".join(map(repr, spacing.tolist())),
            "DimSize": " ".join(map(str, self.shape)),
            "ElementType": {"uint8": "MET_UCHAR", "int16": "MET_SHORT", "float32": "MET_FLOAT"}[self.voxels.dtype.name],
            "ElementDataFile": "LOCAL",
        }
        lines = "".join(f"{name} = {value}\n" for name, value in head.items())
        return lines.encode() + self.voxels.tobytes(order="F")

    def payload(self):
        where = {"place": [self.place.tolist()]} if self.by_place else {"index": [self.index]}
        data = payload({"named": self.named, **where}, **{"volume" + self.input.replace(".", "_"): self.file()})
        return with_format(data, self.output)


def with_format(data, output):
    """Ask for a format in main.json."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as source, tarfile.open(fileobj=buffer, mode="w:gz") as target:
        for member in source:
            content = source.extractfile(member).read()
            if member.name == "main.json":
                content = content[:-1] + b', "outputs": {"format": "' + output.encode() + b'"}}'
                member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def place_of_the_mark(files, tmp_path):
    """Find the one marked voxel with a reader that is not ours where there is one; LPS, mm."""
    name = next(name for name in files if name.startswith("mark."))
    path = tmp_path / name
    path.write_bytes(files[name])
    if name.endswith(".nii.gz"):
        image = nibabel.load(path)
        voxels, affine = image.get_fdata(), np.diag([-1, -1, 1, 1]) @ image.affine
    elif name.endswith(".nrrd"):
        voxels, header = nrrd.read(str(path))
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = header["space directions"].T, header["space origin"]
    else:
        image = sitk.ReadImage(str(path))
        (index,) = np.argwhere(sitk.GetArrayFromImage(image))
        return np.array(image.TransformIndexToPhysicalPoint([int(n) for n in index[::-1]]))
    (index,) = np.argwhere(voxels)
    return (affine @ [*index, 1])[:3]


def test_the_mark_comes_back_at_the_same_place_in_every_case(instance, tmp_path):
    def one(number):
        case = Case(number)
        answer = instance.post("Mark", case.payload())
        assert answer.status_code == 202, (vars(case), answer.text)
        result = requests.get(f"{instance.url}{answer.json()['links']['result']}?wait=50", timeout=90)
        assert result.status_code == 200, (vars(case), result.text)
        with tarfile.open(fileobj=io.BytesIO(result.content)) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive}
        folder = tmp_path / str(number)
        folder.mkdir()
        return np.abs(place_of_the_mark(files, folder) - case.place).max()

    with ThreadPoolExecutor(4) as pool:
        apart_mm = list(pool.map(one, range(int(os.environ[PART]) % PARTS, CASES, PARTS)))
    assert sum(apart <= WITHIN_MM for apart in apart_mm) == CASES // PARTS, sorted(apart_mm)[-10:]
