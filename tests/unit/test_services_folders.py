"""Network folders: how they are found, trusted, added, changed and taken away; of a kind that needs no package."""

import json
import os
import shutil
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import SimpleITK as sitk

from Inputs import FloatInput, VolumeInput
from tomaat.contents.digest import sha256_of_weights
from tomaat.contents.network_folder import TRUSTED, is_network_folder, trusted_sha256
from tomaat.launch import network_folders
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.services import ExpectedMemory, Offer, TaskRefused
from tomaat.services.__main__ import main
from tomaat.services.find import find_tasks
from tomaat.services.folders import adding, kinds
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import FolderTask, on_one_grid
from tomaat.services.folders.kind import Kind
from tomaat.services.own_texts import versions_of
from tomaat.volumes import Volume

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class _Scaled(FolderTask):
    """A network of one number, which stands in the folder."""

    description = "Multiplies a scan."
    inputs = (VolumeInput("scan", "Scan"),)
    packages = ("numpy", "no-such-package")

    def load_network(self, device):
        del device
        self.factor = float((self.place / "factor.txt").read_text())

    def perform(self, **inputs):
        return {"scaled": inputs["scan"].like(inputs["scan"].array * self.factor)}


def kind(**facts):
    plain = {
        "name": "Scale",
        "is_one": lambda place: (place / "tomaat.yaml").exists(),
        "make": lambda _place, name: type(name, (_Scaled,), {"task_identifier": name}),
        "needs_trust": lambda _: None,
        "package": "numpy",
        "requirements": "requirements-scale.txt",
    }
    return Kind(**plain | facts)


@pytest.fixture
def known(monkeypatch):
    def know(*found):
        monkeypatch.setattr(kinds, "KINDS", found or (kind(),))

    know()
    return know


@pytest.fixture
def tasks(tmp_path, known):
    del known
    made = tmp_path / "tasks"
    made.mkdir()
    return made


def folder(under, name="Half", factor="0.5"):
    made = under / name
    (made / "deep").mkdir(parents=True)
    (made / "tomaat.yaml").write_text("")
    (made / "factor.txt").write_text(factor)
    (made / "deep/more").write_text("1")
    return made


def coded(place):
    """Tell that a folder holds code, as a kind does."""
    return f"{place.name} holds code."


def test_a_folder_among_the_tasks_is_offered_under_its_name_with_its_kind(tasks):
    place = folder(tasks)
    (tasks / "data").mkdir()
    (tasks / "README").write_text("no task")
    folder(tasks, ".Half.draft")
    found = find_tasks(tasks)
    assert (list(found.tasks), found.files, found.problems) == (["Half"], {"Half": "Half"}, [])
    task = found.tasks["Half"]
    assert (task.place, task.weights, task.kind) == (place, place, "Scale")
    offer = Offer.of(task, "Half", sha256_of_weights(place))
    assert (offer.kind, offer.weights_sha256) == ("Scale", sha256_of_weights(place))
    assert versions_of(task) == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("Half", lambda place: (place / "tomaat.yaml").rename(place / "plans.json"), "holds no network that is known"),
        ("Half", lambda place: (place / "link").symlink_to(place / "deep"), "link is a link to a folder"),
        ("Half life", lambda _: None, "task_identifier is 'Half life'; set it to a name of letters"),
    ],
)
def test_a_folder_that_cannot_serve_says_why_and_stops_nothing_else(tasks, name, spoil, reason):
    folder(tasks, "Whole", "1")
    spoil(folder(tasks, name))
    found = find_tasks(tasks)
    assert list(found.tasks) == ["Whole"]
    (problem,) = found.problems
    assert problem.file == name
    assert reason in problem.reason


def test_a_folder_of_two_kinds_is_refused(tasks, known):
    known(kind(), kind(name="Other"))
    with pytest.raises(FolderRefused, match=r"the files of Scale and Other; put each into a folder of its own"):
        kinds.make_task(folder(tasks))


def test_a_missing_package_is_named_with_what_brings_it(tasks, known):
    known(kind(package="no_such_package"))
    task = kinds.make_task(folder(tasks))
    with pytest.raises(
        FolderRefused, match=r"needs the package no_such_package: pip install --no-deps -r requirements-scale.txt"
    ):
        task.load("cpu")


def test_code_runs_only_where_its_folder_is_trusted_as_it_is(tasks, known):
    known(kind(needs_trust=coded))
    place = folder(tasks)
    with pytest.raises(FolderRefused, match=r"Half is not trusted: Half holds code. .*services trust Half"):
        kinds.make_task(place).load("cpu")
    assert adding.trust_folder("Half", tasks) == sha256_of_weights(place) == trusted_sha256(place)
    kinds.make_task(place).load("cpu")
    for change in (
        lambda: (place / "deep/more").write_text("2"),
        (place / "new.py").touch,
        lambda: (place / "deep/more").rename(place / "deep/other"),
    ):
        change()
        with pytest.raises(FolderRefused, match=r"Half has changed since it was trusted"):
            kinds.make_task(place).load("cpu")
        adding.trust_folder("Half", tasks)
    kinds.make_task(place).load("cpu")
    (tasks / TRUSTED).write_text("no JSON")
    with pytest.raises(FolderRefused, match=r"is not trusted"):
        kinds.make_task(place).load("cpu")
    with pytest.raises(OSError, match=r"trusted.json is damaged; mend it, or delete it"):
        adding.trust_folder("Half", tasks)
    assert (tasks / TRUSTED).read_text() == "no JSON"


def test_a_folder_is_added_whole_and_once_and_is_taken_away_again(tasks, tmp_path, known):
    place = folder(tmp_path / "elsewhere")
    (place / "linked").symlink_to(place / "factor.txt")
    task = adding.add(place, tasks, "Halved")
    assert (task.task_identifier, task.place) == ("Halved", tasks / "Halved")
    assert (tasks / "Halved/linked").read_text() == "0.5"
    assert not (tasks / "Halved/linked").is_symlink()
    assert [each.name for each in tasks.iterdir()] == ["Halved"]
    with pytest.raises(FolderRefused, match=r"Halved is there already. To replace it, first: .* remove Halved"):
        adding.add(place, tasks, "Halved")
    with pytest.raises(FolderRefused, match=r"half of it: a service's name has letters, .*; --name gives another name"):
        adding.add(place, tasks, "half of it")
    known(kind(needs_trust=coded))
    with pytest.raises(FolderRefused, match=r"Half holds code. Where you trust it, type the same with --trust."):
        adding.add(place, tasks)
    assert [each.name for each in tasks.iterdir()] == ["Halved"]
    adding.add(place, tasks, trusted=True).load("cpu")
    for name in ("Half", "Halved"):
        adding.remove(name, tasks)
    assert json.loads((tasks / TRUSTED).read_text()) == {}
    assert [each.name for each in tasks.iterdir()] == [TRUSTED]
    for name in ("Half", "../tasks", "."):
        with pytest.raises(FolderRefused, match=r"is no network folder in .*There are: none"):
            adding.remove(name, tasks)


def test_the_workers_account_may_read_what_is_added_and_whether_it_is_trusted(tasks, tmp_path):
    place = folder(tmp_path / "elsewhere")
    for each in (place, place / "deep", place / "factor.txt"):
        each.chmod(0o700)
    umask = os.umask(0o022)
    try:
        adding.add(place, tasks)
        os.umask(0o077)
        adding.trust_folder("Half", tasks)
    finally:
        os.umask(umask)
    modes = {
        name: oct((tasks / name).stat().st_mode & 0o777) for name in ("Half", "Half/deep", "Half/factor.txt", TRUSTED)
    }
    assert modes == {"Half": "0o755", "Half/deep": "0o755", "Half/factor.txt": "0o644", TRUSTED: "0o644"}


def test_a_link_to_a_folder_elsewhere_is_removed_and_the_folder_stays(tasks, tmp_path):
    place = folder(tmp_path / "elsewhere")
    (tasks / "Half").symlink_to(place)
    adding.remove("Half", tasks)
    assert list(tasks.iterdir()) == []
    assert (place / "factor.txt").exists()


def test_what_a_program_that_was_killed_has_left_goes_a_day_later(tasks, tmp_path):
    old, new = tasks / ".tomaat-draft-1", tasks / ".tomaat-draft-2"
    for each in (old, new):
        each.mkdir()
    os.utime(old, (0, 0))
    adding.add(folder(tmp_path / "elsewhere"), tasks)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_changed_folder_is_not_loaded_before_it_is_asked_for(tasks, tmp_path):
    place = folder(tasks)
    kept = KeptTasks(tasks, tmp_path / "kept")
    (task,) = find_tasks(tasks, kept=kept.copy).tasks.values()
    task.load("cpu")
    (place / "factor.txt").write_text("0.25")
    for made in (task, type(task)()):  # one that was let go for memory is made again
        with pytest.raises(FolderRefused, match=r"Half has changed since it was loaded. .*services reload Half"):
            made.load("cpu")
    (problem,) = find_tasks(tasks, kept=kept.copy).problems
    assert problem.reason.startswith("Half has changed since it was loaded")
    kept.take(kept.renewed(kept.changed()), ())
    find_tasks(tasks, kept=kept.copy).tasks["Half"].load("cpu")


def test_a_folder_of_helpers_that_becomes_a_network_and_one_again_is_renewed(tasks, tmp_path):
    place = folder(tasks)
    (place / "helper.py").write_text("1")
    (place / "tomaat.yaml").rename(place / "not-yet")
    kept = KeptTasks(tasks, tmp_path / "kept")
    assert kept.changed() == set()
    for before, after, there in (("not-yet", "tomaat.yaml", {"Half"}), ("tomaat.yaml", "not-yet", {"Half/helper.py"})):
        (place / before).rename(place / after)
        kept.take(kept.renewed(kept.changed()), ())
        assert kept.changed() == set()
        assert {str(each.relative_to(kept.copy)) for each in kept.copy.rglob("*") if each.is_file()} == there


def test_a_folder_that_may_not_be_looked_into_is_passed_over(tasks, monkeypatch):
    folder(tasks)
    (tasks / "lost+found").mkdir()
    whole = Path.is_file

    def is_file(path):
        if path.parent.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    assert list(find_tasks(tasks).tasks) == ["Half"]


def test_of_a_copy_that_fails_nothing_is_left(tasks, tmp_path, monkeypatch):
    place = folder(tmp_path / "elsewhere")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match=r"No space"):
        adding.add(place, tasks)
    assert list(tasks.iterdir()) == []


def test_a_change_of_a_folder_is_noticed_and_its_state_is_kept(tasks, tmp_path):
    place = folder(tasks)
    (place / "helper.py").write_text("1")
    (tasks / "A.py").write_text("1")
    kept = KeptTasks(tasks, tmp_path / "kept")
    assert kept.files() == {"A.py", "Half"}
    assert {path.name for path in kept.copy.iterdir()} == {"A.py", "Half"}
    for change in (
        lambda: os.utime(place / "factor.txt"),
        lambda: adding.trust_folder("Half", tasks),
        (place / "deep/more").unlink,
    ):
        assert kept.changed() == set()
        change()
        assert kept.changed() == {"Half"}
        kept.take(kept.renewed({"Half"}), ())
    assert find_tasks(tasks, kept=kept.copy).files == {"Half": "Half"}
    assert kept.twin().files() == {"A.py", "Half"}
    adding.remove("Half", tasks)
    assert kept.changed() == {"Half"}
    (problem,) = (each for each in find_tasks(tasks, kept=kept.copy).problems if each.file == "Half")
    assert "holds no network" in problem.reason


def test_a_package_of_helpers_and_a_hidden_folder_are_no_network(tasks):
    for name in ("_Half", ".Half"):
        assert not is_network_folder(folder(tasks, name))
    (tasks / "helpers").mkdir()
    assert not is_network_folder(tasks / "helpers")


def test_the_command_tells_what_a_folder_offers(tasks, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TOMAAT_CUSTOM_TASKS_DIR", str(tasks))
    monkeypatch.setenv("TOMAAT_BASE_STORAGE_DIR", str(tmp_path / "storage"))
    place = folder(tmp_path / "elsewhere")
    assert main(["add", str(place), "--name", "Mine"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"Mine: Scale, in {tasks / 'Mine'}"
    assert told[1:3] == ["  Multiplies a scan.", "  input scan: Scan"]
    assert (
        told[3]
        == "  memory for a volume of 512 x 512 x 300 voxels of 0.8 x 0.8 x 1 mm: not known before the first ticket"
    )
    assert told[-2].startswith("  licence: not told")
    assert told[-1] == f"  SHA-256 of the folder: {sha256_of_weights(place)}"
    assert network_folders.main(["trust", "Mine"]) == 0
    assert capsys.readouterr().out == f"Mine is trusted as it is now, SHA-256 {sha256_of_weights(place)}\n"
    assert network_folders.main(["add", str(place), "--name", "Mine"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert network_folders.main(["add", str(tmp_path / "nowhere")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
    assert network_folders.main(["remove", "Mine"]) == 0


def test_a_folder_is_tried_without_a_server(tasks, tmp_path, monkeypatch, capsys, known):
    del tasks
    known(kind(needs_trust=coded))
    place = folder(tmp_path)
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 3, 4), 8, np.int16)), str(tmp_path / "scan.nii.gz"))
    monkeypatch.chdir(tmp_path)
    assert main(["try", "Half", "scan=scan.nii.gz"]) == 1
    assert capsys.readouterr().err == "Half holds code. Where you trust it, type the same with --trust.\n"
    assert main(["try", "Half", "scan=scan.nii.gz", "--trust"]) == 0
    told = capsys.readouterr().out
    assert f"SHA-256 of the folder: {sha256_of_weights(place)}" in told
    assert (sitk.GetArrayFromImage(sitk.ReadImage("Half-result/scaled.nii.gz")) == 4).all()


def test_trying_a_folder_tells_its_form_labels_needs_and_refusals_and_refuses_what_does_not_fit(
    tasks, tmp_path, monkeypatch, capsys, known
):
    del tasks

    class Told(_Scaled):
        inputs = (
            VolumeInput("scan", "Scan", modalities=["CT"]),
            VolumeInput("mask", "Mask"),
            FloatInput("cut", "Cut", default=0.5),
        )
        refuses = ("volumes of zeros only",)
        label_names = MappingProxyType({number: f"structure {number}" for number in range(1, 15)})

        def expected_memory(self, inputs, *, gpu_bytes):
            assert inputs["cut"] == 0.5
            size = inputs["scan"].array.size
            on_gpu = {} if gpu_bytes is None else {"gpu_bytes": size, "layers_bytes": 2**30}
            return ExpectedMemory(machine_bytes=2**40 if size == 24 else 4 * size, **on_gpu)

        def perform(self, **inputs):
            raise AssertionError(inputs)

    known(kind(make=lambda _place, name: type(name, (Told,), {"task_identifier": name})))
    folder(tmp_path)
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 3, 4), 8, np.int16)), str(tmp_path / "scan.nii.gz"))
    monkeypatch.chdir(tmp_path)
    assert main(["try", "Half", "scan=scan.nii.gz", "mask=scan.nii.gz", "--device", "cpu"]) == 1
    told, refused = capsys.readouterr()
    lines = told.splitlines()
    assert lines[2:5] == ["  input scan: Scan", "  input mask: Mask", "  input cut: Cut (default 0.5)"]
    assert lines[5].startswith("  labels: 1 structure 1, 2 structure 2, ")
    assert lines[5].endswith(", 12 structure 12, and 2 more")
    assert lines[6].endswith(
        "mm: on a CPU about 0.293 GiB of the machine's memory, and an unknown amount more for the network at work; "
        "with a GPU about 0.0732 GiB of the GPU's memory and 0.293 GiB of the machine's memory, and roughly 1 GiB more "
        "on the GPU for the network at work"
    )
    assert lines[8] == (
        "  refuses: scan: a DICOM series that is not CT; volumes on another grid than scan; volumes of zeros only; "
        "what has no room in the memory, with the number"
    )
    assert lines[-1].startswith("expects about 1024 GiB of the machine's memory")
    assert refused.startswith("The task refused: The ticket needs about 1024 GiB of the machine's memory, and ")


def test_a_folder_that_cannot_say_what_it_will_need_is_added_all_the_same(tasks, tmp_path, monkeypatch, capsys, known):
    monkeypatch.setenv("TOMAAT_CUSTOM_TASKS_DIR", str(tasks))

    class Silent(_Scaled):
        def expected_memory(self, inputs, *, gpu_bytes):
            raise TaskRefused(f"{inputs['scan'].array.shape} on {gpu_bytes}")

    known(kind(make=lambda _place, name: type(name, (Silent,), {"task_identifier": name})))
    assert main(["add", str(folder(tmp_path / "elsewhere")), "--no-reload"]) == 0
    assert "0.8 x 0.8 x 1 mm: not known before the first ticket\n" in capsys.readouterr().out
    assert (tasks / "Half").is_dir()


def test_volumes_on_other_grids_are_refused_by_the_culprits_name():
    def volume(shape=(4, 3, 2), origin_mm=(0, 0, 0)):
        return Volume(array=np.zeros(shape), spacing_mm=(1, 1, 2), origin_mm=origin_mm, direction=AXES)

    on_one_grid({"t1": volume(), "t2": volume()})
    with pytest.raises(TaskRefused, match=r"flair: it has 4 x 3 x 3 voxels, and t1 has 4 x 3 x 2"):
        on_one_grid({"t1": volume(), "t2": volume(), "flair": volume((4, 3, 3))})
    with pytest.raises(TaskRefused, match=r"t2: it lies elsewhere than t1, by up to 0.5 voxels"):
        on_one_grid({"t1": volume(), "t2": volume(origin_mm=(0, 0, 1))})
